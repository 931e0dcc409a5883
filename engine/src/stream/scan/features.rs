//! Names of the features that a stream may use.

/// `DMU_BACKUP_FEATURE_*` of OpenZFS `include/sys/zfs_ioctl.h`, by bit.
const NAMES: [(u32, &str); 16] = [
    (0, "dedup"),
    (1, "dedupprops"),
    (2, "sa_spill"),
    (16, "embed_data"),
    (17, "lz4"),
    (19, "large_blocks"),
    (20, "resuming"),
    (21, "redacted"),
    (22, "compressed"),
    (23, "large_dnode"),
    (24, "raw"),
    (25, "zstd"),
    (26, "holds"),
    (27, "switch_to_large_blocks"),
    (28, "longname"),
    (29, "large_microzap"),
];

/// The names of the features in `features`; `bit N` where there is none.
#[must_use]
pub fn feature_names(features: u64) -> Vec<String> {
    (0..u64::BITS)
        .filter(|bit| features & (1 << bit) != 0)
        .map(|bit| match NAMES.iter().find(|(named, _)| *named == bit) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("bit {bit}"),
        })
        .collect()
}

/// What a pool has to have for a stream, by bit: zpool-features(7).
const POOL_FEATURES: [(u32, &str); 10] = [
    (16, "embedded_data"),
    (17, "lz4_compress"),
    (19, "large_blocks"),
    (21, "redacted_datasets"),
    (23, "large_dnode"),
    (24, "encryption"),
    (25, "zstd_compress"),
    (27, "large_blocks"),
    (28, "longname"),
    (29, "large_microzap"),
];

/// The features that a pool needs, to receive a stream with these `features`.
#[must_use]
pub fn pool_features(features: u64) -> Vec<&'static str> {
    let mut needed: Vec<_> = POOL_FEATURES
        .iter()
        .filter(|(bit, _)| features & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect();
    needed.dedup();
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_names_and_unknown_ones_a_number() {
        assert_eq!(
            feature_names(1 << 2 | 1 << 22 | 1 << 40),
            ["sa_spill", "compressed", "bit 40"]
        );
        assert!(feature_names(0).is_empty());
    }

    #[test]
    fn a_pool_needs_what_a_stream_uses_and_nothing_else() {
        assert_eq!(
            pool_features(1 << 2 | 1 << 17 | 1 << 19 | 1 << 22),
            ["lz4_compress", "large_blocks"]
        );
        assert!(pool_features(1 << 20 | 1 << 22).is_empty());
    }
}
