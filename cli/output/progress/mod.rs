//! How far a run is: on a terminal as lines that change, elsewhere as a line of
//! the log now and then.
//!
//! Events → [`book`] (what there is to send, and what of it is done; rates and
//! forecasts by [`pace`]) → [`text`] → [`bars`] or a log. All but the last know
//! no clock.

mod bars;
pub mod book;
pub mod pace;
mod text;

use std::time::{Duration, Instant};

use engine::event::Event;

use bars::Bars;
use book::{Book, Subject, View};

/// What is over by then shows nothing.
const DELAY: Duration = Duration::from_millis(250);

/// At most so often lines are drawn again: as often as an eye follows.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// A log has a first line after this long: what takes less says enough by its
/// end.
const LOG_FIRST: Duration = Duration::from_secs(30);

/// And then one so often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The transfers of a run.
pub struct Progress {
    begun: Instant,
    book: Book,
    shown: Shown,
}

enum Shown {
    Lines { bars: Bars, drawn: Option<Duration> },
    Log(Due),
}

impl Progress {
    /// Of a run that begins now.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            book: Book::default(),
            shown: match Bars::on_terminal() {
                Some(bars) => Shown::Lines { bars, drawn: None },
                None => Shown::Log(Due::default()),
            },
        }
    }

    /// Takes an event. What comes back is for the log.
    pub fn event(&mut self, event: &Event) -> Vec<String> {
        let now = self.begun.elapsed();
        if !self.book.event(event, now) {
            return Vec::new();
        }
        match &mut self.shown {
            Shown::Lines { bars, drawn } => {
                if self.book.rests() {
                    bars.clear();
                } else if drawn.is_none_or(|drawn| now >= drawn + DRAW_INTERVAL) {
                    *drawn = Some(now);
                    bars.draw(&views(&self.book, now, DELAY));
                }
                Vec::new()
            }
            Shown::Log(due) => {
                let age = self.book.total(now).map(|total| total.age);
                if !age.is_some_and(|age| due.is_at(age)) {
                    return Vec::new();
                }
                let views = views(&self.book, now, DELAY);
                views.iter().map(text::sentence).collect()
            }
        }
    }

    /// Runs `write`, which writes lines to standard error, beside what is shown.
    pub fn aside(&self, write: impl FnOnce()) {
        match &self.shown {
            Shown::Lines { bars, .. } => bars.aside(write),
            Shown::Log(_) => write(),
        }
    }
}

/// What there is to show of what has taken this long at least: the transfers
/// that run, and their sum, if there are others.
fn views(book: &Book, now: Duration, age_min: Duration) -> Vec<View> {
    let mut views = book.running(now);
    views.retain(|view| view.age >= age_min);
    let several =
        |view: &View| matches!(view.subject, Subject::Run { transfers, .. } if transfers > 1);
    let total = book.total(now).filter(several);
    views.extend(total.filter(|total| total.age >= age_min));
    views
}

/// When the log gets a line.
#[derive(Debug, Default)]
struct Due {
    last: Option<Duration>,
}

impl Due {
    /// Whether it is time, `age` after the beginning; if so it has been.
    fn is_at(&mut self, age: Duration) -> bool {
        let next = match self.last {
            None => LOG_FIRST,
            Some(last) => last + LOG_INTERVAL,
        };
        let due = age >= next;
        if due {
            self.last = Some(age);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use engine::name::{DatasetName, SnapshotName};

    use super::*;

    #[test]
    fn a_log_has_a_line_after_half_a_minute_and_then_one_a_minute() {
        let mut due = Due::default();
        let seconds = (0..300).filter(|second| due.is_at(Duration::from_secs(*second)));
        assert_eq!(seconds.collect::<Vec<_>>(), [30, 90, 150, 210, 270]);
        // Whoever is late is not made up for.
        let mut late = Due::default();
        let seconds =
            [29, 200, 201, 259, 260].map(|second| late.is_at(Duration::from_secs(second)));
        assert_eq!(seconds, [false, true, false, false, true]);
    }

    #[test]
    fn what_is_over_in_a_moment_shows_nothing_and_one_transfer_needs_no_sum() {
        let mut book = Book::default();
        let at = Duration::from_millis;
        let start = |book: &mut Book, name: &str, now| {
            book.event(
                &Event::TransferStarted {
                    peer: "n2".to_owned(),
                    snapshot: SnapshotName::parse("tank/a@x").unwrap(),
                    target: SnapshotName::parse(name).unwrap(),
                    base: None,
                    estimated_bytes: 10,
                    resumed_bytes: None,
                },
                now,
            )
        };
        book.event(
            &Event::TransfersPlanned {
                peer: "n2".to_owned(),
                root: DatasetName::parse("backup").unwrap(),
                transfers: 1,
                estimated_bytes: 10,
            },
            at(0),
        );
        start(&mut book, "backup/a@x", at(0));
        assert_eq!(views(&book, at(249), DELAY).len(), 0);
        assert_eq!(views(&book, at(250), DELAY).len(), 1);
        start(&mut book, "backup/b@x", at(200));
        let shown = views(&book, at(449), DELAY);
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(matches!(
            shown[1].subject,
            Subject::Run { transfers: 2, .. }
        ));
        assert_eq!(views(&book, at(450), DELAY).len(), 3);
    }
}
