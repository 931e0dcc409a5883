//! `zferry status`: is every copy up to date, as far as this machine knows?

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::error::Family;
use engine::name::DatasetName;
use engine::sync::config::{ConfigError, NodeName, Resource, Service, ServiceName, duration_text};
use engine::sync::moment::UtcSeconds;
use engine::sync::selection::Selection;
use engine::sync::state::{Mode, StateStore};
use engine::sync::status::{
    CopyStatus, Known, Reason, ResourceStatus, ServiceStatus, Snapshots, State, States, StatusRole,
    to_look_at,
};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{Context, legacy};
use crate::args::Status;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::Machine;

/// A service with its state files, or why there is none.
pub(super) type Loaded = (ServiceName, Result<(Service, States), ConfigError>);

/// Runs the command.
pub async fn run(context: &Context, args: &Status) -> Result<Outcome, Failure> {
    let node = context.node()?;
    let loaded = load(context, args)?;
    let selection = args.select.selection();
    check_known(&selection, &loaded, &node)?;
    if args.legacy {
        return legacy::show(loaded, &selection, &node);
    }
    let snapshots = snapshots(context, &loaded, &node).await;
    let now = environment::now();
    let mut services = Vec::new();
    for (name, loaded) in loaded {
        let status = match loaded {
            Ok((service, states)) => {
                let known = Known {
                    states: &states,
                    snapshots: &snapshots,
                    now,
                };
                let asked = |resource: &Resource| selection.takes(resource);
                let status = ServiceStatus::new(&service, &node, known, asked);
                if status.resources.is_empty() && !selection.is_everything() {
                    continue;
                }
                status
            }
            Err(error) => ServiceStatus::undefined(name, error),
        };
        services.push(status);
    }
    let state = State::worst(services.iter().map(|service| service.state));
    Ok(Outcome {
        exit: exit(&services, state),
        human: services.iter().map(service_text).collect(),
        json: json!({
            "node": node.as_str(),
            "time": now.to_string(),
            "state": state,
            "services": services.iter().map(service_value).collect::<Vec<_>>(),
        }),
        failures: Vec::new(),
    })
}

/// A broken chain comes before everything else: it is the one that waiting
/// does not mend.
fn exit(services: &[ServiceStatus], state: State) -> Exit {
    if services.is_empty() {
        Exit::Done
    } else if services.iter().any(ServiceStatus::is_broken_chain) {
        Exit::BrokenChain
    } else {
        Exit::from(state)
    }
}

fn load(context: &Context, args: &Status) -> Result<Vec<Loaded>, Failure> {
    let dir = &context.global.config;
    let mut names = args.service.clone();
    if names.is_empty() {
        names = Service::list(dir)?;
    }
    if names.is_empty() {
        let dir = dir.display();
        context
            .console
            .notice(&format!("no service is configured in {dir} (NAME.conf)"));
    }
    let store = StateStore::new(&context.global.state);
    let one = |name: ServiceName| {
        let loaded = Service::load(dir, &name).map(|service| {
            let states = store.read_all(&service);
            (service, states)
        });
        (name, loaded)
    };
    Ok(names.into_iter().map(one).collect())
}

/// Refuses names that are in none of the services. Where a service cannot be
/// read, or does not list this node, nobody knows what it has.
fn check_known(selection: &Selection, loaded: &[Loaded], node: &NodeName) -> Result<(), Failure> {
    let mut resources = Vec::new();
    for (_, loaded) in loaded {
        let resolved = loaded.as_ref().map(|(service, _)| service.resolve(node));
        match resolved {
            Ok(Ok(of_service)) => resources.extend(of_service),
            _ => return Ok(()),
        }
    }
    let unknown = selection.unknown(&resources);
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!("no resource of these services fits {}", unknown.join(", "));
    Err(Failure::new(Family::Usage, message).remedy("see which resources there are: zferry status"))
}

/// Lists the datasets that the state files do not tell of.
async fn snapshots(context: &Context, loaded: &[Loaded], node: &NodeName) -> Snapshots {
    let mut datasets = BTreeSet::new();
    let mut images = Vec::new();
    for (_, loaded) in loaded {
        let Ok((service, states)) = loaded else {
            continue;
        };
        let wanted = to_look_at(service, node, states);
        if !wanted.is_empty() {
            images.extend(service.images(node));
            datasets.extend(wanted);
        }
    }
    if datasets.is_empty() {
        return Snapshots::default();
    }
    let images = match context.images_with(images) {
        Ok(images) => images,
        Err(failure) => return Snapshots::unreadable(datasets, &failure.message),
    };
    read(Machine::new(images), datasets).await
}

async fn read(machine: Machine, datasets: BTreeSet<DatasetName>) -> Snapshots {
    match machine.open().await {
        Err(missing) => Snapshots::unreadable(datasets, &missing.to_string()),
        Ok(zfs) => {
            let zfs = Arc::clone(&zfs);
            super::blocking(move || Snapshots::read(&*zfs, datasets)).await
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::NotApplicable => "n/a",
        State::Up => "up",
        State::Warn => "warn",
        State::Undef => "undef",
    }
}

fn service_text(service: &ServiceStatus) -> String {
    let mut text = format!("{}: {}\n", service.service, word(service.state));
    if let Some(error) = &service.error {
        for line in error_text(error).lines() {
            text += &format!("  {line}\n");
        }
    }
    for resource in &service.resources {
        text += &resource_text(resource);
    }
    text
}

fn error_text(error: &ConfigError) -> String {
    let failure = Failure::of(error.family(), error);
    let lines = std::iter::once(failure.message).chain(failure.causes);
    lines.collect::<Vec<_>>().join("\n")
}

fn resource_text(resource: &ResourceStatus) -> String {
    let role = match resource.role {
        StatusRole::Sender => " (sends)",
        StatusRole::Receiver => " (receives)",
        StatusRole::Either | StatusRole::None => "",
    };
    let optional = if resource.optional { ", optional" } else { "" };
    let mut text = format!(
        "  {}: {}{role}{optional}{}\n",
        resource.rid,
        word(resource.state),
        because(&resource.reasons)
    );
    for copy in &resource.copies {
        text += &copy_text(copy);
    }
    text
}

fn copy_text(copy: &CopyStatus) -> String {
    let mut text = format!(
        "    {} {} ({}): {}",
        copy.node,
        copy.dst,
        copy.kind,
        word(copy.state)
    );
    if let Some(age) = copy.data_age {
        text += &format!(", data {} old", duration_text(age));
    }
    if let Some(age) = copy.run_age {
        text += &format!(", received {} ago", duration_text(age));
    }
    if copy.seen.is_some() {
        text += ", by the snapshots of this node: no state tells of it";
    }
    if let Some(synced) = &copy.synced {
        let mode = match synced.mode {
            Mode::Full => "full",
            Mode::Incremental => "incremental",
        };
        text += &format!(", {mode} {}", HumanBytes(synced.stream_bytes));
    }
    text + &because(&copy.reasons) + "\n"
}

fn because(reasons: &[Reason]) -> String {
    let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", reasons.join("; "))
    }
}

fn service_value(service: &ServiceStatus) -> Value {
    json!({
        "service": service.service.as_str(),
        "state": service.state,
        "error": service.error.as_ref().map(error_text),
        "resources": service.resources.iter().map(resource_value).collect::<Vec<_>>(),
    })
}

fn resource_value(resource: &ResourceStatus) -> Value {
    json!({
        "rid": resource.rid.as_str(),
        "state": resource.state,
        "role": resource.role,
        "optional": resource.optional,
        "reasons": reasons_value(&resource.reasons),
        "copies": resource.copies.iter().map(copy_value).collect::<Vec<_>>(),
    })
}

fn copy_value(copy: &CopyStatus) -> Value {
    json!({
        "node": copy.node.as_str(),
        "kind": copy.kind,
        "dst": copy.dst.as_str(),
        "state": copy.state,
        "reasons": reasons_value(&copy.reasons),
        "data_age_seconds": copy.data_age.map(|age| age.as_secs()),
        "run_age_seconds": copy.run_age.map(|age| age.as_secs()),
        "seen": copy.seen.map(|seen| json!({
            "guid": seen.guid.to_string(),
            "created": seen.created.to_string(),
        })),
        "synced": copy.synced.as_ref().map(|synced| {
            let text = |moment: UtcSeconds| moment.to_string();
            json!({
                "guid": synced.guid.to_string(),
                "created": text(synced.created),
                "received": text(synced.received),
                "mode": synced.mode,
                "stream_bytes": synced.stream_bytes,
                "wire_bytes": synced.wire_bytes,
                "milliseconds": synced.duration_ms,
            })
        }),
    })
}

fn reasons_value(reasons: &[Reason]) -> Value {
    let value = |reason: &Reason| json!({ "code": reason.code(), "text": reason.to_string() });
    reasons.iter().map(value).collect()
}
