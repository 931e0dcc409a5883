//! The progress bar of a running transfer.
//!
//! On a terminal alone, and only for a transfer that takes long enough to be
//! worth looking at.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use engine::event::Event;
use indicatif::{ProgressBar, ProgressStyle};

/// A transfer that is over by then shows no bar.
const DELAY: Duration = Duration::from_millis(250);

/// `tank/a 1.2 GiB of about 3 GiB, 110 MiB/s, 17s`, after a bar.
const TEMPLATE: &str =
    "{msg} {wide_bar} {bytes} of about {total_bytes}, {binary_bytes_per_sec}, {eta}";

/// The running transfer, if there is one.
#[derive(Default)]
pub struct Progress {
    running: Option<Running>,
}

struct Running {
    dataset: String,
    estimated_bytes: u64,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins, moves or removes the bar.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::TransferStarted {
                snapshot,
                estimated_bytes,
                ..
            } => {
                self.clear();
                self.running = Some(Running {
                    dataset: snapshot.dataset.to_string(),
                    estimated_bytes: *estimated_bytes,
                    begun: Instant::now(),
                    bar: None,
                });
            }
            Event::Progress { raw_bytes, .. } => {
                if let Some(running) = &mut self.running {
                    running.advance(*raw_bytes);
                }
            }
            Event::TransferDone { .. } | Event::Retrying { .. } => self.clear(),
            _ => {}
        }
    }

    /// Runs `write`, which writes lines to standard error, beside the bar.
    pub fn aside(&self, write: impl FnOnce()) {
        match self
            .running
            .as_ref()
            .and_then(|running| running.bar.as_ref())
        {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.running.take().and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Running {
    fn advance(&mut self, raw_bytes: u64) {
        if self.bar.is_none() && self.begun.elapsed() >= DELAY && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(TEMPLATE)
                .expect("the template is a constant that a test draws");
            let bar = ProgressBar::new(self.estimated_bytes).with_style(style);
            self.bar = Some(bar.with_message(self.dataset.clone()));
        }
        if let Some(bar) = &self.bar {
            // The estimate may be too low.
            if raw_bytes > bar.length().unwrap_or_default() {
                bar.set_length(raw_bytes);
            }
            bar.set_position(raw_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }
}
