//! Streams between calls: one thread sends, this one receives.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::thread;

use anyhow::{Context, Result};
use libzfs::{
    Core, Error, REPLAY_RECORD_BYTES, ReceiveRequest, Received, ResumePoint, SendFlags, SendRequest,
};

pub type Begin = [u8; REPLAY_RECORD_BYTES];

/// `zfs send -Lec`
pub const PLAIN: SendFlags = SendFlags {
    embed_data: true,
    large_block: true,
    compress: true,
    raw: false,
    saved: false,
};

/// `zfs send -w`
pub const RAW: SendFlags = SendFlags { raw: true, ..PLAIN };

/// A request without properties, not resumable, not raw.
pub fn request<'a>(snapshot: &'a str, begin: &'a Begin) -> ReceiveRequest<'a> {
    ReceiveRequest {
        snapshot,
        begin,
        origin: None,
        resumable: false,
        raw: false,
        received: &[],
        overrides: &[],
        excluded: &[],
    }
}

/// The same, for [`transfer`], which fills in the first record.
pub fn into(snapshot: &str) -> ReceiveRequest<'_> {
    request(snapshot, &[0; REPLAY_RECORD_BYTES])
}

/// A whole stream in memory.
pub fn record(core: Core, send: SendRequest<'_>) -> Result<Vec<u8>> {
    collect(|writer| core.send(&send, writer.as_fd()))
}

/// The rest of a stream in memory.
pub fn record_resumed(core: Core, send: SendRequest<'_>, point: ResumePoint) -> Result<Vec<u8>> {
    collect(|writer| core.send_resume(&send, point, writer.as_fd()))
}

fn collect(send: impl FnOnce(&PipeWriter) -> Result<(), Error>) -> Result<Vec<u8>> {
    let (mut reader, writer) = pipe()?;
    let drain = thread::spawn(move || {
        let mut stream = Vec::new();
        reader.read_to_end(&mut stream).map(|_| stream)
    });
    send(&writer)?;
    drop(writer);
    Ok(drain.join().expect("reading does not panic")?)
}

/// What a receive said.
pub type ReceivedOutcome = Result<Received, Error>;

/// The first record of a stream.
pub fn begin_of(stream: &[u8]) -> Result<Begin> {
    let (begin, _) = stream
        .split_first_chunk::<REPLAY_RECORD_BYTES>()
        .context("a stream begins with a whole record")?;
    Ok(*begin)
}

/// Receives the bytes after the first record from memory.
pub fn feed(core: Core, stream: &[u8], request: &ReceiveRequest<'_>) -> Result<ReceivedOutcome> {
    let (reader, mut writer) = pipe()?;
    let rest = stream[REPLAY_RECORD_BYTES..].to_vec();
    // A receiver that fails early closes its end: then the rest is unwanted.
    let writing = thread::spawn(move || {
        let _ = writer.write_all(&rest);
    });
    let outcome = core.receive(request, reader.as_fd());
    drop(reader);
    writing.join().expect("writing does not panic");
    Ok(outcome)
}

/// Sends in another thread, receives here, over one pipe. The first record of
/// the request is replaced by that of the stream.
pub fn transfer(
    core: Core,
    send: SendRequest<'_>,
    target: &ReceiveRequest<'_>,
) -> Result<Received> {
    let (mut reader, writer): (PipeReader, PipeWriter) = pipe()?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || core.send(&send, writer.as_fd()));
        let mut begin = [0; REPLAY_RECORD_BYTES];
        let received = match reader.read_exact(&mut begin) {
            Ok(()) => {
                let target = ReceiveRequest {
                    begin: &begin,
                    ..*target
                };
                Some(core.receive(&target, reader.as_fd()))
            }
            Err(_) => None,
        };
        drop(reader);
        let sent = sending.join().expect("sending does not panic");
        // If both failed, the receiver knows why.
        let received = received.transpose()?;
        sent?;
        received.context("the sender closed the pipe before the first record")
    })
}
