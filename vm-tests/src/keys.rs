//! Keys of one run: who may log in where, and whom each guest trusts.
//!
//! Made anew for every run and laid where each guest finds them at boot. Host
//! keys come in the three kinds that a stock sshd has, since a client may
//! prefer another kind than the one that it knows.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::guest::Role;

/// The kinds of host keys that a stock sshd has.
pub const HOST_KEY_KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// All keys of a run.
#[derive(Debug)]
pub struct Keys {
    directory: PathBuf,
}

impl Keys {
    /// Generates them below `directory`.
    ///
    /// # Errors
    /// If ssh-keygen fails.
    pub fn generate(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        let keys = Self { directory };
        generate("ed25519", &keys.harness_key(), "vm-tests harness")?;
        for role in Role::BOTH {
            generate("ed25519", &keys.root_key(role), &format!("root@{role}"))?;
            for kind in HOST_KEY_KINDS {
                generate(kind, &keys.host_key(role, kind), &format!("host {role}"))?;
            }
        }
        Ok(keys)
    }

    /// The key that the harness logs in with.
    pub fn harness_key(&self) -> PathBuf {
        self.directory.join("harness")
    }

    /// A known_hosts line per host key of `role`, under these names.
    ///
    /// # Errors
    /// If a public key cannot be read.
    pub fn known_hosts(&self, role: Role, names: &str) -> Result<String> {
        let mut lines = String::new();
        for kind in HOST_KEY_KINDS {
            let public = read_public(&self.host_key(role, kind))?;
            let mut words = public.split_whitespace();
            let (Some(kind), Some(key)) = (words.next(), words.next()) else {
                anyhow::bail!("ssh-keygen wrote a public key of one word");
            };
            writeln!(lines, "{names} {kind} {key}")?;
        }
        Ok(lines)
    }

    /// Writes what `role` needs into `directory`: its host keys, and in `root/`
    /// root's key, authorized_keys and known_hosts.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn lay_out(&self, role: Role, directory: &Path) -> Result<()> {
        let root = directory.join("root");
        fs::create_dir_all(&root)?;
        for kind in HOST_KEY_KINDS {
            let name = format!("ssh_host_{kind}_key");
            copy_pair(&self.host_key(role, kind), &directory.join(name))?;
        }
        copy_pair(&self.root_key(role), &root.join("id_ed25519"))?;
        let welcome =
            read_public(&self.harness_key())? + &read_public(&self.root_key(role.other()))?;
        fs::write(root.join("authorized_keys"), welcome)?;
        let other = role.other();
        let names = format!("{other},{}", other.address());
        fs::write(root.join("known_hosts"), self.known_hosts(other, &names)?)?;
        Ok(())
    }

    fn root_key(&self, role: Role) -> PathBuf {
        self.directory.join(format!("{role}_root"))
    }

    fn host_key(&self, role: Role, kind: &str) -> PathBuf {
        self.directory.join(format!("{role}_host_{kind}"))
    }
}

fn generate(kind: &str, path: &Path, comment: &str) -> Result<()> {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", comment, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .context("running ssh-keygen")?;
    ensure!(status.success(), "ssh-keygen -t {kind} failed ({status})");
    Ok(())
}

fn public_half(key: &Path) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

fn read_public(key: &Path) -> Result<String> {
    let path = public_half(key);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

fn copy_pair(from: &Path, to: &Path) -> Result<()> {
    for (from, to) in [
        (from.to_owned(), to.to_owned()),
        (public_half(from), public_half(to)),
    ] {
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}
