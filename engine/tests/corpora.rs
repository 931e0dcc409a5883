//! Every input that fuzzers keep goes through its parser on any machine: with
//! the stable toolchain, without cargo-fuzz. See docs/fuzzing.md.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use engine::fuzzing::TARGETS;

/// Together they stay small enough for the repository.
const CORPORA_BYTES_MAX: u64 = 2 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let dir = fuzz().join("corpus").join(target);
    let found = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    found.map(|entry| entry.unwrap().path()).collect()
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
