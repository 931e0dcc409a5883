//! How far a run is, as programs are told it.

use serde_json::Value;

use super::lab::{Lab, data, lab};

/// The events of this kind.
fn events(lab: &Lab, words: &[&str], kind: &str) -> Vec<Value> {
    let ran = lab.done(words);
    let lines = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|event: &Value| event["event"] == kind)
        .collect()
}

#[test]
fn what_will_be_sent_is_told_before_anything_is() {
    let Some(lab) = lab() else { return };
    for volume in ["tank/t/a", "tank/t/b"] {
        lab.put(volume, &data(7, 1 << 20));
    }
    let words = ["--json", "replicate", "-r", "tank/t", "backup/t"];
    let planned = events(&lab, &words, "transfers_planned");
    assert_eq!(planned.len(), 1, "{planned:?}");
    assert_eq!(planned[0]["root"], "backup/t");
    assert_eq!(planned[0]["transfers"], 3);
    assert!(planned[0]["estimated_bytes"].as_u64().unwrap() > 2 << 20);
    // Nothing is left to do.
    let snapshot = lab.snapshots("tank/t").pop().unwrap().0;
    let words = [
        &["--json", "replicate", "--snapshot", &snapshot][..],
        &words[2..],
    ]
    .concat();
    assert_eq!(
        events(&lab, &words, "transfers_planned"),
        Vec::<Value>::new()
    );
}
