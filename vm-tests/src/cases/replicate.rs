//! `zferry replicate` between two kernels: what arrives, and how.

use anyhow::{Result, ensure};

use super::{Case, cases};
use crate::data::Data;
use crate::dataset::{Dataset, Part};
use crate::host::Host;
use crate::pair::Pair;
use crate::script::Output;

pub(super) const CASES: &[Case] = cases![Zferry:
    a_first_run_copies_everything,
    a_second_run_sends_only_what_changed,
    a_run_without_changes_sends_nothing_of_a_snapshot_that_is_there,
    a_tree_arrives_with_its_volume_and_properties,
    a_child_that_is_new_is_sent_whole_beside_increments,
    a_raw_stream_needs_no_key_on_either_side,
    pulling_does_what_pushing_does,
    missing_parents_are_created_and_never_mount,
    two_pools_of_one_machine_need_no_network,
    a_rehearsal_changes_nothing,
    own_snapshots_do_not_pile_up,
    a_dataset_with_a_long_history_gets_its_newest_state,
    small_datasets_go_several_at_a_time_and_over_several_connections,
];

const DATA_BYTES: usize = 4 << 20;

/// Runs `zferry --json replicate` on `host`, wanting success.
pub(super) fn replicate(host: &Host, arguments: &[&str]) -> Result<Output> {
    let output = run(host, arguments)?;
    ensure!(
        output.ok(),
        "zferry replicate {arguments:?} exited with {}:\n{}\n{}",
        output.code,
        output.text(),
        output.error_text()
    );
    Ok(output)
}

/// Runs `zferry --json replicate` on `host`, whatever comes of it.
pub(super) fn run(host: &Host, arguments: &[&str]) -> Result<Output> {
    let all = ["--json", "replicate"].iter().chain(arguments);
    host.run(host.zferry(all))
}

/// Events of this kind, one JSON text each.
pub(super) fn events<'a>(output: &'a str, kind: &str) -> Vec<&'a str> {
    let wanted = format!("\"event\":\"{kind}\"");
    output
        .lines()
        .filter(|line| line.contains(&wanted))
        .collect()
}

fn filled<'a>(host: &'a Host, name: &str) -> Result<Dataset<'a>> {
    let dataset = host.dataset(name).create()?;
    dataset.fill(&Data {
        seed: 1,
        bytes: DATA_BYTES,
    })?;
    Ok(dataset)
}

fn a_first_run_copies_everything(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "first")?;
    let target = pair.target.dataset("first");
    source.snapshot("a")?;
    let output = replicate(
        &pair.source,
        &["--snapshot", "a", source.name(), &target.remote_name()],
    )?;
    let started = events(&output.text(), "transfer_started").join("\n");
    ensure!(started.contains("\"base\":null"), "not a full: {started}");
    source
        .contents_at("a")?
        .ensure_same(&target.contents_at("a")?)?;
    ensure!(
        source.guids()?.get("@a") == target.guids()?.get("@a"),
        "the snapshot has another identity"
    );
    ensure!(target.property("mounted")? == "no", "it was mounted");
    ensure!(
        target.property("canmount")? == "noauto",
        "it would mount at boot"
    );
    Ok(())
}

fn a_second_run_sends_only_what_changed(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "second")?;
    let target = pair.target.dataset("second");
    let arguments = [source.name(), &target.remote_name()];
    replicate(&pair.source, &arguments)?;
    source.overwrite(
        "random",
        Part {
            offset_bytes: 4096,
            bytes: 100_000,
            seed: 7,
        },
    )?;
    let output = replicate(&pair.source, &arguments)?.text();
    let started = events(&output, "transfer_started").join("\n");
    ensure!(started.contains("\"base\":\"@zferry-"), "{started}");
    let done = events(&output, "transfer_done").join("\n");
    let raw_bytes = number(&done, "raw_bytes")?;
    ensure!(
        raw_bytes < 1 << 20,
        "{raw_bytes} bytes were sent for a change of 100,000"
    );
    let newest = newest_snapshot(&target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)
}

fn a_run_without_changes_sends_nothing_of_a_snapshot_that_is_there(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "nothing")?;
    let target = pair.target.dataset("nothing");
    source.snapshot("a")?;
    let arguments = ["--snapshot", "a", source.name(), &target.remote_name()];
    replicate(&pair.source, &arguments)?;
    let before = target.guids()?;
    let output = replicate(&pair.source, &arguments)?.text();
    ensure!(events(&output, "up_to_date").len() == 1, "{output}");
    ensure!(events(&output, "transfer_started").is_empty(), "{output}");
    ensure!(target.guids()? == before, "the target changed");
    Ok(())
}

fn a_tree_arrives_with_its_volume_and_properties(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "tree")?;
    let child = source.child("child").create_with(
        "-o compression=gzip-9 -o recordsize=16K -o quota=64M -o org.example:note='two words' \
         -o mountpoint=/tree-child",
    )?;
    child.fill(&Data {
        seed: 2,
        bytes: 100_000,
    })?;
    let deep = child.child("deep").create()?;
    deep.fill(&Data {
        seed: 3,
        bytes: 50_000,
    })?;
    let volume = source.child("vol").create_with("-V 8M")?;
    volume.overwrite(
        "",
        Part {
            offset_bytes: 1 << 20,
            bytes: 1 << 20,
            seed: 4,
        },
    )?;
    let target = pair.target.dataset("tree");
    pair.source
        .sh(format!("zfs snapshot -r {}", source.at("r")))?;
    let remote = target.remote_name();
    replicate(
        &pair.source,
        &["-r", "--snapshot", "r", source.name(), &remote],
    )?;
    for name in ["child", "child/deep", "vol"] {
        source
            .child(name)
            .contents_at("r")?
            .ensure_same(&target.child(name).contents_at("r")?)?;
    }
    let there = target.child("child");
    for (property, value) in [
        ("compression", "gzip-9"),
        ("recordsize", "16384"),
        ("quota", "67108864"),
        ("org.example:note", "two words"),
        ("canmount", "noauto"),
    ] {
        let found = there.property(property)?;
        ensure!(found == value, "{property} is {found}, not {value}");
    }
    ensure!(
        there.property("mountpoint")? != "/tree-child",
        "it would mount over something of the target"
    );
    ensure!(target.child("vol").property("volsize")? == "8388608");
    // A property that changes later follows, too.
    pair.source.sh(format!(
        "zfs set compression=zstd {0} && zfs snapshot -r {1}",
        child.name(),
        source.at("s")
    ))?;
    replicate(
        &pair.source,
        &["-r", "--snapshot", "s", source.name(), &remote],
    )?;
    let found = there.property("compression")?;
    ensure!(found == "zstd", "compression is {found} after the change");
    Ok(())
}

fn a_child_that_is_new_is_sent_whole_beside_increments(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "grows")?;
    let target = pair.target.dataset("grows");
    let arguments = ["-r", source.name(), &target.remote_name()];
    replicate(&pair.source, &arguments)?;
    let late = source.child("late").create()?;
    late.fill(&Data {
        seed: 5,
        bytes: 100_000,
    })?;
    let output = replicate(&pair.source, &arguments)?.text();
    let started = events(&output, "transfer_started");
    ensure!(started.len() == 2, "{output}");
    ensure!(started[0].contains("\"base\":\"@"), "{output}");
    ensure!(started[1].contains("\"base\":null"), "{output}");
    let there = target.child("late");
    let newest = newest_snapshot(&there)?;
    late.contents()?.ensure_same(&there.contents_at(&newest)?)
}

fn a_raw_stream_needs_no_key_on_either_side(pair: &Pair) -> Result<()> {
    pair.source
        .sh("echo 'correct horse battery' > /tmp/raw-key")?;
    let source = pair.source.dataset("raw").create_with(
        "-o encryption=aes-256-gcm -o keyformat=passphrase -o pbkdf2iters=100000 \
         -o keylocation=file:///tmp/raw-key",
    )?;
    let target = pair.target.dataset("raw");
    let remote = target.remote_name();
    for (seed, snapshot) in [(1, "a"), (2, "b")] {
        source.fill(&Data {
            seed,
            bytes: 500_000,
        })?;
        source.snapshot(snapshot)?;
    }
    let contents = source.contents_at("b")?;
    pair.source.sh(format!(
        "cd / && zfs unmount {0} && zfs unload-key {0}",
        source.name()
    ))?;
    // Without --raw it is refused, and nothing happens.
    let plain = run(&pair.source, &["--snapshot", "a", source.name(), &remote])?;
    ensure!(plain.code == 1, "exit {}: {}", plain.code, plain.text());
    ensure!(!target.exists()?, "the target came into being");
    for snapshot in ["a", "b"] {
        replicate(
            &pair.source,
            &["--raw", "--snapshot", snapshot, source.name(), &remote],
        )?;
    }
    ensure!(target.property("keystatus")? == "unavailable");
    pair.target.sh(format!(
        "echo 'correct horse battery' | zfs load-key -L prompt {}",
        target.name()
    ))?;
    contents.ensure_same(&target.contents_at("b")?)?;
    // Plain onto raw would break the chain of ivset guids.
    pair.source.sh(format!("zfs load-key {}", source.name()))?;
    pair.source.sh(format!("zfs snapshot {}", source.at("c")))?;
    let mixed = run(&pair.source, &["--snapshot", "c", source.name(), &remote])?;
    ensure!(mixed.code == 4, "exit {}: {}", mixed.code, mixed.text());
    Ok(())
}

fn pulling_does_what_pushing_does(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "pull")?;
    let target = pair.target.dataset("pulled");
    let arguments = [&source.remote_name(), target.name()];
    replicate(&pair.target, &arguments)?;
    source.fill(&Data {
        seed: 2,
        bytes: DATA_BYTES,
    })?;
    let output = replicate(&pair.target, &arguments)?.text();
    let started = events(&output, "transfer_started").join("\n");
    ensure!(started.contains("\"base\":\"@zferry-"), "{started}");
    let newest = newest_snapshot(&target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)
}

fn missing_parents_are_created_and_never_mount(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "orphan")?;
    let target = pair.target.dataset("no/such/parent");
    replicate(&pair.source, &[source.name(), &target.remote_name()])?;
    let parent = pair.target.dataset("no/such");
    ensure!(parent.property("mounted")? == "no");
    ensure!(parent.property("canmount")? == "off");
    let newest = newest_snapshot(&target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)
}

fn two_pools_of_one_machine_need_no_network(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "local")?;
    let pool = pair.source.pool("second")?;
    let target = pool.dataset("copy");
    for seed in [2, 3] {
        source.fill(&Data {
            seed,
            bytes: DATA_BYTES,
        })?;
        replicate(&pair.source, &[source.name(), target.name()])?;
        let newest = newest_snapshot(&target)?;
        source
            .contents()?
            .ensure_same(&target.contents_at(&newest)?)?;
    }
    let same = run(&pair.source, &[source.name(), source.name()])?;
    ensure!(same.code == 2, "onto itself: exit {}", same.code);
    let inside = format!("{}/copy", source.name());
    let inside = run(&pair.source, &[source.name(), &inside])?;
    ensure!(inside.code == 2, "into itself: exit {}", inside.code);
    Ok(())
}

fn a_rehearsal_changes_nothing(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "rehearsal")?;
    let target = pair.target.dataset("rehearsed");
    let output = pair.source.sh(pair.source.zferry([
        "replicate",
        "--dry-run",
        source.name(),
        &target.remote_name(),
    ]))?;
    ensure!(output.contains("full"), "it does not say what: {output}");
    ensure!(!target.exists()?, "the target came into being");
    ensure!(source.guids()?.is_empty(), "a snapshot was taken");
    Ok(())
}

fn own_snapshots_do_not_pile_up(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "pile")?;
    let target = pair.target.dataset("pile");
    source.snapshot("foreign")?;
    for seed in 2..5 {
        source.fill(&Data {
            seed,
            bytes: 100_000,
        })?;
        replicate(&pair.source, &[source.name(), &target.remote_name()])?;
        // Names carry seconds.
        pair.source.sh("sleep 1.1")?;
    }
    let ours = |names: Vec<String>| {
        names
            .iter()
            .filter(|name| name.starts_with("@zferry-"))
            .count()
    };
    let on_source: Vec<String> = source.guids()?.into_keys().collect();
    ensure!(
        on_source.contains(&"@foreign".to_owned()),
        "a foreign snapshot was destroyed"
    );
    ensure!(ours(on_source.clone()) == 1, "source: {on_source:?}");
    let on_target: Vec<String> = target.guids()?.into_keys().collect();
    ensure!(ours(on_target.clone()) == 1, "target: {on_target:?}");
    Ok(())
}

fn a_dataset_with_a_long_history_gets_its_newest_state(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "history")?;
    let target = pair.target.dataset("history");
    for n in 0..5 {
        source.fill(&Data {
            seed: 10 + n,
            bytes: 50_000,
        })?;
        source.snapshot(&format!("h{n}"))?;
    }
    let remote = target.remote_name();
    replicate(&pair.source, &["--snapshot", "h1", source.name(), &remote])?;
    // The base is found by guid though the target calls it something else.
    pair.target.sh(format!(
        "zfs rename {} {}",
        target.at("h1"),
        target.at("renamed")
    ))?;
    let output = replicate(&pair.source, &["--snapshot", "h4", source.name(), &remote])?.text();
    let started = events(&output, "transfer_started").join("\n");
    ensure!(started.contains("\"base\":\"@h1\""), "{started}");
    source
        .contents_at("h4")?
        .ensure_same(&target.contents_at("h4")?)
}

/// Short name of the newest snapshot.
pub(super) fn newest_snapshot(dataset: &Dataset<'_>) -> Result<String> {
    let names = dataset.sh(&format!(
        "zfs list -H -t snapshot -o name -s createtxg -d 1 {} | tail -n 1",
        dataset.name()
    ))?;
    Ok(names.rsplit('@').next().unwrap_or_default().to_owned())
}

/// The number of this field in a JSON text.
pub(super) fn number(json: &str, field: &str) -> Result<u64> {
    let key = format!("\"{field}\":");
    let digits: String = json
        .split(&key)
        .nth(1)
        .unwrap_or_default()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .map_err(|_| anyhow::anyhow!("no number {field} in {json}"))
}

/// Snapshots below a dataset with their guids, by names relative to it.
fn snapshots_below(dataset: &Dataset<'_>) -> Result<Vec<String>> {
    let list = format!("zfs list -H -r -t snapshot -o name,guid {}", dataset.name());
    let text = dataset.sh(&list)?;
    let lines = text.lines();
    let below = lines.filter_map(|line| line.strip_prefix(dataset.name()));
    Ok(below.map(str::to_owned).collect())
}

fn small_datasets_go_several_at_a_time_and_over_several_connections(pair: &Pair) -> Result<()> {
    let source = filled(&pair.source, "many")?;
    let target = pair.target.dataset("many");
    let mut children = Vec::new();
    for n in 0..12 {
        let child = source.child(&format!("c{n}")).create()?;
        child.fill(&Data {
            seed: n,
            bytes: 100_000,
        })?;
        children.push(child);
    }
    for run in 1..=2 {
        let several = ["--connections", "3", "--transfers", "3"];
        let ends = [source.name(), &target.remote_name()];
        let arguments = [&["--recursive"][..], &several, &ends].concat();
        let text = replicate(&pair.source, &arguments)?.text();
        let widened = events(&text, "widened").join("\n");
        ensure!(widened.contains("\"connections\":3"), "run {run}: {text}");
        let at_once = events(&text, "at_once").join("\n");
        ensure!(at_once.contains("\"at_once\":3"), "run {run}: {text}");
        let (here, there) = (snapshots_below(&source)?, snapshots_below(&target)?);
        ensure!(here.len() == 13 && here == there, "{here:?} {there:?}");
        for child in &children {
            let change = Part {
                offset_bytes: 4096,
                bytes: 5000,
                seed: 100 + run,
            };
            child.overwrite("random", change)?;
        }
    }
    Ok(())
}
