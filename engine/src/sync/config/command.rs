//! Commands of a configuration: triggers, checks and alerts, and what an
//! action requires.
//!
//! Text → arguments. A command is split into words here, with quotes and
//! backslashes as a shell has them, and is started without one: nothing in a
//! value is ever evaluated. Who starts it, when and for how long is left to
//! the run.

use std::fmt;
use std::path::Path;

use super::names::Rid;
use super::value::{Wrong, choice, shown};

/// The actions that triggers and requirements go with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncAction {
    /// `sync nodes`.
    Nodes,
    /// `sync drp`.
    Drp,
    /// `sync update`.
    Update,
    /// `sync full`.
    Full,
    /// `sync all`.
    All,
}

impl SyncAction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nodes, Self::Drp, Self::Update, Self::Full, Self::All];

    /// The word of the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Drp => "drp",
            Self::Update => "update",
            Self::Full => "full",
            Self::All => "all",
        }
    }
}

impl fmt::Display for SyncAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Before the action, or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// Before it.
    Pre,
    /// After it.
    Post,
}

impl When {
    /// The word of the keyword.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// A command that is started before or after an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Program (an absolute path) and arguments. Never empty.
    pub argv: Vec<String>,
    /// Its failure stops the resource; otherwise it is a warning.
    pub blocking: bool,
}

/// The triggers of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Triggers {
    list: Vec<(SyncAction, When, Trigger)>,
}

impl Triggers {
    /// Those of `action`, the blocking one first.
    pub fn get(&self, action: SyncAction, when: When) -> impl Iterator<Item = &Trigger> {
        let of_action = self
            .list
            .iter()
            .filter(move |one| (one.0, one.1) == (action, when));
        of_action.map(|(_, _, trigger)| trigger)
    }

    /// All of them, by action, those before it first.
    pub fn iter(&self) -> impl Iterator<Item = (SyncAction, When, &Trigger)> {
        self.list
            .iter()
            .map(|(action, when, trigger)| (*action, *when, trigger))
    }

    pub(super) fn add(&mut self, action: SyncAction, when: When, trigger: Trigger) {
        self.list.push((action, when, trigger));
    }
}

/// The keyword of a trigger.
pub(super) fn trigger_keyword(action: SyncAction, when: When, blocking: bool) -> String {
    let prefix = if blocking { "blocking_" } else { "" };
    format!("{prefix}{}_sync_{action}", when.as_str())
}

/// The keyword of a requirement.
pub(super) fn requires_keyword(action: SyncAction) -> String {
    format!("sync_{action}_requires")
}

/// States that a requirement may name: the words of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequiredState {
    /// Up to date.
    Up,
    /// Too old, never synced, broken, or unknown.
    Warn,
    /// Disabled, or not evaluated here.
    NotApplicable,
    /// The evaluation failed.
    Undef,
}

impl RequiredState {
    const WORDS: [(&'static str, Self); 4] = [
        ("up", Self::Up),
        ("warn", Self::Warn),
        ("n/a", Self::NotApplicable),
        ("undef", Self::Undef),
    ];

    /// The word of `status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, state)| *state == self)
            .map_or("", |(word, _)| word)
    }
}

/// What has to be true before a resource is touched by an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The action that is refused otherwise.
    pub action: SyncAction,
    /// The resource whose status is looked at.
    pub rid: Rid,
    /// The states of which it has to be in one. Never empty.
    pub states: Vec<RequiredState>,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<&str> = self.states.iter().map(|state| state.as_str()).collect();
        write!(f, "{}({})", self.rid, states.join("|"))
    }
}

/// A command with its arguments.
pub(super) fn argv(text: &str) -> Result<Vec<String>, Wrong> {
    /// More words than any command line in a configuration has.
    const WORDS_MAX: usize = 256;
    if text.contains(['\n', '\0']) {
        return Err(Wrong::new(
            "the command has more than one line",
            "write it on one line, or into a script",
        ));
    }
    let words = shell_words::split(text).map_err(|_| {
        Wrong::new(
            format!("a quote in `{}` is never closed", shown(text)),
            "close it, or write the command into a script",
        )
    })?;
    if words.len() > WORDS_MAX {
        return Err(Wrong::new(
            format!("the command has more than {WORDS_MAX} words"),
            "write it into a script",
        ));
    }
    match words.first() {
        Some(program) if Path::new(program).is_absolute() => Ok(words),
        Some(program) => Err(Wrong::new(
            format!("the command `{}` is no absolute path", shown(program)),
            "write the whole path; no shell is started: write `/bin/sh -c '…'` where you need one",
        )),
        None => Err(Wrong::new(
            "the command has no words",
            "write the path of a program, and its arguments",
        )),
    }
}

/// A list of conditions, `sync#1(up) sync#2(up|warn)`. Without states, `up`.
pub(super) fn requirements(text: &str, action: SyncAction) -> Result<Vec<Requirement>, Wrong> {
    text.split_whitespace()
        .map(|word| requirement(word, action))
        .collect()
}

fn requirement(word: &str, action: SyncAction) -> Result<Requirement, Wrong> {
    let malformed = || {
        Wrong::new(
            format!("`{}` is no condition", shown(word)),
            "write `sync#2(up)` or `sync#2(up|warn)`, several separated by blanks",
        )
    };
    let (name, states) = match word.split_once('(') {
        None => (word, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or_else(malformed)?)),
    };
    let Ok(rid) = Rid::parse(name) else {
        let is_of_agent = name.split_once('#').is_some_and(|(group, index)| {
            group != "sync" && !group.is_empty() && !index.is_empty()
        });
        return Err(if is_of_agent {
            Wrong::new(
                format!(
                    "`{}` is a resource of the cluster agent, whose state is not known here",
                    shown(name)
                ),
                "ask for it by a command: `active_check = /path/of/command`, which exits with 0 where the service is up",
            )
        } else {
            malformed()
        });
    };
    let mut required = Vec::new();
    for state in states.unwrap_or("up").split(['|', ',']) {
        let state = choice(state.trim(), &RequiredState::WORDS)?;
        if !required.contains(&state) {
            required.push(state);
        }
    }
    Ok(Requirement {
        action,
        rid,
        states: required,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_with_quotes_and_nothing_in_it_is_evaluated() {
        let words = argv(r#"/bin/sh -c 'echo "$HOME; x"' a\ b "" $(x)"#).unwrap();
        assert_eq!(
            words,
            ["/bin/sh", "-c", r#"echo "$HOME; x""#, "a b", "", "$(x)"]
        );
    }

    #[test]
    fn a_command_that_cannot_be_started_as_it_stands_is_refused() {
        for (text, part) in [
            ("touch /tmp/x", "no absolute path"),
            ("./x", "no absolute path"),
            ("", "no words"),
            ("''", "no absolute path"),
            ("/bin/echo 'a", "never closed"),
            ("/bin/echo a\n/bin/echo b", "more than one line"),
        ] {
            let wrong = argv(text).unwrap_err();
            assert!(wrong.problem.contains(part), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn conditions_name_resources_and_states_of_which_one_has_to_be_true() {
        let list =
            requirements("sync#1(up|n/a) sync#b(warn,undef) sync#2", SyncAction::Drp).unwrap();
        let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["sync#1(up|n/a)", "sync#b(warn|undef)", "sync#2(up)"]
        );
        assert!(list.iter().all(|one| one.action == SyncAction::Drp));
    }

    #[test]
    fn a_condition_on_a_resource_of_the_cluster_agent_is_answered_with_the_activity_check() {
        let wrong = requirements("fs#1(up)", SyncAction::All).unwrap_err();
        assert!(wrong.problem.contains("cluster agent"), "{wrong:?}");
        assert!(wrong.remedy.contains("active_check"), "{wrong:?}");
        for text in [
            "sync#1(",
            "sync#1(up",
            "sync(up)",
            "sync#1(on)",
            "sync#1()",
            "#1(up)",
        ] {
            assert!(requirements(text, SyncAction::All).is_err(), "{text}");
        }
    }
}
