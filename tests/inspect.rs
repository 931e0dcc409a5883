//! `zferry inspect`: streams in files.

use std::path::PathBuf;

use crate::program::{Place, Ran, start};

/// Recorded from a kernel: a clone, sent from its origin.
fn stream() -> Vec<u8> {
    let streams = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("userland/tests/streams");
    std::fs::read(streams.join("clone-origin.zs")).unwrap()
}

fn inspect(bytes: &[u8], words: &[&str]) -> Ran {
    let place = Place::new();
    let file = place.path("stream");
    std::fs::write(&file, bytes).unwrap();
    let mut command = place.command(words);
    Ran::of(command.arg("inspect").arg(file))
}

#[test]
fn a_sound_stream_is_summed_up_for_people_and_programs() {
    let ran = inspect(&stream(), &[]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    for text in [
        "tank/resclone@a: guid 4283060899627896403, from guid 6056804461213763625",
        "sa_spill",
        "FREEOBJECTS",
        "whole and sound",
    ] {
        assert!(ran.out.contains(text), "{text:?} is not in {ran:#?}");
    }
    let value = inspect(&stream(), &["--json"]).last_json();
    let result = &value["result"];
    assert_eq!(result["streams"][0]["guid"], "4283060899627896403");
    assert_eq!(result["records"]["OBJECT"]["records"], 7);
    assert_eq!(result["records"]["OBJECT"]["payload_bytes"], 352);
    assert_eq!(result["stream_bytes"], 10312);
    assert_eq!(value["exit_code"], 0);
}

#[test]
fn every_record_is_shown_on_request() {
    let ran = inspect(&stream(), &["-v"]);
    assert!(
        ran.out
            .contains("WRITE object=33 offset=0 logical_bytes=512 stream_bytes=512\n"),
        "{ran:#?}"
    );
    let ran = inspect(&stream(), &["-v", "--json"]);
    let records = ran
        .out
        .lines()
        .filter(|line| line.contains("\"event\":\"record\""));
    assert_eq!(records.count(), 27);
}

#[test]
fn a_damaged_stream_is_told_with_the_place_and_what_to_do() {
    let mut bytes = stream();
    bytes[5000] ^= 1;
    let ran = inspect(&bytes, &[]);
    ran.fails(
        1,
        &[
            "damaged at byte",
            "checksum",
            "state: do not receive",
            "next: ",
        ],
    );
    inspect(&stream()[..9000], &[]).fails(1, &["cut off"]);
    inspect(b"\x28\xb5\x2f\xfd", &[]).fails(1, &["BEGIN", "zstd -dc"]);
    inspect(&[], &[]).fails(1, &["BEGIN"]);
}

#[test]
fn a_stream_may_come_through_a_pipe_and_a_reader_may_leave_early() {
    let place = Place::new();
    let ran = crate::images::lab::fed(&mut place.command(&["inspect", "-"]), &stream());
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let file = place.path("stream");
    std::fs::write(&file, stream()).unwrap();
    let mut child = start(place.command(&["-v", "inspect"]).arg(&file));
    drop(child.stdout.take());
    let ran = Ran::after(child);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    place
        .run(&["inspect", "/nowhere"])
        .fails(1, &["/nowhere", "No such file"]);
}
