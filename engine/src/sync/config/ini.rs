//! Text of a configuration file → sections and entries with line numbers.
//!
//! The dialect of OpenSVC: `[section]`, `keyword = value`, `keyword@scope =
//! value`; a line that begins with `;` or `#` is a comment, and ` ;` (a blank
//! before it) ends a value, while `#` inside a value is text. A line that
//! begins with a blank continues the value above it. What keywords and
//! sections mean is left to the modules after this one; only the shape of the
//! lines is judged here.

use std::collections::HashMap;

use super::keyword;
use super::mistake::{Mistake, MistakeKind, Place};

/// Largest configuration file in bytes, 256 KiB: a hundred times what the
/// largest services need.
pub(super) const CONFIG_BYTES_MAX: u64 = 256 << 10;

/// One `keyword@scope = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// What stands before `@`, aliases resolved.
    pub keyword: String,
    /// The keyword and scope as written.
    pub written: String,
    /// What stands after `@`.
    pub scope: Option<String>,
    /// The value without comments and blanks around it; the lines of a
    /// continued value are separated by `\n`.
    pub value: String,
    /// Line number from 1. No two entries share one.
    pub line: usize,
}

/// One `[section]` and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// What stands between the brackets.
    pub name: String,
    /// Line number of the heading, from 1.
    pub line: usize,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

impl Section {
    /// The place of an entry of this section.
    pub(super) fn place(&self, entry: &Entry) -> Place {
        Place {
            line: Some(entry.line),
            section: Some(self.name.clone()),
            keyword: Some(entry.written.clone()),
        }
    }

    /// The place of a keyword that this section should have and has not.
    pub(super) fn place_of_missing(&self, keyword: &str) -> Place {
        Place {
            line: Some(self.line),
            section: Some(self.name.clone()),
            keyword: Some(keyword.to_owned()),
        }
    }
}

/// A whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// Its sections, in order.
    pub sections: Vec<Section>,
    /// Where in `sections` the first of each name is: every lookup asks.
    by_name: HashMap<String, usize>,
}

impl Document {
    /// The section of this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.by_name.get(name).map(|&at| &self.sections[at])
    }

    /// Reads `text`. Lines of a wrong shape become mistakes and are skipped,
    /// so that the rest of the file can be judged too.
    pub(super) fn parse(text: &[u8], mistakes: &mut Vec<Mistake>) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut document = Self::default();
        // Whether the next indented line has a value to continue.
        let mut open = Continues::Nothing;
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            let at = LineAt {
                number: index + 1,
                section: document.sections.last().map(|section| section.name.clone()),
            };
            let line = match readable(bytes) {
                Ok(line) => line,
                Err(problem) => {
                    mistakes.push(at.mistake(problem, "write plain UTF-8 text on this line"));
                    open = Continues::Nothing;
                    continue;
                }
            };
            let trimmed = line.trim();
            if trimmed.is_empty() {
                open = Continues::Nothing;
            } else if trimmed.starts_with([';', '#']) {
                // A comment does not end a continued value.
            } else if line.starts_with([' ', '\t']) && open == Continues::Value {
                document.continue_value(trimmed, &at, mistakes);
            } else if trimmed.starts_with('[') {
                open = Continues::Nothing;
                document.open_section(trimmed, &at, mistakes);
            } else {
                open = document.add_entry(trimmed, &at, mistakes);
            }
        }
        document
    }

    fn open_section(&mut self, heading: &str, at: &LineAt, mistakes: &mut Vec<Mistake>) {
        let heading = without_comment(heading);
        let name = heading
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.contains(['[', ']']));
        let Some(name) = name else {
            mistakes.push(at.mistake(
                "this is no section heading",
                "write `[DEFAULT]` or `[sync#1]` and nothing after it",
            ));
            return;
        };
        if let Some(first) = self.section(name) {
            mistakes.push(Mistake {
                place: Place {
                    line: Some(at.number),
                    section: Some(name.to_owned()),
                    keyword: None,
                },
                kind: MistakeKind::Duplicate,
                problem: format!("the section was already opened on line {}", first.line),
                remedy: "move these lines there, or give the section a name of its own".to_owned(),
            });
        }
        self.by_name
            .entry(name.to_owned())
            .or_insert(self.sections.len());
        self.sections.push(Section {
            name: name.to_owned(),
            line: at.number,
            entries: Vec::new(),
        });
    }

    fn add_entry(&mut self, text: &str, at: &LineAt, mistakes: &mut Vec<Mistake>) -> Continues {
        let Some((left, right)) = text.split_once('=') else {
            mistakes.push(at.mistake(
                "this is neither a section, a comment nor `keyword = value`",
                "put `;` before a comment, and `=` between keyword and value",
            ));
            return Continues::Nothing;
        };
        let written = left.trim();
        let (word, scope) = match written.split_once('@') {
            Some((word, scope)) => (word, Some(scope)),
            None => (written, None),
        };
        if !is_keyword_shaped(word) || scope.is_some_and(|scope| !is_keyword_shaped(scope)) {
            mistakes.push(at.mistake(
                "what stands before `=` is no keyword",
                "write `keyword = value` or `keyword@node = value`, with letters, digits, `_`, `-` and `.`",
            ));
            return Continues::Nothing;
        }
        let Some(section) = self.sections.last_mut() else {
            mistakes.push(at.mistake(
                "this line stands before the first section",
                "write `[DEFAULT]` or `[sync#1]` above it",
            ));
            return Continues::Nothing;
        };
        section.entries.push(Entry {
            keyword: keyword::canonical(word).to_owned(),
            written: written.to_owned(),
            scope: scope.map(str::to_owned),
            value: without_comment(right).to_owned(),
            line: at.number,
        });
        Continues::Value
    }

    fn continue_value(&mut self, text: &str, at: &LineAt, mistakes: &mut Vec<Mistake>) {
        // A keyword that somebody indented would silently vanish into the
        // value above it.
        let looks_like_entry = text.split_once('=').is_some_and(|(left, _)| {
            let word = left.trim();
            keyword::is_known(word.split_once('@').map_or(word, |(word, _)| word))
        });
        if looks_like_entry {
            mistakes.push(at.mistake(
                "this line begins with a blank, so it would continue the value above it",
                "begin the keyword at the first column",
            ));
            return;
        }
        let entry = self
            .sections
            .last_mut()
            .and_then(|section| section.entries.last_mut());
        if let Some(entry) = entry {
            let more = without_comment(text);
            if !entry.value.is_empty() && !more.is_empty() {
                entry.value.push('\n');
            }
            entry.value.push_str(more);
        }
    }
}

/// What an indented line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Continues {
    Nothing,
    Value,
}

/// The line being read.
struct LineAt {
    number: usize,
    section: Option<String>,
}

impl LineAt {
    fn mistake(&self, problem: &str, remedy: &str) -> Mistake {
        Mistake {
            place: Place {
                line: Some(self.number),
                section: self.section.clone(),
                keyword: None,
            },
            kind: MistakeKind::Syntax,
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

fn readable(bytes: &[u8]) -> Result<&str, &'static str> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let line = std::str::from_utf8(bytes).map_err(|_| "this line is not UTF-8")?;
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("this line has a control character in it");
    }
    Ok(line)
}

/// The text up to a `;` that follows a blank or begins the value.
fn without_comment(text: &str) -> &str {
    let end = text
        .char_indices()
        .zip(std::iter::once(' ').chain(text.chars()))
        .find(|&((at, c), before)| c == ';' && at > 0 && before.is_whitespace())
        .map_or(text.len(), |((at, _), _)| at);
    text[..end].trim()
}

fn is_keyword_shaped(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Document, Vec<String>) {
        let mut mistakes = Vec::new();
        let document = Document::parse(text.as_bytes(), &mut mistakes);
        (document, mistakes.iter().map(ToString::to_string).collect())
    }

    fn value(text: &str) -> String {
        let (document, mistakes) = parsed(&format!("[DEFAULT]\n{text}"));
        assert_eq!(mistakes, Vec::<String>::new());
        document.sections[0].entries[0].value.clone()
    }

    #[test]
    fn a_comment_after_a_blank_ends_a_value_and_a_hash_does_not() {
        assert_eq!(value("src = a/b ; the data"), "a/b");
        assert_eq!(value("src = a/b\t;the data"), "a/b");
        assert_eq!(value("src = a;b"), "a;b");
        assert_eq!(value("src = a #b"), "a #b");
        assert_eq!(value("src ="), "");
        assert_eq!(value("src = ; nothing"), "");
        assert_eq!(value("src = a = b"), "a = b");
    }

    #[test]
    fn every_entry_keeps_its_line_and_its_scope() {
        let (document, _) = parsed("# head\n[DEFAULT]\n\nnodes = a\r\n[sync#1] ; first\nsrc@a=x\n");
        assert_eq!(document.sections[0].entries[0].line, 4);
        assert_eq!(document.sections[1].name, "sync#1");
        let entry = &document.sections[1].entries[0];
        assert_eq!((entry.line, entry.scope.as_deref()), (6, Some("a")));
        assert_eq!(entry.written, "src@a");
    }

    #[test]
    fn an_indented_line_continues_a_value() {
        assert_eq!(value("nodes = a\n  b ; second\n; remark\n\tc"), "a\nb\nc");
    }

    #[test]
    fn an_indented_keyword_is_a_mistake_and_not_a_continuation() {
        let (_, mistakes) = parsed("[DEFAULT]\nnodes = a\n drpnodes@a = b\n");
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].starts_with("line 3 [DEFAULT]: "),
            "{mistakes:?}"
        );
        assert!(mistakes[0].contains("first column"), "{mistakes:?}");
    }

    #[test]
    fn every_line_of_a_wrong_shape_is_reported_with_its_number() {
        let (_, mistakes) = parsed("a = b\n[x\n[DEFAULT]\nrubbish\n@b = c\nc@ = d\n[DEFAULT]\n");
        let lines: Vec<_> = mistakes
            .iter()
            .map(|m| m.split([' ', ':']).nth(1))
            .collect();
        assert_eq!(
            lines,
            [
                Some("1"),
                Some("2"),
                Some("4"),
                Some("5"),
                Some("6"),
                Some("7")
            ]
        );
        assert!(
            mistakes[5].contains("already opened on line 3"),
            "{mistakes:?}"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_reported_and_the_rest_is_read() {
        let mut mistakes = Vec::new();
        let document = Document::parse(
            b"\xef\xbb\xbf[DEFAULT]\na = \xff\nb = \0\nc = 1",
            &mut mistakes,
        );
        assert_eq!(mistakes.len(), 2);
        assert_eq!(document.sections[0].entries.len(), 1);
    }
}
