//! `zferry sync`: what changed in services, to their other nodes.
//!
//! Services → selection → one engine run per service, one after the other →
//! what came of all of them.

mod confirmation;
mod locks;
mod programs;
mod rehearsal;
mod report;

use std::sync::Arc;
use std::time::Duration;

use engine::error::Family;
use engine::event::Observer;
use engine::helper::ClaimFolder;
use engine::sync::config::{NodeName, Resource, Service, ServiceName};
use engine::sync::run::{Action, ActivityCheck, Limits, Patience, Sync, TURNS_DEFAULT};
use engine::sync::selection::Selection;
use engine::sync::state::StateStore;
use jiff::tz::TimeZone;

use super::{Context, legacy};
use crate::args::{self, Group, SyncAction};
use crate::connect::Connect;
use crate::environment;
use crate::failure::Failure;
use crate::output::{Outcome, Verbosity};
use crate::zfs::Machine;
use locks::Files;
use programs::Programs;
use report::Part;

/// Runs the command.
pub async fn run(context: &Context, args: args::Sync) -> Result<Outcome, Failure> {
    let node = context.node()?;
    let names = names(context, &args)?;
    let mut parts = Vec::new();
    let mut services = Vec::new();
    for name in &names {
        match Service::load(&context.global.config, name) {
            Ok(service) => services.push(service),
            // One that was named alone is all there is to say.
            Err(error) if names.len() == 1 => return Err(error.into()),
            Err(error) => parts.push(Part::failed(name, error.into())),
        }
    }
    if args.service.is_empty() {
        // Others are not asked of this node.
        services.retain(|service| service.resolve(&node).is_ok());
    }
    let selection = args.select.selection();
    check(&selection, &services, &node)?;
    for service in &services {
        for notice in service.notices() {
            let file = service.file().display();
            context.console.notice(&format!("{file}: {notice}"));
        }
        let run = One {
            context,
            args: &args,
            node: &node,
            selection: &selection,
            service,
        };
        match Box::pin(run.run()).await {
            Ok(part) => parts.push(part),
            Err(failure) if names.len() == 1 => return Err(failure),
            Err(failure) => parts.push(Part::failed(service.name(), failure)),
        }
    }
    Ok(report::outcome(parts))
}

/// The services that are meant.
fn names(context: &Context, args: &args::Sync) -> Result<Vec<ServiceName>, Failure> {
    if !args.service.is_empty() {
        let mut names: Vec<ServiceName> = Vec::new();
        for name in &args.service {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        return Ok(names);
    }
    if !args.all && args.action != SyncAction::All {
        return Err(Failure::new(Family::Usage, "which service is not said")
            .remedy("name one or more services, or write --all"));
    }
    let dir = &context.global.config;
    let names = Service::list(dir)?;
    if names.is_empty() {
        let dir = dir.display();
        context
            .console
            .notice(&format!("no service is configured in {dir} (NAME.conf)"));
    }
    Ok(names)
}

/// A word that was typed and fits nothing is a mistake.
fn check(selection: &Selection, services: &[Service], node: &NodeName) -> Result<(), Failure> {
    let views = services.iter().map(|service| service.resolve(node));
    // What a service has that does not list this node, it refuses itself.
    let Ok(views) = views.collect::<Result<Vec<_>, _>>() else {
        return Ok(());
    };
    let resources: Vec<Resource> = views.into_iter().flatten().collect();
    let unknown = selection.unknown(&resources);
    if unknown.is_empty() || services.is_empty() {
        return Ok(());
    }
    let unknown = unknown.join(", ");
    Err(
        Failure::new(Family::Usage, format!("no resource fits {unknown}"))
            .remedy("see which resources there are: zferry status"),
    )
}

/// The run for one service.
struct One<'a> {
    context: &'a Context,
    args: &'a args::Sync,
    node: &'a NodeName,
    selection: &'a Selection,
    service: &'a Service,
}

impl One<'_> {
    async fn run(&self) -> Result<Part, Failure> {
        let (context, args) = (self.context, self.args);
        let images = context.images_with(self.service.images(self.node))?;
        let states = StateStore::new(&context.global.state);
        let observer: Box<dyn Observer> = context.console.observer(Verbosity::Normal);
        let connector = Connect {
            about: environment::about(self.node.as_str(), &[]),
            zfs: Machine::new(images),
            transfer: args.transfer.clone(),
            states: Some(Arc::new(states.clone())),
            claims: ClaimFolder::below(&context.global.state),
            observer: &*observer,
        };
        let action = action(args.action);
        let locks = Files {
            state: &context.global.state,
            service: self.service.name(),
            node: self.node.as_str(),
            patience: args.waitlock.unwrap_or(match action {
                Action::All => Duration::ZERO,
                _ => self.service.lock_timeout(),
            }),
        };
        let groups: Vec<_> = args.target.iter().copied().map(Group::kind).collect();
        let sync = Sync {
            service: self.service,
            node: self.node,
            action,
            selection: self.selection,
            groups: &groups,
            activity: match args.force {
                true => ActivityCheck::Overridden,
                false => ActivityCheck::Asked,
            },
            loss: args.loss.allowed(),
            states: &states,
            clock: &environment::now,
            zone: &TimeZone::system(),
            connector: &connector,
            commands: &Programs,
            locks: &locks,
            turns: TURNS_DEFAULT,
            patience: Patience {
                retry_for: args.patience.retry_for,
                stall_timeout: args.patience.stall_timeout,
                seed: None,
            },
            observer: &*observer,
            compression: args.transfer.compression,
            workers: args.transfer.workers,
            limits: &Limits::new(args.speed.bandwidth_limit.clone(), environment::wall()),
        };
        if args.action == SyncAction::Confirm {
            if args.dry_run {
                return Err(Failure::new(Family::Usage, "sync confirm has no --dry-run")
                    .remedy("see the old copies on the target: zfs list | grep zferry-old"));
            }
            let confirmation = Box::pin(sync.confirm()).await?;
            return Ok(confirmation::part(self.service.name(), &confirmation));
        }
        if args.dry_run {
            let rehearsal = Box::pin(sync.rehearse()).await?;
            return Ok(rehearsal::part(self.service.name(), &rehearsal));
        }
        let report = Box::pin(sync.run()).await?;
        legacy::write(context, self.service, self.node, &states);
        Ok(report::part(self.service.name(), &report))
    }
}

fn action(action: SyncAction) -> Action {
    match action {
        // Runs nothing; whatever it is called, a run of it would be one.
        SyncAction::Full | SyncAction::Confirm => Action::Full,
        SyncAction::Update => Action::Update,
        SyncAction::Nodes => Action::Nodes,
        SyncAction::Drp => Action::Drp,
        SyncAction::All => Action::All,
    }
}
