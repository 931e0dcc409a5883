//! The known_hosts files: which keys a host may use.
//!
//! In the way of the data: the check that stands before every byte. A host is
//! trusted if a line of the files has its name and its key; there is no
//! trusting on first use. Read as `sshd(8)` describes the format: several
//! names, patterns, negation, hashed names, `[host]:port`, `@revoked`. Left
//! out: `@cert-authority`, because certificates of hosts are not asked for, so
//! that such a line neither trusts nor distrusts anything.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

use super::error::{ConnectError, KnownKeyPlace, UnknownHostKey};
use super::{SshEndpoint, SshOptions};

/// The largest file that is read, in bytes: some hundred thousand keys.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the files say about one host.
#[derive(Debug)]
pub(super) struct KnownHost {
    name: String,
    /// Where a new key belongs.
    file: PathBuf,
    keys: Vec<KnownKey>,
}

#[derive(Debug)]
struct KnownKey {
    key: PublicKey,
    revoked: bool,
    place: KnownKeyPlace,
}

impl KnownHost {
    /// Reads the files. Blocks.
    pub(super) fn load(endpoint: &SshEndpoint, options: &SshOptions) -> Result<Self, ConnectError> {
        let file = options
            .known_hosts
            .first()
            .ok_or(ConnectError::NoKnownHosts)?
            .clone();
        let name = endpoint.known_hosts_name();
        let mut keys = Vec::new();
        for file in &options.known_hosts {
            let text = read(file).map_err(|source| ConnectError::KnownHostsUnreadable {
                file: file.clone(),
                source,
            })?;
            keys.extend(parse(&text, file, &name));
        }
        Ok(Self { name, file, keys })
    }

    /// `all` in the order in which to ask for them: first those for which a
    /// key is known, so that a host is not refused because it has others too.
    pub(super) fn preferred(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let known = |algorithm: &&Algorithm| {
            self.keys
                .iter()
                .any(|known| !known.revoked && same_type(&known.key.algorithm(), algorithm))
        };
        let (mut order, rest): (Vec<_>, Vec<_>) = all.iter().partition(known);
        order.extend(rest);
        order.into_iter().cloned().collect()
    }

    /// Whether the host may use `key`.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), ConnectError> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let same = |known: &&KnownKey| known.key.key_data() == key.key_data();
        if let Some(revoked) = self.keys.iter().filter(same).find(|known| known.revoked) {
            return Err(ConnectError::RevokedHostKey {
                host: self.name.clone(),
                fingerprint,
                place: revoked.place.clone(),
            });
        }
        let mut valid = self.keys.iter().filter(|known| !known.revoked);
        if valid.clone().any(|known| same(&known)) {
            return Ok(());
        }
        let algorithm = key.algorithm();
        if let Some(other) = valid
            .clone()
            .find(|k| same_type(&k.key.algorithm(), &algorithm))
        {
            return Err(ConnectError::ChangedHostKey {
                host: self.name.clone(),
                fingerprint,
                place: other.place.clone(),
            });
        }
        let key_type = algorithm.as_str().to_owned();
        Err(ConnectError::UnknownHostKey(Box::new(UnknownHostKey {
            line: format!("{} {}", self.name, openssh(key)),
            host: self.name.clone(),
            key_type,
            fingerprint,
            file: self.file.clone(),
            others: valid.by_ref().map(|known| known.place.clone()).collect(),
        })))
    }
}

/// A key as known_hosts has it: type and base64, no comment.
fn openssh(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .expect("a key that was decoded can be encoded")
}

/// RSA has one type of key and several algorithms.
fn same_type(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(file) => file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is too large",
        ));
    }
    Ok(bytes)
}

/// The keys that `text` has for `name`. A line that cannot be understood is
/// passed over, as OpenSSH does: it may be of a type we do not know.
fn parse(text: &[u8], file: &Path, name: &str) -> Vec<KnownKey> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter_map(|(index, line)| {
            let mut fields = std::str::from_utf8(line)
                .ok()?
                .split_ascii_whitespace()
                .peekable();
            let revoked = match *fields.peek()? {
                first if first.starts_with('#') => return None,
                "@revoked" => fields.next().is_some(),
                first if first.starts_with('@') => return None,
                _ => false,
            };
            let (hosts, key_type, base64) = (fields.next()?, fields.next()?, fields.next()?);
            if !names(hosts, name) {
                return None;
            }
            let key = PublicKey::from_openssh(&format!("{key_type} {base64}")).ok()?;
            let place = KnownKeyPlace {
                key_type: key_type.to_owned(),
                file: file.to_owned(),
                line_number: index + 1,
            };
            Some(KnownKey {
                key,
                revoked,
                place,
            })
        })
        .collect()
}

/// Reads lines for `name` and checks their keys by them, for fuzzers.
#[cfg(feature = "fuzzing")]
pub(crate) fn keys_in(text: &[u8], name: &str) {
    let file = Path::new("known_hosts");
    let known = KnownHost {
        name: name.to_owned(),
        file: file.to_owned(),
        keys: parse(text, file, name),
    };
    for one in &known.keys {
        let is_revoked = known.keys.iter().any(|k| k.revoked && k.key == one.key);
        assert_eq!(known.check(&one.key).is_ok(), !is_revoked);
        known.preferred(&[one.key.algorithm()]);
    }
}

/// Whether the first field of a line means `name`.
fn names(hosts: &str, name: &str) -> bool {
    let patterns = match hosts.parse() {
        Ok(HostPatterns::HashedName { salt, hash }) => {
            let Ok(mac) = Hmac::<Sha1>::new_from_slice(&salt) else {
                return false;
            };
            return mac.chain_update(name).verify_slice(&hash).is_ok();
        }
        Ok(HostPatterns::Patterns(patterns)) => patterns,
        Err(_) => return false,
    };
    let mut found = false;
    for pattern in &patterns {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            // One negation outweighs whatever else the line says.
            Some(negated) if glob(negated.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= glob(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// Whether `pattern`, with `*` and `?`, matches all of `text`. Takes time in
/// proportion to the product of their lengths at most.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // After the last `*`: where the pattern goes on, and the text to try next.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = retry else {
                    return false;
                };
                p = after;
                t = from + 1;
                retry = Some((after, t));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const ED25519_OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G2sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    const ED25519_HASHED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";
    const RSA: &str = "ssh-rsa \
         AAAAB3NzaC1yc2EAAAADAQABAAABAQCD5NBAhLW8nX3dPrKgOYdnU6rFTnd5IrMxm+4pjBKxuJWcTy\
         KRhg+N4yhDpmsdUBIi2T3ae9B06AdV+9th8eOpti5pEGTFx/KKzSyfku19CC/2EI6mFL7SfxJGUchI\
         LkXSaMVlnfdCmpbdfNhoIMn/k1zTuRkpW+WyUAtwBDC/lnMseN7zPxlyVNJ1FTGpFACyrFpYR+1ESv\
         H8FXQ34riLW3bBjrGjpQOfNvbJVzQ05AxYkZmntsiVaKPvU3YVmSBy1a6nWKeyrGfqy5y+/cmvnmdw\
         JKuNTYXra18rwzaNdEYQq8xUUBTeuEFMqdhoPOIrBmL3w/LkS2An4YR41xpb";
    const ECDSA: &str = "ecdsa-sha2-nistp256 \
         AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKYg7onbUef7eSlGUgt2A7MC+z\
         /OpibWlz9gyQS6Sbe0lfxKMxQtlQNHXTuyd68scOH+ggFpQIngnJ1Nkf8Da94=";
    /// Of the name `example.com`, as ssh-keygen -H wrote it.
    const HASHED: &str = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=";

    fn known(text: &str, name: &str) -> KnownHost {
        let file = PathBuf::from("/known");
        let keys = parse(text.as_bytes(), &file, name);
        KnownHost {
            name: name.into(),
            file,
            keys,
        }
    }

    fn check(text: &str, name: &str, key: &str) -> Result<(), ConnectError> {
        known(text, name).check(&PublicKey::from_openssh(key).unwrap())
    }

    #[test]
    fn a_host_is_known_by_name_list_pattern_port_or_hash() {
        for (hosts, name) in [
            ("a.example", "a.example"),
            ("x,A.Example,y", "a.example"),
            ("*.example,!b.example", "a.example"),
            ("a.exampl?", "a.example"),
            ("[a.example]:2222", "[a.example]:2222"),
            ("::1", "::1"),
            (HASHED, "example.com"),
        ] {
            let line = format!("# comment\n\nbroken line\n  {hosts}\t{ED25519} root@a\n");
            check(&line, name, ED25519).unwrap_or_else(|e| panic!("{hosts}: {e}"));
        }
        check(
            &format!("{HASHED} {ED25519_HASHED}"),
            "example.com",
            ED25519_HASHED,
        )
        .unwrap();
    }

    #[test]
    fn another_name_port_or_a_negation_does_not_make_a_host_known() {
        for (hosts, name) in [
            ("a.example", "b.example"),
            ("a.example", "[a.example]:2222"),
            ("[a.example]:2222", "a.example"),
            ("*.example,!a.example", "a.example"),
            ("!b.example", "a.example"),
            ("# a.example", "a.example"),
            ("@cert-authority a.example", "a.example"),
            (HASHED, "example.org"),
            ("|1|notbase64|AAAA", "example.com"),
        ] {
            let error = check(&format!("{hosts} {ED25519}"), name, ED25519).unwrap_err();
            assert!(
                matches!(error, ConnectError::UnknownHostKey(_)),
                "{hosts}: {error}"
            );
        }
    }

    #[test]
    fn a_changed_key_is_named_with_its_line_unless_another_line_has_the_key() {
        let text = format!("# one\nhost {ED25519_OTHER}\n");
        let error = check(&text, "host", ED25519).unwrap_err();
        let ConnectError::ChangedHostKey { place, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(
            (place.line_number, place.file.as_path()),
            (2, Path::new("/known"))
        );
        check(&format!("{text}host {ED25519}\n"), "host", ED25519).unwrap();
    }

    #[test]
    fn a_revoked_key_is_refused_whatever_else_the_file_says() {
        let text = format!("host {ED25519}\n@revoked * {ED25519}\n");
        let error = check(&text, "host", ED25519).unwrap_err();
        let ConnectError::RevokedHostKey { place, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(place.line_number, 2);
        // It speaks of that key alone.
        let error = check(&text, "host", ED25519_OTHER).unwrap_err();
        assert!(
            matches!(error, ConnectError::ChangedHostKey { .. }),
            "{error}"
        );
    }

    #[test]
    fn known_key_types_are_asked_for_first() {
        let all = super::super::config::HOST_KEY_ALGORITHMS;
        assert_eq!(known("", "host").preferred(all), all);
        let order = known(&format!("host {RSA}"), "host").preferred(all);
        assert!(
            order[..2]
                .iter()
                .all(|algorithm| matches!(algorithm, Algorithm::Rsa { .. }))
        );
        assert_eq!(order.len(), all.len());
    }

    #[test]
    fn an_unknown_key_comes_with_the_command_that_adds_it_and_a_warning_about_other_types() {
        let error = check("", "host", ED25519).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("echo 'host {ED25519}' >> '/known'")),
            "{text}"
        );
        assert!(
            text.contains("SHA256:") && text.contains("ssh_host_ed25519_key.pub"),
            "{text}"
        );
        assert!(!text.contains("beware"), "{text}");
        let text = check(&format!("host {ECDSA}\n"), "host", ED25519)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("known by another key (ecdsa-sha2-nistp256 in /known:1)"),
            "{text}"
        );
    }

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("a*b*c", "axxbyyc"),
            ("a?c", "abc"),
            ("**a", "bba"),
        ] {
            assert!(
                glob(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*b", "abc"),
            ("a?c", "ac"),
        ] {
            assert!(
                !glob(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        // Would take for ever if every star were tried with every rest.
        let stars = "a*".repeat(100) + "b";
        assert!(!glob(stars.as_bytes(), "a".repeat(10_000).as_bytes()));
    }
}
