//! Who may start what: the questions that are asked before anything is.
//!
//! A refusal is no failure. It says why, nothing is touched or recorded, and
//! the command has an exit code of its own for it: a scheduler on a standby
//! node is refused every night, and that is as it should be.

use std::collections::BTreeMap;

use super::commands::{CHECK_MAX, Command, CommandError, shown};
use super::error::ResourceError;
use super::facts::Facts;
use super::{Action, ActivityCheck, Sync};
use crate::event::Event;
use crate::sync::attempts::{AttemptStore, civil};
use crate::sync::config::{
    ENV_PRODUCTION, NodeName, RequiredState, Requirement, Resource, Role, Sends, Target,
    TargetKind, WhyReceiver,
};
use crate::sync::schedule::Due;
use crate::sync::status::{self, Known, Snapshots, State};

/// Why nothing is done for a resource although nothing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// The command is not about it.
    #[error("skipped, {0}")]
    Skipped(String),
    /// The configuration says that this node may not, now.
    #[error("refused, {0}")]
    Refused(Refusal),
}

/// Which rule says no. Displayed as a clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node has no part in the service.
    #[error("{0}")]
    NotListed(String),
    /// Another node sends.
    #[error("{0}")]
    NotSender(WhyReceiver),
    /// A service in production, and a node that is not.
    #[error(
        "a service of env = {ENV_PRODUCTION} is never synchronized on or to node {node}, whose env is {env}"
    )]
    Environment {
        /// The node.
        node: NodeName,
        /// Its `node_env`.
        env: String,
    },
    /// The activity check says that the service is not up here.
    #[error("the service is not up on this node: {0} (--force starts all the same)")]
    NotActive(String),
    /// A condition of the configuration is not met.
    #[error("it requires {requirement}, and {rid} is {state}", rid = requirement.rid)]
    Requirement {
        /// The condition.
        requirement: Requirement,
        /// The state as it is.
        state: String,
    },
}

/// What may begin.
pub(super) struct Admitted<'a> {
    pub sends: &'a Sends,
    /// The targets that are meant and may get it.
    pub targets: Vec<&'a Target>,
    /// Those that may not.
    pub refused: Vec<(NodeName, Refusal)>,
}

/// Asks all questions about the resources of a run.
pub(super) struct Admission<'a> {
    sync: &'a Sync<'a>,
    attempts: AttemptStore,
    /// Answers of activity checks: each is asked once.
    active: BTreeMap<Vec<String>, Result<(), CheckAnswer>>,
}

/// Why a check did not say yes.
#[derive(Clone)]
enum CheckAnswer {
    No(String),
    Broken(ResourceError),
}

/// Why a resource does not begin.
pub(super) enum Stop {
    NotRun(NotRun),
    Failed(ResourceError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::NotRun(NotRun::Refused(refusal))
    }
}

/// The rule of production: `None` if `node` may have part.
fn environment(sync: &Sync<'_>, node: &NodeName) -> Option<Refusal> {
    let env = sync.service.node_env(node)?;
    let is_foreign = sync.service.env() == Some(ENV_PRODUCTION) && env != ENV_PRODUCTION;
    is_foreign.then(|| Refusal::Environment {
        node: node.clone(),
        env: env.to_owned(),
    })
}

impl<'a> Admission<'a> {
    pub(super) fn new(sync: &'a Sync<'a>) -> Self {
        Self {
            sync,
            attempts: AttemptStore::new(sync.states.dir()),
            active: BTreeMap::new(),
        }
    }

    /// What of `resource` may begin. Starts nothing but the activity check.
    pub(super) async fn judge<'r>(&mut self, resource: &'r Resource) -> Result<Admitted<'r>, Stop> {
        let skipped = |why: &str| Stop::NotRun(NotRun::Skipped(why.to_owned()));
        if resource.disabled {
            return Err(skipped("disabled"));
        }
        match &resource.role {
            Role::Sender(_) | Role::SenderByMount(_) => {}
            Role::ReceiverOnly(why @ WhyReceiver::NoSource) => {
                return Err(skipped(&why.to_string()));
            }
            Role::ReceiverOnly(why @ WhyReceiver::NotFlexPrimary { .. }) => {
                return Err(Refusal::NotSender(why.clone()).into());
            }
        }
        if let Some(why) = not_concerned(self.sync.action, resource.targets()) {
            return Err(skipped(why));
        }
        if self.sync.action == Action::All
            && let Some(why) = self.not_due(resource)
        {
            return Err(skipped(&why));
        }
        let meant = resource.targets().iter();
        let groups = self.sync.groups;
        let meant = meant.filter(|target| groups.is_empty() || groups.contains(&target.kind));
        let (mut targets, mut refused) = (Vec::new(), Vec::new());
        for target in meant {
            match environment(self.sync, &target.node) {
                None => targets.push(target),
                Some(refusal) => refused.push((target.node.clone(), refusal)),
            }
        }
        match (targets.is_empty(), refused.first()) {
            (false, _) => {}
            (true, Some((_, refusal))) => return Err(refusal.clone().into()),
            (true, None) => return Err(skipped("it has no target that was asked for")),
        }
        self.requirements(resource)?;
        self.activity(resource).await?;
        let sends = match &resource.role {
            Role::Sender(sends) => sends,
            Role::SenderByMount(by_mount) => {
                // Asked last: on a node that may not send, nothing is mounted.
                let path = by_mount.mount_point.clone();
                return Err(Stop::Failed(ResourceError::NotMounted { path }));
            }
            Role::ReceiverOnly(why) => return Err(skipped(&why.to_string())),
        };
        Ok(Admitted {
            sends,
            targets,
            refused,
        })
    }

    /// Why it is not due, if it is not.
    fn not_due(&self, resource: &Resource) -> Option<String> {
        let now = civil((self.sync.clock)(), self.sync.zone)?;
        let attempts = self.attempts.read(self.sync.service.name(), &resource.rid);
        match resource
            .schedule
            .is_due(now, &attempts.past(self.sync.zone))
        {
            Due::Now => None,
            Due::NotYet(Some(next)) => Some(format!("not due before {next}")),
            Due::NotYet(None) => Some("its schedule is empty".to_owned()),
        }
    }

    /// The states of other resources, as `status` would tell them now.
    fn requirements(&self, resource: &Resource) -> Result<(), Refusal> {
        let required = resource.requires.iter();
        let mut required = required
            .filter(|requirement| requirement.action == self.sync.action)
            .peekable();
        if required.peek().is_none() {
            return Ok(());
        }
        let states = self.sync.states.read_all(self.sync.service);
        let known = Known {
            states: &states,
            // A state that is lost is no condition that is met.
            snapshots: &Snapshots::default(),
            now: (self.sync.clock)(),
        };
        let statuses = status::evaluate(self.sync.service, self.sync.node, known, |_| true);
        for requirement in required {
            let found = statuses.iter().find(|status| status.rid == requirement.rid);
            let state = found.map_or(RequiredState::Undef, |status| required_state(status.state));
            if !requirement.states.contains(&state) {
                return Err(Refusal::Requirement {
                    requirement: requirement.clone(),
                    state: state.as_str().to_owned(),
                });
            }
        }
        Ok(())
    }

    async fn activity(&mut self, resource: &Resource) -> Result<(), Stop> {
        let Some(argv) = &resource.active_check else {
            return Ok(());
        };
        if self.sync.activity == ActivityCheck::Overridden {
            return Ok(());
        }
        if !self.active.contains_key(argv) {
            let answer = self.ask(argv).await;
            self.active.insert(argv.clone(), answer);
        }
        match self.active.get(argv) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(CheckAnswer::No(how))) => Err(Refusal::NotActive(how.clone()).into()),
            Some(Err(CheckAnswer::Broken(error))) => Err(Stop::Failed(error.clone())),
        }
    }

    async fn ask(&self, argv: &[String]) -> Result<(), CheckAnswer> {
        self.sync.observer.event(&Event::Step {
            peer: self.sync.node.to_string(),
            command: shown(argv),
        });
        let command = Command {
            argv,
            facts: Facts::of(self.sync).list(),
            limit: CHECK_MAX,
        };
        match self.sync.commands.run(command).await {
            Ok(()) => Ok(()),
            Err(error @ CommandError::Failed { .. }) => Err(CheckAnswer::No(error.to_string())),
            // What cannot be asked has not said no.
            Err(error) => Err(CheckAnswer::Broken(ResourceError::command(
                "the activity check",
                error,
            ))),
        }
    }
}

/// The rule of production for this node and the node lists, before any
/// resource is looked at.
pub(super) fn of_node(sync: &Sync<'_>) -> Result<Vec<Resource>, Refusal> {
    let resources = sync.service.resolve(sync.node);
    let resources = resources.map_err(|error| Refusal::NotListed(error.to_string()))?;
    match environment(sync, sync.node) {
        Some(refusal) => Err(refusal),
        None => Ok(resources),
    }
}

/// Why the command is not about a resource with these targets.
fn not_concerned(action: Action, targets: &[Target]) -> Option<&'static str> {
    let is_drp = |target: &Target| target.kind == TargetKind::DrpNodes;
    if targets.is_empty() {
        return Some("it has no target besides this node");
    }
    match action {
        Action::Nodes if targets.iter().all(is_drp) => {
            Some("it targets drpnodes alone: use sync drp")
        }
        Action::Nodes if targets.iter().any(is_drp) => {
            Some("it targets drpnodes too: use sync update")
        }
        Action::Drp if !targets.iter().all(is_drp) => {
            Some("it does not target drpnodes alone: use sync update")
        }
        _ => None,
    }
}

fn required_state(state: State) -> RequiredState {
    match state {
        State::NotApplicable => RequiredState::NotApplicable,
        State::Up => RequiredState::Up,
        State::Warn => RequiredState::Warn,
        State::Undef => RequiredState::Undef,
    }
}
