//! Streams that somebody made to do harm: altered records with checksums that
//! are right again.
//!
//! Whatever such a stream does to libzpool, the client gets an answer or a
//! typed error in time, and what the pool held before is whole.

use std::path::Path;
use std::time::{Duration, Instant};

use userland::protocol::{Answer, Base, Call, Dataset, Scope, SendFlags};
use userland::{Error, Patience, Pool};

use crate::lab::{
    BLOCK_BYTES, Lab, MIB, PLAIN, drain, read, receive, receive_resumable, request, scrub,
    snapshot, stream, volume, write,
};
use crate::random::{Random, seed};
use crate::records::{
    BEGIN, END, FREEOBJECTS, OBJECT, OBJECT_RANGE, RECORD_BYTES, Record, SPILL, TYPES, WRITE,
    parse, seal,
};

/// At least as many as the specification asks for.
const MUTANTS: usize = 360;
/// After so many, the pool is scrubbed and what it held is compared.
const BATCH: usize = 30;
/// No mutant may keep the client longer.
const MUTANT_TIME_MAX: Duration = Duration::from_secs(60);

/// A hang costs this much; a slow machine must not be taken for one.
fn patience() -> Patience {
    Patience {
        look: Duration::from_millis(100),
        quiet: Duration::from_secs(5),
        stuck: Duration::from_secs(15),
        short: Duration::from_secs(60),
    }
}

/// A valid stream and where it belongs.
struct Original {
    what: String,
    records: Vec<Record>,
    /// Whether it continues `backup/base@1`.
    incremental: bool,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: usize,
    rejected: usize,
    died: usize,
    hung: usize,
    /// Workers that died of what a mutant had left.
    later: usize,
}

#[test]
fn hostile_streams_never_hang_the_client_and_never_damage_the_pool() {
    let Some(lab) = Lab::with(patience()) else {
        return;
    };
    let seed = seed("hostile streams");
    let mut random = Random::new(seed);
    let originals = originals(&lab, &mut random);
    let pool = lab.create("backup");
    let base = originals.iter().find(|original| original.what == "full");
    let base = seal(&base.unwrap().records);
    receive(&pool, "backup/base@1", &base).unwrap();
    receive(&pool, "backup/keep@1", &base).unwrap();
    let content = read(&pool, "backup/keep@1");
    assert!(read(&pool, "backup/base@1") == content);

    let mut counts = Counts::default();
    for number in 0..MUTANTS {
        let original = &originals[number % originals.len()];
        let (deed, bytes) = mutant(original, &mut random);
        let what = format!("seed {seed}, mutant {number} ({}: {deed})", original.what);
        let name = if original.incremental { "base" } else { "new" };
        let target = format!("backup/{name}@2");
        let resumable = random.below(2) == 0;
        let begin = Instant::now();
        let result = if resumable {
            receive_resumable(&pool, &target, &bytes)
        } else {
            receive(&pool, &target, &bytes)
        };
        assert!(
            begin.elapsed() < MUTANT_TIME_MAX,
            "{what}: {:?}",
            begin.elapsed()
        );
        match result {
            Ok(_) => counts.accepted += 1,
            Err(Error::Fault { .. }) => counts.rejected += 1,
            Err(error @ Error::WorkerDied { .. }) => {
                counts.died += 1;
                eprintln!("died: {what}: {}", short(&error));
            }
            Err(error @ Error::WorkerHung { .. }) => {
                counts.hung += 1;
                eprintln!("hung: {what}: {}", short(&error));
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
        counts.later += clean_up(&pool, original, &what);
        if (number + 1) % BATCH == 0 {
            assert_eq!(scrub(&pool).errors, 0, "{what}");
            assert!(read(&pool, "backup/keep@1") == content, "{what}");
            assert!(read(&pool, "backup/base") == content, "{what}");
        }
    }
    eprintln!("{MUTANTS} hostile streams, seed {seed}: {counts:?}");
    assert!(counts.rejected > 0 && counts.accepted > 0, "{counts:?}");
    // A valid one still goes in: nothing is stuck.
    receive(&pool, "backup/after@1", &base).unwrap();
    assert!(read(&pool, "backup/after@1") == content);
    pool.close().unwrap();
    let pool = lab.open("backup").unwrap();
    assert!(read(&pool, "backup/keep@1") == content);
    assert_eq!(scrub(&pool).errors, 0);
}

#[test]
fn a_sealed_stream_is_the_stream_it_was_made_of() {
    let Some(lab) = Lab::new() else { return };
    for original in originals(&lab, &mut Random::new(1)) {
        let bytes = seal(&original.records);
        assert!(seal(&parse(&bytes)) == bytes, "{}", original.what);
    }
}

/// Streams of a volume in several forms, and those recorded from a kernel.
fn originals(lab: &Lab, random: &mut Random) -> Vec<Original> {
    let pool = lab.create("origin");
    volume(&pool, "origin/vol", 4 * MIB);
    // Compressible, embeddable and other blocks, and holes between them.
    write(&pool, "origin/vol", 0, &random.bytes(256 << 10));
    write(&pool, "origin/vol", MIB, &[b'z'; 128 << 10]);
    let mut sparse = vec![0; 64 << 10];
    for block in sparse.chunks_mut(usize::try_from(BLOCK_BYTES).unwrap()) {
        block[..40].copy_from_slice(&random.bytes(40));
    }
    write(&pool, "origin/vol", 2 * MIB, &sparse);
    snapshot(&pool, "origin/vol@1");
    write(&pool, "origin/vol", 64 << 10, &random.bytes(128 << 10));
    write(&pool, "origin/vol", MIB, &[0; 128 << 10]);
    snapshot(&pool, "origin/vol@2");

    let packed = SendFlags {
        embed_data: true,
        large_block: true,
        compress: true,
        ..PLAIN
    };
    let send = |name: &str, base: Option<&str>, flags| {
        let base = base.map(|base| Base::Snapshot(base.to_owned()));
        let mut wanted = request(name, base);
        wanted.flags = flags;
        drain(&pool, Call::Send(wanted)).unwrap()
    };
    let original = |what: &str, bytes: Vec<u8>, incremental| {
        let records = parse(&bytes);
        assert!(seal(&records) == bytes, "{what}: not understood");
        Original {
            what: what.to_owned(),
            records,
            incremental,
        }
    };
    let first = stream(&pool, "origin/vol@1", None);
    let mut originals = vec![
        original("full", first, false),
        original("full, packed", send("origin/vol@1", None, packed), false),
        original(
            "incremental",
            send("origin/vol@2", Some("origin/vol@1"), PLAIN),
            true,
        ),
        original(
            "incremental, packed",
            send("origin/vol@2", Some("origin/vol@1"), packed),
            true,
        ),
    ];
    drop(pool);
    std::fs::remove_file(lab.file("origin")).unwrap();

    for path in recorded() {
        let bytes = std::fs::read(&path).unwrap();
        let what = path.file_name().unwrap().to_string_lossy().into_owned();
        let recorded = original(&what, bytes, false);
        // An increment would need its own base.
        if recorded.records[0].u64(48) == 0 {
            originals.push(recorded);
        }
    }
    originals
}

/// Streams recorded from a kernel, if the crate has any.
fn recorded() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "zs"))
        .collect();
    paths.sort();
    paths
}

/// Numbers at which mistakes live.
const NUMBERS: [u64; 20] = [
    0,
    1,
    2,
    3,
    7,
    511,
    512,
    513,
    8191,
    8192,
    1 << 17,
    (1 << 24) + 512,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    1 << 48,
    (1 << 55) + 1,
    i64::MAX as u64,
    u64::MAX - 511,
    u64::MAX,
];

fn number(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.number(),
        1 => random.number() >> random.below(64),
        _ => random.of(&NUMBERS),
    }
}

/// One to three changes to a stream, and what they are.
fn mutant(original: &Original, random: &mut Random) -> (String, Vec<u8>) {
    let mut records = original.records.clone();
    let mut deeds = Vec::new();
    for _ in 0..1 + random.below(3) {
        deeds.push(change(&mut records, random));
    }
    let mut bytes = seal(&records);
    if random.below(12) == 0 {
        let end = RECORD_BYTES + random.below(bytes.len() - RECORD_BYTES);
        bytes.truncate(end);
        deeds.push(format!("cut at {end}"));
    }
    // The first record has to be whole to be passed on at all.
    bytes.resize(bytes.len().max(RECORD_BYTES), 0);
    (deeds.join(", "), bytes)
}

fn change(records: &mut Vec<Record>, random: &mut Random) -> String {
    let at = random.below(records.len());
    let kind = records[at].kind();
    match random.below(13) {
        // Fields where they are known to be: object, offset, length, …
        0..=3 => {
            let field = 8 + 8 * random.below(12);
            let value = number(random);
            records[at].set_u64(field, value);
            if random.below(2) == 0 {
                records[at].fit();
            }
            format!("record {at} (type {kind}): field {field} is {value:#x}")
        }
        4 => {
            let field = 4 * random.below(30);
            let value = u32::try_from(number(random) & 0xffff_ffff).unwrap();
            records[at].set_u32(field, value);
            if random.below(2) == 0 {
                records[at].fit();
            }
            format!("record {at} (type {kind}): word {field} is {value:#x}")
        }
        5 => {
            let field = 8 + random.below(104);
            let value = u8::try_from(random.below(256)).unwrap();
            records[at].head[field] = value;
            if random.below(2) == 0 {
                records[at].fit();
            }
            format!("record {at} (type {kind}): byte {field} is {value:#x}")
        }
        6 => {
            let new = u32::try_from(random.below(TYPES as usize + 2)).unwrap();
            records[at].set_u32(0, new);
            records[at].fit();
            format!("record {at} (type {kind}): becomes type {new}")
        }
        7 => {
            let bytes = random.number().to_le_bytes();
            let payload = &mut records[at].payload;
            for _ in 0..1 + random.below(16) {
                if !payload.is_empty() {
                    let place = random.below(payload.len());
                    payload[place] = bytes[place % 8];
                }
            }
            format!("record {at} (type {kind}): another payload")
        }
        8 => {
            records.remove(at);
            if records.is_empty() {
                records.push(blank(BEGIN));
            }
            format!("record {at} (type {kind}) is gone")
        }
        9 => {
            let record = records[at].clone();
            let place = random.below(records.len() + 1);
            records.insert(place, record);
            format!("record {at} (type {kind}) comes again at {place}")
        }
        10 => {
            let other = random.below(records.len());
            records.swap(at, other);
            format!("records {at} and {other} change places")
        }
        11 => stray(records, random),
        _ => {
            // Feature flags, kind and guids of the whole stream.
            let field = random.of(&[16, 24, 32, 36, 40, 48]);
            let bit = random.below(32);
            let value = records[0].u32(field) ^ 1 << bit;
            records[0].set_u32(field, value);
            format!("the first record: bit {bit} of {field} flips")
        }
    }
}

fn blank(kind: u32) -> Record {
    let mut head = vec![0; RECORD_BYTES];
    head[..4].copy_from_slice(&kind.to_le_bytes());
    Record {
        head,
        payload: Vec::new(),
    }
}

/// A record of any type, with numbers of any size, somewhere.
fn stray(records: &mut Vec<Record>, random: &mut Random) -> String {
    let kind = 1 + u32::try_from(random.below(TYPES as usize - 1)).unwrap();
    let mut record = blank(kind);
    for field in (8..112).step_by(8) {
        if random.below(3) == 0 {
            record.set_u64(field, number(random));
        }
    }
    // Its dataset is the right one; else it would be refused before it is read.
    let guid = records[0].u64(40);
    let guid_at = match kind {
        OBJECT | WRITE | END => 40,
        FREEOBJECTS | SPILL | OBJECT_RANGE => 24,
        _ => 32,
    };
    record.set_u64(guid_at, guid);
    record.fit();
    let place = 1 + random.below(records.len());
    records.insert(place.min(records.len()), record);
    format!("a stray record of type {kind} at {place}")
}

/// The lines that matter of what a worker said.
fn assertion(said: &str) -> String {
    let lines = said.lines().filter(|line| !line.starts_with("WARNING"));
    lines.take(2).collect::<Vec<_>>().join(" ")
}

/// How often a worker may die of the rest of one mutant.
const CLEANINGS_MAX: usize = 4;

/// Takes away what a mutant left, so that the next one meets the same pool.
/// Returns how many workers died of it: the accounts of a dataset are looked at
/// when it goes.
fn clean_up(pool: &Pool, original: &Original, what: &str) -> usize {
    for died in 0..CLEANINGS_MAX {
        let cleaned = match original.incremental {
            true => restore_base(pool, what),
            false => remove_new(pool),
        };
        match cleaned {
            Ok(()) => return died,
            Err(error) if error.is_transient() => eprintln!("later: {what}: {}", short(&error)),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    panic!("{what}: its rest cannot be removed");
}

fn restore_base(pool: &Pool, what: &str) -> Result<(), Error> {
    let name = "backup/base/%recv".to_owned();
    match pool.call(Call::DestroyDataset { name }, None) {
        Err(error) if error.fault().is_none() => return Err(error),
        _gone_or_never_there => {}
    }
    let names = vec!["backup/base@2".to_owned()];
    pool.call(Call::DestroySnapshots { names }, None)?;
    let call = Call::Rollback {
        dataset: "backup/base".to_owned(),
        to: "backup/base@1".to_owned(),
    };
    pool.call(call, None)?;
    let base = find(pool, "backup/base")?.unwrap();
    assert_eq!(base.snapshots.len(), 1, "{what}");
    assert_eq!(base.resume_token, None, "{what}");
    Ok(())
}

fn remove_new(pool: &Pool) -> Result<(), Error> {
    let Some(new) = find(pool, "backup/new")? else {
        return Ok(());
    };
    let snapshots = new.snapshots.iter();
    let names: Vec<_> = snapshots
        .map(|point| format!("backup/new@{}", point.short))
        .collect();
    if !names.is_empty() {
        pool.call(Call::DestroySnapshots { names }, None)?;
    }
    let name = "backup/new".to_owned();
    pool.call(Call::DestroyDataset { name }, None).map(drop)
}

fn find(pool: &Pool, name: &str) -> Result<Option<Dataset>, Error> {
    let call = Call::Tree {
        root: name.to_owned(),
        scope: Scope::One,
    };
    match pool.call(call, None)? {
        Answer::Tree(found) => Ok(found.and_then(|found| found.into_iter().next())),
        other => panic!("{other:?}"),
    }
}

/// What matters of a death or a hang.
fn short(error: &Error) -> String {
    match error {
        Error::WorkerDied { said, call, .. } => format!("{call}: {}", assertion(said)),
        Error::WorkerHung { rule, call, .. } => format!("{call}: {rule}"),
        other => other.to_string(),
    }
}
