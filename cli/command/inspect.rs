//! `zferry inspect`: a stored send stream, verified.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use engine::error::Family;
use engine::stream::scan::{
    Begin, Counts, Damage, KINDS, Kind, Record, ScanError, Scanner, feature_names, sums_text,
};
use engine::sync::moment::UtcSeconds;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{Context, blocking};
use crate::args::inspect::Inspect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, Form, Outcome, Verbosity, print};

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// A package may have any number of streams; so many are named.
const STREAMS_NAMED: usize = 1000;

/// Runs the command.
pub async fn run(context: &Context, args: Inspect) -> Result<Outcome, Failure> {
    let console = context.console;
    blocking(move || inspect(console, args.file)).await
}

/// What a walk over a stream has found.
struct Found {
    /// The first of its streams.
    streams: Vec<Begin>,
    counts: Counts,
    /// What the last END said.
    sums: [u64; 4],
}

fn inspect(console: Console, file: PathBuf) -> Result<Outcome, Failure> {
    let name = file.display().to_string();
    let cannot_read = |error: io::Error| {
        let message = format!("{name} cannot be read");
        let mut failure = Failure::new(Family::Failed, message);
        failure.causes.push(error.to_string());
        failure
    };
    let found = if file == Path::new("-") {
        walk(console, io::stdin().lock())
    } else {
        walk(console, File::open(&file).map_err(cannot_read)?)
    };
    match found {
        Ok(found) => Ok(outcome(&name, &found)),
        Err(Stopped::Read(error)) => Err(cannot_read(error)),
        Err(Stopped::Damage(error)) => Err(damaged(&name, &error)),
        Err(Stopped::Reader) => Ok(Outcome {
            exit: Exit::Done,
            human: String::new(),
            json: Value::Null,
            failures: Vec::new(),
        }),
    }
}

/// Why a walk did not come to its end.
enum Stopped {
    Read(io::Error),
    Damage(ScanError),
    /// Whoever read the list of records has read enough.
    Reader,
}

fn walk(console: Console, mut from: impl Read) -> Result<Found, Stopped> {
    let mut scanner = Scanner::default();
    let mut block = vec![0; BLOCK_BYTES];
    let mut listing = Listing::new(console);
    let mut found = Found {
        streams: Vec::new(),
        counts: Counts::default(),
        sums: [0; 4],
    };
    loop {
        let length = match from.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stopped::Read(error)),
        };
        let walked = scanner.feed(&block[..length], |record| {
            match record {
                Record::Begin(begin) if found.streams.len() < STREAMS_NAMED => {
                    found.streams.push((**begin).clone());
                }
                Record::End { sums } if *sums != [0; 4] => found.sums = *sums,
                _ => {}
            }
            listing.add(record)
        });
        // What came before the damage is worth seeing.
        let listed = listing.flush();
        if let ControlFlow::Break(Reader::Left) = walked.map_err(Stopped::Damage)? {
            return Err(Stopped::Reader);
        }
        listed.map_err(|Reader::Left| Stopped::Reader)?;
    }
    found.counts = scanner.finish().map_err(Stopped::Damage)?;
    Ok(found)
}

/// The one thing that a reader of the list can do.
enum Reader {
    Left,
}

/// The list of records, if it is wanted.
struct Listing {
    form: Form,
    wanted: bool,
    text: String,
}

impl Listing {
    fn new(console: Console) -> Self {
        Self {
            form: console.form,
            wanted: console.verbosity >= Verbosity::Steps,
            text: String::new(),
        }
    }

    fn add(&mut self, record: &Record) -> ControlFlow<Reader> {
        if !self.wanted {
            return ControlFlow::Continue(());
        }
        self.text += &match self.form {
            Form::Human => record_text(record),
            Form::Json => format!("{}\n", record_value(record)),
        };
        match self.text.len() {
            0..BLOCK_BYTES => ControlFlow::Continue(()),
            _ => match self.flush() {
                Ok(()) => ControlFlow::Continue(()),
                Err(left) => ControlFlow::Break(left),
            },
        }
    }

    fn flush(&mut self) -> Result<(), Reader> {
        let printed = print(&self.text);
        self.text.clear();
        printed.map_err(|_| Reader::Left)
    }
}

fn damaged(name: &str, error: &ScanError) -> Failure {
    let failure = Failure::new(Family::Failed, format!("{name}: {error}"));
    match error.damage {
        Damage::NotAStream => failure.remedy(
            "a stream that was compressed has to be unpacked first: zstd -dc FILE | zferry inspect -",
        ),
        _ => Failure {
            state_left: Some("do not receive it; ZFS would refuse it in the middle".to_owned()),
            ..failure
        }
        .remedy("copy it again from where it was made, or make it again with zfs send"),
    }
}

fn outcome(name: &str, found: &Found) -> Outcome {
    Outcome {
        exit: Exit::Done,
        human: human(name, found),
        json: json!({
            "file": name,
            "streams": found.streams.iter().map(stream_value).collect::<Vec<_>>(),
            "records": KINDS.iter().map(|kind| (kind.name().to_owned(), count_value(&found.counts, *kind)))
                .collect::<serde_json::Map<_, _>>(),
            "stream_bytes": found.counts.stream_bytes,
            "payload_bytes": found.counts.payload_bytes(),
            "logical_bytes": found.counts.logical_bytes,
            "checksum": sums_text(&found.sums),
        }),
        failures: Vec::new(),
    }
}

fn human(name: &str, found: &Found) -> String {
    let counts = &found.counts;
    let mut text = String::new();
    for begin in &found.streams {
        text += &stream_text(begin);
    }
    let named = found.streams.len() as u64;
    let more = counts.of(Kind::Begin).records - named;
    if more > 0 {
        text += &format!("and {more} streams more\n");
    }
    for kind in KINDS {
        let count = counts.of(kind);
        if count.records > 0 {
            text += &format!(
                "  {:<15}{:>10} {:<8}{:>14}\n",
                kind.name(),
                count.records,
                if count.records == 1 {
                    "record"
                } else {
                    "records"
                },
                HumanBytes(count.payload_bytes).to_string()
            );
        }
    }
    text + &format!(
        "{name}: whole and sound, {} in {} records, {} of data\n",
        HumanBytes(counts.stream_bytes),
        counts.records(),
        HumanBytes(counts.logical_bytes),
    )
}

fn stream_text(begin: &Begin) -> String {
    let name = &begin.name;
    if begin.is_package {
        return format!("{name}: a package of streams\n");
    }
    let from = match begin.from_guid {
        Some(guid) => format!("from guid {guid}"),
        None => "full".to_owned(),
    };
    let mut text = format!(
        "{name}: guid {}, {from}, taken {}",
        begin.to_guid,
        UtcSeconds(begin.creation_seconds)
    );
    let features = feature_names(begin.features);
    if !features.is_empty() {
        text += &format!(", {}", features.join(" "));
    }
    text + "\n"
}

fn stream_value(begin: &Begin) -> Value {
    json!({
        "name": begin.name.clone(),
        "package": begin.is_package,
        "guid": begin.to_guid.to_string(),
        "from_guid": begin.from_guid.map(|guid| guid.to_string()),
        "creation": begin.creation_seconds,
        "features": feature_names(begin.features),
    })
}

fn count_value(counts: &Counts, kind: Kind) -> Value {
    let count = counts.of(kind);
    json!({ "records": count.records, "payload_bytes": count.payload_bytes })
}

fn record_text(record: &Record) -> String {
    let mut text = record.kind().name().to_owned();
    for (name, value) in fields(record) {
        text += &format!(" {name}={value}");
    }
    text + "\n"
}

fn record_value(record: &Record) -> Value {
    let fields = fields(record).into_iter();
    let mut value: serde_json::Map<_, _> = fields
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect();
    value.insert("event".to_owned(), "record".into());
    value.insert("type".to_owned(), record.kind().name().into());
    Value::Object(value)
}

/// What a record says, as text: many numbers use all their 64 bits.
fn fields(record: &Record) -> Vec<(&'static str, String)> {
    let numbers = |pairs: &[(&'static str, u64)]| {
        pairs
            .iter()
            .map(|(name, value)| (*name, value.to_string()))
            .collect()
    };
    match record.clone() {
        Record::Begin(begin) => vec![
            ("name", begin.name.clone()),
            ("guid", begin.to_guid.to_string()),
            (
                "from",
                begin
                    .from_guid
                    .map_or_else(|| "-".to_owned(), |guid| guid.to_string()),
            ),
            ("features", format!("{:#x}", begin.features)),
        ],
        Record::End { sums } => vec![("checksum", sums_text(&sums))],
        Record::Object {
            object,
            block_bytes,
            bonus_bytes,
        } => numbers(&[
            ("object", object),
            ("block_bytes", block_bytes.into()),
            ("bonus_bytes", bonus_bytes.into()),
        ]),
        Record::FreeObjects { first, count } => numbers(&[("first", first), ("count", count)]),
        Record::Write {
            object,
            offset,
            logical_bytes,
            compressed_bytes,
        } => numbers(&[
            ("object", object),
            ("offset", offset),
            ("logical_bytes", logical_bytes),
            ("stream_bytes", compressed_bytes.unwrap_or(logical_bytes)),
        ]),
        Record::Free {
            object,
            offset,
            bytes,
        } => {
            let mut fields: Vec<_> = numbers(&[("object", object), ("offset", offset)]);
            let bytes = match bytes {
                u64::MAX => "to the end".to_owned(),
                bytes => bytes.to_string(),
            };
            fields.push(("bytes", bytes));
            fields
        }
        Record::WriteByRef {
            object,
            offset,
            logical_bytes,
        }
        | Record::WriteEmbedded {
            object,
            offset,
            logical_bytes,
        } => numbers(&[
            ("object", object),
            ("offset", offset),
            ("logical_bytes", logical_bytes),
        ]),
        Record::Spill { object, bytes } => numbers(&[("object", object), ("bytes", bytes)]),
        Record::ObjectRange { first, slots } => numbers(&[("first", first), ("slots", slots)]),
        Record::Redact {
            object,
            offset,
            bytes,
        } => numbers(&[("object", object), ("offset", offset), ("bytes", bytes)]),
    }
}
