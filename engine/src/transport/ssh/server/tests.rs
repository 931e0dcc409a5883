//! Clients that send what ours never does.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use russh::client;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::time::timeout;

use super::*;

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A channel on which a helper was started whose service never reads.
async fn unread(
    folder: &std::path::Path,
) -> (client::Handle<Trusting>, russh::Channel<client::Msg>) {
    let host = HostKey::create(&folder.join("host")).unwrap();
    let user = HostKey::create(&folder.join("user")).unwrap();
    let keys = folder.join("authorized_keys");
    let line = format!("allow=\"tank\" {}", user.public_line());
    std::fs::write(&keys, line).unwrap();
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o600)).unwrap();
    let service: Service = Arc::new(|link, _| {
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(link);
            Ok(())
        })
    });
    let options = ServerOptions::default();
    let server = Server::new(host, keys, options, service, Arc::new(|_| {})).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener));
    let config = Arc::new(client::Config::default());
    let mut handle = client::connect(config, address, Trusting).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(user.0), None);
    let proved = handle.authenticate_publickey("any", key).await.unwrap();
    assert!(proved.success());
    let mut channel = handle.channel_open_session().await.unwrap();
    channel.exec(true, "zferry helper").await.unwrap();
    while !matches!(channel.wait().await, Some(russh::ChannelMsg::Success)) {}
    (handle, channel)
}

#[tokio::test]
async fn what_nobody_asked_for_waits_in_bounded_memory_too() {
    let folder = tempfile::tempdir().unwrap();
    let (_handle, channel) = unread(folder.path()).await;
    let piece = Bytes::from(vec![7; 32 * 1024]);
    // So that what takes everything at once is stuck with a packet of data.
    for _ in 0..2 * crate::transport::INBOUND_CHUNKS_MAX {
        channel.data_bytes(piece.clone()).await.unwrap();
    }
    let mut sent = 0;
    let limit = Duration::from_millis(500);
    while let Ok(result) = timeout(limit, channel.extended_data_bytes(1, piece.clone())).await {
        result.unwrap();
        sent += piece.len();
        // The window alone would let 64 MiB in; sockets hold some by themselves.
        assert!(sent < 40 << 20, "{sent} bytes were accepted");
    }
    assert!(sent > 0);
}
