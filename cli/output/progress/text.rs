//! Progress in words: one line that fits into a width, or a sentence for a log.

use std::time::Duration;

use engine::event::WaitingFor;
use indicatif::HumanBytes;

use super::book::{Subject, View};
use crate::output::human::seconds;

/// A name is not made shorter than this while something else can go.
const NAME_MIN: usize = 16;

/// Between two parts of a line.
const GAP: &str = "  ";

/// More than any run takes is no forecast.
const LEFT_MAX: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// What is worth telling of compression.
const RATIO_MIN: f64 = 1.05;

/// A line for a terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is about, as short as it has to be.
    pub name: String,
    /// How far it is.
    pub rest: String,
}

impl Line {
    /// Columns that are left of `width`.
    pub fn room(&self, width: usize) -> usize {
        let rest = self.rest.chars().count();
        width.saturating_sub(self.name.chars().count() + rest)
    }
}

/// The line of `view` in at most `width` columns. With `peers` the name of the
/// receiver is part of it.
pub fn line(view: &View, width: usize, peers: bool) -> Line {
    let name = match &view.subject {
        Subject::Transfer { peer, snapshot, .. } if peers => {
            format!("{} > {peer}", snapshot.dataset)
        }
        Subject::Transfer { snapshot, .. } => snapshot.dataset.to_string(),
        Subject::Run { done, transfers } => format!("total {done}/{transfers}"),
    };
    let rest = rest(
        view,
        width.saturating_sub(name.chars().count().min(NAME_MIN)),
    );
    let room = width.saturating_sub(rest.chars().count());
    Line {
        name: shortened(&name, room),
        rest,
    }
}

/// As much as fits into `width`, with a gap before each part.
fn rest(view: &View, width: usize) -> String {
    let all = parts(view);
    // The least important goes first.
    (0..=RANK_MAX)
        .map(|gone| {
            let kept = all.iter().filter(|part| part.rank >= gone);
            kept.map(|part| format!("{GAP}{}", part.text)).collect()
        })
        .find(|text: &String| text.chars().count() <= width)
        .unwrap_or_default()
}

/// The rank of what stays longest.
const RANK_MAX: usize = 7;

/// A part of a line. Ranks differ; the lowest is given up first.
struct Part {
    rank: usize,
    text: String,
}

/// In the order in which they are shown.
fn parts(view: &View) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |rank, text: Option<String>| parts.extend(text.map(|text| Part { rank, text }));
    let moved = HumanBytes(view.moved.raw);
    add(
        5,
        Some(match view.estimated_bytes {
            0 => moved.to_string(),
            estimated => format!("{moved} of {}", HumanBytes(estimated)),
        }),
    );
    add(RANK_MAX, percent(view));
    add(6, Some(format!("{}/s", HumanBytes(view.rate.raw))));
    add(0, Some(format!("avg {}/s", HumanBytes(view.average.raw))));
    add(4, left(view).map(|left| format!("{left} left")));
    add(1, ratio(view));
    add(2, view.waiting_for.map(waits_for));
    parts
}

/// A sentence for a log, without its end.
pub fn sentence(view: &View) -> String {
    let mut text = match &view.subject {
        Subject::Transfer {
            peer,
            snapshot,
            target,
        } => format!("{snapshot} -> {peer}:{}", target.dataset),
        Subject::Run { done, transfers } => format!("total, {done} of {transfers} transfers done"),
    };
    text += &format!(": {}", HumanBytes(view.moved.raw));
    if view.estimated_bytes > 0 {
        text += &format!(" of about {}", HumanBytes(view.estimated_bytes));
    }
    if let Some(percent) = percent(view) {
        text += &format!(" ({percent})");
    }
    text += &format!(
        " in {}, now {}/s, average {}/s",
        seconds(view.age),
        HumanBytes(view.rate.raw),
        HumanBytes(view.average.raw)
    );
    if let Some(left) = left(view) {
        text += &format!(", {left} left");
    }
    if let Some(ratio) = ratio(view) {
        text += &format!(", compressed {ratio}");
    }
    if let Some(what) = view.waiting_for {
        text += &format!(", {}", waits_for(what));
    }
    text
}

fn percent(view: &View) -> Option<String> {
    // 100 % is what is done, and that has no line.
    let percent = u128::from(view.moved.raw) * 100;
    let percent = percent.checked_div(u128::from(view.estimated_bytes))?;
    Some(format!("{}%", percent.min(99)))
}

fn left(view: &View) -> Option<String> {
    let left = view.left.filter(|left| *left <= LEFT_MAX)?;
    Some(match left.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds @ 3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    })
}

fn ratio(view: &View) -> Option<String> {
    let ratio = view.moved.raw as f64 / view.moved.wire as f64;
    (ratio.is_finite() && ratio >= RATIO_MIN).then(|| format!("{ratio:.1}x"))
}

fn waits_for(what: WaitingFor) -> String {
    let whom = match what {
        WaitingFor::Limit => return "limited".to_owned(),
        WaitingFor::SourceZfs => "source's ZFS",
        WaitingFor::SourceProcessor => "source's processor",
        WaitingFor::Source => "source",
        WaitingFor::Connection => "connection",
        WaitingFor::Target => "target",
        WaitingFor::TargetProcessor => "target's processor",
        WaitingFor::TargetZfs => "target's ZFS",
    };
    format!("waits for the {whom}")
}

/// A name in at most `columns`: its end tells more than its beginning.
fn shortened(name: &str, columns: usize) -> String {
    let length = name.chars().count();
    if length <= columns {
        return name.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let head = room / 3;
    let tail = room - head;
    let begin = name.chars().take(head);
    let end = name.chars().skip(length - tail);
    begin.chain(['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use engine::name::SnapshotName;

    use super::super::pace::{Bytes, Rate};
    use super::*;

    fn view(dataset: &str) -> View {
        View {
            subject: Subject::Transfer {
                peer: "beta".to_owned(),
                snapshot: SnapshotName::parse(&format!("{dataset}@daily")).unwrap(),
                target: SnapshotName::parse("backup/data@daily").unwrap(),
            },
            moved: Bytes {
                raw: 3 << 29,
                wire: 3 << 28,
            },
            estimated_bytes: 4 << 30,
            rate: Rate {
                raw: 110 << 20,
                wire: 55 << 20,
            },
            average: Rate {
                raw: 96 << 20,
                wire: 48 << 20,
            },
            left: Some(Duration::from_secs(83)),
            waiting_for: Some(WaitingFor::TargetZfs),
            age: Duration::from_secs(16),
        }
    }

    fn total() -> View {
        View {
            subject: Subject::Run {
                done: 12,
                transfers: 340,
            },
            waiting_for: None,
            ..view("tank/x")
        }
    }

    fn shown(view: &View, width: usize) -> String {
        let Line { name, rest } = line(view, width, false);
        format!("{name}{rest}")
    }

    #[test]
    fn a_wide_line_says_everything_and_a_narrow_one_what_matters_most() {
        let view = view("tank/data");
        assert_eq!(
            shown(&view, 200),
            "tank/data  1.50 GiB of 4.00 GiB  37%  110.00 MiB/s  avg 96.00 MiB/s  1m23s left  \
             2.0x  waits for the target's ZFS"
        );
        assert_eq!(
            shown(&view, 90),
            "tank/data  1.50 GiB of 4.00 GiB  37%  110.00 MiB/s  1m23s left  waits for the \
             target's ZFS"
        );
        assert_eq!(
            shown(&view, 80),
            "tank/data  1.50 GiB of 4.00 GiB  37%  110.00 MiB/s  1m23s left"
        );
        assert_eq!(shown(&view, 30), "tank/data  37%  110.00 MiB/s");
        assert_eq!(
            shown(&total(), 80),
            "total 12/340  1.50 GiB of 4.00 GiB  37%  110.00 MiB/s  1m23s left  2.0x"
        );
        assert_eq!(shown(&total(), 39), "total 12/340  37%  110.00 MiB/s");
        let several = line(&view, 90, true);
        assert_eq!(several.name, "tank/data > beta");
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        let long = format!(
            "tank/{}/data",
            "a-folder-of-somebody/".repeat(9).trim_end_matches('/')
        );
        for view in [view("tank/data"), view(&long), total()] {
            for width in 0..260 {
                let line = line(&view, width, true);
                let columns = line.name.chars().count() + line.rest.chars().count();
                assert!(columns <= width, "{width}: {line:?}");
                assert_eq!(line.room(width), width - columns);
            }
        }
    }

    #[test]
    fn a_long_name_keeps_its_two_ends() {
        let view = view("tank/home/somebody/a/b/c/d/e/f/g/documents");
        let shown = shown(&view, 60);
        assert!(shown.starts_with("tank/"), "{shown}");
        assert!(shown.contains("…"), "{shown}");
        assert!(shown.contains("/documents  1.50 GiB"), "{shown}");
        assert_eq!(shortened("tank/abcdefgh", 7), "ta…efgh");
        assert_eq!(shortened("tank", 4), "tank");
        assert_eq!(shortened("tank", 1), "…");
        assert_eq!(shortened("tank", 0), "");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let view = View {
            estimated_bytes: 0,
            left: None,
            waiting_for: None,
            moved: Bytes {
                raw: 1 << 20,
                wire: (1 << 20) + 64,
            },
            ..view("tank/data")
        };
        assert_eq!(
            shown(&view, 200),
            "tank/data  1.00 MiB  110.00 MiB/s  avg 96.00 MiB/s"
        );
        let ages = View {
            left: Some(Duration::from_secs(u64::MAX)),
            ..view
        };
        assert!(!shown(&ages, 200).contains("left"));
    }

    #[test]
    fn a_log_has_whole_names_and_all_numbers() {
        assert_eq!(
            sentence(&view("tank/data")),
            "tank/data@daily -> beta:backup/data: 1.50 GiB of about 4.00 GiB (37%) in 16 s, now \
             110.00 MiB/s, average 96.00 MiB/s, 1m23s left, compressed 2.0x, waits for the \
             target's ZFS"
        );
        assert_eq!(
            sentence(&total()),
            "total, 12 of 340 transfers done: 1.50 GiB of about 4.00 GiB (37%) in 16 s, now \
             110.00 MiB/s, average 96.00 MiB/s, 1m23s left, compressed 2.0x"
        );
    }

    #[test]
    fn times_that_are_left_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3599, "59m59s"),
            (3600, "1h00m"),
            (90_061, "1d01h"),
        ] {
            let view = View {
                left: Some(Duration::from_secs(seconds)),
                ..total()
            };
            assert_eq!(left(&view).as_deref(), Some(text));
        }
    }
}
