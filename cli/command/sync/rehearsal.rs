//! `--dry-run`: the steps of each target, for people and for programs.

use engine::sync::config::ServiceName;
use engine::sync::run::{NotRun, Rehearsal, ResourceRehearsal, TargetRehearsal};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::report::{Part, error_value, not_run_values, refused_targets, refused_values};
use crate::failure::Failure;

/// What a run would do for one service.
pub fn part(service: &ServiceName, rehearsal: &Rehearsal) -> Part {
    let resources = &rehearsal.resources;
    let json = json!({
        "service": service.as_str(),
        "dry_run": true,
        "refused": rehearsal.refused.as_ref().map(ToString::to_string),
        "resources": resources.iter().map(resource_value).collect::<Vec<_>>(),
    });
    let mut part = Part::new(service, rehearsal.refused.as_ref(), json);
    for resource in resources {
        part.human += &resource_text(service, resource);
        part.refused |=
            !resource.refused.is_empty() || matches!(resource.not_run, Some(NotRun::Refused(_)));
        let of = (&resource.rid, resource.optional);
        if let Some(error) = &resource.failure {
            part.fail(service, of, None, Failure::from(error));
        }
        for target in &resource.targets {
            if let Err(error) = &target.outcome {
                part.fail(service, of, Some(&target.node), Failure::from(error));
            }
        }
    }
    part
}

fn resource_text(service: &ServiceName, resource: &ResourceRehearsal) -> String {
    let title = format!("{service} {}", resource.rid);
    if let Some(why) = &resource.not_run {
        return format!("{title}: {why}\n");
    }
    let steps = |lines: &[String]| -> String {
        let lines = lines.iter();
        lines
            .map(|line| format!("  would run on {line}\n"))
            .collect()
    };
    let mut text = String::new();
    if !resource.before.is_empty() {
        text += &format!("{title} before the transfers:\n{}", steps(&resource.before));
    }
    for target in &resource.targets {
        if let Ok(planned) = &target.outcome {
            text += &format!(
                "{title} to {} {}, about {}:\n{}",
                target.node,
                target.dst,
                HumanBytes(planned.estimated_bytes),
                steps(&planned.lines)
            );
        }
    }
    text += &refused_targets(&title, &resource.refused);
    if !resource.after.is_empty() {
        text += &format!(
            "{title} after the transfers, if any target has committed:\n{}",
            steps(&resource.after)
        );
    }
    text
}

fn resource_value(resource: &ResourceRehearsal) -> Value {
    let (skipped, refused) = not_run_values(resource.not_run.as_ref());
    let mut value = json!({
        "rid": resource.rid.as_str(),
        "optional": resource.optional,
        "skipped": skipped,
        "refused": refused,
        "before": resource.before,
        "targets": resource.targets.iter().map(target_value).collect::<Vec<_>>(),
        "refused_targets": refused_values(&resource.refused),
        "after": resource.after,
    });
    if let Some(error) = &resource.failure {
        value["error"] = error_value(&Failure::from(error));
    }
    value
}

fn target_value(target: &TargetRehearsal) -> Value {
    let mut value = json!({
        "node": target.node.as_str(),
        "dst": target.dst.as_str(),
    });
    match &target.outcome {
        Ok(planned) => {
            value["steps"] = json!(planned.lines);
            value["estimated_bytes"] = planned.estimated_bytes.into();
        }
        Err(error) => value["error"] = error_value(&Failure::from(error)),
    }
    value
}
