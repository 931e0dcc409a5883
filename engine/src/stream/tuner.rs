//! How hard to compress: decided block by block, from what the blocks before
//! took.
//!
//! On a link faster than the processor compression only costs; on a slow one it
//! multiplies the rate. Neither side is known in advance, and both change. So a
//! transfer begins with a cheap level: what fills the buffers on the way does
//! not show yet whether the link is slow, is all that there is of a short
//! stream, and costs a fast link some milliseconds. If the link has made us wait
//! by then, or does as soon as blocks go as they are, and that is slower, it
//! goes on so; otherwise stored. And:
//!
//! 1. While the link makes us wait, single blocks are sent at each other level.
//!    That shows what a level costs here and what it saves on this data.
//! 2. From that and from what the link carries follows the rate that each level
//!    would reach. If one is clearly better it is tried.
//! 3. What was tried has to prove itself by the rate that is really reached:
//!    where the two ends share a processor the forecast is wrong. A level that
//!    did not is left alone for a while, which doubles each time.
//!
//! Time comes in with the blocks; there is no clock here.

use std::time::Duration;

/// What a block can be coded with: stored, or a level of zstd from cheap to
/// thorough. Higher ones save some percent more, and no common link is slow
/// enough for them to pay.
pub const LEVELS: [Option<i32>; 5] = [None, Some(-3), Some(1), Some(3), Some(7)];

/// Index of the cheapest level that compresses.
const CHEAPEST: usize = 1;
/// Index of the level that the first transfer begins with, before anything is
/// known: it saves nearly as much as thorough ones.
const FIRST: usize = 2;

/// Blocks that show whether the buffers are full; so many are enough if they
/// do nothing but wait, and that for so long, in seconds.
const SHOWING_BLOCKS: u32 = 8;
const SHOWING_BLOCKS_MIN: u32 = 3;
const SHOWING_SECONDS: f64 = 0.1;
/// Share of the time that is nothing but waiting.
const NOTHING_ELSE: f64 = 0.8;

/// Shortest time that is looked at as a whole.
const WINDOW: Duration = Duration::from_millis(300);
/// The same, when a trial is judged.
const VERDICT_WINDOW: Duration = Duration::from_millis(500);
/// Fewest blocks that are looked at as a whole; when a trial is judged.
const WINDOW_BLOCKS: u32 = 2;
const VERDICT_BLOCKS: u32 = 8;
/// We wait for the link if that takes more than this share of the time.
const BLOCKED: f64 = 0.1;
/// Coding takes the processor from others if it takes more than this share of
/// the time.
const DEAR: f64 = 0.15;
/// A level cannot pay if coding takes so many times as long as all does now.
const HOPELESS: f64 = 2.0;
/// A difference of rates that counts.
const CLEARLY: f64 = 0.03;
/// What may lie in queues, windows and sockets between us and the other side,
/// in coded bytes. So much passes before a new level shows in the rate.
const IN_FLIGHT_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// Stored bytes after which a link is fast that has not made us wait: several
/// connections have as many times the buffers.
const BARE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
/// Windows after which single blocks are sent at other levels again.
const PROBE_EVERY: u32 = 16;
/// Windows for which a level that failed is left alone, at first and at most.
const PATIENCE_FIRST: u32 = 16;
const PATIENCE_MAX: u32 = 1024;
/// Share of the newest block in what is known of a level.
const NEWEST: f64 = 0.2;

/// Where the time of one block went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Until ZFS had written it.
    pub made: Duration,
    /// To look through it, hash it and compress it.
    pub coded: Duration,
    /// Until the connection took it.
    pub waited: Duration,
}

/// One block, as it went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Index in [`LEVELS`].
    pub level: usize,
    /// Bytes before and after.
    pub raw_bytes: usize,
    /// As they went out.
    pub coded_bytes: usize,
    /// What it took.
    pub spent: Spent,
}

/// What is known of a level.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Time to look through, hash and compress, seconds per byte.
    cost: f64,
    /// Coded bytes per byte.
    ratio: f64,
}

/// Blocks that are looked at together. Bytes and seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    blocks: u32,
    raw: f64,
    coded: f64,
    seconds: f64,
    working: f64,
    waiting: f64,
}

/// A level that has to prove itself.
#[derive(Debug, Clone, Copy)]
struct Trial {
    from: usize,
    /// Rate before, bytes per second.
    before: f64,
    /// Coded bytes until it is looked at.
    settles: f64,
}

/// How a transfer begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Opening {
    /// So many coded bytes fill the buffers on the way yet.
    Fills(f64),
    /// Now it shows whether the link is slow.
    Shows,
    /// It did not: this was the rate. Stored blocks may still be too much for
    /// it, which shows before so many bytes are on the way.
    Bare { before: f64, left: f64 },
    /// It has begun.
    Over,
}

impl Default for Opening {
    fn default() -> Self {
        Self::Fills(IN_FLIGHT_BYTES)
    }
}

/// The state of the decision.
#[derive(Debug, Clone)]
pub struct Tuner {
    level: usize,
    /// The cheapest level that a transfer may begin with: [`FIRST`] until the
    /// beginning of one is over.
    first: usize,
    opening: Opening,
    known: [Option<Known>; LEVELS.len()],
    /// Levels that one block each is to be sent at.
    probes: Vec<usize>,
    window: Window,
    /// Rate of the window before.
    rate_before: Option<f64>,
    trial: Option<Trial>,
    /// Windows for which a level is left alone, and the next such time.
    patience: [(u32, u32); LEVELS.len()],
    until_probes: u32,
}

impl Default for Tuner {
    fn default() -> Self {
        Self {
            level: 0,
            first: FIRST,
            opening: Opening::default(),
            known: [None; LEVELS.len()],
            probes: Vec::new(),
            window: Window::default(),
            rate_before: None,
            trial: None,
            patience: [(0, PATIENCE_FIRST); LEVELS.len()],
            until_probes: 0,
        }
    }
}

impl Tuner {
    /// Another transfer begins, with what is known from those before.
    pub fn begin(&mut self) {
        self.opening = Opening::default();
        self.window = Window::default();
    }

    /// Index in [`LEVELS`] for the next block.
    #[must_use]
    pub fn level(&self) -> usize {
        match self.probes.last() {
            Some(probe) => *probe,
            None => match self.opening {
                Opening::Fills(_) | Opening::Shows => self.level.max(self.first),
                Opening::Bare { .. } | Opening::Over => self.level,
            },
        }
    }

    /// Learns from the block that went out.
    pub fn learn(&mut self, sent: &Sent) {
        if sent.raw_bytes == 0 {
            return;
        }
        let is_probe = self.probes.last() == Some(&sent.level);
        if is_probe {
            self.probes.pop();
        }
        let raw = sent.raw_bytes as f64;
        let now = Known {
            cost: sent.spent.coded.as_secs_f64() / raw,
            ratio: sent.coded_bytes as f64 / raw,
        };
        // More thorough ones are slower still.
        if is_probe
            && self
                .rate_before
                .is_some_and(|rate| now.cost * rate > HOPELESS)
        {
            self.probes.clear();
        }
        let mixed = |old: f64, new: f64| old + NEWEST * (new - old);
        self.known[sent.level] = Some(self.known[sent.level].map_or(now, |known| Known {
            cost: mixed(known.cost, now.cost),
            ratio: mixed(known.ratio, now.ratio),
        }));
        let Spent {
            made,
            coded,
            waited,
        } = sent.spent;
        self.window.blocks += 1;
        self.window.raw += raw;
        self.window.coded += sent.coded_bytes as f64;
        self.window.seconds += (made + coded + waited).as_secs_f64();
        self.window.working += coded.as_secs_f64();
        self.window.waiting += waited.as_secs_f64();
        if self.opening != Opening::Over {
            return self.opens(sent.coded_bytes as f64);
        }
        if let Some(trial) = &mut self.trial
            && trial.settles > 0.0
        {
            trial.settles -= sent.coded_bytes as f64;
            self.window = Window::default();
            return;
        }
        let (least, blocks) = match self.trial {
            Some(_) => (VERDICT_WINDOW, VERDICT_BLOCKS),
            None => (WINDOW, WINDOW_BLOCKS),
        };
        if self.window.blocks >= blocks && self.window.seconds >= least.as_secs_f64() {
            let window = std::mem::take(&mut self.window);
            self.look_at(window);
        }
    }

    /// A block of the beginning has gone out.
    fn opens(&mut self, coded_bytes: f64) {
        let window = self.window;
        let only_waits = window.waiting > NOTHING_ELSE * window.seconds
            && match window.seconds >= SHOWING_SECONDS {
                true => window.blocks >= SHOWING_BLOCKS_MIN,
                false => window.blocks >= SHOWING_BLOCKS,
            };
        match self.opening {
            Opening::Fills(left) => {
                let left = left - coded_bytes;
                self.opening = match left > 0.0 {
                    true => Opening::Fills(left),
                    false => Opening::Shows,
                };
                self.window = Window::default();
            }
            Opening::Shows if only_waits || window.blocks >= SHOWING_BLOCKS => {
                self.window = Window::default();
                self.opening = self.opened(&window);
            }
            Opening::Bare { before, .. } if only_waits && window.raw / window.seconds < before => {
                self.window = Window::default();
                self.opening = Opening::Over;
                self.fails(0);
                self.goes_on_compressed(&window);
            }
            Opening::Bare { before, left } => {
                let left = left - coded_bytes;
                self.opening = match left > 0.0 {
                    true => Opening::Bare { before, left },
                    false => Opening::Over,
                };
                // The first of them went into the buffers, and say nothing.
                if only_waits || window.blocks >= SHOWING_BLOCKS {
                    self.window = Window::default();
                }
            }
            Opening::Shows | Opening::Over => {}
        }
        if self.opening == Opening::Over {
            self.first = CHEAPEST;
        }
    }

    /// The buffers on the way are full by now, or the link takes what it gets.
    fn opened(&mut self, window: &Window) -> Opening {
        if self.level >= self.first {
            return Opening::Over;
        }
        // Where both ends share a processor the link may be faster as soon as
        // nothing is compressed, at most by the time that this took. If even
        // that is no match for what is saved, the link is slow beyond doubt.
        let without = 1.0 - window.working / window.seconds;
        let is_blocked = window.waiting > BLOCKED * window.seconds;
        if is_blocked && window.coded / window.raw * (1.0 + CLEARLY) < without {
            self.goes_on_compressed(window);
            Opening::Over
        } else {
            Opening::Bare {
                before: window.raw / window.seconds,
                left: BARE_BYTES,
            }
        }
    }

    /// The link is slow, as `window` shows.
    fn goes_on_compressed(&mut self, window: &Window) {
        self.level = self.first;
        self.rate_before = Some(window.raw / window.seconds);
        self.probe();
    }

    fn look_at(&mut self, window: Window) {
        for (left, _) in &mut self.patience {
            *left = left.saturating_sub(1);
        }
        let rate = window.raw / window.seconds;
        // What the buffers on the way swallowed at first was no rate of the link.
        let steady = self.rate_before.replace(rate).map(|last| last.min(rate));
        if let Some(trial) = self.trial.take() {
            return self.judge(trial, rate);
        }
        let Some(steady) = steady else { return };
        let is_blocked = window.waiting > BLOCKED * window.seconds;
        let better = if is_blocked {
            self.probe();
            let better = self.better_on(window.coded / window.seconds, steady);
            // Whoever carries the link may need the processor as well.
            let cheaper = self.level.checked_sub(1).filter(|level| {
                window.working > DEAR * window.seconds && self.patience[*level].0 == 0
            });
            better.or(cheaper)
        } else if window.working > window.seconds / 2.0 {
            // The processor is what we wait for: anything cheaper may do.
            self.best(|known| 1.0 / known.cost, steady)
                .filter(|level| *level < self.level)
        } else {
            None
        };
        if let Some(better) = better {
            self.trial = Some(Trial {
                from: self.level,
                before: steady,
                settles: IN_FLIGHT_BYTES,
            });
            self.level = better;
        }
    }

    fn judge(&mut self, trial: Trial, rate: f64) {
        // What costs more has to bring more; what costs less must not lose.
        let least = match self.level > trial.from {
            true => trial.before * (1.0 + CLEARLY / 2.0),
            false => trial.before * (1.0 - CLEARLY / 2.0),
        };
        if rate < least {
            self.fails(self.level);
            self.level = trial.from;
            self.rate_before = None;
        } else {
            self.patience[self.level].1 = PATIENCE_FIRST;
            if self.level > trial.from {
                // What costs less did worse just now.
                let (left, _) = &mut self.patience[trial.from];
                *left = PATIENCE_FIRST.max(*left);
            }
        }
    }

    /// A level did not do: it is left alone for a while.
    fn fails(&mut self, level: usize) {
        let (left, next) = &mut self.patience[level];
        *left = *next;
        *next = (*next * 2).min(PATIENCE_MAX);
    }

    /// A level that would do better on a link that carries `wire` bytes per
    /// second, where we reach `rate`; or one that does as well and is cheaper.
    fn better_on(&self, wire: f64, rate: f64) -> Option<usize> {
        let reached = |known: &Known| (1.0 / known.cost).min(wire / known.ratio);
        self.best(reached, rate).or_else(|| {
            (0..self.level).find(|level| {
                let known = self.known[*level].as_ref();
                let as_good = known.is_some_and(|known| reached(known) > rate * 0.99);
                as_good && self.patience[*level].0 == 0
            })
        })
    }

    /// The level that reaches most, if that is clearly more than `rate`.
    fn best(&self, reached: impl Fn(&Known) -> f64, rate: f64) -> Option<usize> {
        let others =
            (0..LEVELS.len()).filter(|level| *level != self.level && self.patience[*level].0 == 0);
        let forecasts = others.filter_map(|level| {
            let known = self.known[level].as_ref()?;
            Some((level, reached(known)))
        });
        forecasts
            .filter(|(_, forecast)| *forecast > rate * (1.0 + CLEARLY))
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(level, _)| level)
    }

    /// Has single blocks sent at the levels of which too little is known.
    fn probe(&mut self) {
        let is_due = self.until_probes == 0;
        self.until_probes = match is_due {
            true => PROBE_EVERY,
            false => self.until_probes - 1,
        };
        if is_due {
            let others = (1..LEVELS.len()).filter(|level| *level != self.level);
            self.probes = others.rev().collect();
        }
    }
}

#[cfg(test)]
mod tests;
