//! The keywords: which exist, where they may stand, and whether they may be
//! scoped.
//!
//! Two kinds: those this program evaluates, and those of the cluster agent
//! whose files people point at us, which are none of our business. The latter
//! earn a notice, everything else is a mistake with the nearest known word.

use super::command::{SyncAction, When, requires_keyword, trigger_keyword};
use super::names::Rid;

/// Where a keyword may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In `[DEFAULT]` only: it is about the service.
    Default,
    /// In `[sync#N]`, or in `[DEFAULT]` for all of them.
    Resource,
}

/// Whether a keyword may be followed by `@scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scoping {
    /// It may.
    Scoped,
    /// All nodes must read the same value.
    SameEverywhere,
}

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Evaluated.
    Evaluated(Home, Scoping),
    /// Of the cluster agent.
    Foreign,
}

use Home::{Default as InDefault, Resource as InResource};
use Scoping::{SameEverywhere, Scoped};

/// The evaluated keywords. What defines the service's nodes is the same
/// everywhere, or two nodes could both believe that they send.
const EVALUATED: [(&str, Home, Scoping); 42] = [
    ("nodes", InDefault, SameEverywhere),
    ("drpnodes", InDefault, SameEverywhere),
    ("flex_primary", InDefault, SameEverywhere),
    ("drp_flex_primary", InDefault, SameEverywhere),
    ("topology", InDefault, SameEverywhere),
    ("env", InDefault, SameEverywhere),
    ("lock_timeout", InDefault, SameEverywhere),
    ("type", InResource, SameEverywhere),
    ("src", InResource, Scoped),
    ("dst", InResource, Scoped),
    ("target", InResource, Scoped),
    ("recursive", InResource, Scoped),
    ("intermediary", InResource, Scoped),
    ("sync_max_delay", InResource, SameEverywhere),
    ("optional", InResource, Scoped),
    ("disable", InResource, Scoped),
    ("tags", InResource, Scoped),
    ("comment", InResource, Scoped),
    ("schedule", InResource, Scoped),
    ("naming", InResource, SameEverywhere),
    ("address", InResource, Scoped),
    ("ssh_user", InResource, Scoped),
    ("ssh_port", InResource, Scoped),
    ("ssh_identity", InResource, Scoped),
    ("ssh_known_hosts", InResource, Scoped),
    ("remote_command", InResource, Scoped),
    ("image", InResource, Scoped),
    ("node_env", InDefault, Scoped),
    ("subset", InResource, Scoped),
    ("timeout", InResource, Scoped),
    ("retry_for", InResource, Scoped),
    ("stall_timeout", InResource, Scoped),
    ("bandwidth_limit", InResource, Scoped),
    ("dscp", InResource, Scoped),
    ("presnap_trigger", InResource, Scoped),
    ("postsnap_trigger", InResource, Scoped),
    ("active_check", InResource, Scoped),
    ("alert_command", InResource, Scoped),
    ("keep_old", InResource, Scoped),
    ("hold_base", InResource, Scoped),
    ("rollback", InResource, Scoped),
    ("legacy_state", InResource, Scoped),
];

/// Other spellings: of the documentation, and of older agents.
const ALIASES: [(&str, &str); 6] = [
    ("drpnode", "drpnodes"),
    ("max_delay", "sync_max_delay"),
    ("cluster_type", "topology"),
    ("service_type", "env"),
    ("sync_schedule", "schedule"),
    ("sync_timeout", "timeout"),
];

/// Keywords of the cluster agent that say nothing about replication.
const FOREIGN: [&str; 65] = [
    "access",
    "always_on",
    "app",
    "autostart_node",
    "aws",
    "aws_profile",
    "bwlimit",
    "children",
    "cn",
    "comp_schedule",
    "constraints",
    "container_data_dir",
    "create_pg",
    "docker_daemon_args",
    "docker_daemon_private",
    "docker_data_dir",
    "docker_exe",
    "dockerd_exe",
    "encap",
    "encapnodes",
    "flex_cpu_high_threshold",
    "flex_cpu_low_threshold",
    "flex_max",
    "flex_max_nodes",
    "flex_min",
    "flex_min_nodes",
    "flex_target",
    "hard_affinity",
    "hard_anti_affinity",
    "id",
    "mode",
    "monitor",
    "monitor_action",
    "monitor_schedule",
    "no_preempt_abort",
    "orchestrate",
    "parents",
    "placement",
    "pool",
    "pre_monitor_action",
    "priority",
    "prkey",
    "provision",
    "push_schedule",
    "registry_creds",
    "resinfo_schedule",
    "restart",
    "run_schedule",
    "scale",
    "scaler_slave",
    "scsireserv",
    "shared",
    "show_disabled",
    "size",
    "slaves",
    "soft_affinity",
    "soft_anti_affinity",
    "standby",
    "start_timeout",
    "stat_timeout",
    "status_schedule",
    "stonith",
    "stop_timeout",
    "sync_interval",
    "unprovision",
];

/// Actions of the cluster agent that have triggers or requirements.
const FOREIGN_ACTIONS: [&str; 9] = [
    "start",
    "stop",
    "startstandby",
    "provision",
    "unprovision",
    "run",
    "sync_resync",
    "sync_restore",
    "boot",
];

/// Kinds of sections that belong to the cluster agent, before the `#`.
const FOREIGN_SECTIONS: [&str; 18] = [
    "app",
    "certificate",
    "container",
    "data",
    "disk",
    "expose",
    "fs",
    "hashpolicy",
    "hb",
    "ip",
    "labels",
    "pool",
    "route",
    "share",
    "subset",
    "task",
    "vhost",
    "volume",
];

/// The keyword that `word` is another spelling of, or `word` itself.
pub(super) fn canonical(word: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == word)
        .map_or(word, |(_, keyword)| keyword)
}

/// What becomes of `word` (canonical), or `None` if nobody knows it.
pub(super) fn meaning(word: &str) -> Option<Meaning> {
    if let Some((_, home, scoping)) = EVALUATED.iter().find(|(keyword, ..)| *keyword == word) {
        return Some(Meaning::Evaluated(*home, *scoping));
    }
    if action_keywords().any(|keyword| keyword == word) {
        return Some(Meaning::Evaluated(InResource, Scoped));
    }
    let foreign = FOREIGN.contains(&word)
        || word.starts_with("pg_")
        || trigger_of(word).is_some_and(|action| FOREIGN_ACTIONS.contains(&action))
        || word
            .strip_suffix("_requires")
            .is_some_and(|action| FOREIGN_ACTIONS.contains(&action));
    foreign.then_some(Meaning::Foreign)
}

/// True if a line that begins with `word` is meant as an entry of its own.
pub(super) fn is_known(word: &str) -> bool {
    meaning(canonical(word)).is_some()
}

/// The keywords that name an action: triggers and requirements.
fn action_keywords() -> impl Iterator<Item = String> {
    SyncAction::ALL.into_iter().flat_map(|action| {
        [
            requires_keyword(action),
            trigger_keyword(action, When::Pre, false),
            trigger_keyword(action, When::Pre, true),
            trigger_keyword(action, When::Post, false),
            trigger_keyword(action, When::Post, true),
        ]
    })
}

fn trigger_of(word: &str) -> Option<&str> {
    let word = word.strip_prefix("blocking_").unwrap_or(word);
    word.strip_prefix("pre_")
        .or_else(|| word.strip_prefix("post_"))
}

/// What a section is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SectionMeaning {
    /// `[DEFAULT]`.
    Default,
    /// `[env]`: values for references.
    Env,
    /// `[sync#N]`.
    Resource(Rid),
    /// A section of the cluster agent.
    Foreign,
    /// A mistake.
    Unknown,
}

/// What the section `name` is for.
pub(super) fn section_meaning(name: &str) -> SectionMeaning {
    let group = name.split_once('#').map_or(name, |(group, _)| group);
    match name {
        "DEFAULT" => SectionMeaning::Default,
        "env" => SectionMeaning::Env,
        _ if FOREIGN_SECTIONS.contains(&group) => SectionMeaning::Foreign,
        _ => Rid::parse(name).map_or(SectionMeaning::Unknown, SectionMeaning::Resource),
    }
}

/// The section that somebody who wrote `name` may have meant.
pub(super) fn similar_section(name: &str) -> Option<String> {
    let (group, index) = name.split_once('#').unwrap_or((name, "1"));
    let known = ["DEFAULT", "env", "sync"]
        .into_iter()
        .chain(FOREIGN_SECTIONS);
    match nearest(group, known)? {
        "sync" => {
            let index: String = index.chars().filter(char::is_ascii_alphanumeric).collect();
            let index = if index.is_empty() { "1" } else { &index };
            Some(format!("sync#{index}"))
        }
        word => Some(word.to_owned()),
    }
}

/// The keyword that somebody who wrote `word` may have meant.
pub(super) fn similar_keyword(word: &str) -> Option<String> {
    let evaluated = EVALUATED.iter().map(|(keyword, ..)| *keyword);
    let aliases = ALIASES.iter().map(|(alias, _)| *alias);
    let of_actions: Vec<String> = action_keywords().collect();
    let of_actions = of_actions.iter().map(String::as_str);
    nearest(word, evaluated.chain(aliases).chain(of_actions)).map(str::to_owned)
}

/// The one of `known` that `word` is most likely a misspelling of: the same
/// but for case, or at most a third of its letters away.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are no misspelling of a keyword; the distance of two texts
    /// costs the product of their lengths.
    const WORD_BYTES_MAX: usize = 256;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let distance = strsim::osa_distance(&lower, &candidate.to_ascii_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_keyword_finds_the_right_one() {
        assert_eq!(similar_keyword("Src").as_deref(), Some("src"));
        assert_eq!(similar_keyword("recursiv").as_deref(), Some("recursive"));
        assert_eq!(
            similar_keyword("sync_maxdelay").as_deref(),
            Some("sync_max_delay")
        );
        assert_eq!(similar_keyword("tagret").as_deref(), Some("target"));
        assert_eq!(
            similar_keyword("pre_sync_nodse").as_deref(),
            Some("pre_sync_nodes")
        );
        assert_eq!(similar_keyword("zzzzzz"), None);
    }

    #[test]
    fn a_misspelled_section_finds_the_right_one() {
        assert_eq!(similar_section("snyc#2").as_deref(), Some("sync#2"));
        assert_eq!(similar_section("sync").as_deref(), Some("sync#1"));
        assert_eq!(similar_section("default").as_deref(), Some("DEFAULT"));
        assert_eq!(similar_section("quux"), None);
    }

    #[test]
    fn triggers_of_the_scheme_are_known_in_all_their_forms() {
        for word in [
            "pre_sync_nodes",
            "blocking_post_sync_full",
            "post_sync_all",
            "sync_drp_requires",
        ] {
            let here = Meaning::Evaluated(InResource, Scoped);
            assert_eq!(meaning(word), Some(here), "{word}");
        }
        assert_eq!(meaning("pre_sync_resync"), Some(Meaning::Foreign));
        assert_eq!(meaning("pre_start"), Some(Meaning::Foreign));
        assert_eq!(meaning("pre_sync_nodse"), None);
    }

    #[test]
    fn an_alias_is_no_keyword_of_its_own() {
        for (alias, keyword) in ALIASES {
            assert_eq!(meaning(alias), None, "{alias}");
            assert!(meaning(keyword).is_some() && is_known(alias), "{alias}");
        }
    }
}
