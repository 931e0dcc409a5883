//! `zferry status`: is every copy up to date, as far as this machine knows?

use engine::sync::config::{ConfigError, Service, ServiceName, duration_text};
use engine::sync::moment::UtcSeconds;
use engine::sync::state::{Mode, StateStore};
use engine::sync::status::{CopyStatus, Reason, ResourceStatus, ServiceStatus, State, StatusRole};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Context;
use crate::args::Status;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;

/// Runs the command.
pub fn run(context: &Context, args: &Status) -> Result<Outcome, Failure> {
    let node = context.node()?;
    let dir = &context.global.config;
    let names = match &args.service {
        Some(name) => vec![name.clone()],
        None => Service::list(dir)?,
    };
    if names.is_empty() {
        let dir = dir.display();
        context
            .console
            .notice(&format!("no service is configured in {dir} (NAME.conf)"));
    }
    let store = StateStore::new(&context.global.state);
    let now = environment::now();
    let one = |name: ServiceName| match Service::load(dir, &name) {
        Ok(service) => ServiceStatus::new(&service, &node, &store.read_all(&service), now),
        Err(error) => ServiceStatus::undefined(name, error),
    };
    let services: Vec<ServiceStatus> = names.into_iter().map(one).collect();
    let state = State::worst(services.iter().map(|service| service.state));
    Ok(Outcome {
        exit: Exit::from(state),
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
