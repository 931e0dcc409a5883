//! Runs cases one after the other on one pair, and counts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::cases::Case;
use crate::guest::Unsupported;
use crate::pair::Pair;
use crate::report;

/// How many cases went which way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Held.
    pub passed: usize,
    /// Did not.
    pub failed: usize,
    /// Need what these guests cannot do.
    pub skipped: usize,
}

impl Tally {
    /// The line that ends a run.
    pub fn line(self) -> String {
        let line = format!("{} passed, {} failed", self.passed, self.failed);
        if self.skipped > 0 {
            format!("{line}, {} skipped", self.skipped)
        } else {
            line
        }
    }
}

/// The cases that were asked for: by whole name, or by a part of it that fits.
///
/// # Errors
/// If nothing has one of the names.
pub fn select(all: &[Case], names: &[String]) -> Result<Vec<Case>> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let mut selected = Vec::new();
    for name in names {
        let name = name.replace(' ', "_");
        let exact: Vec<Case> = all
            .iter()
            .filter(|case| case.name == name)
            .copied()
            .collect();
        let part = all.iter().filter(|case| case.name.contains(&name)).copied();
        let found = if exact.is_empty() {
            part.collect()
        } else {
            exact
        };
        if found.is_empty() {
            bail!("no case is called {name}; see `vm-tests list`");
        }
        selected.extend(found);
    }
    Ok(selected)
}

/// Runs them all; a failure of one does not keep the others from running.
pub fn run(pair: &Pair, cases: &[Case]) -> Tally {
    let mut tally = Tally::default();
    for case in cases {
        let started = Instant::now();
        let outcome = pair.recover().and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| (case.run)(pair)))
                .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&*panic))))
        });
        let name = case.name.replace('_', " ");
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                tally.passed += 1;
                report::result(&format!("ok    {name} ({seconds:.1} s)"));
            }
            Err(error) if error.is::<Unsupported>() => {
                tally.skipped += 1;
                report::result(&format!("skip  {name}: {error}"));
            }
            Err(error) => {
                tally.failed += 1;
                report::result(&format!("FAIL  {name} ({seconds:.1} s)"));
                for line in report::causes(&error).lines() {
                    report::result(&format!("      {line}"));
                }
            }
        }
    }
    tally
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
