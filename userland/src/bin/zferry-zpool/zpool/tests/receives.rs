//! Receiving, cut and whole, and resume tokens.

use rustix::io::Errno;
use userland::protocol::{
    Answer, Call, Dataset, Fault, ReceiveRequest, SendFlags, SendRequest, Token,
};

use super::{
    BAD_PROPERTY, BEGIN_BYTES, Ends, Lab, MIB, Pool, claims, die, from_snapshot, in_processes,
    noise, number, plain, recorded, request, words,
};

/// `ZFS_ERR_STREAM_TRUNCATED`
const TRUNCATED: i32 = 1040;
/// Linux' number for `ECKSUM`.
const CHECKSUM: i32 = 52;

/// `zfs send -w` of an encrypted volume of 1 MiB, of a snapshot and from that to
/// the next, by OpenZFS 2.3.2: pools in files make no keys.
const RAW_FULL: &[u8] = include_bytes!("raw/full");
const RAW_INCREMENT: &[u8] = include_bytes!("raw/increment");
/// What `zfs get ivsetguid` showed of the two.
const RAW_IVSETS: [u64; 2] = [31_444_401_711_057_136, 9_767_681_262_960_331];

fn errno(errno: Errno) -> i32 {
    errno.raw_os_error()
}

/// `tank/v` with snapshots `a`, `b`; and streams of both.
struct Source {
    pool: Pool,
    full: Vec<u8>,
    incremental: Vec<u8>,
}

fn source(lab: &Lab) -> Source {
    let pool = lab.create("tank");
    pool.volume("tank/v", 4 * MIB);
    pool.write("tank/v", 0, noise(1, 2 << 20));
    pool.snapshot("tank/v@a");
    pool.write("tank/v", MIB, noise(2, 1 << 20));
    pool.snapshot("tank/v@b");
    Source {
        full: pool.send("tank/v@a", None),
        incremental: pool.send("tank/v@b", from_snapshot("tank/v@a")),
        pool,
    }
}

fn guids(dataset: &Dataset) -> Vec<u64> {
    dataset
        .snapshots
        .iter()
        .map(|snapshot| snapshot.guid)
        .collect()
}

fn resumable(snapshot: &str, stream: &[u8]) -> ReceiveRequest {
    ReceiveRequest {
        resumable: true,
        ..plain(snapshot, stream)
    }
}

fn token(pool: &Pool, dataset: &str) -> Option<String> {
    pool.dataset(dataset).resume_token
}

fn read_token(pool: &Pool, text: &str) -> Token {
    match pool.call(Call::ReadToken {
        token: text.to_owned(),
    }) {
        Answer::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

claims! {
    fn what_arrives_raw_keeps_the_ivset_guids_it_was_sent_with(lab: &Lab) {
        let backup = lab.create("backup");
        backup.receive("backup/v@s", RAW_FULL).unwrap();
        backup.call(Call::Bookmark {
            marks: vec![("backup/v@s".to_owned(), "backup/v#s".to_owned())],
        });
        backup.receive("backup/v@t", RAW_INCREMENT).unwrap();
        let found = backup.dataset("backup/v");
        let root = found.encryption.as_ref().map(|one| (one.root.as_str(), one.key_loaded));
        assert_eq!(root, Some(("backup/v", false)));
        let ivsets: Vec<u64> = found.snapshots.iter().map(|one| one.ivset).collect();
        assert_eq!(ivsets, RAW_IVSETS);
        assert_eq!(found.bookmarks[0].ivset, RAW_IVSETS[0]);
        backup.volume("backup/plain", MIB);
        backup.snapshot("backup/plain@s");
        assert_eq!(backup.dataset("backup/plain").snapshots[0].ivset, 0);
    }

    fn streams_carry_content_guids_and_creation_to_another_pool(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        let backup = lab.create("backup");
        assert_eq!(backup.receive("backup/v@a", &full).unwrap(), Answer::Received(Vec::new()));
        assert_eq!(backup.read("backup/v"), pool.read("tank/v@a"));
        backup.receive("backup/v@b", &incremental).unwrap();
        assert_eq!(backup.read("backup/v@a"), pool.read("tank/v@a"));
        assert_eq!(backup.read("backup/v@b"), pool.read("tank/v@b"));
        let (here, there) = (pool.dataset("tank/v"), backup.dataset("backup/v"));
        assert_eq!(guids(&here), guids(&there));
        assert_ne!(here.guid, there.guid);
        assert_eq!(here.snapshots[0].creation_seconds, there.snapshots[0].creation_seconds);
        assert_eq!(there.volume_bytes, 4 * MIB);
        assert_eq!(there.written_bytes, 0);
        // A short name may differ; the base is found by its guid.
        backup.receive("backup/w@x", &full).unwrap();
        backup.receive("backup/w@y", &incremental).unwrap();
        assert_eq!(guids(&here), guids(&backup.dataset("backup/w")));
    }

    fn a_stream_that_does_not_fit_has_the_errno_of_a_kernel(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        let fail = |snapshot: &str, stream: &[u8]| pool.receive(snapshot, stream).unwrap_err().errno;
        assert_eq!(fail("tank/none/v@a", &full), errno(Errno::NOENT));
        assert_eq!(fail("other/v@a", &full), errno(Errno::NOENT));
        assert_eq!(fail("tank/none@b", &incremental), errno(Errno::NOENT));
        assert_eq!(fail("tank/v@c", &full), errno(Errno::EXIST));
        pool.receive("tank/w@a", &full).unwrap();
        assert_eq!(fail("tank/w@a", &incremental), errno(Errno::EXIST));
        // Changed since.
        pool.write("tank/w", 0, vec![1; 8192]);
        assert_eq!(fail("tank/w@b", &incremental), errno(Errno::TXTBSY));
        // No such base.
        pool.volume("tank/x", MIB);
        pool.snapshot("tank/x@a");
        assert_eq!(fail("tank/x@b", &incremental), errno(Errno::NODEV));
        for bad in ["tank/w", "tank/w@", "tank/%w@a", "tank/w#a", "tank/w@a@b"] {
            assert_eq!(fail(bad, &full), errno(Errno::INVAL), "{bad}");
        }
        assert_eq!(pool.dataset("tank/w").snapshots.len(), 1);
    }

    fn a_newer_snapshot_without_changes_is_no_obstacle(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        pool.receive("tank/w@a", &full).unwrap();
        pool.snapshot("tank/w@foreign");
        pool.receive("tank/w@b", &incremental).unwrap();
        assert_eq!(pool.shorts("tank/w"), ["a", "foreign", "b"]);
    }

    fn a_damaged_first_record_is_refused_before_anything_happens(lab: &Lab) {
        let Source { pool, full, .. } = source(lab);
        let with = |change: fn(&mut Vec<u8>)| {
            let mut stream = full.clone();
            change(&mut stream);
            pool.receive("tank/w@a", &stream).unwrap_err().errno
        };
        assert_eq!(with(|stream| stream[8] ^= 1), errno(Errno::INVAL));
        assert_eq!(with(|stream| stream[56..BEGIN_BYTES].fill(b'x')), errno(Errno::INVAL));
        assert_eq!(with(|stream| stream[4..8].fill(0xff)), errno(Errno::TOOBIG));
        let mut short = plain("tank/w@a", &full);
        short.begin.pop();
        let fault = pool.try_receive(short, &full[BEGIN_BYTES..]).unwrap_err();
        assert_eq!(fault.errno, errno(Errno::INVAL));
        assert_eq!(pool.find("tank/w"), None);
    }

    fn a_cut_or_damaged_stream_leaves_nothing(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        for bytes in [BEGIN_BYTES, BEGIN_BYTES + 100, full.len() / 2, full.len() - 1] {
            let fault = pool.receive("tank/w@a", &full[..bytes]).unwrap_err();
            assert_eq!(fault.errno, TRUNCATED, "{bytes}");
            assert_eq!(pool.find("tank/w"), None, "{bytes}");
        }
        let mut flipped = full.clone();
        flipped[full.len() / 2] ^= 1;
        assert_eq!(pool.receive("tank/w@a", &flipped).unwrap_err().errno, CHECKSUM);
        assert_eq!(pool.find("tank/w"), None);

        pool.receive("tank/w@a", &full).unwrap();
        let half = &incremental[..incremental.len() / 2];
        assert_eq!(pool.receive("tank/w@b", half).unwrap_err().errno, TRUNCATED);
        assert_eq!(pool.shorts("tank/w"), ["a"]);
        assert_eq!(token(&pool, "tank/w"), None);
        assert_eq!(pool.dataset("tank/w").written_bytes, 0);
        pool.receive("tank/w@b", &incremental).unwrap();
    }

    fn a_cut_resumable_receive_goes_on_where_its_token_says(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        let stages = [("a", None, &full), ("b", Some("tank/v@a"), &incremental)];
        for (short, base, stream) in stages {
            let target = format!("tank/w@{short}");
            let cut = &stream[BEGIN_BYTES..stream.len() * 3 / 4];
            let fault = pool.try_receive(resumable(&target, stream), cut).unwrap_err();
            assert_eq!(fault.errno, TRUNCATED);
            let text = token(&pool, "tank/w").expect("a token");
            let read = read_token(&pool, &text);
            let [a, b] = pool.dataset("tank/v").snapshots.try_into().unwrap();
            let (to, from) = if base.is_none() { (a.guid, None) } else { (b.guid, Some(a.guid)) };
            assert_eq!((read.to_guid, read.from_guid), (to, from));
            assert_eq!(read.to_name, format!("tank/v@{short}"));
            assert!(read.received_bytes > 0 && read.received_bytes < stream.len() as u64);

            // Nobody else may come in between.
            let other = pool.receive(&target, stream).unwrap_err();
            assert_eq!(other.errno, errno(Errno::BUSY));

            let rest = SendRequest {
                resume: Some(read.resume),
                flags: read.flags,
                ..request(&read.to_name, base.and_then(from_snapshot))
            };
            let Answer::Bytes(estimate) = pool.call(Call::SendSize(rest.clone())) else { panic!() };
            let rest = pool.try_send(rest).unwrap();
            assert!(rest.len() < stream.len() / 2, "{} of {}", rest.len(), stream.len());
            assert!(estimate < stream.len() as u64 / 2);
            pool.try_receive(resumable(&target, &rest), &rest[BEGIN_BYTES..]).unwrap();
            assert_eq!(token(&pool, "tank/w"), None);
        }
        assert_eq!(guids(&pool.dataset("tank/w")), guids(&pool.dataset("tank/v")));
        assert_eq!(pool.read("tank/w@b"), pool.read("tank/v@b"));
    }

    fn a_partial_receive_is_given_up_by_destroying_it(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        let cut = |target: &str, stream: &[u8]| {
            let half = &stream[BEGIN_BYTES..stream.len() / 2];
            pool.try_receive(resumable(target, stream), half).unwrap_err().errno
        };
        assert_eq!(cut("tank/w@a", &full), TRUNCATED);
        assert!(token(&pool, "tank/w").is_some());
        let destroy = |name: &str| Call::DestroyDataset { name: name.to_owned() };
        assert_eq!(pool.errno(destroy("tank/w/%recv")), errno(Errno::NOENT));
        pool.call(destroy("tank/w"));
        assert_eq!(pool.find("tank/w"), None);

        pool.receive("tank/w@a", &full).unwrap();
        assert_eq!(cut("tank/w@b", &incremental), TRUNCATED);
        assert!(token(&pool, "tank/w").is_some());
        // Hidden, and it protects its base.
        assert_eq!(pool.trees("tank/w").len(), 1);
        let base = Call::DestroySnapshots { names: vec!["tank/w@a".to_owned()] };
        assert_eq!(pool.errno(base), errno(Errno::EXIST));
        pool.call(destroy("tank/w/%recv"));
        assert_eq!(token(&pool, "tank/w"), None);
        pool.receive("tank/w@b", &incremental).unwrap();
    }

    fn a_text_that_is_no_token_is_refused(lab: &Lab) {
        let Source { pool, full, .. } = source(lab);
        let half = &full[BEGIN_BYTES..full.len() / 2];
        pool.try_receive(resumable("tank/w@a", &full), half).unwrap_err();
        let good = token(&pool, "tank/w").unwrap();
        let refused = |token: &str| pool.errno(Call::ReadToken { token: token.to_owned() });
        for bad in ["", "1", "1-2-3", "1-2-3-", "1-2-3-zz", "garbage", "1-2-ffffffffffffffff-00"] {
            assert_eq!(refused(bad), errno(Errno::INVAL), "{bad}");
        }
        for place in 0..good.len() {
            let mut changed = good.clone().into_bytes();
            changed[place] = if changed[place] == b'7' { b'8' } else { b'7' };
            assert_eq!(refused(std::str::from_utf8(&changed).unwrap()), errno(Errno::INVAL));
            assert_eq!(refused(&good[..place]), errno(Errno::INVAL), "{place}");
        }
    }

    fn properties_arrive_as_received_and_local_and_refused_ones_are_told(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        let answer = pool.try_receive(
            ReceiveRequest {
                received: vec![number("compression", 2), words("org.zferry:note", "sent"),
                    words("readonly", "on"), number("refreservation", 8192)],
                local: vec![number("readonly", 1), number("checksum", 9999)],
                ..plain("tank/w@a", &full)
            },
            &full[BEGIN_BYTES..],
        );
        assert_eq!(answer.unwrap(), Answer::Received(vec![
            ("readonly".to_owned(), errno(Errno::INVAL)),
            ("checksum".to_owned(), BAD_PROPERTY),
        ]));
        assert_eq!(pool.dataset("tank/w").properties, vec![
            number("compression", 2), words("org.zferry:note", "sent"), number("readonly", 1),
            number("refreservation", 8192),
        ]);
        // New received ones replace the old; local ones stay.
        pool.try_receive(
            ReceiveRequest {
                received: vec![words("org.zferry:note", "again")],
                ..plain("tank/w@b", &incremental)
            },
            &incremental[BEGIN_BYTES..],
        ).unwrap();
        assert_eq!(pool.dataset("tank/w").properties, vec![
            words("org.zferry:note", "again"), number("readonly", 1),
        ]);
    }

    fn a_receive_that_fails_changes_no_properties(lab: &Lab) {
        let Source { pool, full, incremental } = source(lab);
        pool.try_receive(
            ReceiveRequest {
                received: vec![words("org.zferry:note", "sent")],
                ..plain("tank/w@a", &full)
            },
            &full[BEGIN_BYTES..],
        ).unwrap();
        let fault = pool.try_receive(
            ReceiveRequest {
                received: vec![words("org.zferry:other", "x")],
                local: vec![number("readonly", 1)],
                ..plain("tank/w@b", &incremental)
            },
            &incremental[BEGIN_BYTES..incremental.len() / 2],
        ).unwrap_err();
        assert_eq!(fault.errno, TRUNCATED);
        let properties = pool.dataset("tank/w").properties;
        assert_eq!(properties, vec![words("org.zferry:note", "sent")]);
    }

    fn a_clone_is_received_onto_its_origin(lab: &Lab) {
        let Source { pool, full, .. } = source(lab);
        pool.call(Call::Clone { origin: "tank/v@a".to_owned(), name: "tank/c".to_owned() });
        pool.write("tank/c", 0, noise(9, 8192));
        pool.snapshot("tank/c@z");
        let stream = pool.send("tank/c@z", from_snapshot("tank/v@a"));
        let backup = lab.create("backup");
        backup.receive("backup/v@moved", &full).unwrap();
        let clone = ReceiveRequest {
            origin: Some("backup/v@moved".to_owned()),
            ..plain("backup/c@z", &stream)
        };
        backup.try_receive(clone, &stream[BEGIN_BYTES..]).unwrap();
        let received = backup.dataset("backup/c");
        assert_eq!(received.origin.as_deref(), Some("backup/v@moved"));
        assert_eq!(backup.read("backup/c"), pool.read("tank/c"));
        let missing = ReceiveRequest {
            origin: Some("backup/v@none".to_owned()),
            ..plain("backup/d@z", &stream)
        };
        let fault = backup.try_receive(missing, &stream[BEGIN_BYTES..]).unwrap_err();
        assert_eq!(fault.errno, errno(Errno::NOENT));
    }

    fn file_systems_of_a_kernel_are_received_and_sent_on(lab: &Lab) {
        let pool = lab.create("tank");
        let [redacted, clone, empty] =
            ["redacted.zs", "clone-origin.zs", "incr-empty.zs"].map(recorded);
        pool.receive("tank/res@a", &redacted).unwrap();
        assert_eq!(guids(&pool.dataset("tank/res")), [0x540e_1791_30a5_c829]);
        let request = ReceiveRequest {
            origin: Some("tank/res@a".to_owned()),
            ..plain("tank/resclone@a", &clone)
        };
        pool.try_receive(request, &clone[BEGIN_BYTES..]).unwrap();
        assert_eq!(guids(&pool.dataset("tank/resclone")), [0x3b70_7d32_11af_8e53]);
        // Its base has lost blocks that it might mean.
        let fault = pool.receive("tank/res@b", &empty).unwrap_err();
        assert_eq!(fault.errno, errno(Errno::INVAL), "{fault:?}");

        let again = pool.send("tank/resclone@a", from_snapshot("tank/res@a"));
        let backup = lab.create("backup");
        backup.receive("backup/res@a", &redacted).unwrap();
        let request = ReceiveRequest {
            origin: Some("backup/res@a".to_owned()),
            ..plain("backup/resclone@a", &again)
        };
        backup.try_receive(request, &again[BEGIN_BYTES..]).unwrap();
        assert_eq!(guids(&backup.dataset("backup/resclone")), [0x3b70_7d32_11af_8e53]);
    }

    fn new_file_systems_are_sent_and_received(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        pool.snapshot("tank/a@s");
        pool.snapshot("tank/a@t");
        let full = pool.send("tank/a@s", None);
        let incremental = pool.send("tank/a@t", from_snapshot("tank/a@s"));
        pool.receive("tank/b@s", &full).unwrap();
        pool.receive("tank/b@t", &incremental).unwrap();
        assert_eq!(guids(&pool.dataset("tank/b")), guids(&pool.dataset("tank/a")));
        pool.volume("tank/b/v", MIB);
    }

    fn a_full_pool_ends_a_receive_and_keeps_what_can_be_resumed(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 96 * MIB);
        pool.write("tank/v", 0, noise(1, 35 << 20));
        pool.snapshot("tank/v@a");
        let flags = SendFlags { large_block: true, ..super::PLAIN };
        let stream = pool.try_send(SendRequest { flags, ..request("tank/v@a", None) }).unwrap();
        let fault = pool.receive("tank/w@a", &stream).unwrap_err();
        assert_eq!(fault.errno, errno(Errno::NOSPC));
        assert_eq!(pool.find("tank/w"), None);
        let rest = &stream[BEGIN_BYTES..];
        let fault: Fault = pool.try_receive(resumable("tank/w@a", &stream), rest).unwrap_err();
        assert_eq!(fault.errno, errno(Errno::NOSPC));
        assert!(token(&pool, "tank/w").is_some());
        pool.call(Call::DestroyDataset { name: "tank/w".to_owned() });
    }
}

#[test]
fn a_resumable_receive_survives_a_kill() {
    fn leave(lab: &Lab) {
        let Source { pool, full, .. } = source(lab);
        let half = &full[BEGIN_BYTES..full.len() / 2];
        pool.try_receive(resumable("tank/w@a", &full), half)
            .unwrap_err();
        die();
    }
    fn go_on(lab: &Lab) {
        let pool = lab.import("tank");
        let read = read_token(&pool, &token(&pool, "tank/w").unwrap());
        let rest = SendRequest {
            resume: Some(read.resume),
            ..request("tank/v@a", None)
        };
        let rest = pool.try_send(rest).unwrap();
        pool.try_receive(resumable("tank/w@a", &rest), &rest[BEGIN_BYTES..])
            .unwrap();
        assert_eq!(pool.read("tank/w"), pool.read("tank/v@a"));
    }
    in_processes(
        concat!(module_path!(), "::a_resumable_receive_survives_a_kill"),
        &[(Ends::Killed, leave), (Ends::Well, go_on)],
    );
}
