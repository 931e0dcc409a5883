//! Starts the commands of a configuration: triggers, checks, alerts.
//!
//! Each is a process group of its own, so that what a script has started ends
//! with it when its time is over or the run is stopped. Standard output is for
//! results of zferry alone: theirs goes to standard error.

use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};

use engine::sync::run::{Command, CommandError, Commands, Running};
use rustix::process::{Pid, Signal, kill_process_group};

/// Processes of this machine.
pub struct Programs;

/// Ends the whole group when dropped, unless the program has ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            // Only an error if nobody is left of it.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Commands for Programs {
    fn run<'a>(&'a self, command: Command<'a>) -> Running<'a> {
        Box::pin(run(command))
    }
}

async fn run(command: Command<'_>) -> Result<(), CommandError> {
    let (program, arguments) = command
        .argv
        .split_first()
        .expect("the configuration refuses a command without words");
    let not_started = |source: io::Error| CommandError::NotStarted {
        program: program.clone(),
        source,
    };
    let errors = io::stderr().as_fd().try_clone_to_owned();
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(command.facts)
        .stdin(Stdio::null())
        .stdout(errors.map_err(not_started)?)
        .process_group(0)
        .spawn()
        .map_err(not_started)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(pid.and_then(Pid::from_raw));
    match tokio::time::timeout(command.limit, child.wait()).await {
        Err(_) => {
            drop(group);
            // It is dead; this takes it off the list of processes.
            let _ = child.wait().await;
            Err(CommandError::TimedOut {
                program: program.clone(),
                limit: command.limit,
            })
        }
        Ok(Err(error)) => Err(not_started(error)),
        Ok(Ok(status)) => {
            // What it left running in the background is meant to stay.
            group.0 = None;
            match status.success() {
                true => Ok(()),
                false => Err(CommandError::Failed {
                    program: program.clone(),
                    ending: ending(status),
                }),
            }
        }
    }
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn started(words: &[&str], limit: Duration) -> Result<(), CommandError> {
        let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(Programs.run(Command {
            argv: &argv,
            facts: vec![("ZFERRY_RID", "sync#1".to_owned())],
            limit,
        }))
    }

    const PLENTY: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_is_told_its_facts_and_its_exit_code_counts() {
        let test = "test \"$ZFERRY_RID\" = 'sync#1'";
        started(&["/bin/sh", "-c", test], PLENTY).unwrap();
        let error = started(&["/bin/sh", "-c", "exit 3"], PLENTY).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh ended with exit code 3");
        let error = started(&["/nowhere/x"], PLENTY).unwrap_err();
        assert!(matches!(error, CommandError::NotStarted { .. }), "{error}");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_all_it_has_started() {
        let begun = Instant::now();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        // Long enough for a busy machine to get as far as `wait`.
        let error = started(&["/bin/sh", "-c", &script], Duration::from_secs(3)).unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(begun.elapsed() < PLENTY);
        let pid = std::fs::read_to_string(&file).unwrap();
        // A signal takes effect when the kernel gets to it. Its parent is dead:
        // whoever takes it over may not have reaped it yet.
        let stat = format!("/proc/{}/stat", pid.trim());
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|state| !state.contains(") Z "));
        while lives() {
            assert!(begun.elapsed() < PLENTY, "{pid}");
            std::thread::yield_now();
        }
    }
}
