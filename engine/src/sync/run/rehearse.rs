//! `--dry-run`: the steps of a run, without one of them.
//!
//! Asks the same questions, looks at the same trees and makes the same plans
//! as a run, with the snapshots imagined that it would take. Neither pools nor
//! states nor attempts are changed, no trigger is started and no lock taken;
//! the activity check is asked, since it decides whether there is a run.

use futures_util::future::join_all;

use super::admission::{self, Admission, Admitted, NotRun, Refusal, Stop};
use super::commands::shown;
use super::conversations::{Conversations, QUESTION_MAX};
use super::error::{ResourceError, SyncError, TargetError};
use super::round::Round;
use super::stale::{Stale, knows};
use super::work::Work;
use super::{Action, Sync};
use crate::copies;
use crate::name::{CreateTxg, DatasetName, Guid};
use crate::peer::Peer;
use crate::plan::{Step, TreePlan, plan_leftovers, with_arrived};
use crate::replicate::{BaseChange, Transfers, discard_command, send_command, snapshot_command};
use crate::sync::config::{NodeName, Resource, Rid, SnapshotNames, Target, When};
use crate::zfs::{Dataset, Scope, Snapshot};

/// What a run would do.
#[derive(Debug, Default)]
pub struct Rehearsal {
    /// Why this node may not start anything of this service.
    pub refused: Option<Refusal>,
    /// In the order of the configuration.
    pub resources: Vec<ResourceRehearsal>,
}

/// What a run would do for one resource. Steps are commands of zfs(8), or
/// those of the configuration, each after the node that carries it out.
#[derive(Debug)]
pub struct ResourceRehearsal {
    /// The resource.
    pub rid: Rid,
    /// Its failure would not fail the command.
    pub optional: bool,
    /// Why nothing would be done for it.
    pub not_run: Option<NotRun>,
    /// Why it would fail as a whole.
    pub failure: Option<ResourceError>,
    /// Targets that it may not go to from here.
    pub refused: Vec<(NodeName, Refusal)>,
    /// Steps before the transfers.
    pub before: Vec<String>,
    /// The targets.
    pub targets: Vec<TargetRehearsal>,
    /// Steps after the transfers.
    pub after: Vec<String>,
}

/// What a run would do for one target.
#[derive(Debug)]
pub struct TargetRehearsal {
    /// The node that keeps the copy.
    pub node: NodeName,
    /// The dataset there.
    pub dst: DatasetName,
    /// The steps, or what would keep it from its data.
    pub outcome: Result<Steps, TargetError>,
}

/// The steps for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// One line each.
    pub lines: Vec<String>,
    /// Estimated bytes of all streams.
    pub estimated_bytes: u64,
}

pub(super) async fn rehearse(sync: &Sync<'_>) -> Result<Rehearsal, SyncError> {
    let mut rehearsal = Rehearsal::default();
    let resources = match admission::of_node(sync) {
        Ok(resources) => resources,
        Err(refusal) => {
            rehearsal.refused = Some(refusal);
            return Ok(rehearsal);
        }
    };
    let mut admission = Admission::new(sync);
    for resource in resources.iter().filter(|one| sync.selection.takes(one)) {
        let entry = match admission.judge(resource).await {
            Ok(admitted) => of_resource(sync, resource, admitted).await?,
            Err(Stop::NotRun(why)) => ResourceRehearsal {
                not_run: Some(why),
                ..nothing(resource)
            },
            Err(Stop::Failed(error)) => ResourceRehearsal {
                failure: Some(error),
                ..nothing(resource)
            },
        };
        rehearsal.resources.push(entry);
    }
    Ok(rehearsal)
}

fn nothing(resource: &Resource) -> ResourceRehearsal {
    ResourceRehearsal {
        rid: resource.rid.clone(),
        optional: resource.optional,
        not_run: None,
        failure: None,
        refused: Vec::new(),
        before: Vec::new(),
        targets: Vec::new(),
        after: Vec::new(),
    }
}

async fn of_resource<'a>(
    sync: &Sync<'a>,
    resource: &'a Resource,
    mut admitted: Admitted<'a>,
) -> Result<ResourceRehearsal, SyncError> {
    let refused = std::mem::take(&mut admitted.refused);
    let work = Work::new(sync, resource, admitted);
    let round = &work.round;
    let mut source = sync.connector.local().await?;
    let listed = round.source_side().tree(&mut source).await;
    let tree = match listed {
        Ok(tree) => tree,
        Err(error) => {
            return Ok(ResourceRehearsal {
                failure: Some(ResourceError::source(error)),
                refused,
                ..nothing(resource)
            });
        }
    };
    let conversations = Conversations::new(sync.connector, sync.turns, work.targets());
    let tree_of_source = &tree;
    let targets = work.targets().map(|target| async {
        let looked =
            conversations.with(target, Some(QUESTION_MAX), async |source, peer| match round
                .rehearse(source, tree_of_source, peer, target)
                .await
            {
                Err(error) => Err(round.explained(error, source, peer, target).await),
                rehearsed => rehearsed,
            });
        TargetRehearsal {
            node: target.node.clone(),
            dst: target.dst.clone(),
            outcome: looked.await,
        }
    });
    let targets = join_all(targets).await;
    Ok(ResourceRehearsal {
        refused,
        before: before(sync, round, &tree),
        targets,
        after: after(sync, round, &tree),
        ..nothing(resource)
    })
}

fn triggers(sync: &Sync<'_>, resource: &Resource, when: When) -> Vec<String> {
    let triggers = resource.triggers.get(sync.action, when);
    triggers
        .map(|trigger| format!("{}: {}", sync.node, shown(&trigger.argv)))
        .collect()
}

fn before(sync: &Sync<'_>, round: &Round<'_>, tree: &[Dataset]) -> Vec<String> {
    let resource = round.resource;
    let mut lines = triggers(sync, resource, When::Pre);
    let mut here = |command: String| lines.push(format!("{}: {command}", sync.node));
    let (names, src) = (&resource.names, &round.sends.src);
    let is_there = |dataset: &Dataset| dataset.snapshot_by_name(&names.tosend).is_some();
    if tree.iter().any(is_there) {
        here(format!("zfs destroy -r {src}@{}", names.tosend));
    }
    if let Some(argv) = &resource.presnap_trigger {
        here(shown(argv));
    }
    here(snapshot_command(src, &names.tosend, round.scope()));
    if let Some(argv) = &resource.postsnap_trigger {
        here(shown(argv));
    }
    lines
}

fn after(sync: &Sync<'_>, round: &Round<'_>, tree: &[Dataset]) -> Vec<String> {
    let names = &round.resource.names;
    let has_sent = tree
        .first()
        .is_some_and(|root| root.snapshot_by_name(&names.sent).is_some());
    let rotation = rotation(&round.sends.src, names, round.scope(), has_sent);
    let mut lines: Vec<String> = rotation
        .into_iter()
        .map(|command| format!("{}: {command}", sync.node))
        .collect();
    lines.extend(triggers(sync, round.resource, When::Post));
    lines
}

/// The rotation of one side, as the log of a run shows it.
fn rotation(
    root: &DatasetName,
    names: &SnapshotNames,
    scope: Scope,
    has_sent: bool,
) -> Vec<String> {
    let recursive = if scope == Scope::Recursive { "-r " } else { "" };
    let (sent, tosend, aside) = (&names.sent, &names.tosend, &names.aside);
    let rename = format!("zfs rename {recursive}{root}@{tosend} {root}@{sent}");
    if !has_sent {
        return vec![rename];
    }
    vec![
        format!("zfs rename {recursive}{root}@{sent} {root}@{aside}"),
        rename,
        format!("zfs destroy {recursive}{root}@{aside}"),
    ]
}

impl Round<'_> {
    /// What [`Self::bring`] would do with a `tosend` that is taken now.
    async fn rehearse(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
    ) -> Result<Steps, TargetError> {
        if source_tree.is_empty() {
            let src = self.sends.src.clone();
            return Err(TargetError::NoSource { src });
        }
        let there = self.side(&target.dst).tree(peer).await?;
        let (Action::Full, Some(root)) = (self.action, there.first()) else {
            return self
                .rehearse_onto(source, source_tree, peer, target, there)
                .await;
        };
        let new = self.name_beside(target, true)?;
        let new = new.expect("there is a name, or an error, if one is needed");
        let beside = Target {
            dst: new.clone(),
            ..target.clone()
        };
        let begun = self.side(&new).tree(peer).await?;
        let is_begun = !begun.is_empty();
        let goes_on = self
            .rehearse_onto(source, source_tree, peer, &beside, begun)
            .await;
        let mut steps = match goes_on {
            Ok(steps) => steps,
            Err(error) if !is_begun => return Err(error),
            Err(_) => {
                // What was begun is of no use: it goes, and everything is sent.
                let nothing = Vec::new();
                let all = self.rehearse_onto(source, source_tree, peer, &beside, nothing);
                let mut all = all.await?;
                let line = format!("{}: zfs destroy -r {new}", peer.name);
                all.lines.insert(0, line);
                all
            }
        };
        let old = copies::old(&target.dst, root.guid)?;
        let side = self.side(&target.dst);
        let released = BaseChange::let_go(peer, side.place(), &there, &self.base).await?;
        let released = released.commands().into_iter();
        steps
            .lines
            .extend(released.map(|command| format!("{}: {command}", peer.name)));
        for (from, to) in [(&target.dst, &old), (&new, &target.dst)] {
            steps
                .lines
                .push(format!("{}: zfs rename {from} {to}", peer.name));
        }
        Ok(steps)
    }

    /// The same for a target with this tree.
    async fn rehearse_onto(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
        target_tree: Vec<Dataset>,
    ) -> Result<Steps, TargetError> {
        let names = &self.resource.names;
        let side = self.side(&target.dst);
        let (mut lines, target_tree) = self.rehearse_takeover(
            (&source.name, source_tree),
            &peer.name,
            (target, target_tree),
        );
        let request = self.request(source_tree, &target_tree, target);
        let leftovers = plan_leftovers(&request, Some(&names.tosend))?;
        let arrived = with_arrived(&target_tree, &leftovers);
        // What is on both sides already would be committed first.
        let committed = rotated(&arrived, names, |guid| {
            source_tree.iter().any(|here| knows(here, guid))
        });
        let has = |guid| {
            arrived
                .iter()
                .any(|there| there.snapshot_by_guid(guid).is_some())
        };
        if committed.is_empty() && self.action != Action::Full {
            self.ensure_not_renamed(source_tree, peer, target).await?;
        }
        let imagined = taken(&rotated(source_tree, names, has), names);
        let stale = Stale::find(side, &imagined, &self.sends.src, committed);
        let mut plan = self.plan(&imagined, &stale.tree, target)?;
        let bases = plan.datasets.iter();
        let bases: Vec<_> = bases.map(|step| (step.target.clone(), step.guid)).collect();
        plan.datasets.splice(0..0, leftovers);
        let mut transfers = self.transfers(source, peer);
        transfers.tell_skipped(&plan);
        transfers.estimate(source_tree, &plan).await?;
        let estimated_bytes = transfers.estimates.iter().flatten().sum();
        let has_sent = stale
            .tree
            .first()
            .is_some_and(|root| root.snapshot_by_name(&names.sent).is_some());
        lines.extend(stale.commands(&transfers.target.name));
        lines.extend(transfer_lines(&plan, &transfers));
        let change = BaseChange::find(
            transfers.target,
            side.place(),
            &stale.tree,
            &bases,
            &self.base,
        );
        let change = change.await?;
        let there = &transfers.target.name;
        let commands = change.commands().into_iter();
        lines.extend(commands.map(|command| format!("{there}: {command}")));
        let rotation = rotation(&target.dst, names, self.scope(), has_sent);
        lines.extend(rotation.iter().map(|command| format!("{there}: {command}")));
        Ok(Steps {
            lines,
            estimated_bytes,
        })
    }
}

fn transfer_lines(plan: &TreePlan, transfers: &Transfers<'_>) -> Vec<String> {
    let (here, there) = (&transfers.source.name, &transfers.target.name);
    let mut lines = Vec::new();
    for discard in plan
        .datasets
        .iter()
        .filter_map(|step| step.discard.as_ref())
    {
        lines.push(format!("{there}: {}", discard_command(discard)));
    }
    for step in &plan.datasets {
        if let Some(clearing) = &step.clearing {
            for (name, _) in &clearing.snapshots {
                lines.push(format!("{there}: zfs destroy {name}"));
            }
            for name in &clearing.bookmarks {
                lines.push(format!("{there}: zfs destroy {name}"));
            }
            lines.push(format!("{there}: zfs rollback {}", clearing.to));
        }
        let streams = step.streams();
        for stream in streams.filter(|stream| stream.step != Step::UpToDate) {
            lines.push(format!("{here}: {}", send_command(stream)));
            lines.push(format!("{there}: zfs receive -s -u {}", stream.target));
        }
    }
    lines
}

/// The tree as it is after a rotation of every `tosend` that is `wanted`;
/// another `tosend` stays.
fn rotated(tree: &[Dataset], names: &SnapshotNames, wanted: impl Fn(Guid) -> bool) -> Vec<Dataset> {
    let mut tree = tree.to_vec();
    for dataset in &mut tree {
        let tosend = dataset.snapshot_by_name(&names.tosend);
        if !tosend.is_some_and(|tosend| wanted(tosend.guid)) {
            continue;
        }
        for snapshot in &mut dataset.snapshots {
            if snapshot.short == names.sent {
                snapshot.short = names.aside.clone();
            } else if snapshot.short == names.tosend {
                snapshot.short = names.sent.clone();
            }
        }
    }
    tree
}

/// The tree with a fresh `tosend` in the place of an old one.
fn taken(tree: &[Dataset], names: &SnapshotNames) -> Vec<Dataset> {
    let mut tree = tree.to_vec();
    for dataset in &mut tree {
        dataset.snapshots.retain(|one| one.short != names.tosend);
        dataset.snapshots.push(Snapshot {
            short: names.tosend.clone(),
            guid: Guid(0),
            createtxg: CreateTxg(u64::MAX),
            creation_seconds: 0,
            written_bytes: 0,
            holds: 0,
            clones: 0,
            ivset: None,
        });
    }
    tree
}
