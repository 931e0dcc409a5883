//! What a connection costs that breaks in the middle of a full replication:
//! how long until data flows again, and how many bytes travel twice.
//!
//! The receiving process is killed when half of the bytes of an uncut
//! replication have come over the link. What plain `zfs send -t | receive -s`
//! and syncoid need then is somebody who starts them again: here a loop does,
//! at once, which is the best that a timer could do. zferry tries again by
//! itself, as it comes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Method, median};
use crate::data::Data;
use crate::dataset::Dataset;
use crate::pair::Pair;
use crate::report;
use crate::script::{Script, quote};
use crate::slow::SlowLink;

/// Data of one replication; half of it is random.
const BYTES: usize = 24 << 20;

/// Rate of the link: the replication lasts half a minute.
const RATE: &str = "8mbit";

/// Limit of one replication.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// A new receiver that has read this much is one that data flows to again.
const FLOWING_BYTES: u64 = 256 << 10;

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// From the kill until data flows to a new receiver.
    resumed_seconds: f64,
    /// Bytes on the link beyond those of the uncut replication.
    twice_bytes: f64,
    /// Bytes on the link without a cut.
    uncut_bytes: f64,
}

/// Measures `rounds` rounds of `methods` and prints the result.
///
/// # Errors
/// If a replication fails, or its result is not what was sent.
pub fn run(pair: &Pair, methods: &[Method], rounds: usize) -> Result<()> {
    let source = pair.source.dataset("bench-cut").create()?;
    source.fill(&Data {
        seed: 1,
        bytes: BYTES,
    })?;
    source.snapshot("full")?;
    let slow = SlowLink::new(pair, RATE)?;
    let mut samples: Vec<(Method, Sample)> = Vec::new();
    for round in 0..rounds {
        let mut turn = methods.to_vec();
        turn.rotate_left(round % methods.len());
        for method in turn {
            let sample = measure(pair, method, &source, round)
                .with_context(|| format!("{method}, round {}", round + 1))?;
            report::note(&format!(
                "round {} {method:<8} resumed after {:.1} s, {:.2} MiB twice of {:.2}",
                round + 1,
                sample.resumed_seconds,
                sample.twice_bytes / MIB,
                sample.uncut_bytes / MIB
            ));
            samples.push((method, sample));
        }
    }
    drop(slow);
    report::result(&format!(
        "a full of {} MiB at {RATE}, cut in the middle",
        BYTES >> 20
    ));
    report::result("  method    resumed after s (min-max)   MiB twice (min-max)       MiB uncut");
    for &method in methods {
        let of = |value: fn(&Sample) -> f64| -> Vec<f64> {
            let own = samples.iter().filter(|(other, _)| *other == method);
            own.map(|(_, sample)| value(sample)).collect()
        };
        report::result(&format!(
            "  {method:<8}  {:<26}  {:<24}  {:.2}",
            super::spread(of(|sample| sample.resumed_seconds)),
            super::spread(of(|sample| sample.twice_bytes / MIB)),
            median(of(|sample| sample.uncut_bytes / MIB)),
        ));
    }
    Ok(())
}

const MIB: f64 = (1 << 20) as f64;

fn measure(pair: &Pair, method: Method, source: &Dataset<'_>, round: usize) -> Result<Sample> {
    let target = pair.target.dataset(&format!("bench-cut-{method}-{round}"));
    let received = || -> Result<f64> {
        let text = pair
            .target
            .sh("cat /sys/class/net/eth1/statistics/rx_bytes")?;
        Ok(text.parse()?)
    };
    let before = received()?;
    pair.source
        .sh(command(pair, method, source, &target).within(TIME_LIMIT))?;
    let uncut_bytes = received()? - before;
    target.destroy()?;
    let before = received()?;
    let watch = watch(method, uncut_bytes / 2.0);
    let mut watching = pair.target.spawn(Script::bash(watch).within(TIME_LIMIT))?;
    pair.source
        .sh(command(pair, method, source, &target).within(TIME_LIMIT))?;
    let output = watching.wait()?;
    ensure!(output.ok(), "the watcher failed: {}", output.error_text());
    let milliseconds: f64 = output.text().parse().context("the watcher's answer")?;
    let sample = Sample {
        resumed_seconds: milliseconds / 1000.0,
        twice_bytes: received()? - before - uncut_bytes,
        uncut_bytes,
    };
    ensure!(
        source.guids()?.get("@full") == target.guids()?.get("@full"),
        "{method} did not replicate the snapshot"
    );
    source
        .contents_at("full")?
        .ensure_same(&target.contents_at("full")?)?;
    target.destroy()?;
    Ok(sample)
}

/// Runs until the snapshot is there, started again by hand where the method
/// does not do that by itself.
fn command(pair: &Pair, method: Method, source: &Dataset<'_>, target: &Dataset<'_>) -> Script {
    let again = |attempt: String| {
        Script::bash(format!(
            "for try in 1 2 3 4 5; do if {attempt}; then exit 0; fi; done; exit 1"
        ))
    };
    match method {
        Method::Shell => again(format!(
            "token=$(ssh target zfs get -H -o value receive_resume_token {target} 2> /dev/null) \
                 || token=-
             if [ \"$token\" = - ]; then
                 zfs send {snapshot} | ssh target zfs receive -s {target}
             else
                 zfs send -t $token | ssh target zfs receive -s {target}
             fi",
            target = target.name(),
            snapshot = quote(&source.at("full")),
        )),
        Method::Syncoid => again(format!(
            "syncoid --quiet --no-sync-snap --no-privilege-elevation {} root@{}",
            source.name(),
            target.remote_name()
        )),
        Method::Zferry => pair.source.zferry([
            "replicate",
            "--snapshot",
            "full",
            source.name(),
            &target.remote_name(),
        ]),
    }
}

/// Kills the receiving process when so many bytes have come, and prints the
/// milliseconds until another one has data.
fn watch(method: Method, bytes: f64) -> String {
    let receiver = match method {
        Method::Shell | Method::Syncoid => "pgrep -nf '^(/[a-z/]*)?zfs (receive|recv) '",
        Method::Zferry => "pgrep -xn zferry",
    };
    format!(
        "received() {{ cat /sys/class/net/eth1/statistics/rx_bytes; }}
         begin=$(received)
         until [ $(($(received) - begin)) -gt {bytes:.0} ]; do sleep 0.05; done
         old=$({receiver})
         kill -KILL $old
         killed=$(date +%s%N)
         while true; do
             new=$({receiver} || true)
             if [ -n \"$new\" ] && [ \"$new\" != \"$old\" ]; then
                 read=$(sed -n 's/^rchar: //p' /proc/$new/io 2> /dev/null || true)
                 if [ \"${{read:-0}}\" -gt {FLOWING_BYTES} ]; then break; fi
             fi
             sleep 0.05
         done
         echo $((($(date +%s%N) - killed) / 1000000))"
    )
}
