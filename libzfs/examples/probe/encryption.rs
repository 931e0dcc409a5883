//! Encrypted datasets: raw streams, keys, ivset guids.

use anyhow::{Context, Result, ensure};
use libzfs::{BookmarkRequest, ErrorKind, KeyStatus, ReceiveRequest, SendRequest, with_handle};

use crate::pipes::{PLAIN, RAW, into, transfer};
use crate::{Probe, fails, write, zfs};

/// Where the key of the probe's dataset is.
const KEY_PATH: &str = "/tmp/zferry-probe.key";

pub fn raw(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = probe.name("enc");
    std::fs::write(KEY_PATH, [0x42; 32])?;
    zfs(&[
        "create",
        "-o",
        "encryption=on",
        "-o",
        "keyformat=raw",
        "-o",
        &format!("keylocation=file://{KEY_PATH}"),
        &source,
    ])?;
    zfs(&["create", &format!("{source}/child")])?;
    write(&source, "secret", 1)?;
    let (one, two) = (format!("{source}@one"), format!("{source}@two"));
    core.snapshot(&[&one], &[])?;
    core.bookmark(&[BookmarkRequest {
        source: &one,
        bookmark: &format!("{source}#one"),
    }])?;
    let child = with_handle(|handle| handle.dataset(&format!("{source}/child")))?;
    let encryption = child.encryption.context("the child is encrypted")?;
    ensure!(
        encryption.root == source && encryption.key == KeyStatus::Available,
        "inherited"
    );

    let target = probe.name("enc2");
    let raw_send = SendRequest {
        snapshot: &one,
        from: None,
        flags: RAW,
    };
    let first = format!("{target}@one");
    transfer(
        core,
        raw_send,
        &ReceiveRequest {
            raw: true,
            ..into(&first)
        },
    )?;
    let received = with_handle(|handle| handle.dataset(&target))?;
    let encryption = received.encryption.context("it stays encrypted")?;
    ensure!(
        encryption.root == target && encryption.key == KeyStatus::Unavailable,
        "no key"
    );

    let ivset = |dataset: &str| -> Result<u64> {
        let snapshots = with_handle(|handle| handle.snapshots(dataset))?;
        snapshots
            .first()
            .and_then(|snapshot| snapshot.ivset_guid)
            .context("an ivset guid")
    };
    ensure!(ivset(&source)? == ivset(&target)?, "ivset guid is kept");
    let bookmarks = core.bookmarks(&source)?;
    ensure!(
        bookmarks[0].ivset_guid == Some(ivset(&source)?),
        "{bookmarks:?}"
    );

    write(&source, "more", 1)?;
    core.snapshot(&[&two], &[])?;
    zfs(&["unmount", &format!("{source}/child")])?;
    zfs(&["unmount", &source])?;
    zfs(&["unload-key", "-r", &source])?;
    let (_reader, writer) = std::io::pipe()?;
    let plain_send = SendRequest {
        snapshot: &two,
        from: Some(&one),
        flags: PLAIN,
    };
    fails(
        core.send(&plain_send, std::os::fd::AsFd::as_fd(&writer)),
        ErrorKind::KeyUnavailable,
    )?;
    let increment = SendRequest {
        flags: RAW,
        ..plain_send
    };
    transfer(
        core,
        increment,
        &ReceiveRequest {
            raw: true,
            ..into(&format!("{target}@two"))
        },
    )?;
    ensure!(
        core.exists(&format!("{target}@two")),
        "raw needs no key on either side"
    );
    std::fs::remove_file(KEY_PATH)?;
    Ok(())
}
