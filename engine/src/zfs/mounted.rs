//! Which dataset is mounted at a path: the mount table of this system.
//!
//! Read from the system and not from ZFS, since `mountpoint` says where a
//! dataset would be mounted, and two may claim one place.

use std::path::Path;

use super::{ZfsError, ZfsErrorKind};
use crate::name::DatasetName;

/// The mount table of the process.
const TABLE: &str = "/proc/self/mountinfo";

/// The dataset that is mounted at `path`, topmost there.
///
/// # Errors
/// `NotSupported` on a system whose mount table is not known here, `Io` if it
/// cannot be read.
pub(super) fn at(path: &Path) -> Result<Option<DatasetName>, ZfsError> {
    if !cfg!(target_os = "linux") {
        return Err(ZfsError {
            detail: "the mount table of this system is not read; name the dataset".to_owned(),
            ..failed(path, ZfsErrorKind::NotSupported)
        });
    }
    let table = std::fs::read(TABLE).map_err(|error| ZfsError {
        detail: format!("{TABLE}: {error}"),
        ..failed(path, ZfsErrorKind::Io)
    })?;
    Ok(find(&table, path))
}

/// The error of this question.
pub(super) fn failed(path: &Path, kind: ZfsErrorKind) -> ZfsError {
    ZfsError::new("find the dataset mounted at", path.display(), kind)
}

/// Looks `path` up in a table in the form of proc_pid_mountinfo(5). What is
/// mounted later lies on top and hides what was there.
fn find(table: &[u8], path: &Path) -> Option<DatasetName> {
    let wanted = path.as_os_str().as_encoded_bytes();
    let lines = table.rsplit(|byte| *byte == b'\n');
    let top = lines
        .filter_map(Mount::read)
        .find(|mount| mount.point == wanted)?;
    // A directory of a dataset that is bound elsewhere is not the dataset.
    if top.kind != b"zfs" || top.root != b"/" {
        return None;
    }
    // A mounted snapshot is no dataset either.
    DatasetName::parse(std::str::from_utf8(&top.source).ok()?).ok()
}

struct Mount {
    root: Vec<u8>,
    point: Vec<u8>,
    kind: Vec<u8>,
    source: Vec<u8>,
}

impl Mount {
    /// `ID PARENT DEVICE ROOT POINT OPTIONS [FIELDS…] - KIND SOURCE OPTIONS`.
    fn read(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').map(unescaped);
        let root = words.nth(3)?;
        let point = words.next()?;
        words.find(|word| word == b"-")?;
        Some(Self {
            root,
            point,
            kind: words.next()?,
            source: words.next()?,
        })
    }
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match code {
            Some(code) => {
                text.push(code);
                rest = &tail[3..];
            }
            None => {
                text.push(byte);
                rest = tail;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
60 22 0:50 / /srv/data rw shared:2 master:1 - zfs tank/data rw,xattr
61 22 0:51 / /srv/my\\040files rw - zfs tank/my\\040files rw
62 22 0:50 /sub /srv/bound rw - zfs tank/data rw
63 22 0:52 / /snap rw - zfs tank/data@s ro
64 22 0:53 / /twice rw - zfs tank/below rw
65 22 0:54 / /twice rw - zfs tank/above rw
66 22 0:55 / /hidden rw - zfs tank/hidden rw
67 22 0:56 / /hidden rw - tmpfs tmpfs rw
a line of another shape
";

    fn there(path: &str) -> Option<String> {
        find(LINES.as_bytes(), Path::new(path)).map(|name| name.to_string())
    }

    #[test]
    fn a_mount_point_is_found_with_its_blanks_and_only_as_a_whole() {
        assert_eq!(there("/srv/data").as_deref(), Some("tank/data"));
        assert_eq!(there("/srv/my files").as_deref(), Some("tank/my files"));
        for path in ["/srv", "/srv/data/sub", "/srv/dat", "/"] {
            assert_eq!(there(path), None, "{path}");
        }
    }

    #[test]
    fn only_what_lies_on_top_and_is_a_whole_dataset_counts() {
        assert_eq!(there("/twice").as_deref(), Some("tank/above"));
        for path in ["/hidden", "/srv/bound", "/snap"] {
            assert_eq!(there(path), None, "{path}");
        }
    }

    #[test]
    fn the_table_of_this_system_can_be_read() {
        if cfg!(target_os = "linux") {
            assert_eq!(at(Path::new("/no/such/mount")), Ok(None));
        }
    }

    #[test]
    fn no_table_makes_the_reader_panic() {
        for line in ["", " ", "\\", "1 2 3 \\0 \\99 - ", "- - - - - - - -"] {
            assert_eq!(find(line.as_bytes(), Path::new("/")), None, "{line:?}");
        }
    }
}
