//! The kernel is what the engine takes it for.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Case, cases};
use crate::pair::Pair;
use crate::script::Script;
use crate::zferry;

pub(super) const CASES: &[Case] = cases![Zfs:
    the_kernel_fulfils_every_claim_about_backends,
    every_call_of_the_libraries_does_what_zfs_shows,
];

/// About a second for a claim in an emulated guest, and some minutes more for
/// udev, which makes each volume's device.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

fn the_kernel_fulfils_every_claim_about_backends(pair: &Pair) -> Result<()> {
    let there = pair.source.pool("conformance")?;
    let standing = pair.source.standing_pool();
    let pools = [standing.as_str(), there.name()];
    let text = run(pair, &zferry::conformance()?, &pools)?;
    let last = text.lines().last().unwrap_or_default();
    ensure!(last.ends_with(" passed, 0 failed"), "{text}");
    ensure!(!last.starts_with("0 "), "nothing was tried: {text}");
    Ok(())
}

fn every_call_of_the_libraries_does_what_zfs_shows(pair: &Pair) -> Result<()> {
    // It touches no pool of another name.
    let pool = pair.source.pool("zferry_test_probe")?;
    let text = run(pair, &zferry::probe()?, &[pool.name()])?;
    let last = text.lines().last().unwrap_or_default();
    ensure!(last.ends_with(" cases passed"), "{text}");
    Ok(())
}

/// Runs one of our programs on the source, and gives what it prints.
fn run(pair: &Pair, program: &Path, arguments: &[&str]) -> Result<String> {
    let place = pair.source.sh("mktemp -d")?;
    let program_there = format!("{place}/program");
    pair.source.copy_in(program, &program_there)?;
    let run = Script::bash(format!(
        "chmod +x {program_there}; {program_there} {}; code=$?; rm -r {place}; exit $code",
        arguments.join(" "),
    ));
    let output = pair.source.run(run.within(TIME_LIMIT))?;
    ensure!(output.ok(), "{}\n{}", output.text(), output.error_text());
    Ok(output.text().to_owned())
}
