//! Ends in the middle: a cut link, killed processes, a power cut. Whatever
//! happened, the next run converges, and nothing is left behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::replicate::{events, newest_snapshot, replicate};
use super::{Case, cases};
use crate::data::Data;
use crate::dataset::Dataset;
use crate::guest::{Link, Running, Signal};
use crate::pair::Pair;
use crate::slow::SlowLink;

pub(super) const CASES: &[Case] = cases![Zferry:
    a_cut_link_is_noticed_and_the_next_run_converges,
    a_killed_driver_is_no_loss_and_the_next_run_converges,
    a_killed_helper_is_an_error_and_the_next_run_converges,
    a_power_cut_of_the_target_leaves_the_old_state_or_the_new_one,
    what_has_arrived_survives_reboots_of_both_machines,
];

/// Large enough that it takes half a minute over the slowed link.
const DATA: Data = Data {
    seed: 21,
    bytes: 8 << 20,
};

/// Longest that a dead network may go unnoticed (keepalives, heartbeats), with
/// room for emulation.
const NOTICE: Duration = Duration::from_secs(300);

/// A transfer that is under way: the target's helper has received data.
struct Underway<'a> {
    source: Dataset<'a>,
    target: Dataset<'a>,
    driver: Box<dyn Running>,
    slow: SlowLink<'a>,
}

/// An increment is half way. Its base is on both sides.
fn increment_underway<'a>(pair: &'a Pair, name: &str) -> Result<Underway<'a>> {
    let source = pair.source.dataset(name).create()?;
    let target = pair.target.dataset(name);
    source.fill(&Data {
        seed: 20,
        bytes: 100_000,
    })?;
    replicate(&pair.source, &[source.name(), &target.remote_name()])?;
    source.fill(&DATA)?;
    let slow = SlowLink::new(pair, "2mbit")?;
    // One attempt: what a cut leaves is looked at before the next one.
    let remote = target.remote_name();
    let arguments = [
        "--json",
        "replicate",
        "--retry-for",
        "0",
        source.name(),
        &remote,
    ];
    let script = pair.source.zferry(arguments).within(NOTICE);
    let driver = pair.source.spawn(script)?;
    // Not "has begun": that some of the stream has reached the kernel shows in
    // what the helper has read.
    pair.target.wait_until(
        "pid=$(pgrep -xo zferry) && [ $(sed -n 's/^rchar: //p' /proc/$pid/io) -gt 500000 ]",
        Duration::from_secs(120),
    )?;
    Ok(Underway {
        source,
        target,
        driver,
        slow,
    })
}

/// The next run succeeds, and nothing is held or half received any more.
fn converges(pair: &Pair, source: &Dataset<'_>, target: &Dataset<'_>) -> Result<()> {
    pair.target
        .wait_until("! pgrep -x zferry", NOTICE)
        .context("the helper of the cut run does not end")?;
    replicate(&pair.source, &[source.name(), &target.remote_name()])?;
    let newest = newest_snapshot(target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)?;
    for dataset in [source, target] {
        let holds = dataset.sh(&format!(
            "zfs list -H -o name -t snapshot -d 1 {} | xargs -r zfs holds -H",
            dataset.name()
        ))?;
        ensure!(holds.is_empty(), "holds are left: {holds}");
    }
    let ours = source
        .guids()?
        .into_keys()
        .filter(|name| name.starts_with("@zferry-"))
        .count();
    ensure!(ours == 1, "{ours} of our snapshots are on the source");
    ensure!(
        target.property("receive_resume_token")? == "-",
        "a partial receive is left"
    );
    Ok(())
}

fn a_cut_link_is_noticed_and_the_next_run_converges(pair: &Pair) -> Result<()> {
    let mut run = increment_underway(pair, "cut")?;
    pair.set_link(Link::Down)?;
    let output = run.driver.wait()?;
    ensure!(output.code == 5, "exit {}: {}", output.code, output.text());
    pair.set_link(Link::Up)?;
    drop(run.slow);
    pair.await_link()?;
    converges(pair, &run.source, &run.target)
}

fn a_killed_driver_is_no_loss_and_the_next_run_converges(pair: &Pair) -> Result<()> {
    let mut run = increment_underway(pair, "driver")?;
    pair.source.signal(run.driver.pid()?, Signal::Kill)?;
    let output = run.driver.wait()?;
    // What ssh makes of a command that a signal ended is its own affair.
    ensure!(!output.ok(), "it was not killed: {output:?}");
    drop(run.slow);
    converges(pair, &run.source, &run.target)
}

fn a_killed_helper_is_an_error_and_the_next_run_converges(pair: &Pair) -> Result<()> {
    let mut run = increment_underway(pair, "helper")?;
    let helper = pair.target.sh("pgrep -xo zferry")?.parse()?;
    pair.target.signal(helper, Signal::Kill)?;
    let output = run.driver.wait()?;
    ensure!(output.code == 5, "exit {}: {}", output.code, output.text());
    drop(run.slow);
    converges(pair, &run.source, &run.target)
}

fn a_power_cut_of_the_target_leaves_the_old_state_or_the_new_one(pair: &Pair) -> Result<()> {
    let mut run = increment_underway(pair, "power-cut")?;
    pair.target.power_off()?;
    let output = run.driver.wait()?;
    ensure!(output.code == 5, "exit {}: {}", output.code, output.text());
    pair.target.boot()?;
    drop(run.slow);
    pair.await_link()?;
    ensure!(
        run.target.guids()?.len() == 1,
        "the base is gone, or a part of the stream stayed"
    );
    converges(pair, &run.source, &run.target)
}

fn what_has_arrived_survives_reboots_of_both_machines(pair: &Pair) -> Result<()> {
    let mut run = increment_underway(pair, "reboots")?;
    // More than ZFS has to have of a stream before it keeps a part of it.
    pair.target.wait_until(
        "[ $(sed -n 's/^rchar: //p' /proc/$(pgrep -xo zferry)/io) -gt 3000000 ]",
        Duration::from_secs(120),
    )?;
    pair.source.signal(run.driver.pid()?, Signal::Kill)?;
    run.driver.wait()?;
    drop(run.slow);
    pair.target
        .wait_until("! pgrep -x zferry", NOTICE)
        .context("the helper of the cut run does not end")?;
    ensure!(
        run.target.property("receive_resume_token")? != "-",
        "nothing of what had arrived is kept"
    );
    for host in [&pair.source, &pair.target] {
        host.sh("zpool sync")?;
        host.power_off()?;
    }
    for host in [&pair.source, &pair.target] {
        host.boot()?;
    }
    pair.recover()?;
    pair.await_link()?;
    let arguments = [run.source.name(), &run.target.remote_name()];
    let text = replicate(&pair.source, &arguments)?.text();
    let started = events(&text, "transfer_started");
    ensure!(
        started
            .first()
            .is_some_and(|started| !started.contains("\"resumed_bytes\":null")),
        "it did not go on with what had arrived: {started:#?}"
    );
    converges(pair, &run.source, &run.target)
}
