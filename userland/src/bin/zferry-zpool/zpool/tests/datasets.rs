//! Datasets: create, destroy, rename, clone, roll back, list.

use rustix::io::Errno;
use userland::protocol::{Answer, Call, Kind, Scope};

use super::{MIB, claims, noise, number, words};

fn destroy(name: &str) -> Call {
    Call::DestroyDataset {
        name: name.to_owned(),
    }
}

fn rename(from: &str, to: &str) -> Call {
    Call::RenameDataset {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn clone(origin: &str, name: &str) -> Call {
    Call::Clone {
        origin: origin.to_owned(),
        name: name.to_owned(),
    }
}

fn rollback(dataset: &str, to: &str) -> Call {
    Call::Rollback {
        dataset: dataset.to_owned(),
        to: to.to_owned(),
    }
}

claims! {
    fn a_tree_lists_parents_before_children(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        pool.filesystem("tank/a/b");
        pool.volume("tank/a/b/v", MIB);
        pool.volume("tank/z", 2 * MIB);
        let trees = pool.trees("tank");
        let place = |name: &str| trees.iter().position(|dataset| dataset.name == name).unwrap();
        assert_eq!(trees.len(), 5);
        assert!(place("tank") < place("tank/a"));
        assert!(place("tank/a") < place("tank/a/b"));
        assert!(place("tank/a/b") < place("tank/a/b/v"));
        assert_eq!(trees[place("tank/a/b/v")].kind, Kind::Volume);
        assert_eq!(trees[place("tank/a/b/v")].volume_bytes, MIB);
        assert_eq!(trees[place("tank/a")].kind, Kind::Filesystem);
        let mut guids: Vec<u64> = trees.iter().map(|dataset| dataset.guid).collect();
        guids.sort_unstable();
        guids.dedup();
        assert_eq!(guids.len(), 5);
        let one = Call::Tree { root: "tank".to_owned(), scope: Scope::One };
        let Answer::Tree(Some(one)) = pool.call(one) else { panic!() };
        assert_eq!(one.len(), 1);
        assert_eq!(pool.find("tank/none"), None);
        assert_eq!(pool.find("another"), None);
    }

    fn names_are_checked(lab: &Lab) {
        let pool = lab.create("tank");
        let long = format!("tank/{}", "x".repeat(300));
        for name in ["tank/", "/tank", "tank//a", "tank/a@b", "tank/a#b", "tank/%a", "tank/a b\n",
            "tank/..", "", "tank/a\0b", long.as_str()] {
            let invalid = Errno::INVAL.raw_os_error();
            let create = Call::CreateFilesystem { name: name.to_owned(), properties: Vec::new() };
            assert_eq!(pool.errno(create), invalid, "{name:?}");
            assert_eq!(pool.errno(destroy(name)), invalid, "{name:?}");
            assert_eq!(pool.errno(rename("tank", name)), invalid, "{name:?}");
            let tree = Call::Tree { root: name.to_owned(), scope: Scope::Recursive };
            assert_eq!(pool.errno(tree), invalid, "{name:?}");
        }
    }

    fn a_dataset_needs_a_parent_that_is_a_file_system(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        let create = |name: &str| pool.errno(Call::CreateFilesystem {
            name: name.to_owned(),
            properties: Vec::new(),
        });
        assert_eq!(create("tank/none/a"), Errno::NOENT.raw_os_error());
        assert_eq!(create("another/a"), Errno::NOENT.raw_os_error());
        assert_eq!(create("tank/v"), Errno::EXIST.raw_os_error());
        // ZFS_ERR_WRONG_PARENT
        assert_eq!(create("tank/v/a"), 1033);
    }

    fn a_dataset_whose_properties_are_refused_is_not_made(lab: &Lab) {
        let pool = lab.create("tank");
        let fault = pool.fault(Call::CreateVolume {
            name: "tank/v".to_owned(),
            bytes: MIB,
            block_bytes: 8192,
            properties: vec![number("readonly", 1), number("compression", 9999)],
        });
        assert_eq!(fault.items.len(), 1);
        assert_eq!(fault.items[0].0, "compression");
        assert_eq!(pool.find("tank/v"), None);
    }

    fn only_an_empty_dataset_is_destroyed(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        pool.filesystem("tank/a/b");
        pool.snapshot("tank/a/b@s");
        assert_eq!(pool.errno(destroy("tank/a")), Errno::EXIST.raw_os_error());
        assert_eq!(pool.errno(destroy("tank/a/b")), Errno::BUSY.raw_os_error());
        assert_eq!(pool.errno(destroy("tank/none")), Errno::NOENT.raw_os_error());
        assert_eq!(pool.errno(destroy("tank/a/%recv")), Errno::NOENT.raw_os_error());
        pool.call(Call::DestroySnapshots { names: vec!["tank/a/b@s".to_owned()] });
        pool.call(destroy("tank/a/b"));
        pool.call(destroy("tank/a"));
        assert_eq!(pool.trees("tank").len(), 1);
    }

    fn a_renamed_dataset_keeps_what_it_is(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        pool.volume("tank/a/v", MIB);
        pool.snapshot("tank/a/v@s");
        let before = pool.dataset("tank/a/v");
        pool.call(rename("tank/a", "tank/b"));
        let after = pool.dataset("tank/b/v");
        assert_eq!(after.guid, before.guid);
        assert_eq!(after.snapshots, before.snapshots);
        assert_eq!(pool.find("tank/a"), None);
        pool.filesystem("tank/a");
        assert_eq!(pool.errno(rename("tank/b", "tank/a")), Errno::EXIST.raw_os_error());
        assert_eq!(pool.errno(rename("tank/none", "tank/c")), Errno::NOENT.raw_os_error());
        assert_eq!(pool.errno(rename("tank/b", "other/b")), Errno::XDEV.raw_os_error());
        assert_eq!(pool.errno(rename("tank/b", "tank/none/b")), Errno::NOENT.raw_os_error());
    }

    fn a_clone_knows_its_origin_and_shares_its_content(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        pool.write("tank/v", 0, noise(1, MIB as usize));
        pool.snapshot("tank/v@s");
        pool.call(clone("tank/v@s", "tank/c"));
        let made = pool.dataset("tank/c");
        assert_eq!(made.origin.as_deref(), Some("tank/v@s"));
        assert_eq!(made.kind, Kind::Volume);
        assert_eq!(pool.dataset("tank/v").origin, None);
        assert_eq!(pool.read("tank/c"), noise(1, MIB as usize));
        assert_eq!(pool.errno(clone("tank/v@s", "tank/c")), Errno::EXIST.raw_os_error());
        assert_eq!(pool.errno(clone("tank/v@none", "tank/d")), Errno::NOENT.raw_os_error());
        assert_eq!(pool.errno(clone("tank/v", "tank/d")), Errno::INVAL.raw_os_error());
        assert_eq!(pool.errno(clone("tank/v@s", "other/d")), Errno::NOENT.raw_os_error());
    }

    fn a_rollback_goes_to_the_newest_snapshot_alone(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        assert_eq!(pool.errno(rollback("tank/v", "tank/v@a")), Errno::SRCH.raw_os_error());
        pool.write("tank/v", 0, noise(1, MIB as usize));
        pool.snapshot("tank/v@a");
        pool.snapshot("tank/v@b");
        pool.write("tank/v", 0, noise(2, MIB as usize));
        assert!(pool.dataset("tank/v").written_bytes >= MIB);
        assert_eq!(pool.errno(rollback("tank/v", "tank/v@a")), Errno::EXIST.raw_os_error());
        assert_eq!(pool.errno(rollback("tank/v", "tank/v@x")), Errno::SRCH.raw_os_error());
        assert_eq!(pool.errno(rollback("tank/x", "tank/x@a")), Errno::NOENT.raw_os_error());
        pool.call(rollback("tank/v", "tank/v@b"));
        assert_eq!(pool.read("tank/v"), noise(1, MIB as usize));
        assert_eq!(pool.dataset("tank/v").written_bytes, 0);
    }

    fn a_file_system_comes_with_its_properties_and_nothing_else(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        let made = pool.dataset("tank/a");
        assert_eq!((made.properties, made.snapshots), (vec![], vec![]));
        pool.call(Call::CreateFilesystem {
            name: "tank/b".to_owned(),
            properties: vec![number("canmount", 2), words("org.zferry:note", "yes")],
        });
        assert_eq!(
            pool.dataset("tank/b").properties,
            vec![number("canmount", 2), words("org.zferry:note", "yes")]
        );
    }
}
