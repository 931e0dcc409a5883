//! A service of one resource between the two guests, for cases about the scheme.

use anyhow::{Result, ensure};

use crate::data::Data;
use crate::dataset::Dataset;
use crate::host::Host;
use crate::pair::Pair;
use crate::script::{Output, quote};

/// A service of one resource between the two guests.
pub(super) struct Service<'a> {
    pub pair: &'a Pair,
    pub name: &'static str,
    pub on_source: Dataset<'a>,
    pub on_target: Dataset<'a>,
}

impl<'a> Service<'a> {
    /// Creates the source dataset, with a child and a volume, and the same
    /// configuration on both nodes.
    pub fn new(pair: &'a Pair, name: &'static str) -> Result<Self> {
        let on_source = pair.source.dataset(name).create()?;
        on_source.child("child").create()?;
        on_source.child("vol").create_with("-V 4M")?;
        let service = Self {
            pair,
            name,
            on_source,
            on_target: pair.target.dataset(name),
        };
        service.configure()?;
        Ok(service)
    }

    /// Writes the configuration on both nodes: guests lose it with their power.
    pub fn configure(&self) -> Result<()> {
        let config = format!(
            "[DEFAULT]\nnodes = source target\nsync_max_delay = 1d\n\n[sync#1]\ntype = zfs\n\
             src@source = {here}\ndst@source = {there}\nsrc@target = {there}\n\
             dst@target = {here}\ntarget = nodes\n;recursive = True\n",
            here = self.on_source.name(),
            there = self.on_target.name(),
        );
        for host in [&self.pair.source, &self.pair.target] {
            host.sh(format!(
                "mkdir -p /etc/zferry && printf %s {} > /etc/zferry/{}.conf",
                quote(&config),
                self.name
            ))?;
        }
        Ok(())
    }

    /// Another version of the data in all datasets of the source's tree.
    pub fn write(&self, seed: u64) -> Result<()> {
        let data = Data {
            seed,
            bytes: 200_000,
        };
        self.on_source.fill(&data)?;
        self.on_source.child("child").fill(&data)
    }

    pub fn run(&self, host: &Host, command: &str) -> Result<Output> {
        host.run(host.zferry(["sync", command, self.name]))
    }

    pub fn sync(&self, command: &str) -> Result<Output> {
        let output = self.run(&self.pair.source, command)?;
        ensure!(
            output.ok(),
            "zferry sync {command} exited with {}:\n{}\n{}",
            output.code,
            output.text(),
            output.error_text()
        );
        Ok(output)
    }

    pub fn status(&self, host: &Host) -> Result<Output> {
        host.run(host.zferry(["status", self.name]))
    }

    /// The datasets of the tree, on the source and on the target.
    pub fn datasets(&self) -> [(Dataset<'a>, Dataset<'a>); 3] {
        ["", "child", "vol"].map(|child| match child {
            "" => (self.on_source.clone(), self.on_target.clone()),
            child => (self.on_source.child(child), self.on_target.child(child)),
        })
    }

    /// Source and target hold the same `@sent` in every dataset of the tree,
    /// nothing half done, and the target has the data.
    pub fn ensure_in_step(&self) -> Result<()> {
        for (here, there) in self.datasets() {
            let (ours, theirs) = (here.guids()?, there.guids()?);
            ensure!(
                ours.contains_key("@sent") && ours.get("@sent") == theirs.get("@sent"),
                "@sent differs: {ours:?} and {theirs:?}"
            );
            for names in [&ours, &theirs] {
                let left: Vec<_> = names
                    .keys()
                    .filter(|name| name.starts_with('@') && *name != "@sent")
                    .collect();
                ensure!(left.is_empty(), "{}: left over: {left:?}", here.name());
            }
            here.contents_at("sent")?
                .ensure_same(&there.contents_at("sent")?)?;
        }
        Ok(())
    }
}

/// The lines of a log that begin the steps of interest, in order.
pub(super) fn steps(output: &Output) -> Vec<String> {
    let text = output.error_text() + "\n" + &output.text();
    text.lines()
        .filter_map(|line| line.find("zfs ").map(|at| line[at..].to_owned()))
        .collect()
}

/// The steps that send, in order.
pub(super) fn sends(output: &Output) -> Vec<String> {
    let mut steps = steps(output);
    steps.retain(|step| step.starts_with("zfs send"));
    steps
}

/// Everything was sent from a base whose name begins like this.
pub(super) fn ensure_sent_from(base: &str, output: &Output) -> Result<()> {
    let sends = sends(output);
    let from = format!(" -i {base}");
    ensure!(
        sends.len() >= 3 && sends.iter().all(|step| step.contains(&from)),
        "not everything was sent from {base}: {sends:#?}"
    );
    Ok(())
}
