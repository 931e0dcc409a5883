//! `zferry helper` on pipes, as `sshd` starts it.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use engine::error::Family;
use engine::name::DatasetName;
use engine::peer::Peer;
use engine::protocol::failure::Failure;
use engine::protocol::hello::About;
use engine::sync::config::{Rid, ServiceName};
use engine::sync::state::ResourceState;
use engine::transport::stdio;
use engine::zfs::{Scope, ZfsErrorKind};

use crate::program::{PATIENCE, Place, Ran, machine_has_zfs, start};

fn helper(place: &Place, words: &[&str]) -> Child {
    let mut command = place.command(&["helper"]);
    start(command.args(words).stdin(Stdio::piped()))
}

/// Greets a helper; what is returned with the peer still has its standard error.
async fn greeted(mut child: Child) -> (Peer, Child) {
    let output = child.stdin.take().unwrap().into();
    let input = child.stdout.take().unwrap().into();
    let (link, _output) = stdio::over(input, output).unwrap();
    let about = About {
        program: "test".into(),
        node: "test".into(),
        platform: "test".into(),
        images: Vec::new(),
        clock: None,
    };
    let peer = Peer::greet("helper", link, &about, PATIENCE).await;
    (peer.unwrap(), child)
}

fn dataset(name: &str) -> DatasetName {
    DatasetName::parse(name).unwrap()
}

#[test]
fn rubbish_instead_of_a_greeting_is_a_breach_of_the_protocol() {
    let mut child = helper(&Place::new(), &[]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // Without an end of input: what came is enough to know.
    let ran = Ran::after(child);
    drop(input);
    ran.fails(8, &["error: ", "GET /"]);
}

#[test]
fn without_input_a_helper_ends_at_once() {
    let begun = Instant::now();
    let ran = Place::new().run(&["helper"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    ran.fails(5, &["closed the connection"]);
}

#[test]
fn a_driver_that_does_not_greet_is_not_waited_for_forever() {
    let mut child = helper(&Place::new(), &["--connect-timeout", "1"]);
    let input = child.stdin.take();
    Ran::after(child).fails(5, &["said nothing for 1 s"]);
    drop(input);
}

#[tokio::test]
async fn a_helper_ends_well_when_its_driver_leaves() {
    let (peer, child) = greeted(helper(&Place::new(), &[])).await;
    assert_eq!(peer.about.node, "n1");
    drop(peer);
    let ran = tokio::task::spawn_blocking(|| Ran::after(child));
    let ran = ran.await.unwrap();
    ran.fails(0, &[]);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn without_zfs_a_helper_greets_and_says_what_is_missing() {
    if machine_has_zfs() {
        return;
    }
    let (mut peer, child) = greeted(helper(&Place::new(), &[])).await;
    let error = peer.tree(&dataset("tank/a"), Scope::One).await.unwrap_err();
    let Some(Failure::Zfs(zfs)) = error.failure() else {
        panic!("{error:?}")
    };
    assert_eq!(zfs.kind, ZfsErrorKind::Unavailable);
    assert!(error.to_string().contains("Debian"), "{error}");
    drop((peer, child));
}

#[tokio::test]
async fn a_helper_refuses_what_lies_outside_of_what_it_was_started_for() {
    let place = Place::new();
    let words = ["--allow", "pool/backup", "--allow", "pool/more"];
    let (mut peer, child) = greeted(helper(&place, &words)).await;
    for outside in ["pool", "pool/backup2", "tank/a"] {
        let error = peer.tree(&dataset(outside), Scope::One).await.unwrap_err();
        assert!(
            matches!(error.failure(), Some(Failure::NotAllowed { .. })),
            "{outside}: {error:?}"
        );
    }
    if !machine_has_zfs() {
        let inside = peer.tree(&dataset("pool/more/x"), Scope::One).await;
        let error = inside.unwrap_err();
        assert!(
            matches!(error.failure(), Some(Failure::Zfs(_))),
            "{error:?}"
        );
    }
    drop((peer, child));
}

#[tokio::test]
async fn a_helper_keeps_states_in_the_folder_it_was_given() {
    let place = Place::new();
    let (mut peer, child) = greeted(helper(&place, &[])).await;
    let service = ServiceName::parse("web").unwrap();
    let state = ResourceState::new(service, Rid::parse("sync#1").unwrap());
    let text = String::from_utf8(state.to_json()).unwrap();
    peer.put_state("web", "sync#1", dataset("backup/a"), text.clone())
        .await
        .unwrap();
    assert!(place.path("state").join("web/sync.1.json").exists());
    assert_eq!(peer.get_state("web", "sync#1").await.unwrap(), Some(text));
    drop((peer, child));
}

#[tokio::test]
async fn a_destination_has_one_driver_at_a_time_whichever_helper_serves_it() {
    let place = Place::new();
    let (mut first, first_child) = greeted(helper(&place, &[])).await;
    let bound = ["--allow", "backup/a"];
    let (mut second, second_child) = greeted(helper(&place, &bound)).await;
    let claim = |scope| (dataset("backup/a"), scope);
    let (root, scope) = claim(Scope::Recursive);
    first.claim(&root, scope, "sync of tank/a").await.unwrap();
    // Again, and for a part of it: it is the same session.
    first.claim(&root, scope, "sync of tank/a").await.unwrap();
    first
        .claim(&dataset("backup/a/x"), Scope::One, "more")
        .await
        .unwrap();
    for (dataset, scope) in [claim(Scope::Recursive), (dataset("backup/a/x"), Scope::One)] {
        let error = second.claim(&dataset, scope, "other").await.unwrap_err();
        assert!(
            matches!(error.failure(), Some(Failure::Claimed { .. })),
            "{error:?}"
        );
        assert_eq!(error.family(), Family::Transient);
        assert!(error.to_string().contains("sync of tank/a"), "{error}");
    }
    let outside = dataset("backup/b");
    let error = second.claim(&outside, Scope::One, "other").await;
    let error = error.unwrap_err();
    assert!(
        matches!(error.failure(), Some(Failure::NotAllowed { .. })),
        "{error:?}"
    );
    // Whoever is gone keeps nothing, without anything to clean up.
    drop(first);
    second.claim(&root, scope, "other").await.unwrap();
    drop((second, first_child, second_child));
}

#[tokio::test]
async fn a_helper_that_cannot_lock_says_which_folder_it_needs() {
    let place = Place::new();
    std::fs::write(place.path("state").join("lock"), "").unwrap();
    let (mut peer, child) = greeted(helper(&place, &[])).await;
    let error = peer.claim(&dataset("backup/a"), Scope::One, "test").await;
    let error = error.unwrap_err();
    assert_eq!(error.family(), Family::Failed);
    assert!(error.to_string().contains("state/lock"), "{error}");
    assert!(error.remedies()[0].contains("--state DIR"), "{error:?}");
    drop((peer, child));
}

#[test]
fn nothing_but_the_greeting_is_written_to_standard_output_even_with_json() {
    let place = Place::new();
    let mut command = place.command(&["helper", "--json"]);
    let output = command.output().unwrap();
    assert!(output.stdout.starts_with(b"zfy\x89\r\n\x1a\n"));
    assert!(!output.stdout.windows(7).any(|part| part == b"\"error\""));
    assert!(!output.stderr.is_empty());
}
