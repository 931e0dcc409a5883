//! zferry's main job, watched: what a person types on two machines, and what
//! they see, ending with the proof.

use anyhow::{Context, Result, ensure};

use crate::data::Data;
use crate::dataset::Part;
use crate::host::Host;
use crate::pair::Pair;
use crate::report;
use crate::script::quote;

/// Types a command as a person would and shows what it says.
fn show(host: &Host, command: &str) -> Result<()> {
    report::result(&format!("\n{}# {command}", host.role()));
    let output = host.run(command)?;
    for text in [output.error_text(), output.text()] {
        for line in text.lines() {
            report::result(&format!("    {line}"));
        }
    }
    ensure!(
        output.ok(),
        "on {}: {command}: exit code {}",
        host.role(),
        output.code
    );
    Ok(())
}

fn tell(text: &str) {
    report::result(&format!("\n{text}"));
}

/// Plays it from the first full to the next increment, by `replicate` and by
/// `sync`.
///
/// # Errors
/// If a command fails or the copies differ.
pub fn run(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("data").create()?;
    let target = pair.target.dataset("data");
    source.fill(&Data {
        seed: 1,
        bytes: 8 << 20,
    })?;
    let (from, to) = (source.name().to_owned(), target.remote_name());

    tell("A dataset of 8 MiB on one machine, nothing on the other.");
    show(
        &pair.source,
        &format!("zferry replicate --dry-run {from} {to}"),
    )?;
    show(&pair.source, &format!("zferry -v replicate {from} {to}"))?;
    tell("Some files change; the second run sends only that.");
    source.overwrite(
        "random",
        Part {
            offset_bytes: 1 << 20,
            bytes: 300_000,
            seed: 2,
        },
    )?;
    show(&pair.source, &format!("zferry -v replicate {from} {to}"))?;

    tell("The same as a service: the @tosend/@sent scheme, with a status.");
    let config = format!(
        "[DEFAULT]\nnodes = source target\nsync_max_delay = 1d\n\n[sync#1]\ntype = zfs\n\
         src@source = {from}\ndst@source = {there}\nsrc@target = {there}\n\
         dst@target = {from}\ntarget = nodes\n",
        there = target.name()
    );
    for host in [&pair.source, &pair.target] {
        host.sh(format!(
            "mkdir -p /etc/zferry && printf %s {} > /etc/zferry/demo.conf",
            quote(&config)
        ))?;
    }
    show(&pair.source, "cat /etc/zferry/demo.conf")?;
    show(&pair.source, "zferry sync nodes demo")?;
    source.fill(&Data {
        seed: 3,
        bytes: 1 << 20,
    })?;
    show(&pair.source, "zferry sync update demo")?;
    show(&pair.source, "zferry status demo")?;
    show(&pair.target, "zferry status demo")?;

    tell("The proof: equal guids, equal contents.");
    let (ours, theirs) = (source.guids()?, target.guids()?);
    let sent = ours.get("@sent").context("there is no @sent")?;
    report::result(&format!("    @sent has guid {sent} on source"));
    ensure!(theirs.get("@sent") == Some(sent), "the guids differ");
    report::result(&format!("    @sent has guid {sent} on target"));
    let (here, there) = (source.contents_at("sent")?, target.contents_at("sent")?);
    here.ensure_same(&there)?;
    report::result(&format!(
        "    {} files have the same SHA-256 on both sides",
        here.count()
    ));
    Ok(())
}
