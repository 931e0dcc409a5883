//! Which value a keyword has on a node: scopes, fallback, references.
//!
//! Priority of scopes: `key@nodename`, `key@nodes`, `key@drpnodes`,
//! `key@flex_primary`, `key@drp_flex_primary`, `key`; first all of them in the
//! resource's section, then all of them in `[DEFAULT]`. An empty value is a
//! value: `src@drp1 =` means that drp1 has no source. Then references are
//! expanded: `{keyword}` (the same section, then `[DEFAULT]`),
//! `{section.keyword}`, `{env.x}`, `{nodename}`, `{name}`, `{rid}`,
//! `{rindex}`. Reads no file and knows no types.

use super::ini::{Document, Entry, Section};
use super::mistake::{Mistake, MistakeKind, Place};
use super::names::{NodeName, Rid, ServiceName};
use super::value::shown;
use super::{cluster::Cluster, keyword};

/// How deep references may be nested.
const REFERENCE_DEPTH_MAX: usize = 32;

/// How many references one value may need in all. Without a limit, a chain of
/// values that mention the next one twice takes exponential time.
const REFERENCES_MAX: usize = 256;

/// Longest expanded value in bytes.
const VALUE_BYTES_MAX: usize = 8192;

/// A value with its references expanded, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The value.
    pub text: String,
    /// The entry it came from.
    pub place: Place,
}

/// Looks keywords up as one node sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup<'a> {
    /// The file.
    pub document: &'a Document,
    /// The service, for `{name}`.
    pub service: &'a ServiceName,
    /// The nodes, for scopes.
    pub cluster: &'a Cluster,
    /// The node; `None` for what has to be the same everywhere.
    pub node: Option<&'a NodeName>,
}

impl<'a> Lookup<'a> {
    /// The value of `keyword` in `section`, or `None` if it is not set.
    pub(super) fn find(&self, section: &str, keyword: &str) -> Result<Option<Found>, Mistake> {
        let Some((home, entry)) = self.entry(section, keyword) else {
            return Ok(None);
        };
        let text = Expansion::default().expand(self, section, home, entry)?;
        Ok(Some(Found {
            text: text.trim().to_owned(),
            place: home.place(entry),
        }))
    }

    /// The value as it is written, for text that nothing is expanded in.
    pub(super) fn find_literal(&self, section: &str, keyword: &str) -> Option<String> {
        let (_, entry) = self.entry(section, keyword)?;
        Some(entry.value.clone())
    }

    /// The place of the entry that `keyword` is read from, or of the section
    /// that should have it.
    pub(super) fn place(&self, section: &str, keyword: &str) -> Place {
        match self.entry(section, keyword) {
            Some((home, entry)) => home.place(entry),
            None => match self.document.section(section) {
                Some(home) => home.place_of_missing(keyword),
                None => Place {
                    line: None,
                    section: Some(section.to_owned()),
                    keyword: Some(keyword.to_owned()),
                },
            },
        }
    }

    fn entry(&self, section: &str, keyword: &str) -> Option<(&'a Section, &'a Entry)> {
        let own = self.best_in(section, keyword);
        match section {
            "DEFAULT" | "env" => own,
            _ => own.or_else(|| self.best_in("DEFAULT", keyword)),
        }
    }

    fn best_in(&self, section: &str, keyword: &str) -> Option<(&'a Section, &'a Entry)> {
        let home = self.document.section(section)?;
        home.entries
            .iter()
            .filter(|entry| entry.keyword == keyword)
            .filter_map(|entry| Some((self.rank(entry.scope.as_deref())?, entry)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| (home, entry))
    }

    /// The priority of a scope, best first; `None` if it does not apply.
    fn rank(&self, scope: Option<&str>) -> Option<u8> {
        let Some(scope) = scope else { return Some(5) };
        let node = self.node?;
        let (applies, rank) = match scope {
            "nodes" => (self.cluster.nodes.contains(node), 1),
            "drpnodes" => (self.cluster.drpnodes.contains(node), 2),
            "flex_primary" => (self.cluster.flex_primary.as_ref() == Some(node), 3),
            "drp_flex_primary" => (self.cluster.drp_flex_primary.as_ref() == Some(node), 4),
            name => (name == node.as_str(), 0),
        };
        applies.then_some(rank)
    }
}

/// An entry that is being expanded.
struct Open<'a> {
    home: &'a Section,
    entry: &'a Entry,
    /// The section it is expanded for.
    context: String,
}

/// The mistake of a circle of entries. It is told from its first line on, so
/// that one circle is one mistake wherever it was entered.
fn circle(entries: &[Open<'_>]) -> Mistake {
    let first = (0..entries.len())
        .min_by_key(|&at| entries[at].entry.line)
        .unwrap_or_default();
    let way = entries[first..].iter().chain(&entries[..=first]);
    let way: Vec<&str> = way.map(|open| open.entry.written.as_str()).collect();
    Mistake {
        place: entries[first].home.place(entries[first].entry),
        kind: MistakeKind::BadReference,
        problem: format!("the references go round in a circle: {}", way.join(" → ")),
        remedy: "give one of them a value of its own".to_owned(),
    }
}

/// The expansion of one value: what it is inside of, and what it has cost.
#[derive(Default)]
struct Expansion<'a> {
    /// The entries being expanded, outermost first.
    open: Vec<Open<'a>>,
    references: usize,
}

impl<'a> Expansion<'a> {
    /// Expands `entry` of `home` for the section `context`.
    fn expand(
        &mut self,
        lookup: &Lookup<'a>,
        context: &str,
        home: &'a Section,
        entry: &'a Entry,
    ) -> Result<String, Mistake> {
        let wrong = |problem: String, remedy: &str| Mistake {
            place: home.place(entry),
            kind: MistakeKind::BadReference,
            problem,
            remedy: remedy.to_owned(),
        };
        let is_open = |open: &Open<'_>| open.entry.line == entry.line && open.context == context;
        if let Some(start) = self.open.iter().position(is_open) {
            return Err(circle(&self.open[start..]));
        }
        if self.open.len() >= REFERENCE_DEPTH_MAX {
            return Err(wrong(
                format!("references are nested more than {REFERENCE_DEPTH_MAX} deep"),
                "write the value out",
            ));
        }
        self.open.push(Open {
            home,
            entry,
            context: context.to_owned(),
        });
        let mut text = String::new();
        let mut rest = entry.value.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                return Err(wrong(
                    format!("the `{{` before `{}` is never closed", shown(after)),
                    "write references as `{keyword}` or `{section.keyword}`",
                ));
            };
            rest = tail;
            self.references += 1;
            if self.references > REFERENCES_MAX {
                return Err(wrong(
                    format!("its expansion takes more than {REFERENCES_MAX} references"),
                    "write the value out",
                ));
            }
            match self.reference(lookup, context, name)? {
                Ok(value) => text.push_str(&value),
                Err(problem) => {
                    return Err(wrong(
                        format!("`{{{}}}` {problem}", shown(name)),
                        "set it, or write the value out",
                    ));
                }
            }
            if text.len() > VALUE_BYTES_MAX {
                break;
            }
        }
        text.push_str(rest);
        if text.len() > VALUE_BYTES_MAX {
            return Err(wrong(
                format!("the value is longer than {VALUE_BYTES_MAX} bytes"),
                "write a shorter one",
            ));
        }
        self.open.pop();
        Ok(text)
    }

    /// The value of `{name}`, or what is wrong with it in words that follow
    /// the name; the outer error is a mistake in another entry on the way.
    fn reference(
        &mut self,
        lookup: &Lookup<'a>,
        context: &str,
        name: &str,
    ) -> Result<Result<String, String>, Mistake> {
        let of_rid = |text: fn(&Rid) -> String| {
            Rid::parse(context)
                .map(|rid| text(&rid))
                .map_err(|_| "has no value outside of a resource".to_owned())
        };
        match name {
            "nodename" => {
                let node = lookup.node.map(ToString::to_string);
                return Ok(node.ok_or_else(|| {
                    "has no value here: the keyword is the same on all nodes".to_owned()
                }));
            }
            "name" | "svcname" => return Ok(Ok(lookup.service.to_string())),
            "rid" => return Ok(of_rid(Rid::to_string)),
            "rindex" => return Ok(of_rid(|rid| rid.index().to_owned())),
            _ => {}
        }
        let (section, word) = name.split_once('.').unwrap_or((context, name));
        let Some((home, entry)) = lookup.entry(section, keyword::canonical(word)) else {
            let node = lookup.node.map(|node| format!(" for node {node}"));
            return Ok(Err(format!("is not set{}", node.unwrap_or_default())));
        };
        // A value of [env] or [DEFAULT] is a template for the resource that
        // mentions it; a value of another resource is about that resource.
        let context = match section {
            "env" | "DEFAULT" => context,
            _ => section,
        };
        self.expand(lookup, context, home, entry).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn cluster() -> Cluster {
        Cluster {
            nodes: vec![node("n1"), node("n2")],
            drpnodes: vec![node("d1"), node("d2")],
            flex_primary: Some(node("n1")),
            drp_flex_primary: Some(node("d1")),
        }
    }

    fn find(text: &str, on: &str, keyword: &str) -> Result<Option<String>, String> {
        let document = Document::parse(text.as_bytes(), &mut Vec::new());
        let (service, cluster, on) = (ServiceName::parse("svc").unwrap(), cluster(), node(on));
        let lookup = Lookup {
            document: &document,
            service: &service,
            cluster: &cluster,
            node: Some(&on),
        };
        match lookup.find("sync#1", keyword) {
            Ok(found) => Ok(found.map(|found| found.text)),
            Err(mistake) => Err(mistake.to_string()),
        }
    }

    fn src(text: &str, on: &str) -> String {
        find(text, on, "src")
            .unwrap()
            .unwrap_or_else(|| "unset".into())
    }

    #[test]
    fn scopes_win_in_the_documented_order() {
        let mut lines = vec![
            "src@n1 = name",
            "src@nodes = nodes",
            "src@flex_primary = primary",
            "src = bare",
        ];
        for expected in ["name", "nodes", "primary", "bare"] {
            let text = format!("[sync#1]\n{}", lines.join("\n"));
            assert_eq!(src(&text, "n1"), expected);
            lines.remove(0);
        }
        let text = "[sync#1]\nsrc@drp_flex_primary = a\nsrc@drpnodes = b\nsrc = c\n";
        assert_eq!(src(text, "d1"), "b");
        assert_eq!(src(text, "n1"), "c");
        let text = "[sync#1]\nsrc@drp_flex_primary = a\nsrc = c\n";
        assert_eq!((src(text, "d1"), src(text, "d2")), ("a".into(), "c".into()));
    }

    #[test]
    fn any_scope_of_the_section_wins_over_the_best_of_default() {
        let text = "[DEFAULT]\nsrc@n1 = default\n[sync#1]\nsrc = own\n";
        assert_eq!(src(text, "n1"), "own");
        assert_eq!(
            src("[DEFAULT]\nsrc@n1 = default\n[sync#1]\n", "n1"),
            "default"
        );
        assert_eq!(
            src("[DEFAULT]\nsrc@n1 = default\n[sync#1]\n", "n2"),
            "unset"
        );
    }

    #[test]
    fn a_scope_names_its_node_exactly() {
        assert_eq!(src("[sync#1]\nsrc@N1 = a\n", "n1"), "unset");
    }

    #[test]
    fn an_empty_value_hides_the_wider_scopes() {
        assert_eq!(src("[sync#1]\nsrc = a\nsrc@n1 =\n", "n1"), "");
    }

    #[test]
    fn references_are_expanded_on_the_node_that_asks() {
        let text = "[DEFAULT]\napp = x\n[env]\nroot = tank/{name}/{rindex}\nroot@n2 = pool\n\
                    [sync#1]\nsrc = {env.root}/{nodename}/{comment}\ncomment = {DEFAULT.app}{rid}\n";
        assert_eq!(src(text, "n1"), "tank/svc/1/n1/xsync#1");
        assert_eq!(src(text, "n2"), "pool/n2/xsync#1");
    }

    #[test]
    fn a_reference_to_another_resource_is_about_that_resource() {
        let text = "[sync#1]\nsrc = {sync#2.src}\n[sync#2]\nsrc = tank/{rindex}\n";
        assert_eq!(src(text, "n1"), "tank/2");
    }

    #[test]
    fn a_circular_reference_is_reported_with_the_way_round() {
        let text = "[sync#1]\nsrc = {dst}\ndst = a/{comment}\ncomment = {src}\n";
        let error = find(text, "n1", "src").unwrap_err();
        assert!(error.contains("src → dst → comment → src"), "{error}");
        let error = find("[sync#1]\nsrc = {sync#1.src}\n", "n1", "src").unwrap_err();
        assert!(error.contains("src → src"), "{error}");
    }

    #[test]
    fn a_reference_to_nothing_names_the_node_it_was_asked_for() {
        let error = find("[sync#1]\nsrc = {dst}\ndst@n1 = a\n", "n2", "src").unwrap_err();
        assert_eq!(
            error,
            "line 2 [sync#1] src: `{dst}` is not set for node n2; set it, or write the value out"
        );
        assert!(find("[sync#1]\nsrc = {env.x}\n", "n1", "src").is_err());
        assert!(find("[sync#1]\nsrc = a{b\n", "n1", "src").is_err());
    }

    #[test]
    fn references_that_double_and_double_again_are_cut_off() {
        let mut text = "[env]\n".to_owned();
        for n in 0..30 {
            text.push_str(&format!("v{n} = {{env.v{0}}}{{env.v{0}}}\n", n + 1));
        }
        text.push_str("v30 =\n[sync#1]\nsrc = {env.v0}\n");
        let error = find(&text, "n1", "src").unwrap_err();
        assert!(error.contains("more than 256 references"), "{error}");
    }

    #[test]
    fn a_chain_of_references_is_cut_off_before_the_stack_is() {
        let mut text = "[env]\n".to_owned();
        for n in 0..5000 {
            text.push_str(&format!("v{n} = {{env.v{}}}\n", n + 1));
        }
        text.push_str("[sync#1]\nsrc = {env.v0}\n");
        let error = find(&text, "n1", "src").unwrap_err();
        assert!(error.contains("nested more than 32 deep"), "{error}");
    }
}
