//! The measurement itself, with next to no data: every method gets the stream
//! across, and each is in the report.

use std::process::Command;

#[test]
fn every_method_that_this_machine_has_carries_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (json, svg) = (folder.path().join("json"), folder.path().join("svg"));
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["transport", "--mib", "3", "--rounds", "1"])
        .args(["--content", "mix", "--json"])
        .arg(&json)
        .arg("--svg")
        .arg(&svg)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(json).unwrap();
    let samples: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let left_out = said.matches("not measured").count();
    assert_eq!(samples.len() + left_out, 14, "{said}");
    for sample in &samples {
        let name = sample["method"].as_str().unwrap();
        assert!(sample["seconds"].as_f64().unwrap() > 0.0, "{sample}");
        let is_ours = name.starts_with("zferry");
        assert_eq!(sample["peak_mib"].is_array(), is_ours, "{sample}");
    }
    assert!(std::fs::read_to_string(svg).unwrap().contains("</svg>"));
}
