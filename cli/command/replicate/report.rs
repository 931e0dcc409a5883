//! What a replication did, or would do.

use std::time::Duration;

use engine::plan::Step;
use engine::replicate::{DatasetReport, Job, Report, SnapshotChoice};
use engine::zfs::{Base, Scope};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::exit::Exit;
use crate::output::{Outcome, human};

/// A run that ended well.
pub(super) struct Run<'a> {
    pub job: &'a Job,
    pub report: &'a Report,
    pub source: &'a Endpoint,
    pub target: &'a Endpoint,
    /// From the first listing to the end.
    pub time: Duration,
}

impl Run<'_> {
    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            exit: Exit::Done,
            human: if self.job.rehearsal {
                self.rehearsed()
            } else {
                self.done()
            },
            json: self.json(),
            failures: Vec::new(),
        }
    }

    fn rehearsed(&self) -> String {
        let mut text = String::new();
        if let SnapshotChoice::Take { short, .. } = &self.job.snapshot {
            let below = match self.job.scope {
                Scope::One => "",
                Scope::Recursive => " and of all datasets below",
            };
            text += &format!("would take @{short} of {}{below}\n", self.source);
        }
        let mut bytes = 0_u64;
        let mut streams = 0;
        for dataset in &self.report.datasets {
            let DatasetReport {
                snapshot, target, ..
            } = dataset;
            if dataset.step == Step::UpToDate {
                text += &format!("{target} is up to date with {snapshot}\n");
                continue;
            }
            streams += 1;
            bytes += dataset.estimated_bytes;
            text += &format!(
                "would send {snapshot} to {}: {}, about {}\n",
                target.dataset,
                how(&dataset.step),
                HumanBytes(dataset.estimated_bytes)
            );
        }
        text += &format!(
            "dry run: nothing was changed; {}, about {} in all\n",
            counted(streams, "stream"),
            HumanBytes(bytes)
        );
        text
    }

    fn done(&self) -> String {
        let mut text = String::new();
        let (mut raw_bytes, mut wire_bytes) = (0, 0);
        for dataset in &self.report.datasets {
            raw_bytes += dataset.moved.raw_bytes;
            wire_bytes += dataset.moved.wire_bytes;
            text += &format!(
                "{} -> {}: {}, guid {}",
                dataset.snapshot,
                dataset.target.dataset,
                how(&dataset.step),
                dataset.guid
            );
            if dataset.step != Step::UpToDate {
                text += &format!(", {}", HumanBytes(dataset.moved.raw_bytes));
            }
            text += "\n";
        }
        text += &format!(
            "{} to {}: {}, {}\n",
            self.source,
            self.target,
            counted(self.report.datasets.len(), "dataset"),
            human::amount(raw_bytes, wire_bytes, self.time)
        );
        text
    }

    fn json(&self) -> Value {
        let datasets: Vec<Value> = self.report.datasets.iter().map(dataset_value).collect();
        json!({
            "source": self.source.to_string(),
            "target": self.target.to_string(),
            "dry_run": self.job.rehearsal,
            "milliseconds": u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX),
            "datasets": datasets,
        })
    }
}

fn dataset_value(dataset: &DatasetReport) -> Value {
    let (step, base) = match &dataset.step {
        Step::UpToDate => ("up_to_date", None),
        Step::Full => ("full", None),
        Step::Incremental { base, .. } => ("incremental", Some(base_text(base))),
    };
    json!({
        "snapshot": dataset.snapshot.to_string(),
        "target": dataset.target.to_string(),
        // Zero stands for a snapshot that nobody has taken.
        "guid": (dataset.guid.0 != 0).then(|| dataset.guid.to_string()),
        "step": step,
        "base": base,
        "estimated_bytes": dataset.estimated_bytes,
        "raw_bytes": dataset.moved.raw_bytes,
        "wire_bytes": dataset.moved.wire_bytes,
    })
}

fn how(step: &Step) -> String {
    match step {
        Step::UpToDate => "up to date".to_owned(),
        Step::Full => "full".to_owned(),
        Step::Incremental { base, .. } => format!("incremental from {}", base_text(base)),
    }
}

fn base_text(base: &Base) -> String {
    match base {
        Base::Snapshot(name) => format!("@{}", name.short),
        Base::Bookmark(short) => format!("#{short}"),
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
