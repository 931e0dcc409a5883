//! Which datasets are mounted: the system's table, read once per question.
//!
//! libzfs reads the whole table again for each dataset, or caches it for as
//! long as the handle lives; a walk over a tree needs neither.

use std::collections::HashSet;
use std::fs;

/// The table of mounted file systems: device, mount point, type, options, in
/// one line each. The device of a ZFS file system is its name.
const MOUNT_TABLE: &str = if cfg!(target_os = "illumos") {
    "/etc/mnttab"
} else {
    "/proc/self/mounts"
};

/// Names of the ZFS file systems that are mounted here and now.
///
/// An unreadable table is an empty one: the answer is for display only.
pub(crate) fn mounted_datasets() -> HashSet<String> {
    fs::read_to_string(MOUNT_TABLE)
        .map(|table| parse(&table))
        .unwrap_or_default()
}

fn parse(table: &str) -> HashSet<String> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let device = fields.next()?;
            let _mount_point = fields.next()?;
            (fields.next()? == "zfs").then(|| unescape(device))
        })
        .collect()
}

/// Linux writes blanks in names as a backslash and three octal digits.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zfs_counts_and_blanks_in_names_are_read_back() {
        let table = "tank/a\\040b /mnt/a\\040b zfs rw,xattr 0 0\n\
                     /dev/sda1 / ext4 rw 0 0\n\
                     tank /tank zfs rw 0 0\nshort\n";
        let mounted = parse(table);
        assert_eq!(mounted.len(), 2);
        assert!(mounted.contains("tank/a b"));
        assert!(mounted.contains("tank"));
    }
}
