//! Workers that are none: what the client makes of them. No ZFS is needed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use userland::{Ended, Error, IMAGE_BYTES_MIN, Image, Patience, Pool, Worker};

/// Nothing here may take longer: the patience of these tests is a second.
const TIME_MAX: Duration = Duration::from_secs(30);

fn script(folder: &TempDir, text: &str) -> Worker {
    let path = folder.path().join("worker");
    // Written by another process: a file that this one has open for writing
    // could not be executed, and a fork of another test inherits it for a while.
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat > "$0" && chmod 755 "$0""#])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    write!(stdin, "#!/bin/sh\n{text}\n").unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    Worker::new(path).with_patience(Patience {
        look: Duration::from_millis(50),
        quiet: Duration::from_secs(1),
        stuck: Duration::from_secs(1),
        short: Duration::from_secs(1),
    })
}

fn image(folder: &Path) -> Image {
    let path = folder.join("tank.img");
    let file = fs::File::create(&path).unwrap();
    file.set_len(IMAGE_BYTES_MIN).unwrap();
    Image {
        pool: "tank".to_owned(),
        path,
    }
}

fn open(text: &str) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let worker = script(&folder, text);
    let begin = Instant::now();
    let error = Pool::open(&worker, &image(folder.path())).unwrap_err();
    assert!(begin.elapsed() < TIME_MAX);
    error
}

#[test]
fn a_missing_executable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::new(folder.path().join("nowhere"));
    let error = Pool::open(&worker, &image(folder.path())).unwrap_err();
    assert!(matches!(error, Error::NoWorker { .. }), "{error:?}");
    assert!(error.to_string().contains("nowhere"));
}

#[test]
fn a_worker_without_its_library_says_what_is_missing() {
    let error = open("echo 'install libzfslinux-dev' >&2; exit 69");
    assert!(matches!(error, Error::WorkerUnusable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("install libzfslinux-dev"),
        "{error}"
    );
    let error = open("echo 'libzpool.so.6: cannot open shared object file' >&2; exit 127");
    assert!(matches!(error, Error::WorkerUnusable { .. }), "{error:?}");
    assert!(error.to_string().contains("libzpool.so.6"), "{error}");
}

#[test]
fn what_cannot_be_executed_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker");
    fs::write(&path, "no program").unwrap();
    let error = Pool::open(&Worker::new(path), &image(folder.path())).unwrap_err();
    assert!(matches!(error, Error::WorkerUnusable { .. }), "{error:?}");
}

#[test]
fn a_worker_that_asserts_at_every_import_is_tried_three_times_and_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let text = format!(
        "echo x >> {}; echo 'ASSERT at dmu.c:1:f()' >&2; kill -ABRT $$",
        log.display()
    );
    let error = Pool::open(&script(&folder, &text), &image(folder.path())).unwrap_err();
    let Error::WorkerDied {
        ended,
        times,
        said,
        call,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!((ended, *times, *call), (&Ended::Signal(6), 3, "import"));
    assert_eq!(said, "ASSERT at dmu.c:1:f()");
    assert!(!error.is_transient());
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), 3);
}

#[test]
fn of_what_a_worker_says_the_end_is_kept() {
    let error = open("yes some noise | head -c 100000 >&2; echo last words >&2; exit 3");
    let Error::WorkerDied { ended, said, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*ended, Ended::Exit(3));
    assert!(said.len() <= 8 << 10);
    assert!(said.ends_with("last words"), "{said}");
}

#[test]
fn a_worker_that_does_nothing_is_hung_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let text = format!(
        "echo $$ > {}; echo waiting >&2; exec sleep 1000",
        pid.display()
    );
    let error = Pool::open(&script(&folder, &text), &image(folder.path())).unwrap_err();
    let Error::WorkerHung { call, said, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*call, said.as_str()), ("import", "waiting"));
    assert!(error.is_transient());
    let pid = fs::read_to_string(pid).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn a_worker_that_only_burns_time_is_hung_too() {
    let error = open("while :; do :; done");
    assert!(matches!(error, Error::WorkerHung { .. }), "{error:?}");
}

#[test]
fn a_worker_that_answers_nonsense_is_ended() {
    // A length of two bytes, and no JSON.
    let error = open("printf '\\002\\000\\000\\000{{' >&0; exec sleep 1000");
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[test]
fn an_image_whose_pool_could_not_be_created_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let worker = script(&folder, "exit 3");
    let image = Image {
        pool: "tank".to_owned(),
        path: folder.path().join("new.img"),
    };
    let error = Pool::create(&worker, &image, IMAGE_BYTES_MIN).unwrap_err();
    assert!(matches!(error, Error::WorkerDied { .. }), "{error:?}");
    assert!(!image.path.exists());
}

#[test]
fn a_worker_has_no_other_descriptors_and_a_process_group_of_its_own() {
    // The lock of another image, say, must not live on in a worker.
    let other = tempfile::tempfile().unwrap();
    let error = open("ls -l /proc/self/fd >&2; ps -o pgid= -p $$ >&2; echo $$ >&2; exit 3");
    drop(other);
    let Error::WorkerDied { said, .. } = &error else {
        panic!("{error:?}");
    };
    let links = said.lines().filter(|line| line.contains("->"));
    let foreign: Vec<&str> = links
        .filter(|link| !link.contains("socket:") && !link.contains("pipe:"))
        .filter(|link| !link.contains("/dev/null") && !link.contains("/proc/"))
        // The script itself, which the shell reads.
        .filter(|link| !link.ends_with("/worker"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    let mut last = said.lines().rev().map(str::trim);
    assert_eq!(last.next(), last.next(), "{said}");
}
