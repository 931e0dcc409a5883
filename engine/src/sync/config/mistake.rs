//! What is wrong with a configuration file, and what would be right.
//!
//! All mistakes of a file are reported at once, each with its place. A notice
//! is a remark that stops nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Family;

/// Where in a configuration file something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line number from 1; `None` if it is about something that is missing.
    pub line: Option<usize>,
    /// The section, without brackets.
    pub section: Option<String>,
    /// The keyword as written, with its scope.
    pub keyword: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
        }
        if let Some(section) = &self.section {
            let space = if self.line.is_some() { " " } else { "" };
            // A tab passes for white space in a file, and not in a message.
            write!(f, "{space}[{}]", section.escape_debug())?;
        }
        if let Some(keyword) = &self.keyword {
            let space = if self.line.is_some() || self.section.is_some() {
                " "
            } else {
                ""
            };
            write!(f, "{space}{}", keyword.escape_debug())?;
        }
        Ok(())
    }
}

/// Kinds of mistakes, for programs; the texts are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MistakeKind {
    /// A line of a wrong shape.
    Syntax,
    /// A section or keyword that is there twice.
    Duplicate,
    /// A section that nobody knows.
    UnknownSection,
    /// A keyword that nobody knows, or that belongs elsewhere.
    UnknownKeyword,
    /// A scope that is no node of the service, or where none may be.
    BadScope,
    /// A reference that is circular, unknown or malformed.
    BadReference,
    /// A value of the wrong type or out of range.
    BadValue,
    /// A keyword that has to be there.
    Missing,
    /// Resources that would overwrite each other's data or snapshots.
    Collision,
}

/// One mistake. Displayed as `PLACE: PROBLEM; REMEDY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What kind of mistake.
    pub kind: MistakeKind,
    /// What is wrong: a clause.
    pub problem: String,
    /// What would be right: a clause.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.problem, self.remedy)
    }
}

/// A remark about something that is accepted but has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub place: Place,
    /// The remark: a clause.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place == Place::default() {
            return f.write_str(&self.text);
        }
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why a service has no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist.
    #[error("there is no configuration file {}", file.display())]
    Missing {
        /// The path that was tried.
        file: PathBuf,
    },
    /// The file or its folder cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The path.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any configuration is.
    #[error("{} is larger than {bytes_max} bytes, which no configuration is", file.display())]
    TooLarge {
        /// The path.
        file: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// The text has mistakes, at least one. Displayed one per line.
    #[error("{}", listed(file, mistakes))]
    Mistakes {
        /// The path.
        file: PathBuf,
        /// All of them, in the order of lines.
        mistakes: Vec<Mistake>,
    },
}

impl ConfigError {
    /// The family of this error.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Read { .. } => Family::Failed,
            _ => Family::Usage,
        }
    }
}

fn listed(file: &Path, mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("{}: {mistake}", file.display()))
        .collect();
    lines.join("\n")
}
