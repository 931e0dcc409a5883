//! Which resources a command is about: `--rid`, `--tags`, `--subsets`.
//!
//! The three add up, as with the cluster agents: a resource is taken if any of
//! them names it. A tag expression `a+b` wants both tags. What names nothing in
//! any service is told by [`Selection::unknown`]: a typing error must not look
//! like a command that had nothing to do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::config::{Resource, Rid};

/// The resources that were asked for. Empty: all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Resource ids.
    pub rids: Vec<Rid>,
    /// Tags.
    pub tags: Vec<TagExpression>,
    /// Subsets.
    pub subsets: Vec<String>,
}

/// Tags that a resource has to have, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagExpression(BTreeSet<String>);

/// A tag expression has a part without a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tag is missing: write `tag`, or `tag1+tag2` for resources that have both")]
pub struct NoTag;

impl FromStr for TagExpression {
    type Err = NoTag;

    fn from_str(text: &str) -> Result<Self, NoTag> {
        let tags: BTreeSet<String> = text.split('+').map(str::to_owned).collect();
        if tags.iter().any(|tag| tag.trim().is_empty()) {
            return Err(NoTag);
        }
        Ok(Self(tags))
    }
}

impl fmt::Display for TagExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&tags.join("+"))
    }
}

impl Selection {
    /// True if nothing narrows it.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.rids.is_empty() && self.tags.is_empty() && self.subsets.is_empty()
    }

    /// True if the resource was asked for.
    #[must_use]
    pub fn takes(&self, resource: &Resource) -> bool {
        let subset = resource.subset.as_ref();
        self.is_everything()
            || self.rids.contains(&resource.rid)
            || self
                .tags
                .iter()
                .any(|tags| tags.0.is_subset(&resource.tags))
            || subset.is_some_and(|subset| self.subsets.contains(subset))
    }

    /// What was named and is nothing of any of these resources, as it was
    /// written.
    #[must_use]
    pub fn unknown(&self, resources: &[Resource]) -> Vec<String> {
        let mut unknown = Vec::new();
        for rid in &self.rids {
            if !resources.iter().any(|resource| resource.rid == *rid) {
                unknown.push(format!("--rid {rid}"));
            }
        }
        for tags in &self.tags {
            let has = |resource: &Resource| tags.0.is_subset(&resource.tags);
            if !resources.iter().any(has) {
                unknown.push(format!("--tags {tags}"));
            }
        }
        for subset in &self.subsets {
            let has = |resource: &Resource| resource.subset.as_ref() == Some(subset);
            if !resources.iter().any(has) {
                unknown.push(format!("--subsets {subset}"));
            }
        }
        unknown
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sync::config::{NodeName, Service, ServiceName};

    fn resources() -> Vec<Resource> {
        let text = "[DEFAULT]\nnodes = n1 n2\ntarget = nodes\n\
            [sync#1]\nsrc = t/a\ntags = slow big\n[sync#2]\nsrc = t/b\ntags = slow\n\
            [sync#3]\nsrc = t/c\nsubset = night\n";
        let name = ServiceName::parse("web").unwrap();
        let service = Service::parse(&name, Path::new("f"), text.as_bytes()).unwrap();
        service.resolve(&NodeName::parse("n1").unwrap()).unwrap()
    }

    fn taken(selection: &Selection) -> Vec<String> {
        let resources = resources();
        let taken = resources
            .iter()
            .filter(|resource| selection.takes(resource));
        taken.map(|resource| resource.rid.to_string()).collect()
    }

    #[test]
    fn what_is_named_by_any_option_is_taken_and_without_options_everything() {
        assert_eq!(taken(&Selection::default()).len(), 3);
        let mut selection = Selection {
            rids: vec![Rid::parse("sync#2").unwrap()],
            ..Selection::default()
        };
        assert_eq!(taken(&selection), ["sync#2"]);
        selection.subsets.push("night".to_owned());
        assert_eq!(taken(&selection), ["sync#2", "sync#3"]);
    }

    #[test]
    fn a_plus_between_tags_wants_both() {
        let by = |text: &str| Selection {
            tags: vec![text.parse().unwrap()],
            ..Selection::default()
        };
        assert_eq!(taken(&by("slow")), ["sync#1", "sync#2"]);
        assert_eq!(taken(&by("slow+big")), ["sync#1"]);
        for text in ["", "+", "slow+", "+big"] {
            assert_eq!(text.parse::<TagExpression>(), Err(NoTag), "{text}");
        }
    }

    #[test]
    fn what_names_nothing_is_told() {
        let selection = Selection {
            rids: vec![Rid::parse("sync#1").unwrap(), Rid::parse("sync#9").unwrap()],
            tags: vec!["slow+night".parse().unwrap(), "big".parse().unwrap()],
            subsets: vec!["nigth".to_owned(), "night".to_owned()],
        };
        let unknown = selection.unknown(&resources());
        let expected = ["--rid sync#9", "--tags night+slow", "--subsets nigth"];
        assert_eq!(unknown, expected);
        assert!(Selection::default().unknown(&[]).is_empty());
    }
}
