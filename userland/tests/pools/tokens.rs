//! Resume tokens that somebody made to do harm: everything about them is right
//! but what they say. None may cost the worker its life.

use userland::protocol::{Answer, Call, Token};
use userland::{Error, Pool};

use crate::lab::{Lab, volume};
use crate::random::{Random, seed};

/// `EINVAL`.
const INVALID: i32 = 22;
const MUTANTS: usize = 3000;

/// `DATA_TYPE_*` of libnvpair.
const BOOLEAN: i32 = 1;
const UINT64: i32 = 8;
const STRING: i32 = 9;

/// One entry: name, type, and its value as XDR has it.
struct Entry(&'static str, i32, Vec<u8>);

fn number(name: &'static str, value: u64) -> Entry {
    Entry(name, UINT64, value.to_be_bytes().to_vec())
}

fn text(name: &'static str, value: &str) -> Entry {
    Entry(name, STRING, counted(value.as_bytes()))
}

fn flag(name: &'static str) -> Entry {
    Entry(name, BOOLEAN, Vec::new())
}

/// Length and bytes, filled up to whole words.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let mut all = (bytes.len() as u32).to_be_bytes().to_vec();
    all.extend(bytes);
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

/// A packed list, in XDR.
fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut list = vec![1, 1, 0, 0];
    list.extend(0_i32.to_be_bytes());
    list.extend(1_i32.to_be_bytes());
    for Entry(name, kind, value) in entries {
        let data_bytes = match *kind {
            STRING => value.len().saturating_sub(4) + 1,
            _ => value.len(),
        };
        let decoded = (16 + name.len() + 1).next_multiple_of(8) + data_bytes.next_multiple_of(8);
        let name = counted(name.as_bytes());
        let encoded = 16 + name.len() + value.len();
        list.extend((encoded as u32).to_be_bytes());
        list.extend((decoded as u32).to_be_bytes());
        list.extend(name);
        list.extend(kind.to_be_bytes());
        list.extend(i32::from(*kind != BOOLEAN).to_be_bytes());
        list.extend(value);
    }
    list.extend([0; 8]);
    list
}

/// zlib with nothing compressed.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut chunks = bytes.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        let length = chunk.len() as u16;
        out.push(u8::from(chunks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(chunk);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// The first word of fletcher-4: whole words only.
fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    words
        .map(|word| u64::from(u32::from_ne_bytes(word.try_into().unwrap())))
        .sum()
}

/// A token around `list` that says it has `list_bytes`.
fn token_of(list: &[u8], list_bytes: u64) -> String {
    let data = stored(list);
    let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("1-{:x}-{list_bytes:x}-{hex}", checksum(&data))
}

fn token(entries: &[Entry]) -> String {
    let list = packed(entries);
    token_of(&list, list.len() as u64)
}

fn good() -> Vec<Entry> {
    vec![
        number("object", 7),
        number("offset", 4096),
        number("bytes", 1000),
        number("toguid", 11),
        text("toname", "tank/v@a"),
        number("fromguid", 5),
        flag("compressok"),
    ]
}

fn asked(pool: &Pool, token: String) -> Result<Token, i32> {
    match pool.call(Call::ReadToken { token }, None) {
        Ok(Answer::Token(token)) => Ok(token),
        Ok(other) => panic!("{other:?}"),
        Err(Error::Fault { fault, .. }) => Err(fault.errno),
        Err(error) => panic!("the worker did not survive: {error}"),
    }
}

fn lab() -> Option<(Lab, Pool)> {
    let lab = Lab::new()?;
    let pool = lab.create("tank");
    volume(&pool, "tank/v", 1 << 20);
    Some((lab, pool))
}

fn ensure_alive(pool: &Pool) {
    let read = asked(pool, token(&good())).unwrap();
    assert_eq!((read.to_guid, read.from_guid), (11, Some(5)));
    assert_eq!((read.resume.object, read.resume.offset), (7, 4096));
    assert_eq!(
        (read.received_bytes, read.to_name.as_str()),
        (1000, "tank/v@a")
    );
    assert!(read.flags.compress && !read.flags.raw);
}

#[test]
fn tokens_with_missing_or_wrong_fields_are_refused() {
    let Some((_lab, pool)) = lab() else { return };
    ensure_alive(&pool);
    for place in 0..5 {
        let mut entries = good();
        let name = entries.remove(place).0;
        assert_eq!(
            asked(&pool, token(&entries)),
            Err(INVALID),
            "without {name}"
        );
        // The same name with a value of another type.
        entries.push(match name {
            "toname" => number(name, 5),
            _ => text(name, "5"),
        });
        assert_eq!(
            asked(&pool, token(&entries)),
            Err(INVALID),
            "another {name}"
        );
    }
    // A base that is no number does not make a full stream of it.
    let mut entries = good();
    entries[5] = text("fromguid", "5");
    assert_eq!(asked(&pool, token(&entries)), Err(INVALID));
    // Of streams that nobody here resumes.
    for name in ["savedok", "redact_snaps", "book_redact_snaps"] {
        let mut entries = good();
        entries.push(flag(name));
        assert_eq!(asked(&pool, token(&entries)), Err(INVALID), "{name}");
    }
    let mut entries = good();
    entries[4] = text("toname", &"x".repeat(300));
    assert_eq!(asked(&pool, token(&entries)), Err(INVALID));
    ensure_alive(&pool);
}

#[test]
fn tokens_that_lie_about_their_size_are_refused() {
    let Some((_lab, pool)) = lab() else { return };
    let list = packed(&good());
    let bytes = list.len() as u64;
    for said in [
        0,
        1,
        bytes - 1,
        bytes + 1,
        1 << 20,
        (1 << 20) + 1,
        1 << 40,
        u64::MAX,
    ] {
        assert_eq!(asked(&pool, token_of(&list, said)), Err(INVALID), "{said}");
    }
    // Much more behind it than it says, and a list that ends early.
    let bomb = [list.as_slice(), &[0; 60_000]].concat();
    assert_eq!(asked(&pool, token_of(&bomb, bytes)), Err(INVALID));
    for end in 0..list.len() - 8 {
        let cut = &list[..end];
        assert_eq!(
            asked(&pool, token_of(cut, end as u64)),
            Err(INVALID),
            "{end}"
        );
    }
    let good = token(&good());
    for bad in [
        good.replacen("1-", "-1-", 1),
        good.replacen("1-", "2-", 1),
        format!("{good}0"),
        format!("{good}00"),
        good.replacen('-', "--", 1),
        good.replacen('-', "-f", 1),
        good.to_uppercase().replace("-78", "-g8"),
    ] {
        assert_eq!(asked(&pool, bad.clone()), Err(INVALID), "{bad:.60}");
    }
    ensure_alive(&pool);
}

#[test]
fn altered_lists_with_right_checksums_get_an_answer_and_never_end_the_worker() {
    let Some((_lab, pool)) = lab() else { return };
    let seed = seed("altered tokens");
    let mut random = Random::new(seed);
    let list = packed(&good());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..MUTANTS {
        let mut altered = list.clone();
        for _ in 0..=random.below(3) {
            let place = random.below(altered.len());
            altered[place] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => altered[place] ^ 1 << random.below(8),
                _ => random.bytes(1)[0],
            };
        }
        let bytes = altered.len() as u64;
        match asked(&pool, token_of(&altered, bytes)) {
            Ok(_) => accepted += 1,
            Err(errno) => {
                assert_eq!(errno, INVALID, "seed {seed}");
                refused += 1;
            }
        }
    }
    eprintln!("seed {seed}: {accepted} tokens accepted, {refused} refused");
    assert!(accepted > 0 && refused > 0, "seed {seed}");
    ensure_alive(&pool);
}
