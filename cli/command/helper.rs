//! `zferry helper`: the far side, on standard input and output.
//!
//! Started by `sshd`, driven by the zferry on the other machine. Standard
//! output belongs to the conversation: nothing of this command is ever shown
//! there. It ends when its input ends.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use engine::error::Family;
use engine::helper::join::{self, Door, JoinFolder, Opening};
use engine::helper::{self, Authorization, ClaimFolder, Workforce, serve};
use engine::sync::state::StateStore;
use engine::transport::{LinkError, stdio};
use engine::zfs::Absent;

use super::Context;
use crate::args::Helper;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::Machine;

/// Time for what a helper said last to get out when the conversation failed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Blocks on a thread that may.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("reading and waiting do not panic")
}

/// Nothing is to be said.
const DONE: Outcome = Outcome {
    exit: Exit::Done,
    human: String::new(),
    json: serde_json::Value::Null,
    failures: Vec::new(),
};

/// Runs the command.
pub async fn run(context: &Context, args: Helper) -> Result<Outcome, Failure> {
    if std::io::stdin().is_terminal() {
        let message = "this is the far side of zferry; it talks to another zferry, not to people";
        return Err(Failure::new(Family::Usage, message).remedy(
            "on the other machine, for instance: zferry replicate tank/data this-host:tank/backup",
        ));
    }
    let cannot = |error: &dyn std::fmt::Display| {
        let message = format!("cannot use standard input and output: {error}");
        Failure::new(Family::Failed, message)
    };
    let (input, output) = stdio::take().map_err(|error| cannot(&error))?;
    let joins = JoinFolder::below(&context.global.state);
    let patience = args.connect_timeout;
    let (opening, input) = on_a_thread(move || (join::opening(&input, patience), input)).await;
    let first = match opening.map_err(|error| cannot(&error))? {
        Opening::Conversation(first) => first,
        Opening::Join(token) => {
            let joined = on_a_thread(move || join::join(&joins, &token, input, output)).await;
            return match joined {
                Ok(()) => Ok(DONE),
                Err(error) => Err(Failure::of(Family::Failed, &error)),
            };
        }
    };
    // A machine without ZFS still greets, so that the other side can say which
    // of the two lacks what.
    let images = context.images()?;
    let zfs = Machine::new(images.clone()).open().await;
    let zfs = zfs.unwrap_or_else(|missing| Arc::new(Absent(*missing.error)));
    let authorization = if args.allow.is_empty() {
        Authorization::everything()
    } else {
        Authorization::only(args.allow)
    };
    let mut states = StateStore::new(&context.global.state);
    if let Some(dir) = args.legacy_state {
        states = states.with_legacy(dir, environment::zone());
    }
    let helper = helper::Helper {
        zfs,
        authorization,
        states: Some(Arc::new(states)),
        claims: Some(ClaimFolder::below(&context.global.state)),
        door: Some(Door::Folder(joins)),
        // Last: opening images takes time, and it tells what time it is.
        about: environment::about(&context.node_text(), &images),
        patience: args.connect_timeout,
        workforce: Workforce::default(),
    };
    let link = stdio::over_after(first.into(), input, output);
    let (link, output) = link.map_err(|error| cannot(&error))?;
    let served = Box::pin(serve(link, helper)).await;
    // Everything of the conversation is dropped by now; what it said last is
    // still on its way out.
    let writing = tokio::task::spawn_blocking(|| output.finish());
    // After a failure nobody may be left to read it, and sshd does not say so.
    let patience = if served.is_ok() {
        args.connect_timeout
    } else {
        LAST_WORDS
    };
    let written = tokio::time::timeout(patience, writing).await;
    served.map_err(|error| Failure::of(error.family(), &error))?;
    let written = written.unwrap_or_else(|_| {
        let source = std::io::ErrorKind::TimedOut.into();
        Ok(Err(LinkError::Write { source }))
    });
    let written = written.expect("waiting for a thread does not panic");
    written.map_err(|error| Failure::of(Family::Transient, &error))?;
    Ok(DONE)
}
