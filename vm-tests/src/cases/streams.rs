//! `zferry inspect` over what a kernel sends.

use anyhow::{Context, Result, ensure};

use super::{Case, cases};
use crate::data::Data;
use crate::pair::Pair;

pub(super) const CASES: &[Case] =
    cases![Zferry: inspect_counts_what_zstream_counts_in_streams_of_all_forms,];

/// Forms of streams of a tree with snapshots `a` and `b`, as options of
/// `zfs send`.
const FORMS: [&str; 6] = [
    "D@a",
    "-i @a D@b",
    "-Lec D@b",
    "-R D@b",
    "-R -I @a D@b",
    "-w SECRET@b",
];

fn inspect_counts_what_zstream_counts_in_streams_of_all_forms(pair: &Pair) -> Result<()> {
    let host = &pair.source;
    let tree = host
        .dataset("inspected")
        .create_with("-o compression=lz4 -o recordsize=1M")?;
    tree.child("vol").create_with("-V 4M")?;
    // Streams of trees with properties are not made of what is encrypted.
    let secret = host.dataset("inspected_secret");
    host.sh(format!(
        "echo secretsecret | zfs create -o encryption=on -o keyformat=passphrase {}",
        secret.name()
    ))?;
    for (seed, snapshot) in [(1, "a"), (2, "b")] {
        for dataset in [&tree, &secret] {
            let bytes = 3_000_000;
            dataset.fill(&Data { seed, bytes })?;
            host.sh(format!(
                "m=$(zfs get -H -o value mountpoint {}) && seq 1 20000 > $m/text && echo x > $m/tiny",
                dataset.name()
            ))?;
        }
        host.sh(format!(
            "zfs snapshot -r {} {}",
            tree.at(snapshot),
            secret.at(snapshot)
        ))?;
    }
    for form in FORMS {
        let words = form
            .replace("SECRET", secret.name())
            .replace('D', tree.name());
        host.sh(format!("zfs send {words} > /tmp/stream"))
            .with_context(|| form.to_owned())?;
        let dump = host.sh("zstream dump /tmp/stream")?;
        let found = host.sh(host.zferry(["--json", "inspect", "/tmp/stream"]))?;
        let mut compared = 0;
        for line in dump.lines() {
            let Some(line) = line.trim().strip_prefix("Total DRR_") else {
                continue;
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, "records", "=", records, bytes, ..] = words[..] else {
                continue;
            };
            let bytes = bytes.trim_start_matches('(');
            let counted = format!("\"{kind}\":{{\"payload_bytes\":{bytes},\"records\":{records}}}");
            ensure!(
                found.contains(&counted),
                "{form}: {counted} is not in {found}"
            );
            compared += 1;
        }
        ensure!(compared >= 8, "{form}: {dump}");
    }
    Ok(())
}
