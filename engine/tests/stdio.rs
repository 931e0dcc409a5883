//! The link over the standard input and output of a whole process: this test
//! runs itself again as the helper.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use engine::transport::{Link, stdio};

/// What the helper writes to standard output before it takes that over.
const READY: &str = "helper ready";

/// Between two bursts that the helper echoes.
const STRAY: &str = "a library that writes to standard output";

/// Not a test of its own: the helper, which echoes everything, and meanwhile
/// writes to standard output as a careless library would.
#[test]
#[ignore = "runs as the helper of the test below"]
fn helper() {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "\n{READY}").unwrap();
    stdout.flush().unwrap();
    let (link, output) = stdio::link().unwrap();
    let Link {
        mut inbound,
        outbound,
    } = link;
    while let Some(chunk) = inbound.blocking_recv() {
        writeln!(stdout, "{STRAY}").unwrap();
        outbound.blocking_send(chunk.unwrap()).unwrap();
    }
    drop(outbound);
    output.finish().unwrap();
}

#[test]
fn a_helper_echoes_megabytes_unspoilt_by_what_libraries_print_and_ends_its_output() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "helper", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut errors = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    });
    // The test harness of the helper speaks first.
    let mut line = String::new();
    while line.trim_end() != READY {
        line.clear();
        assert_ne!(
            output.read_line(&mut line).unwrap(),
            0,
            "the helper did not start"
        );
    }

    let mut sent = vec![0; 8 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut sent);
    // A small message is answered at once, before the input ends.
    input.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    output.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let mut received = Vec::new();
    output.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(
        received == sent,
        "{} of {} bytes, or other ones",
        received.len(),
        sent.len()
    );
    assert!(child.wait().unwrap().success());
    assert!(errors.join().unwrap().contains(STRAY));
}
