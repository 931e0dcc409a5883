//! Create, import, export, scrub, and what survives a crash.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use userland::protocol::{Answer, Call, Opening, StartFault};

use super::{Ends, Lab, MIB, POOL_BYTES, claims, die, in_processes, noise};

#[test]
fn a_pool_keeps_name_guid_and_data_over_export_and_import() {
    fn write(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        pool.write("tank/v", 0, noise(1, MIB as usize));
        pool.snapshot("tank/v@a");
        fs::write(lab.folder.join("guid"), pool.guid.to_string()).unwrap();
        assert_eq!(pool.call(Call::Export), Answer::Done);
    }
    fn read(lab: &Lab) {
        let pool = lab.import("tank");
        assert_eq!(
            fs::read_to_string(lab.folder.join("guid")).unwrap(),
            pool.guid.to_string()
        );
        assert_eq!(pool.read("tank/v@a"), noise(1, MIB as usize));
    }
    in_processes(
        concat!(
            module_path!(),
            "::a_pool_keeps_name_guid_and_data_over_export_and_import"
        ),
        &[(Ends::Well, write), (Ends::Well, read)],
    );
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    fn write(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        pool.write("tank/v", 0, noise(2, MIB as usize));
        pool.snapshot("tank/v@a");
        pool.write("tank/v", 0, noise(3, 100_000));
        die();
    }
    fn read(lab: &Lab) {
        let pool = lab.import("tank");
        assert_eq!(pool.read("tank/v@a"), noise(2, MIB as usize));
        assert_eq!(pool.read("tank/v")[..100_000], noise(3, 100_000));
        die();
    }
    fn check(lab: &Lab) {
        let pool = lab.import("tank");
        let Answer::Checked(checked) = pool.call(Call::Scrub) else {
            panic!()
        };
        assert_eq!(checked.errors, 0);
        assert!(checked.examined_bytes > MIB);
    }
    in_processes(
        concat!(module_path!(), "::what_was_answered_is_there_after_a_kill"),
        &[
            (Ends::Killed, write),
            (Ends::Killed, read),
            (Ends::Well, check),
        ],
    );
}

#[test]
fn a_pool_of_another_name_says_its_name() {
    fn make(lab: &Lab) {
        lab.create("tank").call(Call::Export);
        fs::rename(lab.image("tank"), lab.image("other")).unwrap();
    }
    fn look(lab: &Lab) {
        let fault = lab.start("other", Opening::Import).unwrap_err();
        assert_eq!(fault, StartFault::OtherName("tank".to_owned()));
    }
    in_processes(
        concat!(module_path!(), "::a_pool_of_another_name_says_its_name"),
        &[(Ends::Well, make), (Ends::Well, look)],
    );
}

#[test]
fn an_image_that_moved_is_imported_from_where_it_is() {
    fn make(lab: &Lab) {
        lab.create("tank").volume("tank/v", MIB);
        die();
    }
    fn look(lab: &Lab) {
        let folder = lab.folder.join("elsewhere");
        fs::create_dir(&folder).unwrap();
        fs::rename(lab.image("tank"), folder.join("tank.img")).unwrap();
        // Something else is at the old place; nobody may look at it.
        fs::write(lab.image("tank"), "not a pool").unwrap();
        let moved = Lab { folder };
        moved.import("tank").dataset("tank/v");
    }
    in_processes(
        concat!(
            module_path!(),
            "::an_image_that_moved_is_imported_from_where_it_is"
        ),
        &[(Ends::Killed, make), (Ends::Well, look)],
    );
}

#[test]
fn an_image_that_was_cut_is_too_small() {
    fn make(lab: &Lab) {
        lab.create("tank").call(Call::Export);
        let image = OpenOptions::new()
            .write(true)
            .open(lab.image("tank"))
            .unwrap();
        image.set_len(POOL_BYTES - MIB).unwrap();
    }
    fn look(lab: &Lab) {
        let fault = lab.start("tank", Opening::Import).unwrap_err();
        assert_eq!(fault, StartFault::TooSmall);
    }
    in_processes(
        concat!(module_path!(), "::an_image_that_was_cut_is_too_small"),
        &[(Ends::Well, make), (Ends::Well, look)],
    );
}

#[test]
fn an_image_that_grew_is_still_imported() {
    fn make(lab: &Lab) {
        lab.create("tank").call(Call::Export);
        let image = OpenOptions::new()
            .write(true)
            .open(lab.image("tank"))
            .unwrap();
        image.set_len(POOL_BYTES + 64 * MIB).unwrap();
    }
    fn look(lab: &Lab) {
        lab.import("tank");
    }
    in_processes(
        concat!(module_path!(), "::an_image_that_grew_is_still_imported"),
        &[(Ends::Well, make), (Ends::Well, look)],
    );
}

#[test]
fn flipped_bits_are_found_by_a_scrub_and_never_read() {
    fn make(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 8 * MIB);
        pool.write("tank/v", 0, noise(4, 8 * MIB as usize));
        pool.call(Call::Export);
        // Noise is stored as it is: look for a part of it, and flip a bit.
        let image = OpenOptions::new()
            .read(true)
            .write(true)
            .open(lab.image("tank"))
            .unwrap();
        let content = fs::read(lab.image("tank")).unwrap();
        let part = &noise(4, 8 * MIB as usize)[4 * MIB as usize..][..64];
        let at = content
            .windows(64)
            .position(|window| window == part)
            .unwrap();
        image.write_all_at(&[!content[at]], at as u64).unwrap();
    }
    fn look(lab: &Lab) {
        let pool = lab.import("tank");
        let Answer::Checked(checked) = pool.call(Call::Scrub) else {
            panic!()
        };
        assert_eq!(checked.errors, 1);
        let sink = File::create(lab.folder.join("sink")).unwrap();
        let call = Call::ReadVolume {
            name: "tank/v".to_owned(),
            offset: 0,
        };
        // Linux has no ECKSUM; EBADE stands for it.
        let fault = pool.try_with(call, Some(sink.into())).unwrap_err();
        assert!(
            [52, Errno::IO.raw_os_error()].contains(&fault.errno),
            "{fault:?}"
        );
    }
    in_processes(
        concat!(
            module_path!(),
            "::flipped_bits_are_found_by_a_scrub_and_never_read"
        ),
        &[(Ends::Well, make), (Ends::Well, look)],
    );
}

#[test]
fn an_exported_pool_answers_no_calls_and_its_image_can_be_made_anew() {
    fn export(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        pool.call(Call::Export);
        assert_eq!(pool.find("tank"), None);
        assert_eq!(pool.errno(Call::Space), Errno::NOENT.raw_os_error());
        assert_eq!(pool.errno(Call::Export), Errno::NOENT.raw_os_error());
    }
    fn again(lab: &Lab) {
        let pool = lab.start("fresh", Opening::Create);
        assert!(
            matches!(pool, Err(StartFault::Errno { .. })),
            "there is no such file"
        );
        fs::rename(lab.image("tank"), lab.image("fresh")).unwrap();
        let pool = lab.start("fresh", Opening::Create).unwrap();
        assert_eq!(pool.find("fresh/v"), None);
    }
    in_processes(
        concat!(
            module_path!(),
            "::an_exported_pool_answers_no_calls_and_its_image_can_be_made_anew"
        ),
        &[(Ends::Well, export), (Ends::Well, again)],
    );
}

#[test]
fn an_image_that_was_not_exported_can_be_made_anew() {
    fn leave(lab: &Lab) {
        lab.create("tank").volume("tank/v", MIB);
        die();
    }
    fn again(lab: &Lab) {
        assert_eq!(
            lab.start("tank", Opening::Create).unwrap().find("tank/v"),
            None
        );
    }
    in_processes(
        concat!(
            module_path!(),
            "::an_image_that_was_not_exported_can_be_made_anew"
        ),
        &[(Ends::Killed, leave), (Ends::Well, again)],
    );
}

claims! {
    fn a_file_without_a_pool_is_told_from_one_that_is_too_small(lab: &Lab) {
        File::create(lab.image("tank")).unwrap().set_len(POOL_BYTES).unwrap();
        assert_eq!(lab.start("tank", Opening::Import).unwrap_err(), StartFault::NotAPool);
        fs::write(lab.image("tank"), noise(5, 5000)).unwrap();
        assert_eq!(lab.start("tank", Opening::Import).unwrap_err(), StartFault::TooSmall);
        assert_eq!(lab.start("tank", Opening::Create).unwrap_err(), StartFault::TooSmall);
    }

    fn names_that_no_pool_may_have_are_refused(lab: &Lab) {
        for name in ["", "1tank", "mirror", "ta nk/x", "tank@a", "a\0b"] {
            File::create(lab.folder.join("x.img")).unwrap().set_len(POOL_BYTES).unwrap();
            let start = userland::protocol::Start {
                protocol: userland::protocol::PROTOCOL,
                pool: name.to_owned(),
                image: lab.folder.join("x.img").to_str().unwrap().to_owned(),
                opening: Opening::Create,
            };
            let fault = super::super::Zpool::start(&start).unwrap_err();
            let StartFault::Errno { errno, .. } = fault else { panic!("{name}: {fault:?}") };
            assert_eq!(errno, Errno::INVAL.raw_os_error(), "{name}");
        }
    }

    fn space_grows_with_what_is_written(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 16 * MIB);
        let space = || match pool.call(Call::Space) {
            Answer::Space { total_bytes, allocated_bytes } => (total_bytes, allocated_bytes),
            other => panic!("{other:?}"),
        };
        let (total, before) = space();
        assert!(total > POOL_BYTES / 2 && total < POOL_BYTES, "{total}");
        pool.write("tank/v", 0, noise(6, 16 * MIB as usize));
        let (_, after) = space();
        assert!(after - before >= 16 * MIB && after < total, "{before} {after} {total}");
    }

    fn a_smallest_image_of_64_mib_works(lab: &Lab) {
        File::create(lab.image("tank")).unwrap().set_len(64 * MIB).unwrap();
        let pool = lab.start("tank", Opening::Create).unwrap();
        pool.volume("tank/v", MIB);
        pool.write("tank/v", 0, noise(7, MIB as usize));
        pool.snapshot("tank/v@a");
    }
}
