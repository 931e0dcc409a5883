//! What a replication did, or would do.

use std::time::Duration;

use engine::hold::KeepBase;
use engine::name::{Guid, SnapshotName};
use engine::plan::{Clearing, Discard, Step};
use engine::replicate::{Archived, DatasetReport, Job, Report, SnapshotChoice};
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
        if let Some(archived) = &self.report.archived {
            text += &put_aside(archived, "would rename");
        }
        let mut bytes = 0_u64;
        let mut streams = 0;
        for dataset in &self.report.datasets {
            let DatasetReport {
                snapshot, target, ..
            } = dataset;
            if let Some(discard) = &dataset.discard {
                text += &given_up(discard, "would give up");
            }
            if dataset.step == Step::UpToDate {
                text += &format!("{target} is up to date with {snapshot}\n");
                continue;
            }
            if let Some(clearing) = &dataset.clearing {
                text += &lost(clearing, "would roll back", "would destroy");
            }
            streams += 1 + dataset.carried;
            bytes += dataset.estimated_bytes;
            text += &format!(
                "would send {snapshot} to {}: {}{}, about {}\n",
                target.dataset,
                how(&dataset.step),
                carried(dataset.carried),
                HumanBytes(dataset.estimated_bytes)
            );
        }
        if self.job.base.keep == KeepBase::Hold {
            text += &format!(
                "would hold what is then on both sides on {} until the next run: {}\n",
                self.target, self.job.base.tag
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
        if let Some(archived) = &self.report.archived {
            text += &put_aside(archived, "renamed");
        }
        for dataset in &self.report.datasets {
            if let Some(discard) = &dataset.discard {
                text += &given_up(discard, "gave up");
            }
            if let Some(clearing) = &dataset.clearing {
                text += &lost(clearing, "rolled back", "destroyed");
            }
            raw_bytes += dataset.moved.raw_bytes;
            wire_bytes += dataset.moved.wire_bytes;
            text += &format!(
                "{} -> {}: {}{}, guid {}",
                dataset.snapshot,
                dataset.target.dataset,
                how(&dataset.step),
                carried(dataset.carried),
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
            "archived": self.report.archived.as_ref().map(archived_value),
            "datasets": datasets,
        })
    }
}

fn dataset_value(dataset: &DatasetReport) -> Value {
    let (step, base) = match &dataset.step {
        Step::UpToDate => ("up_to_date", None),
        Step::Full => ("full", None),
        Step::Incremental { base, .. } => ("incremental", Some(base_text(base))),
        Step::Resume { base, .. } => ("resume", base.as_ref().map(|(base, _)| base_text(base))),
    };
    json!({
        "snapshot": dataset.snapshot.to_string(),
        "target": dataset.target.to_string(),
        // Zero stands for a snapshot that nobody has taken.
        "guid": (dataset.guid.0 != 0).then(|| dataset.guid.to_string()),
        "step": step,
        "base": base,
        "carried": dataset.carried,
        "partial_given_up": dataset.discard.as_ref().map(discard_value),
        "given_up": dataset.clearing.as_ref().map(clearing_value),
        "estimated_bytes": dataset.estimated_bytes,
        "raw_bytes": dataset.moved.raw_bytes,
        "wire_bytes": dataset.moved.wire_bytes,
    })
}

fn archived_value(archived: &Archived) -> Value {
    json!({
        "from": archived.from.to_string(),
        "guid": archived.guid.to_string(),
        "to": archived.to.to_string(),
        "datasets": archived.datasets,
        "snapshots": archived.snapshots,
        "held_bytes": archived.held_bytes,
        "conflict": archived.conflict.to_string(),
    })
}

/// The target that makes room, and why.
fn put_aside(archived: &Archived, rename: &str) -> String {
    let Archived {
        from, to, conflict, ..
    } = archived;
    format!(
        "{rename} {from} to {to}, with all it has: {}, {}, {} written in them; nothing of it is \
         destroyed ({conflict})\n",
        counted(archived.datasets, "dataset"),
        counted(archived.snapshots, "snapshot"),
        HumanBytes(archived.held_bytes)
    )
}

fn clearing_value(clearing: &Clearing) -> Value {
    let snapshot = |(name, guid): &(SnapshotName, Guid)| json!({ "snapshot": name.to_string(), "guid": guid.to_string() });
    let bookmarks = clearing.bookmarks.iter().map(ToString::to_string);
    json!({
        "rolled_back_to": clearing.to.to_string(),
        "lost_bytes": clearing.lost_bytes,
        "snapshots": clearing.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "bookmarks": bookmarks.collect::<Vec<_>>(),
    })
}

fn discard_value(discard: &Discard) -> Value {
    json!({
        "dataset": discard.dataset.to_string(),
        "guid": discard.to_guid.map(|guid| guid.to_string()),
        "snapshot": discard.to_name.as_ref().map(ToString::to_string),
        "received_bytes": discard.received_bytes,
        "reason": discard.reason,
    })
}

/// The part of a cut receive that is lost, in one line.
fn given_up(discard: &Discard, verb: &str) -> String {
    let of = match (&discard.to_name, discard.to_guid) {
        (Some(name), Some(guid)) => format!(" of {name}, guid {guid}"),
        (None, Some(guid)) => format!(" of a snapshot with guid {guid}"),
        _ => String::new(),
    };
    format!(
        "{verb} the part of a cut receive in {}: {}{of} ({})\n",
        discard.dataset,
        HumanBytes(discard.received_bytes),
        discard.reason.text()
    )
}

/// What is lost on the target, line by line.
fn lost(clearing: &Clearing, roll_back: &str, destroy: &str) -> String {
    let mut text = String::new();
    for (name, guid) in &clearing.snapshots {
        text += &format!("{destroy} {name}, guid {guid}\n");
    }
    for name in &clearing.bookmarks {
        text += &format!("{destroy} {name}\n");
    }
    text + &format!(
        "{roll_back} {} to @{}: {} written since are lost\n",
        clearing.to.dataset,
        clearing.to.short,
        HumanBytes(clearing.lost_bytes)
    )
}

fn how(step: &Step) -> String {
    match step {
        Step::UpToDate => "up to date".to_owned(),
        Step::Full => "full".to_owned(),
        Step::Incremental { base, .. } => format!("incremental from {}", base_text(base)),
        Step::Resume { received_bytes, .. } => {
            format!("resumed after {}", HumanBytes(*received_bytes))
        }
    }
}

/// Snapshots in between, if there are any.
fn carried(number: usize) -> String {
    match number {
        0 => String::new(),
        number => format!(" with {} in between", counted(number, "snapshot")),
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

#[cfg(test)]
mod tests {
    use engine::helper::Workers;
    use engine::name::{DatasetName, ShortName};
    use engine::replicate::{Moved, Placement};
    use engine::stream::compress::Compression;
    use engine::zfs::SendMode;

    use super::*;

    fn snapshot(text: &str) -> SnapshotName {
        SnapshotName::parse(text).unwrap()
    }

    fn job(rehearsal: bool) -> Job {
        Job {
            source: DatasetName::parse("tank/a").unwrap(),
            target: DatasetName::parse("backup/a").unwrap(),
            snapshot: SnapshotChoice::Take {
                short: ShortName::parse("s-2").unwrap(),
                series: "s-".to_owned(),
            },
            scope: Scope::Recursive,
            mode: SendMode::Plain,
            placement: Placement::TwoMachines,
            compression: Compression::Adaptive,
            workers: Workers::Auto,
            limiter: None,
            loss: engine::plan::Loss::default(),
            intermediary: engine::plan::Intermediary::Skip,
            on_conflict: engine::replicate::OnConflict::Refuse,
            base: engine::hold::BaseHold::default(),
            rehearsal,
        }
    }

    fn dataset(path: &str, step: Step, guid: u64) -> DatasetReport {
        DatasetReport {
            snapshot: snapshot(&format!("tank/{path}@s-2")),
            target: snapshot(&format!("backup/{path}@s-2")),
            guid: Guid(guid),
            creation_seconds: 0,
            discard: None,
            clearing: None,
            carried: 0,
            step,
            estimated_bytes: 2 << 20,
            moved: Moved::default(),
        }
    }

    fn incremental() -> Step {
        Step::Incremental {
            base: Base::Snapshot(snapshot("tank/a@s-1")),
            guid: Guid(1),
        }
    }

    fn outcome(job: &Job, datasets: Vec<DatasetReport>) -> Outcome {
        let run = Run {
            job,
            report: &Report {
                datasets,
                ..Report::default()
            },
            source: &"tank/a".parse().unwrap(),
            target: &"n2:backup/a".parse().unwrap(),
            time: Duration::from_secs(2),
        };
        run.outcome()
    }

    #[test]
    fn a_rehearsal_shows_every_step_with_its_size_and_that_nothing_was_changed() {
        let datasets = vec![
            dataset("a", incremental(), 0),
            dataset("a/new", Step::Full, 0),
            dataset("a/old", Step::UpToDate, 7),
        ];
        let outcome = outcome(&job(true), datasets);
        assert_eq!(
            outcome.human,
            "would take @s-2 of tank/a and of all datasets below\n\
             would send tank/a@s-2 to backup/a: incremental from @s-1, about 2.00 MiB\n\
             would send tank/a/new@s-2 to backup/a/new: full, about 2.00 MiB\n\
             backup/a/old@s-2 is up to date with tank/a/old@s-2\n\
             dry run: nothing was changed; 2 streams, about 4.00 MiB in all\n"
        );
        assert_eq!(outcome.json["dry_run"], true);
        assert!(outcome.json["datasets"][0]["guid"].is_null());
    }

    #[test]
    fn what_is_lost_on_the_target_is_shown_before_it_happens_and_afterwards() {
        let mut cleared = dataset("a", incremental(), 7);
        cleared.clearing = Some(Clearing {
            to: snapshot("backup/a@s-1"),
            guid: Guid(1),
            snapshots: vec![(snapshot("backup/a@theirs"), Guid(9))],
            bookmarks: Vec::new(),
            lost_bytes: 3 << 20,
        });
        let rehearsed = outcome(&job(true), vec![cleared.clone()]);
        let lines = "would destroy backup/a@theirs, guid 9\n\
             would roll back backup/a to @s-1: 3.00 MiB written since are lost\n";
        assert!(rehearsed.human.contains(lines), "{}", rehearsed.human);
        let done = outcome(&job(false), vec![cleared]);
        let line = "rolled back backup/a to @s-1: 3.00 MiB written since are lost\n";
        assert!(done.human.contains(line), "{}", done.human);
        let given_up = &done.json["datasets"][0]["given_up"];
        assert_eq!(given_up["snapshots"][0]["guid"], "9");
        assert_eq!(given_up["lost_bytes"], 3 << 20);
    }

    #[test]
    fn a_run_shows_snapshot_guid_base_bytes_and_rate() {
        let mut sent = dataset("a", incremental(), u64::MAX);
        sent.moved.raw_bytes = 4 << 20;
        sent.moved.wire_bytes = 1 << 20;
        let outcome = outcome(&job(false), vec![sent]);
        assert_eq!(
            outcome.human,
            "tank/a@s-2 -> backup/a: incremental from @s-1, guid 18446744073709551615, 4.00 MiB\n\
             tank/a to n2:backup/a: 1 dataset, 4.00 MiB (1.00 MiB on the wire) in 2.0 s, \
             2.00 MiB/s\n"
        );
        let dataset = &outcome.json["datasets"][0];
        assert_eq!(dataset["guid"], "18446744073709551615");
        assert_eq!(dataset["step"], "incremental");
        assert_eq!(dataset["base"], "@s-1");
        assert_eq!(outcome.json["target"], "n2:backup/a");
    }
}
