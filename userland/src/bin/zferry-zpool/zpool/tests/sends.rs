//! Sending, and estimates.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::thread;

use rustix::io::Errno;
use userland::protocol::{Answer, Base, Call, SendFlags, SendRequest};

use super::{BEGIN_BYTES, Lab, MIB, PLAIN, Pool, claims, from_snapshot, noise, number, request};

fn filled(lab: &Lab) -> Pool {
    let pool = lab.create("tank");
    pool.volume("tank/v", 4 * MIB);
    pool.write("tank/v", 0, noise(1, 2 << 20));
    pool.snapshot("tank/v@a");
    pool.write("tank/v", 0, noise(2, 1 << 20));
    pool.snapshot("tank/v@b");
    pool
}

fn mark(name: &str) -> Option<Base> {
    Some(Base::Bookmark(name.to_owned()))
}

fn size(pool: &Pool, request: SendRequest) -> u64 {
    match pool.call(Call::SendSize(request)) {
        Answer::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// A number of the first record.
fn field(stream: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(stream[offset..offset + 8].try_into().unwrap())
}

claims! {
    fn a_stream_begins_with_the_guids_of_snapshot_and_base(lab: &Lab) {
        let pool = filled(lab);
        pool.call(Call::Bookmark {
            marks: vec![("tank/v@a".to_owned(), "tank/v#m".to_owned())],
        });
        let [a, b] = pool.dataset("tank/v").snapshots.try_into().unwrap();
        let full = pool.send("tank/v@a", None);
        assert_eq!((field(&full, 40), field(&full, 48)), (a.guid, 0));
        assert!(full.len() > 2 << 20);
        let incremental = pool.send("tank/v@b", from_snapshot("tank/v@a"));
        assert_eq!((field(&incremental, 40), field(&incremental, 48)), (b.guid, a.guid));
        assert!(incremental.len() > 1 << 20 && incremental.len() < 2 << 20);
        // The same without the snapshot itself.
        pool.call(Call::DestroySnapshots { names: vec!["tank/v@a".to_owned()] });
        let from_mark = pool.send("tank/v@b", mark("tank/v#m"));
        assert_eq!((field(&from_mark, 40), field(&from_mark, 48)), (b.guid, a.guid));
        assert_eq!(from_mark.len(), incremental.len());
    }

    fn compressed_blocks_make_a_shorter_stream(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 4 * MIB);
        // Not yet the default of 2.1.
        pool.call(Call::SetProperties {
            dataset: "tank/v".to_owned(),
            properties: vec![number("compression", 15)],
        });
        let text: Vec<u8> = b"compressible ".iter().copied().cycle().take(4 << 20).collect();
        pool.write("tank/v", 0, text);
        pool.snapshot("tank/v@a");
        let flags = SendFlags { compress: true, large_block: true, embed_data: true, raw: false };
        let request = SendRequest { flags, ..request("tank/v@a", None) };
        let short = pool.try_send(request.clone()).unwrap().len();
        let long = pool.send("tank/v@a", None).len();
        assert!(short * 2 < long, "{short} {long}");
        assert!(size(&pool, request) < size(&pool, super::request("tank/v@a", None)));
    }

    fn estimates_are_near_the_truth(lab: &Lab) {
        let pool = filled(lab);
        for base in [None, from_snapshot("tank/v@a")] {
            let real = pool.send("tank/v@b", base.clone()).len() as u64;
            let estimate = size(&pool, request("tank/v@b", base));
            assert!(estimate * 10 > real * 8 && estimate * 8 < real * 10, "{estimate} {real}");
        }
    }

    fn a_base_that_does_not_fit_has_the_errno_of_a_kernel(lab: &Lab) {
        let pool = filled(lab);
        pool.volume("tank/w", MIB);
        pool.snapshot("tank/w@a");
        pool.call(Call::Bookmark {
            marks: vec![("tank/v@b".to_owned(), "tank/v#b".to_owned())],
        });
        for (snapshot, base, errno) in [
            ("tank/v@none", None, Errno::NOENT),
            ("tank/none@a", None, Errno::NOENT),
            ("tank/v", None, Errno::INVAL),
            ("tank/v@a", from_snapshot("tank/v@b"), Errno::XDEV),
            ("tank/v@a", from_snapshot("tank/v@a"), Errno::XDEV),
            ("tank/v@b", from_snapshot("tank/w@a"), Errno::XDEV),
            ("tank/v@b", from_snapshot("tank/v@none"), Errno::NOENT),
            ("tank/v@b", from_snapshot("tank/v"), Errno::INVAL),
            ("tank/v@b", mark("tank/v#none"), Errno::SRCH),
            ("tank/v@b", mark("tank/v#b"), Errno::XDEV),
            ("tank/v@b", mark("tank/v@a"), Errno::INVAL),
        ] {
            let fault = pool.try_send(request(snapshot, base.clone())).unwrap_err();
            assert_eq!(fault.errno, errno.raw_os_error(), "{snapshot} from {base:?}");
            let fault = pool.fault(Call::SendSize(request(snapshot, base.clone())));
            assert_eq!(fault.errno, errno.raw_os_error(), "size of {snapshot} from {base:?}");
        }
    }

    fn a_reader_that_goes_away_ends_a_send_with_eintr(lab: &Lab) {
        let pool = filled(lab);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let taker = thread::spawn(move || reader.read_exact(&mut [0; 400]));
        let call = Call::Send(request("tank/v@a", None));
        let fault = pool.try_with(call, Some(writer.into())).unwrap_err();
        taker.join().unwrap().unwrap();
        assert_eq!(fault.errno, Errno::INTR.raw_os_error());
        pool.call(Call::DestroySnapshots { names: vec!["tank/v@a".to_owned()] });
    }

    fn another_error_of_writing_comes_back_as_it_is(lab: &Lab) {
        let pool = filled(lab);
        let full: OwnedFd = std::fs::File::create("/dev/full").unwrap().into();
        let fault = pool.try_with(Call::Send(request("tank/v@a", None)), Some(full)).unwrap_err();
        assert_eq!(fault.errno, Errno::NOSPC.raw_os_error());
        let read_only: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let call = Call::Send(request("tank/v@a", None));
        let fault = pool.try_with(call, Some(read_only)).unwrap_err();
        assert_eq!(fault.errno, Errno::BADF.raw_os_error());
    }

    fn a_snapshot_that_is_being_sent_cannot_be_destroyed_but_renamed(lab: &Lab) {
        let pool = filled(lab);
        let (mut reader, writer) = std::io::pipe().unwrap();
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                pool.try_with(Call::Send(request("tank/v@a", None)), Some(writer.into()))
            });
            reader.read_exact(&mut [0; BEGIN_BYTES]).unwrap();
            let fault = pool.fault(Call::DestroySnapshots { names: vec!["tank/v@a".to_owned()] });
            assert_eq!(fault.errno, Errno::BUSY.raw_os_error());
            assert_eq!(pool.errno(Call::Export), Errno::BUSY.raw_os_error());
            pool.call(Call::RenameSnapshot {
                dataset: "tank/v".to_owned(),
                from: "a".to_owned(),
                to: "renamed".to_owned(),
                scope: userland::protocol::Scope::One,
            });
            std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
            sending.join().unwrap().unwrap();
        });
    }

    fn sends_run_side_by_side(lab: &Lab) {
        let pool = filled(lab);
        let alone = pool.send("tank/v@a", None);
        thread::scope(|scope| {
            let sends: Vec<_> =
                (0..4).map(|_| scope.spawn(|| pool.send("tank/v@a", None))).collect();
            for send in sends {
                assert!(send.join().unwrap() == alone);
            }
        });
        assert_eq!(PLAIN, request("tank/v@a", None).flags);
    }
}
