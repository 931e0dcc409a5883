//! `sync confirm`: which old copies went, for people and for programs.

use engine::error::Family;
use engine::sync::config::ServiceName;
use engine::sync::run::{Confirmation, OldCopy, ResourceConfirmation, TargetConfirmation};
use serde_json::{Value, json};

use super::report::{Part, error_value};
use crate::failure::Failure;

/// What came of it for one service.
pub fn part(service: &ServiceName, confirmation: &Confirmation) -> Part {
    let resources = &confirmation.resources;
    let json = json!({
        "service": service.as_str(),
        "refused": confirmation.refused.as_ref().map(ToString::to_string),
        "resources": resources.iter().map(resource_value).collect::<Vec<_>>(),
    });
    let mut part = Part::new(service, confirmation.refused.as_ref(), json);
    for resource in resources {
        part.human += &resource_text(service, resource);
        let of = (&resource.rid, resource.optional);
        if let Some(error) = &resource.failure {
            part.fail(service, of, None, Failure::from(error));
        }
        for target in &resource.targets {
            let failures = match &target.outcome {
                Err(error) => vec![Failure::from(error)],
                Ok(copies) => copies.iter().filter_map(stays).collect(),
            };
            for failure in failures {
                part.fail(service, of, Some(&target.node), failure);
            }
        }
    }
    part
}

/// An old copy that could not be destroyed.
fn stays(copy: &OldCopy) -> Option<Failure> {
    let why = copy.stays.as_ref()?;
    let message = format!("{} stays: {why}", copy.name);
    let failure = Failure {
        state_left: Some("it is as it was, or its rest is".to_owned()),
        ..Failure::new(Family::Failed, message)
    };
    Some(failure.remedy("release or destroy what keeps it, then run the same command again"))
}

fn resource_text(service: &ServiceName, resource: &ResourceConfirmation) -> String {
    let mut text = String::new();
    for target in &resource.targets {
        let title = format!("{service} {} to {}", resource.rid, target.node);
        let Ok(copies) = &target.outcome else {
            continue;
        };
        if copies.is_empty() {
            text += &format!("{title}: no old copy of {}\n", target.dst);
        }
        for copy in copies {
            if copy.stays.is_none() {
                text += &format!("{title}: {} destroyed\n", copy.name);
            }
        }
    }
    text
}

fn resource_value(resource: &ResourceConfirmation) -> Value {
    json!({
        "rid": resource.rid.as_str(),
        "optional": resource.optional,
        "error": resource.failure.as_ref().map(|error| error_value(&Failure::from(error))),
        "targets": resource.targets.iter().map(target_value).collect::<Vec<_>>(),
    })
}

fn target_value(target: &TargetConfirmation) -> Value {
    let mut value = json!({
        "node": target.node.as_str(),
        "dst": target.dst.as_str(),
    });
    match &target.outcome {
        Ok(copies) => {
            let copy = |copy: &OldCopy| json!({ "name": copy.name.as_str(), "stays": copy.stays });
            value["old_copies"] = copies.iter().map(copy).collect();
        }
        Err(error) => value["error"] = error_value(&Failure::from(error)),
    }
    value
}
