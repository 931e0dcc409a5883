//! `zferry sync`: what changed in a service, to its other nodes.

use std::sync::Arc;

use engine::helper::ClaimFolder;
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
use crate::zfs::Machine;

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
    let images = context.images_with(service.images(&node))?;
    let states = StateStore::new(&context.global.state);
    let observer = context.console.observer(Verbosity::Normal);
    let connector = Connect {
        about: environment::about(node.as_str(), &[]),
        zfs: Machine::new(images),
        transfer: args.transfer.clone(),
        states: Some(Arc::new(states.clone())),
        claims: ClaimFolder::below(&context.global.state),
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
        loss: args.loss.allowed(),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use engine::error::Family;
    use engine::name::DatasetName;
    use engine::sync::config::{NodeName, Rid, ServiceName};
    use engine::sync::run::{ConnectFault, TargetError};

    use super::*;

    const CONFIGURATION: &str = "[DEFAULT]\nnodes = n1 n2\n[sync#1]\ntype = zfs\n\
        src@n1 = tank/a\ndst = backup/a\ntarget = nodes\n";

    fn fault(family: Family) -> TargetError {
        let fault = ConnectFault {
            family,
            source: "the reason".into(),
            remedy: Some("the way out".to_owned()),
        };
        fault.into()
    }

    fn resource(index: u8, optional: bool, error: TargetError) -> ResourceReport {
        ResourceReport {
            rid: Rid::parse(&format!("sync#{index}")).unwrap(),
            optional,
            skipped: None,
            targets: vec![TargetReport {
                node: NodeName::parse("n2").unwrap(),
                dst: DatasetName::parse("backup/a").unwrap(),
                outcome: Err(error),
            }],
        }
    }

    fn outcome_of(resources: Vec<ResourceReport>) -> Outcome {
        let name = ServiceName::parse("web").unwrap();
        let service = Service::parse(&name, Path::new("f"), CONFIGURATION.as_bytes()).unwrap();
        outcome(&service, &SyncReport { resources })
    }

    #[test]
    fn the_failure_of_an_optional_resource_is_told_and_does_not_fail_the_command() {
        let outcome = outcome_of(vec![resource(1, true, fault(Family::Refused))]);
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(
            outcome.failures[0].message,
            "web sync#1 to n2 (optional): the reason"
        );
        assert_eq!(outcome.failures[0].remedies, ["the way out"]);
    }

    #[test]
    fn of_several_failures_the_worst_decides_and_each_is_told() {
        let outcome = outcome_of(vec![
            resource(1, false, fault(Family::Transient)),
            resource(2, false, fault(Family::BrokenChain)),
            resource(3, true, fault(Family::Bug)),
        ]);
        assert_eq!(outcome.exit, Exit::BrokenChain);
        assert_eq!(outcome.failures.len(), 3);
        let error = &outcome.json["resources"][1]["targets"][0]["error"];
        assert_eq!(error["exit_code"], 4);
        assert_eq!(error["message"], "the reason");
    }

    #[test]
    fn what_was_skipped_is_told_with_its_reason() {
        let mut resource = resource(1, false, fault(Family::Bug));
        resource.targets.clear();
        resource.skipped = Some("disabled".to_owned());
        let outcome = outcome_of(vec![resource]);
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(outcome.human, "web sync#1: skipped, disabled\n");
    }
}
