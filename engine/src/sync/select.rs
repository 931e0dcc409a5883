//! Which resources and targets of a service a command is about.
//!
//! `--rid`, `--tags`, `--subsets` and `--target`: the words of one option are
//! alternatives, the options narrow each other down. A word that fits nothing
//! in the configuration is a mistake of whoever typed it, never an empty
//! selection: a copy that nobody refreshes because of a typing error looks
//! like one that is up to date.

use std::collections::BTreeSet;

use super::config::{Resource, Rid, TargetKind};
use crate::error::Family;

/// A choice; the default one takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Resource ids; empty for all.
    pub rids: Vec<Rid>,
    /// Resources with one of these `tags`; empty for all.
    pub tags: Vec<String>,
    /// Resources whose `subset` is one of these; empty for all.
    pub subsets: Vec<String>,
    /// Targets of these groups; empty for all.
    pub targets: Vec<TargetKind>,
}

/// A word of a selection that the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} {word}: no resource here has it (there is {known})")]
pub struct UnknownWord {
    /// The option.
    pub option: &'static str,
    /// What was asked for.
    pub word: String,
    /// What there is, joined by blanks.
    pub known: String,
}

impl UnknownWord {
    /// The family of this error.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::Usage
    }
}

impl Selection {
    /// True if the resource is meant.
    #[must_use]
    pub fn takes(&self, resource: &Resource) -> bool {
        let subset = resource.subset.as_ref();
        (self.rids.is_empty() || self.rids.contains(&resource.rid))
            && (self.tags.is_empty() || self.tags.iter().any(|tag| resource.tags.contains(tag)))
            && (self.subsets.is_empty()
                || subset.is_some_and(|subset| self.subsets.contains(subset)))
    }

    /// True if targets of this group are meant.
    #[must_use]
    pub fn takes_target(&self, kind: TargetKind) -> bool {
        self.targets.is_empty() || self.targets.contains(&kind)
    }

    /// Looks for words that fit none of `resources`: those of every service
    /// the command is about.
    ///
    /// # Errors
    /// [`UnknownWord`], the first.
    pub fn check<'r>(
        &self,
        resources: impl IntoIterator<Item = &'r Resource>,
    ) -> Result<(), UnknownWord> {
        let (mut rids, mut tags, mut subsets) = (words(), words(), words());
        for resource in resources {
            rids.insert(resource.rid.as_str());
            tags.extend(resource.tags.iter().map(String::as_str));
            subsets.extend(resource.subset.as_deref());
        }
        let asked_rids = self.rids.iter().map(Rid::as_str);
        missing("--rid", asked_rids, &rids)?;
        missing("--tags", self.tags.iter().map(String::as_str), &tags)?;
        missing("--subsets", self.subsets.iter().map(String::as_str), &subsets)
    }
}

fn words<'w>() -> BTreeSet<&'w str> {
    BTreeSet::new()
}

fn missing<'w>(
    option: &'static str,
    asked: impl Iterator<Item = &'w str>,
    known: &BTreeSet<&str>,
) -> Result<(), UnknownWord> {
    let mut asked = asked;
    match asked.find(|word| !known.contains(word)) {
        None => Ok(()),
        Some(word) => Err(UnknownWord {
            option,
            word: word.to_owned(),
            known: match known.is_empty() {
                true => "none".to_owned(),
                false => known.iter().copied().collect::<Vec<_>>().join(" "),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sync::config::{NodeName, Service, ServiceName};

    fn resources() -> Vec<Resource> {
        let text = "[DEFAULT]\nnodes = a b\ntarget = nodes\n\
            [sync#1]\ntype = zfs\nsrc = tank/a\ntags = db delay_snap\nsubset = s1\n\
            [sync#2]\ntype = zfs\nsrc = tank/b\ntags = web\n";
        let name = ServiceName::parse("svc").unwrap();
        let service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
        service.resolve(&NodeName::parse("a").unwrap()).unwrap()
    }

    fn taken(selection: &Selection) -> Vec<String> {
        let resources = resources();
        selection.check(&resources).unwrap();
        let taken = resources.iter().filter(|one| selection.takes(one));
        taken.map(|one| one.rid.to_string()).collect()
    }

    #[test]
    fn words_of_an_option_are_alternatives_and_options_narrow_each_other() {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(taken(&Selection::default()), ["sync#1", "sync#2"]);
        let mut selection = Selection {
            tags: strings(&["db", "web"]),
            ..Selection::default()
        };
        assert_eq!(taken(&selection), ["sync#1", "sync#2"]);
        selection.subsets = strings(&["s1"]);
        assert_eq!(taken(&selection), ["sync#1"]);
        selection.rids = vec![Rid::parse("sync#2").unwrap()];
        assert_eq!(taken(&selection), [""; 0]);
    }

    #[test]
    fn a_word_that_no_resource_has_is_a_mistake_that_names_what_there_is() {
        let rid = Selection {
            rids: vec![Rid::parse("sync#1").unwrap(), Rid::parse("sync#9").unwrap()],
            ..Selection::default()
        };
        let error = rid.check(&resources()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--rid sync#9: no resource here has it (there is sync#1 sync#2)"
        );
        let tag = Selection {
            tags: vec!["dbb".to_owned()],
            ..Selection::default()
        };
        assert!(tag.check(&resources()).is_err());
        let subset = Selection {
            subsets: vec!["s2".to_owned()],
            ..Selection::default()
        };
        let error = subset.check(&resources()[1..]).unwrap_err();
        assert!(error.known == "none", "{error}");
    }
}
