//! What the two sides, and the worker of a pool in a file, say to each other.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use ::userland::protocol::{Call, Outcome, Start, Started};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::helper::Authorization;
use crate::name::DatasetName;
use crate::protocol::failure::Abort;
use crate::protocol::hello as greeting;
use crate::protocol::message::{Reply, Request};
use crate::stream::outbound::StreamEnd;
use crate::zfs::userland::answer_here;

/// What a socket takes without anybody who reads, in bytes, with reserve.
const SOCKET_BYTES: usize = 64 << 10;

/// The greeting: a part of one is waited for, a whole one is as long as it says
/// and safe to show.
pub fn hello(data: &[u8]) {
    let (hello, length) = match greeting::decode(data) {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(error) => return super::assert_printable(&error.to_string()),
    };
    assert!(length <= data.len());
    assert_eq!(greeting::decode(&data[..length - 1]), Ok(None));
    let about = &hello.about;
    for text in [&about.program, &about.node, &about.platform]
        .into_iter()
        .chain(&about.images)
    {
        super::assert_printable(text);
    }
    if let Err(error) = greeting::agree(&hello) {
        super::assert_printable(&error.to_string());
    }
}

/// A message that is understood is written as it was understood; a request for
/// what is not allowed is told so, and a failure moves no cursor.
pub fn messages(data: &[u8]) {
    if let Some(request) = same_again::<Request>(data) {
        let inside = DatasetName::parse("tank/a").expect("a name");
        assert!(Authorization::everything().check(&request).is_ok());
        let only = Authorization::only(vec![inside]);
        if let Err(failure) = only.check(&request) {
            super::assert_printable(&failure.to_string());
        }
        if only.check(&request).is_ok() {
            // What is allowed for a part is allowed for the whole.
            let pool = DatasetName::parse("tank").expect("a name");
            assert!(Authorization::only(vec![pool]).check(&request).is_ok());
        }
    }
    if let Some(reply) = same_again::<Reply>(data) {
        let shown = reply.made_printable();
        if let Reply::Failed(failure) = &shown {
            super::assert_printable(&failure.to_string());
            let _ = (failure.family(), failure.remedy());
        }
        assert_eq!(shown.clone().made_printable(), shown);
    }
    if let Some(abort) = same_again::<Abort>(data) {
        super::assert_printable(&abort.failure.made_printable().to_string());
    }
    same_again::<StreamEnd>(data);
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    data: &[u8],
) -> Option<T> {
    let message: T = serde_json::from_slice(data).ok()?;
    let text = serde_json::to_vec(&message).expect("messages are plain data");
    let again: T = serde_json::from_slice(&text).expect("what we write we understand");
    assert_eq!(again, message);
    Some(message)
}

/// What comes over the socket of a worker: an answer, or no answer, in bounded
/// memory; datasets whose names no ZFS could have are left out.
pub fn worker(data: &[u8]) {
    let data = &data[..data.len().min(SOCKET_BYTES)];
    told::<Started>(data);
    told::<Start>(data);
    told::<Call>(data);
    if let Some(Outcome::Answer(answer)) = told::<Outcome>(data) {
        answer_here(answer);
    }
}

/// Reads one message, as `length` and text and as text alone.
fn told<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let (mut there, here) = UnixStream::pair().ok()?;
    there.write_all(data).ok()?;
    there.shutdown(Shutdown::Write).ok()?;
    let mut patience = ::userland::wire::Forever;
    let framed = ::userland::wire::receive::<T>(&here, &mut patience);
    framed
        .map(|(message, _)| message)
        .ok()
        .or_else(|| same_again(data))
}
