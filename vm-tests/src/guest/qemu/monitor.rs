//! QEMU's monitor (QMP), for the one thing that only it can do: cut the link.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::guest::Link;

/// Limit of one answer. QEMU answers at once unless the machine is overloaded.
const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Cuts or restores the network port `port`.
pub(super) fn set_link(socket: &Path, port: &str, link: Link) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("connecting to the monitor {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_TIME_LIMIT))?;
    let mut answers = BufReader::new(stream.try_clone()?.take(ANSWER_BYTES_MAX));
    next(&mut answers)?;
    execute(
        &stream,
        &mut answers,
        &json!({"execute": "qmp_capabilities"}),
    )?;
    let arguments = json!({"name": port, "up": link == Link::Up});
    execute(
        &stream,
        &mut answers,
        &json!({"execute": "set_link", "arguments": arguments}),
    )
}

fn execute(mut stream: &UnixStream, answers: &mut impl BufRead, command: &Value) -> Result<()> {
    stream.write_all(command.to_string().as_bytes())?;
    loop {
        let answer = next(answers)?;
        // Events come whenever they like.
        if answer.get("return").is_some() {
            return Ok(());
        } else if let Some(error) = answer.get("error") {
            bail!("QEMU refused {command}: {error}");
        }
    }
}

fn next(answers: &mut impl BufRead) -> Result<Value> {
    let mut line = String::new();
    answers
        .read_line(&mut line)
        .context("reading from the monitor")?;
    serde_json::from_str(&line).with_context(|| format!("the monitor said {line:?}"))
}
