//! `zferry holds`: what may be written after it.

use std::fmt;
use std::str::FromStr;

use clap::Subcommand;
use engine::hold::HoldTag;
use engine::name::{ShortName, SnapshotName};

use super::Transfer;
use crate::endpoint::Endpoint;

/// Show which snapshots zferry holds and why, or release such a hold
///
/// Holds of others are neither shown nor released. DATASET and SNAPSHOT may be
/// on another machine: [[user@]host[:port]:]dataset[@name].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry holds list
  zferry holds list tank/data beta:tank/data
  zferry holds release beta:tank/data@sent
  zferry holds release --tag zferry:base:sync:web:sync.1 tank/data@sent")]
pub struct Holds {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What `zferry holds` does.
#[derive(Debug, Subcommand)]
pub enum Action {
    List(List),
    Release(Release),
}

/// List the holds of zferry, with what each is for and how old it is
#[derive(Debug, clap::Args)]
pub struct List {
    /// Where to look, with all datasets below [default: the images that are named, or
    /// else all pools of this machine]
    #[arg(value_name = "DATASET")]
    pub dataset: Vec<Endpoint>,
    #[command(flatten)]
    pub transfer: Transfer,
}

/// Release holds of zferry on snapshots
///
/// Without --tag all that protect a base between two runs. That of a run that
/// is under way is only released by its tag. A later run that is configured to
/// hold its base holds the next one again.
#[derive(Debug, clap::Args)]
pub struct Release {
    /// Only the hold with this tag (repeatable)
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<HoldTag>,
    /// The snapshots
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub snapshot: Vec<SnapshotEndpoint>,
    #[command(flatten)]
    pub transfer: Transfer,
}

/// A snapshot, here or on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEndpoint {
    /// Its dataset.
    pub place: Endpoint,
    /// Its short name.
    pub short: ShortName,
}

impl SnapshotEndpoint {
    /// Its name on its machine.
    pub fn name(&self) -> SnapshotName {
        SnapshotName {
            dataset: self.place.dataset.clone(),
            short: self.short.clone(),
        }
    }
}

impl FromStr for SnapshotEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        // An account stands before the first `/`, if there is one.
        let parts = text.rsplit_once('@').filter(|(place, _)| !place.is_empty());
        let Some((place, short)) = parts else {
            return Err(format!("`{shown}` is no snapshot; write dataset@name"));
        };
        let place: Endpoint = place.parse().map_err(|error| format!("{error}"))?;
        let short = ShortName::parse(short).map_err(|error| error.to_string())?;
        place
            .dataset
            .snapshot(&short)
            .map_err(|error| error.to_string())?;
        Ok(Self { place, short })
    }
}

impl fmt::Display for SnapshotEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.place, self.short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_may_be_on_another_machine() {
        for text in [
            "tank/a@sent",
            "beta:tank/a@sent",
            "u@beta:2222:tank@sent",
            ":p:x/a@s",
        ] {
            let read: SnapshotEndpoint = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "",
            "@",
            "@sent",
            "tank/a",
            "u@beta:tank/a",
            "tank/a@",
            "tank/a@b/c",
            "a//b@c",
        ] {
            assert!(text.parse::<SnapshotEndpoint>().is_err(), "{text}");
        }
    }
}
