//! Networks and hosts that say nothing any more, not even that they are gone.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use engine::error::RetryClass;
use engine::transport::ssh::{Keepalive, SshEndpoint, SshOptions, connect};
use engine::transport::{Link, LinkError, OUTBOUND_CHUNKS_MAX};
use tokio::time::timeout;

use crate::proxy::Proxy;
use crate::sshd::{PATIENCE, Sshd, all_tasks_end, read_all, user};

/// Silent for 2 s is dead. Less would take a server for dead that gets no
/// processor for a while, as happens where several builds share two of them.
const KEEPALIVE: Keepalive = Keepalive {
    interval: Duration::from_millis(500),
    unanswered_max: NonZeroU32::new(3).unwrap(),
};

const CHUNKS_BEFORE_THE_CUT: usize = OUTBOUND_CHUNKS_MAX - 1;

async fn link_over_a_wire(sshd: &Sshd, command: &str) -> (Link, Proxy) {
    let proxy = Proxy::to(sshd.port());
    let line = sshd.host_line("ed25519");
    sshd.know(&line.replace(&sshd.port().to_string(), &proxy.port.to_string()));
    let endpoint = SshEndpoint::new(&user(), "127.0.0.1", proxy.port).unwrap();
    let options = SshOptions {
        keepalive: KEEPALIVE,
        ..sshd.options()
    };
    (connect(&endpoint, &options, command).await.unwrap(), proxy)
}

#[tokio::test]
async fn a_dead_network_ends_an_idle_link() {
    let sshd = Sshd::start();
    let (mut link, proxy) = link_over_a_wire(&sshd, "exec cat").await;
    // Idle for much longer than a dead one may be, and still alive.
    let idle = timeout(KEEPALIVE.silence_max() * 2, link.inbound.recv()).await;
    assert!(idle.is_err(), "{idle:?}");
    proxy.cut();
    let (_, end) = read_all(&mut link).await;
    let Some(error @ LinkError::KeepaliveTimeout { .. }) = end else {
        panic!("{end:?}")
    };
    assert_eq!(error.class(), RetryClass::Transient);
    timeout(PATIENCE, link.outbound.closed()).await.unwrap();
    all_tasks_end().await;
}

#[tokio::test]
async fn a_dead_network_ends_a_link_in_the_middle_of_sending() {
    let sshd = Sshd::start();
    let (mut link, proxy) = link_over_a_wire(&sshd, "exec cat >/dev/null").await;
    let outbound = link.outbound.clone();
    let sender = tokio::task::spawn_blocking(move || {
        let mut sent = 0;
        while outbound
            .blocking_send(Bytes::from(vec![0; 1 << 20]))
            .is_ok()
        {
            sent += 1;
            // The queue alone takes that many, so that the cut does not depend
            // on how fast the other side is.
            if sent == CHUNKS_BEFORE_THE_CUT {
                proxy.cut();
            }
        }
        (sent, proxy)
    });
    let (_, end) = read_all(&mut link).await;
    assert!(
        matches!(
            end,
            Some(LinkError::KeepaliveTimeout { .. } | LinkError::WriteStalled { .. })
        ),
        "{end:?}"
    );
    let (sent, _proxy) = timeout(PATIENCE, sender)
        .await
        .expect("the sender may not hang")
        .unwrap();
    assert!(sent >= CHUNKS_BEFORE_THE_CUT, "{sent} chunks were accepted");
    all_tasks_end().await;
}

#[tokio::test]
async fn a_dropped_link_ends_at_once_over_a_dead_network() {
    let sshd = Sshd::start();
    let (link, proxy) = link_over_a_wire(&sshd, "exec cat >/dev/null").await;
    proxy.cut();
    while timeout(
        KEEPALIVE.interval,
        link.outbound.send(Bytes::from(vec![0; 1 << 20])),
    )
    .await
    .is_ok()
    {}
    drop(link);
    all_tasks_end().await;
}
