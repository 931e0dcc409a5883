//! Workers and clients that are killed or stopped, at any moment.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use userland::protocol::{Answer, Call};
use userland::{Ended, Error, Image, Patience, Pool, Worker};

use crate::lab::{
    BEGIN_BYTES, Lab, MIB, dataset, read, receive_request, request, scrub, short_patience,
    snapshot, stream, volume, write,
};
use crate::random::{Random, seed};

/// Names the image to a test that runs as a client of its own.
const VICTIM: &str = "ZFERRY_TEST_VICTIM";

fn pid(pool: &Pool) -> Pid {
    let pid = pool.worker_pid().expect("a worker runs");
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn signal(pool: &Pool, signal: Signal) {
    kill_process(pid(pool), signal).unwrap();
}

fn assert_killed(error: &Error, during: &str) {
    let Error::WorkerDied { call, ended, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((*call, ended), (during, &Ended::Signal(9)));
    assert!(error.is_transient());
}

#[test]
fn snapshots_that_were_acknowledged_outlive_a_killed_worker() {
    let Some(lab) = Lab::new() else { return };
    let mut random = Random::new(seed("killed snapshots"));
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    let mut acknowledged = Vec::new();
    let mut died = 0;
    for round in 0..12 {
        let delay = Duration::from_micros(random.number() % 30_000);
        thread::scope(|scope| {
            let pid = pid(&pool);
            scope.spawn(move || {
                thread::sleep(delay);
                kill_process(pid, Signal::KILL).unwrap();
            });
            for number in 0.. {
                let short = format!("r{round}n{number}");
                let names = vec![format!("tank/vol@{short}")];
                match pool.call(Call::Snapshot { names }, None) {
                    Ok(_) => acknowledged.push(short),
                    Err(error) => {
                        assert_killed(&error, "snapshot");
                        died += 1;
                        break;
                    }
                }
                // It was killed between two calls.
                if pool.worker_pid() != u32::try_from(pid.as_raw_nonzero().get()).ok() {
                    break;
                }
            }
        });
        let found = dataset(&pool, "tank/vol").unwrap().snapshots;
        for short in &acknowledged {
            assert!(found.iter().any(|point| point.short == *short), "{short}");
        }
    }
    assert!(died > 0, "never killed during a call");
    assert_eq!(scrub(&pool).errors, 0);
}

#[test]
fn a_worker_killed_while_it_sends_is_replaced() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 16 * MIB);
    write(&pool, "tank/vol", 0, &Random::new(4).bytes(16 << 20));
    snapshot(&pool, "tank/vol@a");
    let whole = stream(&pool, "tank/vol@a", None);
    let old = pid(&pool);

    let (mut reader, writer) = std::io::pipe().unwrap();
    let error = thread::scope(|scope| {
        let call = Call::Send(request("tank/vol@a", None));
        let sender = scope.spawn(|| pool.call(call, Some(OwnedFd::from(writer))));
        reader.read_exact(&mut vec![0; 1 << 20]).unwrap();
        kill_process(old, Signal::KILL).unwrap();
        // The reader sees an end, not silence.
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < whole.len() - (1 << 20));
        sender.join().unwrap().unwrap_err()
    });
    assert_killed(&error, "send");
    assert!(stream(&pool, "tank/vol@a", None) == whole);
    assert_ne!(pid(&pool), old);
}

#[test]
fn a_worker_killed_while_it_receives_leaves_nothing_or_a_token() {
    let Some(lab) = Lab::new() else { return };
    let tank = lab.create("tank");
    volume(&tank, "tank/vol", 32 * MIB);
    write(&tank, "tank/vol", 0, &Random::new(5).bytes(32 << 20));
    snapshot(&tank, "tank/vol@a");
    let whole = stream(&tank, "tank/vol@a", None);
    let content = read(&tank, "tank/vol@a");
    drop(tank);

    let pool = lab.create("backup");
    for (name, resumable) in [("backup/gone", false), ("backup/kept", true)] {
        let target = format!("{name}@a");
        let (reader, mut writer) = std::io::pipe().unwrap();
        let error = thread::scope(|scope| {
            let mut call = receive_request(&target, &whole[..BEGIN_BYTES]);
            call.resumable = resumable;
            let call = Call::Receive(call);
            let receiver = scope.spawn(|| pool.call(call, Some(OwnedFd::from(reader))));
            // More than a pipe holds: the worker is in the middle of it.
            writer.write_all(&whole[BEGIN_BYTES..][..24 << 20]).unwrap();
            signal(&pool, Signal::KILL);
            receiver.join().unwrap().unwrap_err()
        });
        assert_killed(&error, "receive");
        let partial = dataset(&pool, name);
        match partial {
            Some(partial) => {
                assert!(resumable, "an unfinished dataset is visible");
                assert!(partial.snapshots.is_empty());
                assert!(partial.resume_token.is_some());
                let name = name.to_owned();
                crate::lab::done(&pool, Call::DestroyDataset { name });
            }
            None => eprintln!("{name}: nothing of it was synced"),
        }
        crate::lab::receive(&pool, &target, &whole).unwrap();
        assert!(read(&pool, &target) == content);
    }
    assert_eq!(scrub(&pool).errors, 0);
}

#[test]
fn receives_killed_at_random_places_cost_nothing_that_was_there() {
    let Some(lab) = Lab::new() else { return };
    let mut random = Random::new(seed("killed receives"));
    let tank = lab.create("tank");
    volume(&tank, "tank/vol", 8 * MIB);
    write(&tank, "tank/vol", 0, &random.bytes(6 << 20));
    snapshot(&tank, "tank/vol@1");
    write(&tank, "tank/vol", MIB, &random.bytes(3 << 20));
    snapshot(&tank, "tank/vol@2");
    let full = stream(&tank, "tank/vol@1", None);
    let increment = stream(&tank, "tank/vol@2", Some("tank/vol@1"));
    let contents = [read(&tank, "tank/vol@1"), read(&tank, "tank/vol@2")];
    drop(tank);

    let pool = lab.create("backup");
    crate::lab::receive(&pool, "backup/vol@1", &full).unwrap();
    let mut died = 0;
    for round in 0..40 {
        let cut = BEGIN_BYTES + random.below(increment.len() - BEGIN_BYTES);
        let delay = Duration::from_micros(random.number() % 20_000);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let result = thread::scope(|scope| {
            let mut call = receive_request("backup/vol@2", &increment[..BEGIN_BYTES]);
            call.resumable = random.below(2) == 0;
            let call = Call::Receive(call);
            let pid = pid(&pool);
            let receiver = scope.spawn(|| pool.call(call, Some(OwnedFd::from(reader))));
            let _ = writer.write_all(&increment[BEGIN_BYTES..cut]);
            thread::sleep(delay);
            kill_process(pid, Signal::KILL).unwrap();
            receiver.join().unwrap()
        });
        if let Err(error) = result {
            assert_killed(&error, "receive");
            died += 1;
        }
        let found = dataset(&pool, "backup/vol").unwrap();
        if found.resume_token.is_some() {
            let name = "backup/vol/%recv".to_owned();
            crate::lab::done(&pool, Call::DestroyDataset { name });
        }
        assert_eq!(found.snapshots.len(), 1, "round {round}");
        assert!(read(&pool, "backup/vol") == contents[0], "round {round}");
    }
    assert!(died > 30, "{died}");
    crate::lab::receive(&pool, "backup/vol@2", &increment).unwrap();
    assert!(read(&pool, "backup/vol@2") == contents[1]);
    assert_eq!(scrub(&pool).errors, 0);
}

#[test]
fn a_stopped_worker_is_noticed_killed_and_replaced() {
    let Some(lab) = Lab::with(short_patience()) else {
        return;
    };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    let old = pid(&pool);
    signal(&pool, Signal::STOP);
    let begin = Instant::now();
    let error = pool.call(Call::Space, None).unwrap_err();
    assert!(
        matches!(error, Error::WorkerHung { call: "space", .. }),
        "{error:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(dataset(&pool, "tank/vol").is_some());
    assert_ne!(pid(&pool), old);
}

#[test]
fn a_hung_call_takes_the_calls_beside_it_along_with_an_error() {
    let Some(lab) = Lab::with(short_patience()) else {
        return;
    };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 4 * MIB);
    write(&pool, "tank/vol", 0, &Random::new(6).bytes(4 << 20));
    snapshot(&pool, "tank/vol@a");
    let (mut reader, writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        let call = Call::Send(request("tank/vol@a", None));
        // Its pipe is full: nobody reads it, and that is no fault.
        let sender = scope.spawn(|| pool.call(call, Some(OwnedFd::from(writer))));
        reader.read_exact(&mut [0; BEGIN_BYTES]).unwrap();
        signal(&pool, Signal::STOP);
        // Whichever is judged first: the other one ends with it, not never.
        let errors = [
            pool.call(Call::Space, None).unwrap_err(),
            sender.join().unwrap().unwrap_err(),
        ];
        let hung = |error: &Error| matches!(error, Error::WorkerHung { .. });
        let beside = |error: &Error| {
            let killed = Ended::Killed;
            matches!(error, Error::WorkerDied { ended, .. } if *ended == killed)
        };
        assert!(errors.iter().any(hung), "{errors:?}");
        assert!(
            errors.iter().all(|error| hung(error) || beside(error)),
            "{errors:?}"
        );
    });
    pool.call(Call::Space, None).unwrap();
}

/// Patience shorter than the peers of these tests are slow.
fn shorter_than_a_peer() -> Patience {
    Patience {
        quiet: PEER_WAIT / 4,
        stuck: PEER_WAIT / 4,
        ..short_patience()
    }
}

const PEER_WAIT: Duration = Duration::from_secs(8);

#[test]
fn a_slow_reader_and_a_slow_writer_hang_nobody() {
    let Some(lab) = Lab::with(shorter_than_a_peer()) else {
        return;
    };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 4 * MIB);
    write(&pool, "tank/vol", 0, &Random::new(7).bytes(4 << 20));
    snapshot(&pool, "tank/vol@a");
    let whole = stream(&pool, "tank/vol@a", None);
    let (mut from_send, send) = std::io::pipe().unwrap();
    let (receive, mut to_receive) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        let call = Call::Send(request("tank/vol@a", None));
        let sender = scope.spawn(|| pool.call(call, Some(OwnedFd::from(send))));
        let call = Call::Receive(receive_request("tank/copy@a", &whole[..BEGIN_BYTES]));
        let receiver = scope.spawn(|| pool.call(call, Some(OwnedFd::from(receive))));
        let half = whole.len() / 2;
        to_receive.write_all(&whole[BEGIN_BYTES..half]).unwrap();
        thread::sleep(PEER_WAIT);
        to_receive.write_all(&whole[half..]).unwrap();
        drop(to_receive);
        let mut sent = Vec::new();
        from_send.read_to_end(&mut sent).unwrap();
        assert!(sent == whole);
        sender.join().unwrap().unwrap();
        let received = receiver.join().unwrap().unwrap();
        assert_eq!(received, Answer::Received(Vec::new()));
    });
    assert!(read(&pool, "tank/vol@a") == read(&pool, "tank/copy@a"));
}

#[test]
fn a_worker_stopped_with_data_waiting_hangs() {
    let Some(lab) = Lab::with(short_patience()) else {
        return;
    };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 4 * MIB);
    write(&pool, "tank/vol", 0, &Random::new(8).bytes(4 << 20));
    snapshot(&pool, "tank/vol@a");
    let whole = stream(&pool, "tank/vol@a", None);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let error = thread::scope(|scope| {
        let call = Call::Receive(receive_request("tank/copy@a", &whole[..BEGIN_BYTES]));
        let receiver = scope.spawn(|| pool.call(call, Some(OwnedFd::from(reader))));
        writer.write_all(&whole[BEGIN_BYTES..][..2 << 20]).unwrap();
        signal(&pool, Signal::STOP);
        // Ends with the worker.
        let _ = writer.write_all(&whole[2 << 20..]);
        receiver.join().unwrap().unwrap_err()
    });
    let hung = matches!(
        error,
        Error::WorkerHung {
            call: "receive",
            ..
        }
    );
    assert!(hung, "{error:?}");
    crate::lab::receive(&pool, "tank/copy@a", &whole).unwrap();
}

/// Not a test by itself: the client that the next one kills.
#[test]
#[ignore = "runs as the client of the test below"]
fn victim() {
    let path = std::env::var(VICTIM).unwrap();
    let image = Image {
        pool: "tank".to_owned(),
        path: path.into(),
    };
    let worker = Worker::new(env!("CARGO_BIN_EXE_zferry-zpool"));
    let pool = Pool::open(&worker, &image).unwrap();
    // Little: it works for seconds and the pool is small.
    let content = Random::new(9).bytes(16 << 10);
    let mut out = std::io::stderr();
    for number in 0.. {
        write(&pool, "tank/vol", 0, &content);
        let name = format!("{}n{number}", std::process::id());
        snapshot(&pool, &format!("tank/vol@{name}"));
        writeln!(out, "took {name}").unwrap();
    }
}

#[test]
fn a_client_killed_at_any_time_leaves_a_pool_that_opens_at_once() {
    let Some(lab) = Lab::new() else { return };
    let mut random = Random::new(seed("killed client"));
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    pool.close().unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..6 {
        let mut client = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::victim", "--ignored", "--nocapture"])
            .env(VICTIM, lab.file("tank"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(client.stderr.take().unwrap()).lines();
        let mut lines = lines.map(|line| line.unwrap());
        let took = |line: String| line.strip_prefix("took ").map(str::to_owned);
        let first = lines.find_map(took).expect("it works until it is killed");
        acknowledged.push(first);
        let in_use = lab.open("tank").map(|_| ()).unwrap_err();
        assert!(matches!(in_use, Error::ImageInUse(_)), "{in_use:?}");
        thread::sleep(Duration::from_micros(random.number() % 50_000));
        client.kill().unwrap();
        client.wait().unwrap();
        let pool = lab.open("tank").unwrap();
        acknowledged.extend(lines.filter_map(took));
        let found = dataset(&pool, "tank/vol").unwrap().snapshots;
        for short in &acknowledged {
            assert!(found.iter().any(|point| point.short == *short), "{short}");
        }
        pool.close().unwrap();
    }
    let pool = lab.open("tank").unwrap();
    assert_eq!(scrub(&pool).errors, 0);
}
