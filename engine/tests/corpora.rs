//! Every input that fuzzers keep goes through its parser on any machine: with
//! the stable toolchain, without cargo-fuzz. See docs/fuzzing.md.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use engine::fuzzing::TARGETS;

/// Together they stay small enough for the repository.
const CORPORA_BYTES_MAX: u64 = 1 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let dir = fuzz().join("corpus").join(target);
    let found = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    found
        .map(|entry| entry.expect("a folder that can be read").path())
        .collect()
}

#[test]
fn everything_in_the_corpora_keeps_the_claims() {
    let mut broken = Vec::new();
    for (name, run) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 5, "{name} has {} inputs only", inputs.len());
        run(&[]);
        for input in inputs {
            let data = fs::read(&input).unwrap();
            if catch_unwind(|| run(&data)).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// As many changed inputs as this for each target; more with
/// `ZFERRY_TEST_STEPS`.
const STEPS: u64 = 2000;

/// A sequence of numbers that a seed decides (xorshift).
struct Luck(u64);

impl Luck {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("64 bits") % end.max(1)
    }

    /// `data`, changed in a few places, or with a part of `other`.
    fn change(&mut self, mut data: Vec<u8>, other: &[u8]) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            match self.below(6) {
                0 => data.truncate(at),
                1 => data.insert(at, [0, 1, b'"', b'9', 0x7f, 0xff][self.below(6)]),
                2 => {
                    let from = self.below(other.len() + 1);
                    let part = &other[from..(from + self.below(64)).min(other.len())];
                    data.splice(at..at, part.iter().copied());
                }
                3 if at + 8 <= data.len() => {
                    let number: u64 = [0, 1, 1 << 31, 1 << 63, u64::MAX][self.below(5)];
                    data[at..at + 8].copy_from_slice(&number.to_le_bytes());
                }
                _ if at < data.len() => data[at] ^= 1 << self.below(8),
                _ => data.push(b'0'),
            }
        }
        data
    }
}

#[test]
fn what_was_kept_and_then_changed_keeps_the_claims() {
    let number = |name, usual| match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => usual,
    };
    let seed: u64 = number("ZFERRY_TEST_SEED", 20_261_125);
    let steps = number("ZFERRY_TEST_STEPS", STEPS);
    for (name, run) in TARGETS {
        let mut paths = inputs(name);
        paths.sort();
        let kept: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let mut luck = Luck(seed | 1);
        for step in 0..steps {
            let (one, other) = (luck.below(kept.len()), luck.below(kept.len()));
            let data = luck.change(kept[one].clone(), &kept[other]);
            if catch_unwind(|| run(&data)).is_err() {
                let file = fuzz()
                    .join("artifacts")
                    .join(format!("{name}-{seed}-{step}"));
                fs::create_dir_all(fuzz().join("artifacts")).unwrap();
                fs::write(&file, &data).unwrap();
                panic!("{name}, seed {seed}, step {step}: see {}", file.display());
            }
        }
    }
}

#[test]
fn each_target_has_a_corpus_and_a_program_and_none_is_left_over() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |dir: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(dir)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(stems("corpus"), names);
    assert_eq!(stems("fuzz_targets"), names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &names {
        let line = format!("\nname = \"{name}\"\n");
        assert_eq!(
            manifest.matches(&line).count(),
            1,
            "{name} in fuzz/Cargo.toml"
        );
    }
    assert!(stems("dictionaries").is_subset(&names));
}

#[test]
fn the_corpora_are_small() {
    let files = TARGETS.iter().flat_map(|(name, _)| inputs(name));
    let bytes: u64 = files.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes: minimise them");
}

#[test]
fn a_claim_that_does_not_hold_is_noticed() {
    // The text of a remote command would be shown as it is: the target says so.
    let steering = catch_unwind(|| engine::fuzzing::assert_printable("\u{1b}[2J"));
    assert!(steering.is_err());
}
