//! `zferry image`.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Stdio;

use super::lab::{SMALL, bare, data, fed, lab, lab_of};
use crate::program::{Place, Ran, start};

#[test]
fn what_is_put_comes_back_with_exactly_its_length() {
    let Some(lab) = lab() else { return };
    for (seed, bytes) in [(1, 0), (2, 1), (3, 4095), (4, 131_073), (5, 3 << 20)] {
        let volume = format!("tank/v{seed}");
        let content = data(seed, bytes);
        lab.put(&volume, &content);
        assert!(lab.get(&volume) == content, "{bytes} bytes");
    }
}

#[test]
fn a_shorter_content_replaces_a_longer_one_entirely() {
    let Some(lab) = lab() else { return };
    lab.put("tank/v", &data(1, 1 << 20));
    let short = data(2, 70_000);
    lab.put("tank/v", &short);
    assert!(lab.get("tank/v") == short);
}

#[test]
fn more_than_a_volume_holds_is_refused_and_the_volume_left_alone() {
    let Some(lab) = lab() else { return };
    let content = data(1, 1 << 20);
    lab.put("tank/v", &content);
    let ran = lab.try_put("tank/v", &data(2, 4 << 20));
    ran.fails(1, &["tank/v", "state: ", "next: "]);
    assert!(lab.get("tank/v") == content);
}

#[test]
fn a_pipe_can_be_put_as_well_as_a_file() {
    let Some(lab) = lab() else { return };
    let content = data(1, 300_000);
    let put = |words: &[&str], content: &[u8]| {
        let words = [&["image", "put", "tank/v"], words].concat();
        fed(&mut lab.command(&words), content)
    };
    // How much will come is not known, and the volume has to be made first.
    put(&[], &content).fails(1, &["tank/v", "next: ", "--size"]);
    let ran = put(&["--size", "1M"], &content);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(lab.get("tank/v") == content);
    let shorter = data(2, 1000);
    assert_eq!(put(&[], &shorter).code, Some(0));
    assert!(lab.get("tank/v") == shorter);
    put(&[], &data(3, 3 << 20)).fails(1, &["tank/v", "state: ", "next: "]);
}

#[test]
fn an_image_is_created_once_and_never_over_something() {
    let Some(lab) = bare() else { return };
    let image = lab.image("tank");
    lab.create("tank", SMALL);
    let before = std::fs::read(lab.file("tank")).unwrap();
    let ran = lab.run(&["image", "create", &image, "--size", "128M"]);
    ran.fails(1, &["tank.img", "exists", "state: ", "next: "]);
    assert!(std::fs::read(lab.file("tank")).unwrap() == before);
    let ran = lab.run(&["image", "create", &lab.image("backup"), "--size", "1M"]);
    ran.fails(2, &["backup.img", "64M"]);
    assert!(!lab.file("backup").exists());
}

#[test]
fn a_list_shows_space_datasets_and_guids_to_people_and_programs() {
    let Some(lab) = lab() else { return };
    lab.put("tank/a/v", &data(1, 200_000));
    lab.done(&["replicate", "tank/a/v", "backup/v"]);
    let ran = lab.done(&["image", "list", "tank"]);
    for text in ["tank: ", "tank.img", "tank/a/v", "@zferry-", "guid "] {
        assert!(ran.out.contains(text), "{text:?} is not in {}", ran.out);
    }
    let (_, guid) = lab.snapshots("tank/a/v").pop().unwrap();
    assert!(ran.out.contains(&guid), "{}", ran.out);
    assert_eq!(lab.dataset("tank/a/v")["kind"], "volume");
    assert_eq!(lab.dataset("tank/a")["kind"], "filesystem");
    let both = lab.done(&["--json", "image", "list"]).last_json();
    assert_eq!(both["result"]["images"].as_array().unwrap().len(), 2);
    // In full, without --image.
    let place = Place::new();
    let ran = place.run(&["image", "list", &lab.image("tank")]);
    ran.fails(0, &[]);
    assert!(ran.out.contains("tank/a/v"), "{}", ran.out);
}

#[test]
fn a_check_finds_nothing_in_a_sound_image_and_flipped_bits_in_another() {
    let Some(lab) = lab_of(SMALL) else { return };
    // Most of the pool, so that the bits hit something.
    lab.put("tank/v", &data(1, 48 << 20));
    let ran = lab.done(&["image", "check", "tank"]);
    assert!(ran.out.contains("no errors"), "{}", ran.out);

    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(lab.file("tank"))
        .unwrap();
    // Past the labels and boot block at the front, before those at the end.
    for offset in (16 << 20..40 << 20).step_by(1 << 20) {
        let mut bytes = [0; 4096];
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.read_exact(&mut bytes).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&bytes).unwrap();
    }
    drop(file);
    let ran = lab.run(&["image", "check", "tank"]);
    ran.fails(1, &["tank", "error", "next: "]);
    let ran = lab.run(&["--json", "image", "check", "tank"]);
    assert_eq!(ran.last_json()["exit_code"], 1, "{ran:?}");
}

#[test]
fn mistakes_about_images_are_told_before_anything_is_opened() {
    let place = Place::new();
    for (words, says) in [
        (&["--image", "tank", "status"][..], "POOL=FILE"),
        (&["--image", "tank/a=/x", "status"], "write `tank=FILE`"),
        (&["image", "create", "tank=/x", "--size", "0"], "no size"),
        (&["image", "create", "tank=/x"], "--size"),
        (&["image", "list"], "--image POOL=FILE"),
        (&["image", "list", "tank"], "--image tank=FILE"),
        (&["image", "check"], "--image POOL=FILE"),
        (&["image", "get", "tank/v"], "--image tank=FILE"),
        (&["image", "put", "tank/v"], "--image tank=FILE"),
        (&["image", "put", "tank", "--image", "tank=/x"], "tank/"),
        (&["image", "put", "tank/v@x"], "snapshot"),
        (
            &["--image", "tank=/x", "--image", "tank=/y", "image", "list"],
            "/x and in /y",
        ),
        (
            &["replicate", "a/b", "h:c/d", "--remote-image", "c=x.img"],
            "begins with `/`",
        ),
        (
            &["replicate", "a/b", "c/d", "--remote-image", "c=/x"],
            "write --image c=/x",
        ),
    ] {
        place.run(words).fails(2, &[says]);
    }
    assert_eq!(std::fs::read_dir(place.path("state")).unwrap().count(), 0);
}

#[test]
fn an_image_that_is_none_is_told_by_its_kind() {
    let Some(lab) = bare() else { return };
    let list = |says: &[&str]| {
        let ran = lab.run(&["image", "list", "tank"]);
        ran.fails(1, says);
        assert!(ran.err.contains("tank.img"), "{ran:?}");
        assert!(ran.err.contains("next: "), "{ran:?}");
    };
    list(&["no such", "zferry image create"]);
    std::fs::write(lab.file("tank"), "no pool").unwrap();
    list(&["few"]);
    let file = OpenOptions::new()
        .write(true)
        .open(lab.file("tank"))
        .unwrap();
    file.set_len(64 << 20).unwrap();
    list(&["no pool"]);
    std::fs::remove_file(lab.file("tank")).unwrap();
    lab.create("backup", SMALL);
    std::fs::rename(lab.file("backup"), lab.file("tank")).unwrap();
    list(&["backup"]);
}

#[test]
fn content_that_does_not_exist_is_named() {
    let Some(lab) = lab() else { return };
    lab.put("tank/v", b"x");
    for content in ["tank/w", "tank/v@none"] {
        let ran = lab.run(&["image", "get", content]);
        ran.fails(1, &[content, "does not exist"]);
        assert_eq!(ran.out, "");
    }
    let ran = lab.run(&["image", "get", "tank"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_reader_that_leaves_early_and_a_full_disk_are_told_apart() {
    let Some(lab) = lab() else { return };
    lab.put("tank/v", &data(1, 4 << 20));
    let mut child = start(&mut lab.command(&["image", "get", "tank/v"]));
    drop(child.stdout.take());
    let ran = Ran::after(child);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let mut command = lab.command(&["image", "get", "tank/v"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn();
    Ran::after(child.unwrap()).fails(1, &["writing the content", "space"]);
    // Neither has damaged anything.
    lab.done(&["image", "check", "tank"]);
}

#[test]
fn an_image_in_use_is_worth_another_try() {
    let Some(lab) = lab() else { return };
    lab.put("tank/v", &data(1, 8 << 20));
    let mut child = lab.occupy("tank/v");
    for words in [
        &["image", "list", "tank"][..],
        &["replicate", "tank/v", "backup/v"],
    ] {
        let ran = lab.run(words);
        ran.fails(5, &["tank", "in use", "next: "]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lab.done(&["image", "list", "tank"]);
}
