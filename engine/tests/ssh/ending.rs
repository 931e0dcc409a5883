//! How a remote command can end, and what the link says then.

use bytes::Bytes;
use engine::error::RetryClass;
use engine::transport::{LinkError, RemoteEnd};
use tokio::time::timeout;

use crate::sshd::{PATIENCE, Sshd, all_tasks_end, read_all};

#[tokio::test]
async fn a_missing_command_is_told_from_one_that_fails() {
    let sshd = Sshd::start();
    let mut link = sshd.run("no-such-zferry helper").await;
    let (_, end) = read_all(&mut link).await;
    let Some(LinkError::HelperNotFound { command, stderr }) = &end else {
        panic!("{end:?}")
    };
    assert_eq!(command, "no-such-zferry helper");
    assert!(stderr.contains("not found"), "{stderr}");
    assert_eq!(end.unwrap().class(), RetryClass::Operator);

    let mut link = sshd.run("echo why >&2; exit 3").await;
    let (_, end) = read_all(&mut link).await;
    let Some(LinkError::RemoteFailed {
        end: RemoteEnd::Code(3),
        stderr,
    }) = &end
    else {
        panic!("{end:?}")
    };
    assert_eq!(stderr, "why");
    assert_eq!(
        end.unwrap().to_string(),
        "the remote command exited with code 3; it said: why"
    );
    all_tasks_end().await;
}

#[tokio::test]
async fn a_command_killed_by_a_signal_names_the_signal_after_all_of_its_output() {
    let sshd = Sshd::start();
    let mut link = sshd.run("head -c 3000000 /dev/zero; kill -KILL $$").await;
    let (output, end) = read_all(&mut link).await;
    assert_eq!(output.len(), 3_000_000);
    let Some(LinkError::RemoteFailed {
        end: RemoteEnd::Signal(name),
        ..
    }) = &end
    else {
        panic!("{end:?}")
    };
    assert_eq!(name, "KILL");
    assert_eq!(end.unwrap().class(), RetryClass::Transient);
}

#[tokio::test]
async fn standard_error_is_kept_to_its_last_bytes_and_made_printable() {
    let sshd = Sshd::start();
    let mut link = sshd
        .run(
            "head -c 1000000 /dev/zero | tr '\\0' e >&2; printf '\\033[2Jthe cause\\n' >&2; exit 1",
        )
        .await;
    let (_, end) = read_all(&mut link).await;
    let Some(LinkError::RemoteFailed { stderr, .. }) = end else {
        panic!("{end:?}")
    };
    assert!(stderr.len() < 5000, "{} bytes", stderr.len());
    assert!(stderr.ends_with("ee\\u{1b}[2Jthe cause"), "{stderr}");
}

#[tokio::test]
async fn a_command_that_ends_before_it_was_sent_everything_is_an_error_despite_code_0() {
    let sshd = Sshd::start();
    // It ends when it is told to by the first line, with megabytes on the way.
    let mut link = sshd.run("read line; exit 0").await;
    let chunk = Bytes::from(vec![b'\n'; 1 << 20]);
    while link.outbound.send(chunk.clone()).await.is_ok() {}
    let (_, end) = read_all(&mut link).await;
    assert!(matches!(end, Some(LinkError::EndedEarly { .. })), "{end:?}");
    all_tasks_end().await;
}

#[tokio::test]
async fn code_0_is_a_clean_end_even_while_outbound_is_still_there() {
    let sshd = Sshd::start();
    let mut link = sshd.run("echo done").await;
    let (output, end) = read_all(&mut link).await;
    assert_eq!(output, b"done\n");
    assert!(end.is_none(), "{end:?}");
    assert!(link.outbound.is_closed());
    all_tasks_end().await;
    sshd.sessions_end().await;
    assert!(
        sshd.log().contains("disconnected by user") || sshd.log().contains("11:"),
        "{}",
        sshd.log()
    );
}

#[tokio::test]
async fn a_server_that_dies_in_mid_transfer_is_an_error_in_inbound_and_closes_outbound() {
    let sshd = Sshd::start();
    let mut link = sshd.run("exec cat").await;
    link.outbound.send(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(link.inbound.recv().await.unwrap().unwrap(), "x");
    let outbound = link.outbound.clone();
    let sender = tokio::task::spawn_blocking(move || {
        while outbound
            .blocking_send(Bytes::from(vec![0; 1 << 20]))
            .is_ok()
        {}
    });
    for _ in 0..8 {
        link.inbound.recv().await.unwrap().unwrap();
    }
    sshd.kill_sessions();
    let (_, end) = read_all(&mut link).await;
    let Some(error @ LinkError::ConnectionLost { .. }) = end else {
        panic!("{end:?}")
    };
    assert_eq!(error.class(), RetryClass::Transient);
    timeout(PATIENCE, sender)
        .await
        .expect("the sender may not hang")
        .unwrap();
    all_tasks_end().await;
}
