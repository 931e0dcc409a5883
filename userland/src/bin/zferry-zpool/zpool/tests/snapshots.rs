//! Snapshots, holds and bookmarks.

use rustix::io::Errno;
use userland::protocol::{Answer, Call, Fault, Scope};

use super::{Ends, Lab, MIB, Pool, claims, die, in_processes, noise};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn take(all: &[&str]) -> Call {
    Call::Snapshot { names: names(all) }
}

fn destroy(all: &[&str]) -> Call {
    Call::DestroySnapshots { names: names(all) }
}

fn hold(all: &[&str], tag: &str, temporary: bool) -> Call {
    Call::Hold {
        names: names(all),
        tag: tag.to_owned(),
        temporary,
    }
}

fn release(all: &[&str], tag: &str) -> Call {
    Call::Release {
        names: names(all),
        tag: tag.to_owned(),
    }
}

fn rename(dataset: &str, from: &str, to: &str, scope: Scope) -> Call {
    Call::RenameSnapshot {
        dataset: dataset.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        scope,
    }
}

fn bookmark(of: &str, mark: &str) -> Call {
    Call::Bookmark {
        marks: vec![(of.to_owned(), mark.to_owned())],
    }
}

fn tags(pool: &Pool, snapshot: &str) -> Vec<String> {
    match pool.call(Call::Holds {
        snapshot: snapshot.to_owned(),
    }) {
        Answer::Holds(holds) => holds
            .into_iter()
            .map(|(tag, time)| {
                assert!(time > 1_500_000_000, "{time}");
                tag
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn errno_of(fault: &Fault, name: &str) -> Option<Errno> {
    let item = fault.items.iter().find(|(item, _)| item == name);
    item.map(|(_, errno)| Errno::from_raw_os_error(*errno))
}

fn two(lab: &Lab) -> Pool {
    let pool = lab.create("tank");
    pool.filesystem("tank/a");
    pool.volume("tank/a/v", MIB);
    pool.volume("tank/w", MIB);
    pool
}

claims! {
    fn snapshots_of_one_call_have_one_createtxg(lab: &Lab) {
        let pool = two(lab);
        pool.call(take(&["tank/a@s", "tank/a/v@s", "tank/w@s"]));
        pool.call(take(&["tank/w@r"]));
        let txg = |name: &str| pool.dataset(name).snapshots[0].createtxg;
        assert_eq!(txg("tank/a"), txg("tank/a/v"));
        assert_eq!(txg("tank/a"), txg("tank/w"));
        // Older first, whatever their names.
        assert_eq!(pool.shorts("tank/w"), ["s", "r"]);
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let creation = pool.dataset("tank/w").snapshots[0].creation_seconds;
        assert!(creation <= now && creation + 600 > now, "{creation} {now}");
    }

    fn snapshots_are_taken_all_or_none(lab: &Lab) {
        let pool = two(lab);
        pool.snapshot("tank/a/v@s");
        let fault = pool.fault(take(&["tank/a@s", "tank/a/v@s", "tank/w@s"]));
        assert_eq!(fault.errno, Errno::EXIST.raw_os_error());
        assert_eq!(errno_of(&fault, "tank/a/v@s"), Some(Errno::EXIST));
        let fault = pool.fault(take(&["tank/a@s", "tank/none@s"]));
        assert_eq!(errno_of(&fault, "tank/none@s"), Some(Errno::NOENT));
        assert_eq!(pool.errno(take(&["tank/a@s", "tank/a@t"])), Errno::XDEV.raw_os_error());
        for bad in ["tank/a", "tank/a@", "tank/a@%x", "tank/a@s@t", "tank/a#s", "tank/a@s/t"] {
            assert_eq!(pool.errno(take(&["tank/a@s", bad])), Errno::INVAL.raw_os_error(), "{bad}");
        }
        assert_eq!(pool.shorts("tank/a"), Vec::<String>::new());
        pool.call(take(&[]));
    }

    fn snapshots_are_destroyed_all_or_none_and_missing_ones_do_not_count(lab: &Lab) {
        let pool = two(lab);
        pool.call(take(&["tank/a@s", "tank/a/v@s", "tank/w@s"]));
        pool.call(hold(&["tank/w@s"], "keep", false));
        let fault = pool.fault(destroy(&["tank/a@s", "tank/w@s"]));
        assert_eq!(fault.errno, Errno::BUSY.raw_os_error());
        assert_eq!(errno_of(&fault, "tank/w@s"), Some(Errno::BUSY));
        pool.call(Call::Clone { origin: "tank/a/v@s".to_owned(), name: "tank/c".to_owned() });
        let fault = pool.fault(destroy(&["tank/a@s", "tank/a/v@s"]));
        assert_eq!(fault.errno, Errno::EXIST.raw_os_error());
        assert_eq!(pool.shorts("tank/a"), ["s"]);
        pool.call(destroy(&["tank/a@s", "tank/a@none", "tank/none@s"]));
        assert_eq!(pool.shorts("tank/a"), Vec::<String>::new());
        pool.call(destroy(&["tank/a@none"]));
        pool.call(destroy(&[]));
    }

    fn a_recursive_rename_is_atomic_and_skips_those_without_the_name(lab: &Lab) {
        let pool = two(lab);
        pool.call(take(&["tank/a@s", "tank/a/v@s", "tank/w@t"]));
        let before = pool.dataset("tank/a/v").snapshots;
        pool.call(hold(&["tank/a/v@s"], "keep", false));
        let missing = pool.errno(rename("tank", "s", "new", Scope::Recursive));
        assert_eq!(missing, Errno::NOENT.raw_os_error());
        pool.snapshot("tank@s");
        pool.call(rename("tank", "s", "new", Scope::Recursive));
        assert_eq!(pool.shorts("tank/a"), ["new"]);
        assert_eq!(pool.shorts("tank/w"), ["t"]);
        let after = pool.dataset("tank/a/v").snapshots;
        assert_eq!((after[0].guid, after[0].createtxg), (before[0].guid, before[0].createtxg));
        assert_eq!(tags(&pool, "tank/a/v@new"), ["keep"]);

        // One of them has the new name already: nothing changes anywhere.
        pool.snapshot("tank/a/v@taken");
        let fault = pool.errno(rename("tank/a", "new", "taken", Scope::Recursive));
        assert_eq!(fault, Errno::EXIST.raw_os_error());
        assert_eq!(pool.shorts("tank/a"), ["new"]);

        pool.call(rename("tank/a", "new", "one", Scope::One));
        assert_eq!(pool.shorts("tank/a"), ["one"]);
        assert_eq!(pool.shorts("tank/a/v"), ["new", "taken"]);
        let missing = pool.errno(rename("tank/a", "none", "x", Scope::One));
        assert_eq!(missing, Errno::NOENT.raw_os_error());
        for bad in ["", "a@b", "a/b", "%a"] {
            let fault = pool.errno(rename("tank/a", "one", bad, Scope::One));
            assert_eq!(fault, Errno::INVAL.raw_os_error(), "{bad}");
        }
    }

    fn holds_are_listed_and_released(lab: &Lab) {
        let pool = two(lab);
        pool.call(take(&["tank/a@s", "tank/w@s"]));
        pool.call(hold(&["tank/a@s", "tank/w@s"], "one", false));
        pool.call(hold(&["tank/a@s"], "two", true));
        assert_eq!(tags(&pool, "tank/a@s"), ["one", "two"]);
        assert_eq!(pool.errno(hold(&["tank/a@s"], "one", false)), Errno::EXIST.raw_os_error());
        assert_eq!(pool.errno(hold(&["tank/a@s"], "", false)), Errno::INVAL.raw_os_error());
        let long = "x".repeat(300);
        assert_eq!(pool.errno(hold(&["tank/a@s"], &long, false)), Errno::TOOBIG.raw_os_error());
        // A missing one is told, and the other is held, as in a kernel.
        let fault = pool.fault(hold(&["tank/w@none", "tank/w@s"], "three", false));
        assert_eq!(errno_of(&fault, "tank/w@none"), Some(Errno::NOENT));
        assert_eq!(tags(&pool, "tank/w@s"), ["one", "three"]);

        pool.call(release(&["tank/a@s", "tank/w@none"], "one"));
        pool.call(release(&["tank/a@s"], "two"));
        pool.call(release(&["tank/a@s"], "never"));
        assert_eq!(tags(&pool, "tank/a@s"), Vec::<String>::new());
        pool.call(destroy(&["tank/a@s"]));
        let missing = Call::Holds { snapshot: "tank/a@s".to_owned() };
        assert_eq!(pool.errno(missing), Errno::NOENT.raw_os_error());
    }

    fn bookmarks_keep_the_identity_of_their_snapshots(lab: &Lab) {
        let pool = two(lab);
        pool.call(take(&["tank/a@s", "tank/w@s"]));
        let snapshot = pool.dataset("tank/w").snapshots[0].clone();
        pool.call(Call::Bookmark { marks: vec![
            ("tank/w@s".to_owned(), "tank/w#m".to_owned()),
            ("tank/a@s".to_owned(), "tank/a#m".to_owned()),
        ]});
        pool.call(bookmark("tank/w#m", "tank/w#copy"));
        pool.call(destroy(&["tank/w@s"]));
        let marks = pool.dataset("tank/w").bookmarks;
        assert_eq!(marks.len(), 2);
        for mark in &marks {
            assert_eq!(
                (mark.guid, mark.createtxg, mark.creation_seconds),
                (snapshot.guid, snapshot.createtxg, snapshot.creation_seconds)
            );
        }
        let exists = pool.fault(bookmark("tank/a@s", "tank/a#m"));
        assert_eq!(exists.errno, Errno::EXIST.raw_os_error());
        let missing = pool.fault(bookmark("tank/a@none", "tank/a#n"));
        assert_eq!(missing.errno, Errno::NOENT.raw_os_error());
        assert_eq!(pool.errno(bookmark("tank/a@s", "tank/a@n")), Errno::INVAL.raw_os_error());
        assert_eq!(pool.errno(bookmark("tank/a", "tank/a#n")), Errno::INVAL.raw_os_error());
        // All or none.
        let fault = pool.fault(Call::Bookmark { marks: vec![
            ("tank/a@s".to_owned(), "tank/a#n".to_owned()),
            ("tank/a@s".to_owned(), "tank/a#m".to_owned()),
        ]});
        assert_eq!(fault.errno, Errno::EXIST.raw_os_error());
        assert_eq!(pool.dataset("tank/a").bookmarks.len(), 1);
        pool.call(Call::DestroyBookmarks { names: names(&["tank/w#m", "tank/w#none"]) });
        assert_eq!(pool.dataset("tank/w").bookmarks.len(), 1);
    }

    fn written_counts_what_is_newer_than_the_newest_snapshot(lab: &Lab) {
        let pool = two(lab);
        pool.write("tank/w", 0, noise(1, 1 << 20));
        pool.snapshot("tank/w@s");
        assert_eq!(pool.dataset("tank/w").written_bytes, 0);
        pool.write("tank/w", 0, noise(2, 1 << 19));
        let written = pool.dataset("tank/w").written_bytes;
        assert!((1 << 19..1 << 20).contains(&written), "{written}");
    }
}

#[test]
fn a_temporary_hold_ends_with_the_next_import_and_another_does_not() {
    fn leave(lab: &Lab) {
        let pool = two(lab);
        pool.call(take(&["tank/a@s"]));
        pool.call(hold(&["tank/a@s"], "for-now", true));
        pool.call(hold(&["tank/a@s"], "for-good", false));
        // They belong to the snapshot, not to its name.
        pool.call(rename("tank/a", "s", "t", Scope::One));
        die();
    }
    fn look(lab: &Lab) {
        let pool = lab.import("tank");
        assert_eq!(tags(&pool, "tank/a@t"), ["for-good"]);
    }
    in_processes(
        concat!(
            module_path!(),
            "::a_temporary_hold_ends_with_the_next_import_and_another_does_not"
        ),
        &[(Ends::Killed, leave), (Ends::Well, look)],
    );
}
