//! Text → expressions.
//!
//! Everything that the grammar does not have is a mistake with a remedy:
//! a schedule that is read in another way than it was meant runs at night
//! what should not run at all.

use super::ScheduleError;
use super::expression::{DAY_SECONDS, Days, Expression, Modulo, Numbers, OfMonth, Range, Repeat};
use crate::sync::config::{BareNumber, duration};

/// Most expressions of a schedule, and most items of a list in one of them.
const ITEMS_MAX: usize = 64;

/// Longest interval: beyond a year a number is a slip.
const INTERVAL_SECONDS_MAX: i64 = 366 * DAY_SECONDS;

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Words for the nth day of a month.
const NTH: [(&str, i8); 11] = [
    ("first", 1),
    ("1st", 1),
    ("second", 2),
    ("2nd", 2),
    ("third", 3),
    ("3rd", 3),
    ("fourth", 4),
    ("4th", 4),
    ("fifth", 5),
    ("5th", 5),
    ("last", -1),
];

type Parsed<T> = Result<T, ScheduleError>;

fn wrong(problem: String, remedy: &str) -> ScheduleError {
    ScheduleError {
        problem,
        remedy: remedy.to_owned(),
    }
}

/// A part of the text as messages show it.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(40).collect();
    head.escape_debug().to_string()
}

/// The expressions of `text`: those that allow, and those that exclude.
pub(super) fn expressions(text: &str) -> Parsed<(Vec<Expression>, Vec<Expression>)> {
    let text = text.trim();
    let texts: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| {
            wrong(
                format!("`{}` is no list of expressions", shown(text)),
                r#"write `["00:00-02:00", "! * sun"]`, each expression in double quotes"#,
            )
        })?
    } else {
        vec![text.to_owned()]
    };
    at_most(texts.len())?;
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for text in &texts {
        let text = text.trim();
        match text.strip_prefix('!') {
            Some(text) => exclude.push(expression(text, Use::Excludes)?),
            None if text.is_empty() => {}
            None => include.push(expression(text, Use::Runs)?),
        }
    }
    // Ranges whose interval is 0 are gone, and with them what they were in.
    include.retain(|one| !one.ranges.is_empty());
    if include.is_empty() && !exclude.is_empty() {
        return Err(wrong(
            "it only excludes".to_owned(),
            r#"say when it runs, for example `["*@60", "! 08:00-18:00 mon-fri"]`"#,
        ));
    }
    Ok((include, exclude))
}

/// One expression of times at which something is so.
pub(super) fn times(text: &str) -> Parsed<Expression> {
    if text.trim().is_empty() {
        return Err(wrong(
            "no times are written".to_owned(),
            "write them, for example `08:00-18:00 mon-fri`",
        ));
    }
    expression(text, Use::Applies)
}

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A run belongs into its windows.
    Runs,
    /// None does.
    Excludes,
    /// Something is so in them.
    Applies,
}

fn at_most(count: usize) -> Parsed<()> {
    if count <= ITEMS_MAX {
        return Ok(());
    }
    Err(wrong(
        format!("it has a list of more than {ITEMS_MAX}"),
        "write fewer, as ranges",
    ))
}

fn expression(text: &str, what_for: Use) -> Parsed<Expression> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [ranges_text, rest @ ..] = words.as_slice() else {
        return Err(wrong(
            "nothing stands after `!`".to_owned(),
            "write the times that are excluded, for example `! 08:00-18:00`",
        ));
    };
    if rest.len() > 3 {
        return Err(wrong(
            format!("`{}` has more than four parts", shown(text)),
            "write RANGES DAYS WEEKS MONTHS, lists with commas and without blanks",
        ));
    }
    let part = |at: usize| rest.get(at).copied().unwrap_or("*");
    let mut ranges = Vec::new();
    for item in items(ranges_text)? {
        ranges.extend(range(item, what_for)?);
    }
    Ok(Expression {
        ranges,
        days: items(part(0))?
            .into_iter()
            .map(days)
            .collect::<Parsed<_>>()?,
        weeks: items(part(1))?
            .into_iter()
            .map(weeks)
            .collect::<Parsed<_>>()?,
        months: items(part(2))?
            .into_iter()
            .map(months)
            .collect::<Parsed<_>>()?,
    })
}

fn items(list: &str) -> Parsed<Vec<&str>> {
    let items: Vec<&str> = list.split(',').collect();
    at_most(items.len())?;
    Ok(items)
}

/// `[~]BEGIN[-END][@INTERVAL]`, `*[@INTERVAL]` or `@INTERVAL`; `None` if the
/// interval is 0.
fn range(text: &str, what_for: Use) -> Parsed<Option<Range>> {
    const REMEDY: &str = "write `04:00-06:00`, `04:00-06:00@30m`, `*@2h` or `09:00`";
    let (times, every) = match text.split_once('@') {
        Some((times, every)) => (times, Some(interval(every)?)),
        None => (text, None),
    };
    let (times, random) = match times.strip_prefix('~') {
        Some(times) => (times, true),
        None => (times, false),
    };
    if what_for != Use::Runs && (every.is_some() || random) {
        return Err(wrong(
            match what_for {
                Use::Excludes => format!("`{}` excludes, and is never run", shown(text)),
                _ => format!("`{}` is no range of times", shown(text)),
            },
            "write it without `@` and `~`",
        ));
    }
    let (begin, end) = match times.split_once('-') {
        None if times == "*" || (times.is_empty() && every.is_some()) => (0, DAY_SECONDS),
        None if what_for != Use::Runs => {
            return Err(wrong(
                format!("`{}` is no range of times", shown(text)),
                match what_for {
                    Use::Excludes => {
                        "write when the excluded time ends, for example `! 08:00-18:00`"
                    }
                    _ => "write when it ends too, for example `08:00-18:00`",
                },
            ));
        }
        // From then on, once: whoever asks too late is not too late.
        None => (
            time(times).ok_or_else(|| wrong(format!("`{}` is no time", shown(text)), REMEDY))?,
            DAY_SECONDS,
        ),
        Some((begin, end)) => time(begin)
            .zip(time(end))
            .ok_or_else(|| wrong(format!("`{}` is no range of times", shown(text)), REMEDY))?,
    };
    if begin >= DAY_SECONDS {
        return Err(wrong(
            format!("`{}` begins when the day is over", shown(text)),
            REMEDY,
        ));
    }
    let end = match end {
        // People write the last minute of the day and mean its end.
        end if end == DAY_SECONDS - 60 => DAY_SECONDS,
        end if end == begin => DAY_SECONDS,
        end if end < begin => end + DAY_SECONDS,
        end => end,
    };
    let repeat = match every {
        Some(0) => return Ok(None),
        Some(seconds) => Repeat::Every(seconds),
        None => Repeat::Once,
    };
    Ok(Some(Range {
        begin,
        end,
        repeat,
        random,
    }))
}

/// `HH:MM[:SS]`, up to `24:00`, in seconds.
fn time(text: &str) -> Option<i64> {
    let number = |text: &str, max: i64| -> Option<i64> {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number)?;
        (number <= max).then_some(number)
    };
    let mut parts = text.split(':');
    let hours = number(parts.next()?, 24)?;
    let minutes = number(parts.next()?, 59)?;
    let seconds = parts.next().map_or(Some(0), |text| number(text, 59))?;
    let time = hours * 3600 + minutes * 60 + seconds;
    (parts.next().is_none() && time <= DAY_SECONDS).then_some(time)
}

/// A number of minutes, or `1d3h`; in seconds.
fn interval(text: &str) -> Parsed<i64> {
    let seconds = duration(text, BareNumber::Minutes).map_err(|wrong| ScheduleError {
        problem: wrong.problem,
        remedy: wrong.remedy,
    })?;
    i64::try_from(seconds.as_secs())
        .ok()
        .filter(|seconds| *seconds <= INTERVAL_SECONDS_MAX)
        .ok_or_else(|| {
            wrong(
                format!("the interval `{}` is longer than a year", shown(text)),
                "write a shorter one",
            )
        })
}

/// `DAY[-DAY][:OF_MONTH]`, `*[:OF_MONTH]`, `:OF_MONTH`.
fn days(text: &str) -> Parsed<Days> {
    const REMEDY: &str = "write days such as `mon-fri`, `fri:last`, `*:1` or `*:%2+1`";
    let malformed = || wrong(format!("`{}` is no day", shown(text)), REMEDY);
    let (of_week, of_month) = match text.split_once(':') {
        Some((of_week, of_month)) => (of_week, Some(of_month)),
        None if text.is_empty() => return Err(malformed()),
        None => (text, None),
    };
    let mut weekdays = [true; 7];
    if !matches!(of_week, "" | "*") {
        let (first, last) = of_week.split_once('-').unwrap_or((of_week, of_week));
        let day = |word: &str| weekday(word).ok_or_else(malformed);
        let (first, last) = (day(first)?, day(last)?);
        weekdays = [false; 7];
        let mut at = first;
        loop {
            weekdays[at] = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    let of_month = match of_month {
        None => OfMonth::Any,
        Some(text) => match text.strip_prefix('%') {
            Some(text) => OfMonth::Modulo(modulo(text).ok_or_else(malformed)?),
            None => OfMonth::Nth(nth(text).ok_or_else(malformed)?),
        },
    };
    Ok(Days { weekdays, of_month })
}

/// The place of a day in the week from Monday, 0; as a number, 1 to 7, and 0
/// is Sunday as well.
fn weekday(word: &str) -> Option<usize> {
    if let Ok(number) = word.parse::<usize>() {
        return (number <= 7 && word.len() == 1).then(|| (number + 6) % 7);
    }
    named(word, &WEEKDAYS)
}

/// The place of the name that `word` is, in whole or by its first three letters.
fn named(word: &str, names: &[&str]) -> Option<usize> {
    let word = word.to_ascii_lowercase();
    names
        .iter()
        .position(|name| *name == word || name[..3] == word)
}

fn nth(text: &str) -> Option<i8> {
    if let Some((_, nth)) = NTH.iter().find(|(word, _)| *word == text) {
        return Some(*nth);
    }
    text.parse::<i8>()
        .ok()
        .filter(|nth| *nth != 0 && nth.unsigned_abs() <= 31)
}

/// What stands after the `%`.
fn modulo(text: &str) -> Option<Modulo> {
    let (modulo, shift) = text.split_once('+').unwrap_or((text, "0"));
    let number = |text: &str| {
        text.parse::<i16>()
            .ok()
            .filter(|number| (0..=366).contains(number))
    };
    Some(Modulo {
        modulo: number(modulo).filter(|modulo| *modulo > 0)?,
        shift: number(shift)?,
    })
}

fn weeks(text: &str) -> Parsed<Numbers> {
    let week = |word: &str| {
        word.parse::<i16>()
            .ok()
            .filter(|week| (1..=53).contains(week))
    };
    numbers(text, (1, 53), week).ok_or_else(|| {
        wrong(
            format!("`{}` is no week", shown(text)),
            "write weeks such as `1-26`, `%2` or `*`",
        )
    })
}

fn months(text: &str) -> Parsed<Numbers> {
    let month = |word: &str| match word.parse::<i16>() {
        Ok(number) => (1..=12).contains(&number).then_some(number),
        Err(_) => i16::try_from(named(word, &MONTHS)? + 1).ok(),
    };
    numbers(text, (1, 12), month).ok_or_else(|| {
        wrong(
            format!("`{}` is no month", shown(text)),
            "write months such as `jan-mar`, `12`, `%2+1` or `*`",
        )
    })
}

/// `FIRST[-LAST][%MODULO[+SHIFT]]`, `*[%…]` or `%…`.
fn numbers(text: &str, all: (i16, i16), one: impl Fn(&str) -> Option<i16>) -> Option<Numbers> {
    let (range, modulo) = match text.split_once('%') {
        Some((range, filter)) => (range, Some(modulo(filter)?)),
        None if text.is_empty() => return None,
        None => (text, None),
    };
    let (first, last) = match range {
        "" | "*" => all,
        range => {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            (one(first)?, one(last)?)
        }
    };
    Some(Numbers {
        first,
        last,
        modulo,
    })
}
