//! The one-line state file of the cluster agents: shown by `status --legacy`,
//! and written after a run where `legacy_state` says so.

use engine::error::Family;
use engine::sync::config::{NodeName, Resource, Service};
use engine::sync::selection::Selection;
use engine::sync::state::{ResourceState, StateStore, legacy_line, write_legacy};
use serde_json::json;

use super::Context;
use super::status::Loaded;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;

/// The line of one resource of one service.
pub fn show(
    loaded: Vec<Loaded>,
    selection: &Selection,
    node: &NodeName,
) -> Result<Outcome, Failure> {
    let only_one = || {
        let message = "--legacy shows one resource of one service at a time";
        Failure::new(Family::Usage, message).remedy("zferry status --legacy SERVICE --rid sync#1")
    };
    let ([rid], Ok([(name, loaded)])) = (&selection.rids[..], <[Loaded; 1]>::try_from(loaded))
    else {
        return Err(only_one());
    };
    let (service, mut states) = loaded.map_err(|error| Failure::of(error.family(), &error))?;
    let resources = service
        .resolve(node)
        .map_err(|error| Failure::of(error.family(), &error))?;
    let resource = resources.iter().find(|resource| resource.rid == *rid);
    let resource = resource.ok_or_else(only_one)?;
    let state = states.remove(rid).transpose();
    let state = state.map_err(|error| Failure::of(error.family(), &error))?;
    let line = state.and_then(|state| line(&state, resource, node));
    let Some(line) = line else {
        let message = format!("{name} {rid} has no state of a success yet, so there is no line");
        return Err(Failure::new(Family::Failed, message)
            .remedy(format!("see what is known: zferry status {name}")));
    };
    Ok(Outcome {
        exit: Exit::Done,
        json: json!({ "line": line.trim_end() }),
        human: line,
        failures: Vec::new(),
    })
}

/// Writes the lines of a service's resources after a run. What cannot be
/// written is told: the data is where it should be.
pub fn write(context: &Context, service: &Service, node: &NodeName, states: &StateStore) {
    let Ok(resources) = service.resolve(node) else {
        return;
    };
    for resource in &resources {
        let Some(file) = &resource.legacy_state else {
            continue;
        };
        let state = match states.read(service.name(), &resource.rid) {
            Ok(Some(state)) => state,
            // Told by the run.
            Ok(None) | Err(_) => continue,
        };
        let Some(line) = line(&state, resource, node) else {
            continue;
        };
        if let Err(error) = write_legacy(file, &line) {
            let failure = Failure::of(error.family(), &error);
            let why = failure.causes.join(": ");
            context.console.notice(&format!(
                "{} {}: legacy_state is not written: {}: {why}",
                service.name(),
                resource.rid,
                failure.message
            ));
        }
    }
}

/// Of the copy on this node if it was the last to receive, or else of all that
/// this node sends to.
fn line(state: &ResourceState, resource: &Resource, node: &NodeName) -> Option<String> {
    let newest = state.newest()?;
    let targets: Vec<NodeName> = if newest.of.sender == *node {
        let targets = resource.targets().iter();
        targets.map(|target| target.node.clone()).collect()
    } else {
        vec![node.clone()]
    };
    legacy_line(state, &targets, &environment::zone())
}
