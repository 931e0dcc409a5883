//! The guest's serial console: kept as a log, and watched for the sign that the
//! guest is up.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// How a boot went on.
#[derive(Debug)]
pub(super) enum Booted {
    /// Everything is set up, sshd is next.
    Ready,
    /// The guest's setup says that it cannot be used.
    Failed(String),
    /// QEMU has ended.
    Ended,
}

/// A console that is being read.
#[derive(Debug)]
pub(super) struct Console {
    signs: Receiver<Booted>,
}

impl Console {
    /// Reads `serial` to its end in a thread, into a log.
    pub(super) fn follow(serial: impl Read + Send + 'static, log: PathBuf) -> Result<Self> {
        let mut log = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let (sender, signs) = channel();
        std::thread::spawn(move || {
            let mut serial = BufReader::new(serial);
            let mut line = Vec::new();
            // A console without line breaks must not fill the memory.
            while (&mut serial)
                .take(4096)
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let _ = log.write_all(&line);
                let text = String::from_utf8_lossy(&line);
                if let Some((_, said)) = text.split_once("guest: ready") {
                    let _ = said;
                    let _ = sender.send(Booted::Ready);
                } else if let Some((_, why)) = text.split_once("guest: failed: ") {
                    let _ = sender.send(Booted::Failed(why.trim().to_owned()));
                }
                line.clear();
            }
            let _ = sender.send(Booted::Ended);
        });
        Ok(Self { signs })
    }

    /// Waits for the next sign.
    pub(super) fn await_ready(&self, deadline: Instant) -> Result<Booted> {
        match self
            .signs
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(sign) => Ok(sign),
            Err(RecvTimeoutError::Disconnected) => Ok(Booted::Ended),
            Err(RecvTimeoutError::Timeout) => bail!("not up in time"),
        }
    }
}
