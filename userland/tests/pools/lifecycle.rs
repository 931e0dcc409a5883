//! Pools from their creation to their export, and streams between them.

use std::os::fd::OwnedFd;
use std::thread;

use userland::protocol::{Answer, Base, Call, ResumePoint, Scope, Token};
use userland::{Error, Pool};

use crate::lab::{
    BEGIN_BYTES, Lab, MIB, PLAIN, POOL_BYTES, dataset, done, drain, errno, read, receive,
    receive_request, receive_resumable, request, scrub, snapshot, stream, tree, volume, write,
};
use crate::random::{Random, seed};

const EEXIST: i32 = 17;
const ENOENT: i32 = 2;

#[test]
fn what_is_written_is_there_after_export_and_import() {
    let Some(lab) = Lab::new() else { return };
    let mut random = Random::new(seed("export"));
    let content = random.bytes(3 << 20);
    let pool = lab.create("tank");
    let guid = pool.pool_guid();
    assert!(pool.version().starts_with("2."), "{}", pool.version());
    volume(&pool, "tank/vol", 4 * MIB);
    write(&pool, "tank/vol", 0, &content);
    snapshot(&pool, "tank/vol@a");
    pool.close().unwrap();

    let pool = lab.open("tank").unwrap();
    assert_eq!(pool.pool_guid(), guid);
    let found = read(&pool, "tank/vol@a");
    assert_eq!(found.len() as u64, 4 * MIB);
    assert!(found[..content.len()] == content);
    assert!(found[content.len()..].iter().all(|byte| *byte == 0));
    let checked = scrub(&pool);
    assert_eq!((checked.errors, checked.repaired_bytes), (0, 0));
    assert!(checked.examined_bytes > 3 * MIB);
    pool.close().unwrap();
}

#[test]
fn a_pool_that_was_only_dropped_is_there_too() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    drop(pool);
    let pool = lab.open("tank").unwrap();
    assert!(dataset(&pool, "tank/vol").is_some());
}

#[test]
fn zfs_own_refusals_come_through_as_errno() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    snapshot(&pool, "tank/vol@a");
    let again = Call::Snapshot {
        names: vec!["tank/vol@a".to_owned()],
    };
    assert_eq!(errno(pool.call(again, None)), EEXIST);
    let missing = Call::Snapshot {
        names: vec!["tank/nothing@a".to_owned()],
    };
    assert_eq!(errno(pool.call(missing, None)), ENOENT);
}

/// Sends from one pool and receives in another, through a pipe.
fn copy(from: &Pool, snapshot: &str, base: Option<&str>, to: &Pool, target: &str) {
    let bytes = stream(from, snapshot, base);
    let expected = stream(from, snapshot, base);
    assert!(bytes == expected, "a stream comes out the same every time");

    let (reader, writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        let base = base.map(|base| Base::Snapshot(base.to_owned()));
        let call = Call::Send(request(snapshot, base));
        let sender = scope.spawn(move || from.call(call, Some(OwnedFd::from(writer))));
        let mut reader = std::fs::File::from(OwnedFd::from(reader));
        let mut begin = [0; BEGIN_BYTES];
        std::io::Read::read_exact(&mut reader, &mut begin).unwrap();
        let call = Call::Receive(receive_request(target, &begin));
        let received = to.call(call, Some(OwnedFd::from(reader))).unwrap();
        assert_eq!(received, Answer::Received(Vec::new()));
        assert_eq!(sender.join().unwrap().unwrap(), Answer::Done);
    });
}

#[test]
fn a_chain_of_streams_between_two_images_keeps_content_and_guids() {
    let Some(lab) = Lab::new() else { return };
    let mut random = Random::new(seed("chain"));
    let (tank, backup) = (lab.create("tank"), lab.create("backup"));
    volume(&tank, "tank/vol", 8 * MIB);
    write(&tank, "tank/vol", 0, &random.bytes(5 << 20));
    snapshot(&tank, "tank/vol@1");
    copy(&tank, "tank/vol@1", None, &backup, "backup/vol@1");
    for round in 2..6 {
        let offset = random.below(100) as u64 * 8192;
        write(&tank, "tank/vol", offset, &random.bytes(300 << 10));
        let (base, new) = (format!("@{}", round - 1), format!("@{round}"));
        snapshot(&tank, &format!("tank/vol{new}"));
        copy(
            &tank,
            &format!("tank/vol{new}"),
            Some(&format!("tank/vol{base}")),
            &backup,
            &format!("backup/vol{new}"),
        );
    }
    let there = dataset(&backup, "backup/vol").unwrap();
    let here = dataset(&tank, "tank/vol").unwrap();
    let guids = |snapshots: &[userland::protocol::Point]| -> Vec<(String, u64)> {
        let pairs = snapshots
            .iter()
            .map(|point| (point.short.clone(), point.guid));
        pairs.collect()
    };
    assert_eq!(guids(&here.snapshots), guids(&there.snapshots));
    for point in &here.snapshots {
        let name = &point.short;
        let same = read(&tank, &format!("tank/vol@{name}"))
            == read(&backup, &format!("backup/vol@{name}"));
        assert!(same, "@{name}");
    }
    assert_eq!(scrub(&backup).errors, 0);
}

#[test]
fn a_cut_transfer_goes_on_from_its_token() {
    let Some(lab) = Lab::new() else { return };
    let mut random = Random::new(seed("cut"));
    let (tank, backup) = (lab.create("tank"), lab.create("backup"));
    volume(&tank, "tank/vol", 16 * MIB);
    write(&tank, "tank/vol", 0, &random.bytes(16 << 20));
    snapshot(&tank, "tank/vol@1");
    let whole = stream(&tank, "tank/vol@1", None);
    let cut = whole.len() / 2 + random.below(whole.len() / 4);
    errno(receive_resumable(&backup, "backup/vol@1", &whole[..cut]));
    // The partial state outlives its worker.
    backup.close().unwrap();
    let backup = lab.open("backup").unwrap();

    let partial = dataset(&backup, "backup/vol").unwrap();
    let token = partial.resume_token.unwrap();
    let Answer::Token(token) = tank.call(Call::ReadToken { token }, None).unwrap() else {
        panic!("not a token");
    };
    let Token {
        to_name, resume, ..
    } = token;
    assert_eq!(to_name, "tank/vol@1");
    assert!(resume.offset > 0, "{resume:?}");
    let mut rest = request("tank/vol@1", None);
    rest.resume = Some(ResumePoint { ..resume });
    let rest = drain(&tank, Call::Send(rest)).unwrap();
    assert!(
        rest.len() < whole.len() * 3 / 4,
        "{} of {}",
        rest.len(),
        whole.len()
    );
    receive_resumable(&backup, "backup/vol@1", &rest).unwrap();
    assert!(read(&tank, "tank/vol@1") == read(&backup, "backup/vol@1"));
    assert_eq!(dataset(&backup, "backup/vol").unwrap().resume_token, None);
}

#[test]
fn many_calls_run_side_by_side() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    for number in 0..4 {
        volume(&pool, &format!("tank/v{number}"), MIB);
    }
    // More threads than there are places for calls.
    thread::scope(|scope| {
        for thread in 0..50 {
            let pool = &pool;
            scope.spawn(move || {
                let name = format!("tank/v{}@s{thread}", thread % 4);
                snapshot(pool, &name);
                assert!(!tree(pool, "tank").is_empty());
            });
        }
    });
    let snapshots: usize = tree(&pool, "tank")
        .iter()
        .map(|found| found.snapshots.len())
        .sum();
    assert_eq!(snapshots, 50);
}

#[test]
fn a_reader_that_goes_away_ends_a_send_with_eintr() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 4 * MIB);
    write(&pool, "tank/vol", 0, &Random::new(1).bytes(4 << 20));
    snapshot(&pool, "tank/vol@a");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let sent = pool.call(
        Call::Send(request("tank/vol@a", None)),
        Some(OwnedFd::from(writer)),
    );
    assert_eq!(errno(sent), 4);
    assert_eq!(stream(&pool, "tank/vol@a", None).len() / (4 << 20), 1);
}

#[test]
fn a_temporary_hold_ends_with_the_worker_and_a_lasting_one_does_not() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    snapshot(&pool, "tank/vol@a");
    let names = vec!["tank/vol@a".to_owned()];
    for (tag, temporary) in [("stays", false), ("goes", true)] {
        let tag = tag.to_owned();
        let names = names.clone();
        done(
            &pool,
            Call::Hold {
                names,
                tag,
                temporary,
            },
        );
    }
    let tags = |pool: &Pool| -> Vec<String> {
        let snapshot = names[0].clone();
        match pool.call(Call::Holds { snapshot }, None).unwrap() {
            Answer::Holds(holds) => holds.into_iter().map(|(tag, _)| tag).collect(),
            other => panic!("{other:?}"),
        }
    };
    let mut both = tags(&pool);
    both.sort();
    assert_eq!(both, ["goes", "stays"]);
    pool.close().unwrap();
    let pool = lab.open("tank").unwrap();
    assert_eq!(tags(&pool), ["stays"]);
}

#[test]
fn what_libzpool_cannot_do_is_refused_by_name() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    let call = Call::Tree {
        root: "tank/vol/..".to_owned(),
        scope: Scope::One,
    };
    // A name that is none is checked as the ioctl layer does it.
    assert_eq!(errno(pool.call(call, None)), 22);
    let mut raw = request("tank/vol@none", None);
    raw.flags = userland::protocol::SendFlags { raw: true, ..PLAIN };
    let (_reader, writer) = std::io::pipe().unwrap();
    let missing = pool.call(Call::Send(raw), Some(OwnedFd::from(writer)));
    assert_eq!(errno(missing), ENOENT);
}

#[test]
fn creating_where_a_file_is_changes_nothing() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    pool.close().unwrap();
    let again = Pool::create(&lab.worker, &lab.image("tank"), POOL_BYTES);
    assert!(matches!(again, Err(Error::Exists(_))));
    assert!(dataset(&lab.open("tank").unwrap(), "tank/vol").is_some());
}

#[test]
fn a_resumed_receive_of_nothing_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    let begin = [0; BEGIN_BYTES];
    assert_eq!(errno(receive(&pool, "tank/vol@a", &begin)), 22);
}
