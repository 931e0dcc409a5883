//! Lines of progress on a terminal.

use std::io::IsTerminal;

use engine::name::SnapshotName;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::book::{Subject, View};
use super::text::{Line, line};

/// A line with a bar in what is left of its room, and one that is full.
const WITH_BAR: &str = "{prefix}  {wide_bar}{msg}";
const WITHOUT_BAR: &str = "{prefix}{wide_msg}";

/// Columns that are worth a bar, with the gap before it.
const BAR_MIN: usize = 12;

/// Columns if the terminal does not say how many it has.
const COLUMNS_DEFAULT: usize = 80;

/// Lines that stand at the end of a terminal; others are written above them.
#[derive(Default)]
pub struct Bars {
    multi: MultiProgress,
    lines: Vec<(Key, ProgressBar)>,
}

/// Whose line it is; `None`: the run's.
type Key = Option<(String, SnapshotName)>;

impl Bars {
    /// If standard error is a terminal that can draw.
    pub fn on_terminal() -> Option<Self> {
        let can_draw = std::io::stderr().is_terminal() && crate::environment::can_draw();
        can_draw.then(Self::default)
    }

    /// Shows these, and nothing else any more.
    pub fn draw(&mut self, views: &[View]) {
        let keys: Vec<Key> = views.iter().map(key).collect();
        self.lines.retain(|(key, bar)| {
            let stays = keys.contains(key);
            if !stays {
                bar.finish_and_clear();
                self.multi.remove(bar);
            }
            stays
        });
        let width = columns();
        let peers = several_peers(views);
        for (view, key) in views.iter().zip(keys) {
            let line = line(view, width, peers);
            let has_bar = view.estimated_bytes > 0 && line.room(width) >= BAR_MIN;
            let template = if has_bar { WITH_BAR } else { WITHOUT_BAR };
            let style = ProgressStyle::with_template(template)
                .expect("the templates are constants that a test draws");
            let known = self.lines.iter().find(|(known, _)| *known == key);
            match known.map(|(_, bar)| bar) {
                None => self.add(key, view, line, style),
                Some(bar) => {
                    bar.set_style(style);
                    bar.set_length(view.estimated_bytes);
                    bar.set_prefix(line.name);
                    bar.set_message(line.rest);
                    bar.set_position(view.moved.raw);
                }
            }
        }
    }

    /// Removes all lines.
    pub fn clear(&mut self) {
        self.draw(&[]);
    }

    /// Runs `write`, which writes lines to standard error, above the lines.
    pub fn aside(&self, write: impl FnOnce()) {
        self.multi.suspend(write);
    }

    /// The run's line is the last one. A new one has all it says before it is
    /// drawn.
    fn add(&mut self, key: Key, view: &View, line: Line, style: ProgressStyle) {
        let place = match (&key, self.lines.last()) {
            (Some(_), Some((None, _))) => self.lines.len() - 1,
            _ => self.lines.len(),
        };
        let hidden = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(view.estimated_bytes), hidden)
            .with_style(style)
            .with_prefix(line.name)
            .with_message(line.rest)
            .with_position(view.moved.raw);
        let bar = self.multi.insert(place, bar);
        bar.tick();
        self.lines.insert(place, (key, bar));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn key(view: &View) -> Key {
    match &view.subject {
        Subject::Transfer { peer, target, .. } => Some((peer.clone(), target.clone())),
        Subject::Run { .. } => None,
    }
}

fn several_peers(views: &[View]) -> bool {
    let mut peers = views.iter().filter_map(|view| match &view.subject {
        Subject::Transfer { peer, .. } => Some(peer),
        Subject::Run { .. } => None,
    });
    let first = peers.next();
    peers.any(|peer| Some(peer) != first)
}

/// One less than there are: a full line would wrap on some terminals.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    match columns {
        0 => COLUMNS_DEFAULT - 1,
        columns => columns - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [WITH_BAR, WITHOUT_BAR] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
