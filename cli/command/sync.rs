//! `zferry sync`: what changed in a service, to its other nodes.

use std::sync::Arc;

use engine::sync::config::Service;
use engine::sync::run::{Action, ResourceReport, Sync, SyncReport, TargetReport};
use engine::sync::state::{Mode, StateStore, Synced};
use serde_json::{Value, json};

use super::Context;
use crate::args::{self, SyncAction};
use crate::connect::Connect;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lock::{Lock, Subject};
use crate::output::{Outcome, Verbosity, human, json};

/// Runs the command.
pub async fn run(context: &Context, args: args::Sync) -> Result<Outcome, Failure> {
    let node = context.node()?;
    let service = Service::load(&context.global.config, &args.service)?;
    for notice in service.notices() {
        let file = service.file().display();
        context.console.notice(&format!("{file}: {notice}"));
    }
    // Whether this node has a part in it, before anything is created.
    service
        .resolve(&node)
        .map_err(|error| Failure::of(error.family(), &error))?;
    let subject = Subject {
        state: &context.global.state,
        file: &format!("sync-{}", args.service),
        what: &format!("service {}", args.service),
    };
    let _lock = Lock::wait(subject, service.lock_timeout()).await?;
    let states = StateStore::new(&context.global.state);
    let observer = context.console.observer(Verbosity::Normal);
    let connector = Connect {
        about: environment::about(node.as_str()),
        transfer: args.transfer.clone(),
        states: Some(Arc::new(states.clone())),
        observer: &*observer,
    };
    let sync = Sync {
        service: &service,
        node: &node,
        action: match args.action {
            SyncAction::Full => Action::Full,
            SyncAction::Update => Action::Update,
            SyncAction::Nodes => Action::Nodes,
        },
        states: &states,
        clock: &environment::now,
        connector: &connector,
        observer: &*observer,
        compression: args.transfer.compression(),
    };
    let report = Box::pin(sync.run()).await?;
    Ok(outcome(&service, &report))
}

fn outcome(service: &Service, report: &SyncReport) -> Outcome {
    let failed = failed_targets(report);
    let failures = failed.iter().map(|(resource, target, failure)| {
        let mut failure = failure.clone();
        let optional = if resource.optional { " (optional)" } else { "" };
        failure.message = format!(
            "{} {} to {}{optional}: {}",
            service.name(),
            resource.rid,
            target.node,
            failure.message
        );
        failure
    });
    let mandatory = failed.iter().filter(|(resource, ..)| !resource.optional);
    let families = mandatory.map(|(.., failure)| failure.family);
    Outcome {
        exit: Exit::worst(families),
        failures: failures.collect(),
        human: report
            .resources
            .iter()
            .map(|resource| resource_text(service, resource))
            .collect(),
        json: json!({
            "service": service.name().as_str(),
            "resources": report.resources.iter().map(resource_value).collect::<Vec<_>>(),
        }),
    }
}

fn failed_targets(report: &SyncReport) -> Vec<(&ResourceReport, &TargetReport, Failure)> {
    let mut failed = Vec::new();
    for resource in &report.resources {
        for target in &resource.targets {
            if let Err(error) = &target.outcome {
                failed.push((resource, target, Failure::from(error)));
            }
        }
    }
    failed
}

/// What came of a resource; failures are told apart from it.
fn resource_text(service: &Service, resource: &ResourceReport) -> String {
    let title = format!("{} {}", service.name(), resource.rid);
    if let Some(why) = &resource.skipped {
        return format!("{title}: skipped, {why}\n");
    }
    let line = |target: &TargetReport| {
        let synced = target.outcome.as_ref().ok()?;
        Some(format!(
            "{title} to {} {}: {}, guid {}, {}\n",
            target.node,
            target.dst,
            mode(synced),
            synced.guid,
            human::amount(
                synced.stream_bytes,
                synced.wire_bytes,
                std::time::Duration::from_millis(synced.duration_ms)
            )
        ))
    };
    resource.targets.iter().filter_map(line).collect()
}

fn mode(synced: &Synced) -> &'static str {
    match synced.mode {
        Mode::Full => "full",
        Mode::Incremental => "incremental",
    }
}

fn resource_value(resource: &ResourceReport) -> Value {
    json!({
        "rid": resource.rid.as_str(),
        "optional": resource.optional,
        "skipped": resource.skipped,
        "targets": resource.targets.iter().map(target_value).collect::<Vec<_>>(),
    })
}

fn target_value(target: &TargetReport) -> Value {
    let mut value = json!({
        "node": target.node.as_str(),
        "dst": target.dst.as_str(),
    });
    match &target.outcome {
        Ok(synced) => value["synced"] = json!(synced),
        Err(error) => {
            let failure = Failure::from(error);
            value["error"] = json::failure_value(&failure);
            value["error"]["exit_code"] = Exit::from(failure.family).code().into();
        }
    }
    value
}
