//! What can be judged without a node: do sections, keywords and scopes exist,
//! and is each of them there once?

use std::collections::HashMap;

use super::cluster::Cluster;
use super::ini::{Document, Entry, Section};
use super::keyword::{self, Home, Meaning, Scoping, SectionMeaning};
use super::mistake::{Mistake, MistakeKind, Notice, Place};
use super::names::{NodeName, Rid};
use super::value::{boolean, shown};

/// What the checks find.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What has to be changed.
    pub mistakes: Vec<Mistake>,
    /// What has no effect.
    pub notices: Vec<Notice>,
}

impl Findings {
    fn wrong(&mut self, place: Place, kind: MistakeKind, problem: String, remedy: String) {
        self.mistakes.push(Mistake {
            place,
            kind,
            problem,
            remedy,
        });
    }

    fn notice(&mut self, place: Place, text: String) {
        self.notices.push(Notice { place, text });
    }
}

/// Checks sections and keywords; returns the resources that are of type zfs,
/// in the order of the file.
pub(super) fn check(document: &Document, cluster: &Cluster, findings: &mut Findings) -> Vec<Rid> {
    let mut rids = Vec::new();
    for section in &document.sections {
        match keyword::section_meaning(&section.name) {
            SectionMeaning::Default => check_entries(section, cluster, findings),
            SectionMeaning::Env => check_duplicates(section, findings),
            SectionMeaning::Foreign => findings.notice(
                heading(section),
                "not a replication resource; the section is used for references only".to_owned(),
            ),
            SectionMeaning::Unknown => unknown_section(section, findings),
            SectionMeaning::Resource(rid) => {
                let other_type = type_of(document, section).filter(|value| *value != "zfs");
                if let Some(value) = other_type {
                    findings.notice(
                        heading(section),
                        format!("resources of type {} are not handled here", shown(value)),
                    );
                } else {
                    check_entries(section, cluster, findings);
                    rids.push(rid);
                }
            }
        }
    }
    rids
}

fn type_of<'a>(document: &'a Document, section: &'a Section) -> Option<&'a str> {
    let unscoped = |section: &'a Section| {
        section
            .entries
            .iter()
            .find(|entry| entry.keyword == "type" && entry.scope.is_none())
    };
    unscoped(section)
        .or_else(|| document.section("DEFAULT").and_then(unscoped))
        .map(|entry| entry.value.as_str())
}

fn heading(section: &Section) -> Place {
    Place {
        line: Some(section.line),
        section: Some(section.name.clone()),
        keyword: None,
    }
}

fn unknown_section(section: &Section, findings: &mut Findings) {
    let remedy = match keyword::similar_section(&section.name) {
        Some(name) if name != section.name => format!("did you mean [{name}]?"),
        _ => "sections are [DEFAULT], [env] and [sync#1], [sync#2] …; an index has letters, digits, `-` and `_`".to_owned(),
    };
    findings.wrong(
        heading(section),
        MistakeKind::UnknownSection,
        format!("the section `{}` is not known", shown(&section.name)),
        remedy,
    );
}

fn check_duplicates(section: &Section, findings: &mut Findings) {
    let mut first_lines: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for entry in &section.entries {
        let key = (entry.keyword.as_str(), entry.scope.as_deref());
        if let Some(first) = first_lines.get(&key) {
            findings.wrong(
                section.place(entry),
                MistakeKind::Duplicate,
                format!("it is already set on line {first}"),
                "keep one of the two lines".to_owned(),
            );
        } else {
            first_lines.insert(key, entry.line);
        }
    }
}

fn check_entries(section: &Section, cluster: &Cluster, findings: &mut Findings) {
    check_duplicates(section, findings);
    for entry in &section.entries {
        let place = section.place(entry);
        match keyword::meaning(&entry.keyword) {
            None => {
                let remedy = match keyword::similar_keyword(&entry.keyword) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => "remove the line, or put a value for references into [env]".to_owned(),
                };
                findings.wrong(
                    place,
                    MistakeKind::UnknownKeyword,
                    format!("the keyword `{}` is not known", shown(&entry.keyword)),
                    remedy,
                );
            }
            Some(Meaning::Foreign) => findings.notice(
                place,
                "a keyword of the cluster agent; it has no effect here".to_owned(),
            ),
            Some(Meaning::Evaluated(home, scoping)) => {
                if home == Home::Default && section.name != "DEFAULT" {
                    findings.wrong(
                        place.clone(),
                        MistakeKind::UnknownKeyword,
                        format!("`{}` is about the whole service", entry.keyword),
                        "move the line to [DEFAULT]".to_owned(),
                    );
                }
                if entry.keyword == "rollback" && boolean(&entry.value).is_ok() {
                    findings.notice(
                        place.clone(),
                        "true and false are of the cluster agent and have no effect here; what is written on a target is kept unless it says `modified`".to_owned(),
                    );
                }
                check_scope(entry, place, scoping, cluster, findings);
            }
        }
    }
}

fn check_scope(
    entry: &Entry,
    place: Place,
    scoping: Scoping,
    cluster: &Cluster,
    findings: &mut Findings,
) {
    let Some(scope) = entry.scope.as_deref() else {
        return;
    };
    if scoping == Scoping::SameEverywhere {
        findings.wrong(
            place,
            MistakeKind::BadScope,
            format!(
                "`{}` takes no scope: it is the same on all nodes",
                entry.keyword
            ),
            format!("write `{} = …` without `@{}`", entry.keyword, shown(scope)),
        );
        return;
    }
    let known = ["nodes", "drpnodes", "flex_primary", "drp_flex_primary"];
    if known.contains(&scope) || cluster.all().any(|node| node.as_str() == scope) {
        return;
    }
    if scope == "encapnodes" {
        findings.notice(
            place,
            "the scope @encapnodes applies to no node here".to_owned(),
        );
        return;
    }
    // A former node is left behind in many files and does no harm. What names
    // an existing node or group almost right was meant to apply, and without
    // it another value would silently take its place.
    let meant = cluster
        .all()
        .map(NodeName::as_str)
        .find(|node| is_same_host(node, scope))
        .or_else(|| {
            // `node3` is one letter from `nodes` and no misspelling of it.
            let has_digit = scope.contains(|c: char| c.is_ascii_digit());
            keyword::nearest(scope, known).filter(|_| !has_digit)
        });
    match meant {
        Some(name) => findings.wrong(
            place,
            MistakeKind::BadScope,
            format!("no node of the service is called `{}`", shown(scope)),
            format!(
                "did you mean `{}@{name}`? Names compare exactly",
                entry.keyword
            ),
        ),
        None => findings.notice(
            place,
            format!(
                "no node of the service is called `{}`: the line applies to nobody",
                shown(scope)
            ),
        ),
    }
}

/// True if two names differ in case only, or one is the other without its
/// domain.
fn is_same_host(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let is_short_of = |short: &str, long: &str| {
        long.strip_prefix(short)
            .is_some_and(|domain| domain.is_empty() || domain.starts_with('.'))
            && !short.contains('.')
    };
    one == other || is_short_of(&one, &other) || is_short_of(&other, &one)
}
