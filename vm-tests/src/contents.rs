//! What a file system or volume holds, as one SHA-256 per file: two sides of a
//! replication compare equal exactly if every file and name is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::host::Host;
use crate::script::{Script, quote};

/// Limit of hashing a test's data: emulated, 64 MiB take several seconds.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Differences that an error lists; more do not explain more.
const DIFFERENCES_SHOWN: usize = 10;

/// Path to hash; directories and links have their kind in place of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents(BTreeMap<String, String>);

/// Hashes everything below the working directory. openssl rather than
/// sha256sum: it prints the same on every kind of guest.
const HASH_ALL: &str = "find . -type d -exec printf 'directory *%s\\n' {} +
    find . -type l -exec sh -c 'for l; do echo \"link-to-$(readlink \"$l\") *$l\"; done' sh {} +
    find . -type f -exec openssl dgst -sha256 -r {} +";

impl Contents {
    pub(crate) fn of_directory(host: &Host, directory: &str) -> Result<Self> {
        Self::hash(host, format!("cd {}\n{HASH_ALL}", quote(directory)))
    }

    /// Mounts the snapshot aside for as long as it is read.
    pub(crate) fn of_snapshot(host: &Host, snapshot: &str) -> Result<Self> {
        Self::hash(
            host,
            format!(
                "at=$(mktemp -d /tmp/vm-tests-mount.XXXXXX)
                 trap 'cd /; umount \"$at\"; rmdir \"$at\"' EXIT
                 case $(uname) in
                 SunOS) mount -F zfs -o ro {snapshot} \"$at\" ;;
                 *) mount -t zfs -o ro {snapshot} \"$at\" ;;
                 esac
                 cd \"$at\"\n{HASH_ALL}",
                snapshot = quote(snapshot)
            ),
        )
    }

    /// Clones the snapshot aside for as long as it is read: making snapshots
    /// themselves visible as devices would change the volume's properties.
    pub(crate) fn of_volume_snapshot(host: &Host, snapshot: &str) -> Result<Self> {
        let pool = snapshot.split('/').next().unwrap_or(snapshot);
        let clone = format!("{pool}/vm-tests-aside");
        Self::hash(
            host,
            format!(
                "zfs clone -o readonly=on {snapshot} {clone}
                 trap 'for i in 1 2 3 4 5; do zfs destroy {clone} && break; sleep 0.5; done' EXIT
                 for i in $(seq 100); do [ -e /dev/zvol/{clone} ] && break; sleep 0.1; done
                 openssl dgst -sha256 -r < /dev/zvol/{clone}",
                snapshot = quote(snapshot),
                clone = quote(&clone),
            ),
        )
    }

    fn hash(host: &Host, script: String) -> Result<Self> {
        let text = host.sh(Script::bash(script).within(TIME_LIMIT))?;
        let mut contents = BTreeMap::new();
        for line in text.lines() {
            let Some((hash, path)) = line.split_once(" *") else {
                bail!("not a hash: {line:?}")
            };
            contents.insert(path.to_owned(), hash.to_owned());
        }
        Ok(Self(contents))
    }

    /// Number of files, directories and links.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Checks that the other side holds the same.
    ///
    /// # Errors
    /// If it does not; the error lists what differs.
    pub fn ensure_same(&self, other: &Self) -> Result<()> {
        if self == other {
            return Ok(());
        }
        let mut differences = Vec::new();
        for (path, hash) in &self.0 {
            match other.0.get(path) {
                None => differences.push(format!("missing: {path}")),
                Some(there) if there != hash => differences.push(format!("different: {path}")),
                Some(_) => {}
            }
        }
        let added = other.0.keys().filter(|path| !self.0.contains_key(*path));
        differences.extend(added.map(|path| format!("added: {path}")));
        let more = differences.len().saturating_sub(DIFFERENCES_SHOWN);
        differences.truncate(DIFFERENCES_SHOWN);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        bail!("contents differ\n  {}", differences.join("\n  "))
    }
}
