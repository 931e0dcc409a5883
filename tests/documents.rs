//! The documents name tests as proof: those have to exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names of all functions below `dir`.
fn functions(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let declared = text.split("fn ").skip(1);
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            names.extend(declared.map(|rest| rest.chars().take_while(|c| is_word(*c)).collect()));
        }
    }
}

#[test]
fn every_test_that_a_document_names_as_proof_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    for dir in ["cli", "engine", "tests", "vm-tests"] {
        functions(&root.join(dir), &mut known);
    }
    let mut named = 0;
    for document in ["docs/scheme.md", "docs/configuration.md", "docs/crashes.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        // A sentence of at least four words is no keyword.
        let is_claim = |word: &&str| {
            word.matches('_').count() >= 3
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        for claim in text.split('`').skip(1).step_by(2).filter(is_claim) {
            assert!(
                known.contains(claim),
                "{document}: there is no test {claim}"
            );
            named += 1;
        }
    }
    assert!(named > 30, "only {named} tests are named");
}

/// Files of this project that are text, without what builds leave.
fn texts(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != ".git" {
            texts(&path, found);
        } else if [".md", ".rs", ".toml", ".c", ".h", ".sh"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            found.push(path);
        }
    }
}

#[test]
fn no_file_holds_both_sides_of_a_merge() {
    let mut files = Vec::new();
    texts(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    assert!(
        files.len() > 300,
        "only {} files were looked at",
        files.len()
    );
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        let is_marker = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
        assert!(!text.lines().any(is_marker), "{}", file.display());
    }
}
