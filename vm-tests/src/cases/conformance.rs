//! The kernel is what the engine takes it for.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Case, cases};
use crate::pair::Pair;
use crate::script::Script;
use crate::zferry;

pub(super) const CASES: &[Case] = cases![Zfs:
    the_kernel_fulfils_every_claim_about_backends,
];

/// About a second for a claim in an emulated guest, and some minutes more for
/// udev, which makes each volume's device.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

fn the_kernel_fulfils_every_claim_about_backends(pair: &Pair) -> Result<()> {
    let program = zferry::conformance()?;
    let place = pair.source.sh("mktemp -d")?;
    let program_there = format!("{place}/conformance");
    pair.source.copy_in(&program, &program_there)?;
    let there = pair.source.pool("conformance")?;
    let run = Script::bash(format!(
        "chmod +x {program_there}; {program_there} {} {}; rm -r {place}",
        pair.source.standing_pool(),
        there.name(),
    ));
    let output = pair.source.run(run.within(TIME_LIMIT))?;
    ensure!(output.ok(), "{}\n{}", output.text(), output.error_text());
    let text = output.text();
    let last = text.lines().last().unwrap_or_default();
    ensure!(last.ends_with(" passed, 0 failed"), "{text}");
    ensure!(!last.starts_with("0 "), "nothing was tried: {text}");
    Ok(())
}
