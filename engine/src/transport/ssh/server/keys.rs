//! The files of a server: its own key, and the keys that may come in.
//!
//! Both are OpenSSH's formats. Of the options of authorized keys there is one,
//! ours: `allow="pool/dataset"`. Any other is an error, since an option that is
//! passed over would protect nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{HashAlg, PrivateKey, PublicKey};

use super::ServerError;
use crate::name::DatasetName;
use crate::transport::printable::printable_line;

/// The largest file that is read, in bytes: thousands of keys.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How much of a comment is shown, in characters.
const COMMENT_CHARS_MAX: usize = 80;

/// What bits of a mode let the group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What bits of a mode give the group or others anything.
const ANY_FOR_OTHERS: u32 = 0o077;

/// The identity of a server.
#[derive(Clone)]
pub struct HostKey(pub(super) PrivateKey);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostKey").field(&self.fingerprint()).finish()
    }
}

impl HostKey {
    /// Reads an unencrypted private key that nobody else can read.
    ///
    /// # Errors
    /// [`ServerError`]
    pub fn read(file: &Path) -> Result<Self, ServerError> {
        let text = match read(file, ANY_FOR_OTHERS) {
            Err(ServerError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(ServerError::NoHostKey { file: file.into() });
            }
            text => text?,
        };
        let unusable = |why: String| ServerError::HostKey {
            file: file.into(),
            why,
        };
        let key = PrivateKey::from_openssh(text).map_err(|error| unusable(error.to_string()))?;
        if key.is_encrypted() {
            return Err(unusable("it has a passphrase".to_owned()));
        }
        Ok(Self(key))
    }

    /// Makes a new key and writes it into a file that does not exist yet, with
    /// mode 0600. A crash leaves the whole file, or none under that name.
    ///
    /// # Errors
    /// [`ServerError`]; a file that exists stays as it is.
    pub fn create(file: &Path) -> Result<Self, ServerError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => ServerError::HostKeyExists { file: file.into() },
            _ => ServerError::File {
                file: file.into(),
                source,
            },
        };
        let mut seed = [0; 32];
        // Waits until the system has gathered randomness, once after it started.
        let mut random = File::open("/dev/random").map_err(failed)?;
        random.read_exact(&mut seed).map_err(failed)?;
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        key.set_comment("zferry");
        let text = key
            .to_openssh(LineEnding::LF)
            .map_err(|error| failed(io::Error::other(error)))?;
        let mut aside = file.as_os_str().to_owned();
        aside.push(format!(".{}.new", std::process::id()));
        let aside = Path::new(&aside);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(aside)
            .and_then(|mut new| {
                new.write_all(text.as_bytes())?;
                new.sync_all()?;
                // Unlike a rename it takes nothing's place.
                std::fs::hard_link(aside, file)
            });
        let _ = std::fs::remove_file(aside);
        written.map_err(failed)?;
        Ok(Self(key))
    }

    /// SHA-256, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Type and public key, as in `known_hosts` after the name of the host.
    #[must_use]
    pub fn public_line(&self) -> String {
        let mut public = self.0.public_key().clone();
        public.set_comment("");
        let line = public.to_openssh().unwrap_or_default();
        line.trim_end().to_owned()
    }
}

/// A key that may come in, and what for.
#[derive(Debug, Clone)]
pub struct AuthorizedKey {
    pub(super) key: PublicKey,
    /// The datasets, with all below them, that its owner may name. Never empty.
    pub allow: Vec<DatasetName>,
}

impl AuthorizedKey {
    /// SHA-256, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Fingerprint and comment.
    #[must_use]
    pub fn shown(&self) -> String {
        let comment = self.key.comment().to_string();
        let comment = printable_line(&comment, COMMENT_CHARS_MAX);
        format!("{} {comment}", self.fingerprint())
            .trim_end()
            .to_owned()
    }
}

/// Reads the keys that may come in. Blocks.
///
/// # Errors
/// [`ServerError`]: one bad line spoils the file, so that a slip of the pen is
/// seen when it is made.
pub fn authorized_keys(file: &Path) -> Result<Vec<AuthorizedKey>, ServerError> {
    let text = read(file, WRITABLE_BY_OTHERS)?;
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why| ServerError::Line {
            file: file.into(),
            line: number + 1,
            why,
        };
        let new = entry(line).map_err(wrong)?;
        if keys
            .iter()
            .any(|old| old.key.key_data() == new.key.key_data())
        {
            return Err(wrong("this key has a line already".to_owned()));
        }
        keys.push(new);
    }
    if keys.is_empty() {
        return Err(ServerError::NoKeys { file: file.into() });
    }
    Ok(keys)
}

/// One line: options, key, comment.
fn entry(line: &str) -> Result<AuthorizedKey, String> {
    let mut allow = Vec::new();
    let mut rest = line;
    // An option ends with a quote; what has none before its first space is the
    // type of a key, or a word that is no option of ours.
    while let Some((name, after)) = rest.split_once("=\"") {
        if name.contains(char::is_whitespace) {
            break;
        }
        let (value, after) = after
            .split_once('"')
            .ok_or_else(|| format!("the value of {} has no end", printable_line(name, 40)))?;
        if name != "allow" {
            let name = printable_line(name, 40);
            return Err(format!("{name} is no option here: only allow=\"…\" is"));
        }
        let dataset = DatasetName::parse(value).map_err(|error| error.to_string())?;
        allow.push(dataset);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.starts_with([' ', '\t']) => {
                rest = after.trim_start();
                break;
            }
            None => return Err("after an option comes a comma or a space".to_owned()),
        }
    }
    let key = PublicKey::from_openssh(rest).map_err(|_| {
        let word = rest.split_whitespace().next().unwrap_or_default();
        format!(
            "there is no public key at {:?}; options other than allow=\"…\" do not exist here",
            printable_line(word, 40)
        )
    })?;
    if allow.is_empty() {
        return Err("the key has no allow=\"pool/dataset\" and could do nothing".to_owned());
    }
    Ok(AuthorizedKey { key, allow })
}

/// Reads a file that belongs to us or to root and has none of `forbidden` in
/// its mode. What is checked is what is read.
fn read(file: &Path, forbidden: u32) -> Result<String, ServerError> {
    let failed = |source| ServerError::File {
        file: file.into(),
        source,
    };
    let exposed = |why, mode| ServerError::Exposed {
        file: file.into(),
        why,
        mode,
    };
    let opened = File::open(file).map_err(failed)?;
    let meta = opened.metadata().map_err(failed)?;
    let mode = if forbidden == ANY_FOR_OTHERS {
        "600"
    } else {
        "644"
    };
    if !meta.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(exposed("it belongs to somebody else", mode));
    }
    if meta.mode() & forbidden != 0 {
        return Err(if forbidden == ANY_FOR_OTHERS {
            exposed("others than its owner have access to it", mode)
        } else {
            exposed("others than its owner can write to it", mode)
        });
    }
    let mut text = String::new();
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn public() -> String {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        key.public_key().to_openssh().unwrap().trim().to_owned()
    }

    fn file(text: &str) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        (dir, path)
    }

    fn refused(text: &str) -> String {
        let (_dir, path) = file(text);
        authorized_keys(&path).unwrap_err().to_string()
    }

    #[test]
    fn a_key_comes_with_its_datasets_and_its_comment() {
        let text = format!(
            "# keys\n\nallow=\"a/b c\",allow=\"tank\" {} of tom",
            public()
        );
        let (_dir, path) = file(&text);
        let keys = authorized_keys(&path).unwrap();
        let allow: Vec<_> = keys[0].allow.iter().map(DatasetName::as_str).collect();
        assert_eq!(allow, ["a/b c", "tank"]);
        assert!(keys[0].shown().starts_with("SHA256:"));
        assert!(keys[0].shown().ends_with(" of tom"));
    }

    #[test]
    fn a_line_that_allows_nothing_or_something_unknown_is_told_by_its_number() {
        let key = public();
        for (line, why) in [
            (key.clone(), "no allow"),
            (format!("restrict,allow=\"tank\" {key}"), "restrict"),
            (format!("restrict {key}"), "restrict"),
            (format!("allow=\"tank\",no-pty {key}"), "no-pty"),
            (format!("from=\"10.0.0.0/8\",allow=\"tank\" {key}"), "from"),
            (format!("allow=\"\" {key}"), ""),
            (format!("allow=\"tank {key}"), "no end"),
            (format!("allow=\"tank\"{key}"), "comma or a space"),
            ("allow=\"tank\" ssh-ed25519 AAAA".to_owned(), "ssh-ed25519"),
            (format!("command=\"x\" {key}"), "command"),
        ] {
            let text = refused(&format!("# first\n{line}\n"));
            assert!(
                text.contains(":2: ") && text.contains(why),
                "{line}: {text}"
            );
        }
        let twice = format!("allow=\"a\" {key}\nallow=\"b\" {key}\n");
        assert!(refused(&twice).contains(":2: this key has a line already"));
        assert!(refused("# none\n").contains("has no keys"));
    }

    #[test]
    fn files_that_others_can_write_or_keys_that_others_can_read_are_refused() {
        let (_dir, path) = file(&format!("allow=\"a\" {}", public()));
        for mode in [0o620, 0o602] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = authorized_keys(&path).unwrap_err();
            assert!(matches!(error, ServerError::Exposed { .. }), "{error}");
        }
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("host");
        HostKey::create(&path).unwrap();
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = HostKey::read(&path).unwrap_err();
            assert!(matches!(error, ServerError::Exposed { .. }), "{error}");
        }
    }

    #[test]
    fn a_new_host_key_is_for_its_owner_alone_and_replaces_nothing() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("host");
        let missing = HostKey::read(&path).unwrap_err();
        assert!(matches!(missing, ServerError::NoHostKey { .. }));
        let made = HostKey::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            HostKey::read(&path).unwrap().fingerprint(),
            made.fingerprint()
        );
        let again = HostKey::create(&path).unwrap_err();
        assert!(matches!(again, ServerError::HostKeyExists { .. }));
        assert_eq!(
            HostKey::read(&path).unwrap().public_line(),
            made.public_line()
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
