//! Commands and locks as tests have them: programs are names with an answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Mutex;

use super::super::{Command, CommandError, Commands, ConnectFault, Locking, Locks, Running};
use crate::error::Family;
use crate::sync::config::{Resource, Sends};

/// What was started, and what it answers.
#[derive(Default)]
pub(super) struct Commanded {
    /// Programs that fail, by path.
    pub(super) failing: Mutex<Vec<String>>,
    /// Resources that another run has, by id.
    pub(super) locked: Mutex<Vec<String>>,
    /// Each start: the words, and what it was told.
    pub(super) started: Mutex<Vec<(String, BTreeMap<&'static str, String>)>>,
}

impl Commanded {
    pub(super) fn fail(&self, program: &str) {
        self.failing.lock().unwrap().push(program.to_owned());
    }

    /// The words of everything that was started, in order, and forgets them.
    pub(super) fn take(&self) -> Vec<String> {
        let started = std::mem::take(&mut *self.started.lock().unwrap());
        started.into_iter().map(|(words, _)| words).collect()
    }
}

impl Commands for Commanded {
    fn run<'a>(&'a self, command: Command<'a>) -> Running<'a> {
        Box::pin(async move {
            let facts = command.facts.into_iter().collect();
            let words = command.argv.join(" ");
            self.started.lock().unwrap().push((words, facts));
            let program = command.argv[0].clone();
            if self.failing.lock().unwrap().contains(&program) {
                let ending = "exit code 3".to_owned();
                return Err(CommandError::Failed { program, ending });
            }
            Ok(())
        })
    }
}

impl Locks for Commanded {
    fn lock<'a>(&'a self, resource: &'a Resource, _: &'a Sends) -> Locking<'a> {
        Box::pin(async move {
            let locked = self.locked.lock().unwrap();
            if locked.contains(&resource.rid.to_string()) {
                return Err(ConnectFault {
                    family: Family::Transient,
                    source: "another run has it".into(),
                    remedy: None,
                });
            }
            Ok(Box::new(()) as Box<dyn Any>)
        })
    }
}
