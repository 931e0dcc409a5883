//! Holds, permanent and temporary.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libzfs::{Core, DestroyTiming, ErrorKind};

use crate::{Probe, eventually, fails, zfs};

/// Tag of the temporary holds.
const TAG: &str = "zferry:probe";

pub fn permanent(probe: &Probe) -> Result<()> {
    let core = &probe.core;
    let a = probe.filesystem("h", 1)?;
    let (one, two) = (format!("{a}@one"), format!("{a}@two"));
    core.snapshot(&[&one], &[])?;
    core.snapshot(&[&two], &[])?;
    core.hold("keep", &[&one, &two])?;
    let holds = core.holds(&one)?;
    ensure!(holds.len() == 1 && holds[0].tag == "keep", "{holds:?}");
    ensure!(holds[0].creation_seconds > 1_600_000_000, "{holds:?}");
    fails(
        core.destroy_snapshots(&[&one], DestroyTiming::Now),
        ErrorKind::Busy,
    )?;

    // The kernel returns 0 for a missing snapshot; the error list tells.
    let absent = format!("{a}@absent");
    let error = fails(core.hold("second", &[&one, &absent]), ErrorKind::NotFound)?;
    ensure!(
        error.items.len() == 1 && error.items[0].name == absent,
        "{error:?}"
    );
    ensure!(core.holds(&one)?.len() == 2, "the other one is held");
    fails(core.hold("keep", &[&one]), ErrorKind::Exists)?;

    let error = fails(core.release("absent", &[&one]), ErrorKind::NotFound)?;
    ensure!(error.items[0].name == format!("{one}#absent"), "{error:?}");
    fails(core.holds(&absent), ErrorKind::NotFound)?;
    core.release("keep", &[&one, &two])?;
    core.release("second", &[&one])?;
    ensure!(
        core.holds(&one)?.is_empty() && core.holds(&two)?.is_empty(),
        "released"
    );
    Ok(())
}

pub fn guarded(probe: &Probe) -> Result<()> {
    let core = &probe.core;
    let a = probe.filesystem("g", 1)?;
    let (one, two) = (format!("{a}@one"), format!("{a}@two"));
    core.snapshot(&[&one], &[])?;
    core.snapshot(&[&two], &[])?;
    let guard = core.hold_until_dropped(TAG, &[&one, &two])?;
    for snapshot in [&one, &two] {
        ensure!(
            zfs(&["holds", "-H", snapshot])?.contains(TAG),
            "{snapshot} is held"
        );
    }
    fails(
        core.destroy_snapshots(&[&one], DestroyTiming::Now),
        ErrorKind::Busy,
    )?;
    // A failure leaves no hold behind, not even on those that could be held.
    let absent = format!("{a}@absent");
    fails(
        core.hold_until_dropped("zferry:other", &[&one, &absent]),
        ErrorKind::NotFound,
    )?;
    eventually("no hold after a failure", || {
        Ok(core.holds(&one)?.len() == 1)
    })?;
    // Renaming does not lose it.
    zfs(&["rename", &one, &format!("{a}@renamed")])?;
    drop(guard);
    eventually("released with the guard", || {
        Ok(core.holds(&format!("{a}@renamed"))?.is_empty() && core.holds(&two)?.is_empty())
    })
}

pub fn of_a_killed_process(probe: &Probe) -> Result<()> {
    let core = &probe.core;
    let a = probe.filesystem("k", 1)?;
    let one = format!("{a}@one");
    core.snapshot(&[&one], &[])?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--hold", &one])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().context("piped")?;
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line.trim() == "held", "{line:?}");
    ensure!(core.holds(&one)?.len() == 1, "held by the other process");
    child.kill()?;
    child.wait()?;
    eventually("released with the process", || {
        Ok(core.holds(&one)?.is_empty())
    })
}

/// The other process: says when it holds, and waits for its end.
pub fn hold_until_killed(snapshot: &str) -> Result<()> {
    let _guard = Core::open()?.hold_until_dropped(TAG, &[snapshot])?;
    std::io::stdout().write_all(b"held\n")?;
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
