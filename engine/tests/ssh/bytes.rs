//! The bytes in both directions, and the bounds on what waits.

use bytes::Bytes;
use engine::transport::{INBOUND_CHUNKS_MAX, OUTBOUND_CHUNKS_MAX};
use tokio::time::timeout;

use crate::sshd::{PATIENCE, Setup, Sshd, all_tasks_end, eventually, read_all};

/// A chunk of the size the engine uses: a frame and its header.
const CHUNK_BYTES: usize = 1024 * 1024 + 64;

/// A chunk that differs from every other and compresses to nothing less.
fn chunk(number: u64) -> Bytes {
    let mut bytes = vec![0; CHUNK_BYTES];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}

/// Sends `chunks` through `cat` with one thread on each end of the link, and
/// compares the hashes of what went and what came.
async fn echo(sshd: &Sshd, chunks: u64) {
    let mut link = sshd.run("exec cat").await;
    let outbound = link.outbound;
    let sender = tokio::task::spawn_blocking(move || {
        let mut hash = blake3::Hasher::new();
        for number in 0..chunks {
            let chunk = chunk(number);
            hash.update(&chunk);
            outbound.blocking_send(chunk).unwrap();
        }
        hash.finalize()
    });
    let receiver = tokio::task::spawn_blocking(move || {
        let mut hash = blake3::Hasher::new();
        let mut bytes = 0;
        while let Some(chunk) = link.inbound.blocking_recv() {
            let chunk = chunk.unwrap();
            hash.update(&chunk);
            bytes += chunk.len();
        }
        (hash.finalize(), bytes)
    });
    let sent = sender.await.unwrap();
    let (received, bytes) = receiver.await.unwrap();
    assert_eq!(bytes as u64, chunks * CHUNK_BYTES as u64);
    assert_eq!(sent, received);
    all_tasks_end().await;
}

#[tokio::test]
async fn sixty_four_mebibytes_come_back_unchanged_from_threads_that_block() {
    echo(&Sshd::start(), 64).await;
}

#[tokio::test]
async fn renewed_session_keys_lose_and_change_nothing() {
    let config = "RekeyLimit 3M\nLogLevel DEBUG\n";
    let sshd = Sshd::with(Setup {
        config,
        ..Setup::default()
    });
    echo(&sshd, 24).await;
    let exchanges = sshd.log().matches("kex: algorithm:").count();
    assert!(
        exchanges > 4,
        "keys were exchanged {exchanges} times only:\n{}",
        sshd.log()
    );
}

#[tokio::test]
async fn every_cipher_of_ours_works_with_the_system_sshd() {
    for cipher in [
        "aes256-gcm@openssh.com",
        "aes128-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ] {
        let config = format!("Ciphers {cipher}\n");
        echo(
            &Sshd::with(Setup {
                config: &config,
                ..Setup::default()
            }),
            2,
        )
        .await;
    }
}

#[tokio::test]
async fn dropping_outbound_ends_the_remote_input_after_everything_queued() {
    let sshd = Sshd::start();
    let mut link = sshd.run("exec wc -c").await;
    for number in 0..5 {
        link.outbound.send(chunk(number)).await.unwrap();
    }
    // wc says nothing before its input ends.
    let (inbound, outbound) = (link.inbound, link.outbound);
    drop(outbound);
    link = engine::transport::Link {
        inbound,
        outbound: tokio::sync::mpsc::channel(1).0,
    };
    let (output, end) = read_all(&mut link).await;
    assert_eq!(
        String::from_utf8(output).unwrap().trim(),
        (5 * CHUNK_BYTES).to_string()
    );
    assert!(end.is_none(), "{end:?}");
    all_tasks_end().await;
    sshd.sessions_end().await;
}

#[tokio::test]
async fn the_remote_output_may_end_long_before_the_remote_input() {
    let sshd = Sshd::start();
    let mut link = sshd.run("echo first; exec 1>&-; exec cat >/dev/null").await;
    assert_eq!(link.inbound.recv().await.unwrap().unwrap(), "first\n");
    for number in 0..4 {
        link.outbound.send(chunk(number)).await.unwrap();
    }
    drop(link.outbound);
    assert!(
        timeout(PATIENCE, link.inbound.recv())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_peer_that_never_reads_stops_the_sender_after_a_bounded_number_of_chunks() {
    let sshd = Sshd::start();
    let link = sshd.run("exec sleep 1000").await;
    // sshd grants a window of 2 MiB; what is beyond it waits here. The command
    // itself takes nothing, whatever time passes, but sshd fills its pipe.
    let bound = OUTBOUND_CHUNKS_MAX + 1 + 3;
    let mut sent = 0;
    while let Ok(result) = timeout(
        std::time::Duration::from_millis(500),
        link.outbound.send(chunk(0)),
    )
    .await
    {
        result.unwrap();
        sent += 1;
        assert!(sent <= bound, "{sent} chunks were accepted");
    }
    assert!(sent >= OUTBOUND_CHUNKS_MAX, "{sent} chunks were accepted");
    assert!(link.outbound.try_send(chunk(0)).is_err());
    drop(link);
    all_tasks_end().await;
    sshd.sessions_end().await;
}

#[tokio::test]
async fn a_reader_that_stalls_holds_up_a_flood_in_bounded_memory_and_loses_nothing() {
    let sshd = Sshd::start();
    let mut link = sshd.run("exec head -c 50331648 /dev/zero").await;
    eventually("the queue to fill", || {
        link.inbound.len() == INBOUND_CHUNKS_MAX
    })
    .await;
    let (bytes, end) = read_all(&mut link).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(bytes.len(), 50_331_648);
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn dropping_the_link_in_the_middle_of_a_flood_ends_tasks_and_remote_command() {
    let sshd = Sshd::start();
    let link = sshd.run("exec cat /dev/zero").await;
    eventually("the queue to fill", || {
        link.inbound.len() == INBOUND_CHUNKS_MAX
    })
    .await;
    drop(link);
    all_tasks_end().await;
    sshd.sessions_end().await;
}

#[tokio::test]
async fn dropping_inbound_alone_closes_outbound() {
    let sshd = Sshd::start();
    let link = sshd.run("exec cat").await;
    drop(link.inbound);
    timeout(PATIENCE, link.outbound.closed()).await.unwrap();
    all_tasks_end().await;
}
