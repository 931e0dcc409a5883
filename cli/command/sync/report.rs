//! What came of a run, for people and for programs.

use engine::error::Family;
use engine::sync::config::{NodeName, Rid, ServiceName};
use engine::sync::run::{NotRun, Refusal, ResourceReport, SyncReport, TargetReport};
use engine::sync::state::{Mode, Synced};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Outcome, human, json};

/// What came of one service.
pub struct Part {
    /// Lines, each with its end.
    pub human: String,
    /// The same for programs.
    pub json: Value,
    /// What failed, with its place.
    pub failures: Vec<Failure>,
    /// What decides how the process ends.
    pub families: Vec<Family>,
    /// Something was refused.
    pub refused: bool,
}

impl Part {
    /// Nothing could be done for the service.
    pub fn failed(name: &ServiceName, mut failure: Failure) -> Self {
        let error = error_value(&failure);
        failure.message = format!("{name}: {}", failure.message);
        Self {
            human: String::new(),
            json: json!({"service": name.as_str(), "resources": [], "error": error}),
            families: vec![failure.family],
            failures: vec![failure],
            refused: false,
        }
    }

    /// A service about which `json` says everything, and nothing yet for people.
    pub fn new(service: &ServiceName, refused: Option<&Refusal>, json: Value) -> Self {
        Self {
            human: match refused {
                Some(why) => format!("{service}: refused, {why}\n"),
                None => String::new(),
            },
            json,
            failures: Vec::new(),
            families: Vec::new(),
            refused: refused.is_some(),
        }
    }

    /// What failed of a resource: as a whole, or for a target. It does not
    /// decide how the process ends if the resource is optional.
    pub fn fail(
        &mut self,
        service: &ServiceName,
        (rid, optional): (&Rid, bool),
        target: Option<&NodeName>,
        mut failure: Failure,
    ) {
        if !optional {
            self.families.push(failure.family);
        }
        let to = target.map_or_else(String::new, |node| format!(" to {node}"));
        let optional = if optional { " (optional)" } else { "" };
        failure.message = format!("{service} {rid}{to}{optional}: {}", failure.message);
        self.failures.push(failure);
    }
}

/// All services together. Of one alone, its own object is the result.
pub fn outcome(parts: Vec<Part>) -> Outcome {
    let families = parts.iter().flat_map(|part| part.families.iter().copied());
    let exit = match Exit::worst(families) {
        Exit::Done if parts.iter().any(|part| part.refused) => Exit::NotStarted,
        exit => exit,
    };
    let human = parts.iter().map(|part| part.human.as_str()).collect();
    let mut failures = Vec::new();
    let mut values = Vec::new();
    for part in parts {
        failures.extend(part.failures);
        values.push(part.json);
    }
    let json = match <[Value; 1]>::try_from(values) {
        Ok([one]) => one,
        Err(values) => json!({ "services": values }),
    };
    Outcome {
        exit,
        human,
        json,
        failures,
    }
}

/// The report of a run.
pub fn part(service: &ServiceName, report: &SyncReport) -> Part {
    let json = json!({
        "service": service.as_str(),
        "refused": report.refused.as_ref().map(ToString::to_string),
        "resources": report.resources.iter().map(resource_value).collect::<Vec<_>>(),
    });
    let mut part = Part::new(service, report.refused.as_ref(), json);
    for resource in &report.resources {
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

/// Targets that a resource may not go to.
pub fn refused_targets(title: &str, refused: &[(NodeName, Refusal)]) -> String {
    let lines = refused.iter();
    lines
        .map(|(node, why)| format!("{title} to {node}: refused, {why}\n"))
        .collect()
}

/// What came of a resource; failures are told apart from it.
fn resource_text(service: &ServiceName, resource: &ResourceReport) -> String {
    let title = format!("{service} {}", resource.rid);
    if let Some(why) = &resource.not_run {
        return format!("{title}: {why}\n");
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
    let done: String = resource.targets.iter().filter_map(line).collect();
    done + &refused_targets(&title, &resource.refused)
}

fn mode(synced: &Synced) -> &'static str {
    match synced.mode {
        Mode::Full => "full",
        Mode::Incremental => "incremental",
    }
}

fn resource_value(resource: &ResourceReport) -> Value {
    let (skipped, refused) = not_run_values(resource.not_run.as_ref());
    let mut value = json!({
        "rid": resource.rid.as_str(),
        "optional": resource.optional,
        "skipped": skipped,
        "refused": refused,
        "targets": resource.targets.iter().map(target_value).collect::<Vec<_>>(),
        "refused_targets": refused_values(&resource.refused),
    });
    if let Some(error) = &resource.failure {
        value["error"] = error_value(&Failure::from(error));
    }
    value
}

/// `skipped` and `refused` of a resource.
pub fn not_run_values(not_run: Option<&NotRun>) -> (Option<String>, Option<String>) {
    match not_run {
        None => (None, None),
        Some(NotRun::Skipped(why)) => (Some(why.clone()), None),
        Some(NotRun::Refused(why)) => (None, Some(why.to_string())),
    }
}

/// Targets that a resource may not go to.
pub fn refused_values(refused: &[(NodeName, Refusal)]) -> Vec<Value> {
    let values = refused.iter();
    values
        .map(|(node, why)| json!({"node": node.as_str(), "refused": why.to_string()}))
        .collect()
}

fn target_value(target: &TargetReport) -> Value {
    let mut value = json!({
        "node": target.node.as_str(),
        "dst": target.dst.as_str(),
    });
    match &target.outcome {
        Ok(synced) => value["synced"] = json!(synced),
        Err(error) => value["error"] = error_value(&Failure::from(error)),
    }
    value
}

/// An error with its exit code.
pub fn error_value(failure: &Failure) -> Value {
    let mut value = json::failure_value(failure);
    value["exit_code"] = Exit::from(failure.family).code().into();
    value
}

#[cfg(test)]
mod tests {
    use engine::name::DatasetName;
    use engine::sync::run::{ConnectFault, TargetError};

    use super::*;

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
            not_run: None,
            failure: None,
            refused: Vec::new(),
            targets: vec![TargetReport {
                node: NodeName::parse("n2").unwrap(),
                dst: DatasetName::parse("backup/a").unwrap(),
                outcome: Err(error),
            }],
        }
    }

    fn part_of(resources: Vec<ResourceReport>) -> Part {
        let report = SyncReport {
            refused: None,
            resources,
        };
        part(&ServiceName::parse("web").unwrap(), &report)
    }

    fn outcome_of(resources: Vec<ResourceReport>) -> Outcome {
        outcome(vec![part_of(resources)])
    }

    fn refusal() -> Refusal {
        Refusal::NotActive("/bin/false ended with exit code 1".to_owned())
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
        resource.not_run = Some(NotRun::Skipped("disabled".to_owned()));
        let outcome = outcome_of(vec![resource]);
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(outcome.human, "web sync#1: skipped, disabled\n");
    }

    #[test]
    fn a_refusal_has_a_code_of_its_own_unless_something_failed() {
        let mut refused = resource(1, false, fault(Family::Bug));
        refused.targets.clear();
        refused.not_run = Some(NotRun::Refused(refusal()));
        let outcome = outcome_of(vec![refused]);
        assert_eq!(outcome.exit, Exit::NotStarted);
        assert!(outcome.failures.is_empty());
        assert!(outcome.human.contains("refused, "), "{}", outcome.human);
        let mut refused = resource(1, false, fault(Family::Transient));
        let node = NodeName::parse("n3").unwrap();
        refused.refused.push((node, refusal()));
        let outcome = outcome_of(vec![refused]);
        assert_eq!(outcome.exit, Exit::Transient);
        assert_eq!(
            outcome.json["resources"][0]["refused_targets"][0]["node"],
            "n3"
        );
    }

    #[test]
    fn a_service_with_a_mistake_does_not_hide_what_became_of_the_others() {
        let name = ServiceName::parse("mail").unwrap();
        let failed = Part::failed(&name, Failure::new(Family::Usage, "two mistakes"));
        let outcome = outcome(vec![failed, part_of(Vec::new())]);
        assert_eq!(outcome.exit, Exit::Usage);
        assert_eq!(outcome.failures[0].message, "mail: two mistakes");
        assert_eq!(outcome.json["services"][0]["error"]["exit_code"], 2);
        assert_eq!(outcome.json["services"][1]["service"], "web");
    }
}
