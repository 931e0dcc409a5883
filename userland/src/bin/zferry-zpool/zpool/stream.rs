//! Streams and resume tokens.

use std::ffi::{CString, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use userland::protocol::{Base, Fault, ReceiveRequest, ResumePoint, SendFlags, SendRequest, Token};

use super::arguments::{Items, Properties, done, fault, from_array, text};
use super::sys;

/// First record of a stream, bytes.
const BEGIN_BYTES: usize = 312;

/// A request for C, with the text it points to.
struct Send {
    raw: sys::Send,
    _snapshot: CString,
    _base: Option<CString>,
}

impl Send {
    fn new(request: &SendRequest) -> Result<Self, Fault> {
        let invalid = || fault(Errno::INVAL.raw_os_error(), "the base is of another kind");
        let snapshot = text(&request.snapshot)?;
        let base = match &request.base {
            None => None,
            Some(Base::Snapshot(name)) if name.contains('@') => Some(text(name)?),
            Some(Base::Bookmark(name)) if name.contains('#') => Some(text(name)?),
            Some(_) => return Err(invalid()),
        };
        let resume = request.resume.unwrap_or(ResumePoint {
            object: 0,
            offset: 0,
        });
        Ok(Self {
            raw: sys::Send {
                snapshot: snapshot.as_ptr(),
                base: base.as_ref().map_or(ptr::null(), |base| base.as_ptr()),
                embed_data: c_int::from(request.flags.embed_data),
                large_block: c_int::from(request.flags.large_block),
                compress: c_int::from(request.flags.compress),
                raw: c_int::from(request.flags.raw),
                resume_object: resume.object,
                resume_offset: resume.offset,
            },
            _snapshot: snapshot,
            _base: base,
        })
    }
}

/// Writes a stream.
pub fn send(request: &SendRequest, into: &OwnedFd) -> Result<(), Fault> {
    let request = Send::new(request)?;
    // SAFETY: the request and the open descriptor outlive the call.
    done(unsafe { sys::zs_send(&raw const request.raw, into.as_raw_fd()) })
}

/// Its size, bytes.
pub fn send_size(request: &SendRequest) -> Result<u64, Fault> {
    let request = Send::new(request)?;
    let mut bytes = 0;
    // SAFETY: the request and the number outlive the call.
    done(unsafe { sys::zs_send_size(&raw const request.raw, &raw mut bytes) })?;
    Ok(bytes)
}

/// Takes a stream in; the properties that were not taken.
pub fn receive(request: &ReceiveRequest, from: &OwnedFd) -> Result<Vec<(String, i32)>, Fault> {
    if request.begin.len() != BEGIN_BYTES {
        return Err(fault(
            Errno::INVAL.raw_os_error(),
            "the first record has 312 bytes",
        ));
    }
    let snapshot = text(&request.snapshot)?;
    let origin = request.origin.as_deref().map(text).transpose()?;
    let received = Properties::new(&request.received)?;
    let local = Properties::new(&request.local)?;
    let raw = sys::Receive {
        snapshot: snapshot.as_ptr(),
        begin: request.begin.as_ptr(),
        origin: origin
            .as_ref()
            .map_or(ptr::null(), |origin| origin.as_ptr()),
        resumable: c_int::from(request.resumable),
        received: received.raw(),
        local: local.raw(),
    };
    let mut refused = Items::default();
    // SAFETY: the request, what it points to and the open descriptor outlive
    // the call; the first record has its length.
    let errno = unsafe { sys::zs_receive(&raw const raw, from.as_raw_fd(), refused.taker().raw()) };
    let items = refused.errnos();
    if errno == 0 {
        return Ok(items);
    }
    Err(Fault {
        errno,
        items,
        detail: String::new(),
    })
}

/// What a resume token says.
pub fn read_token(token: &str) -> Result<Token, Fault> {
    let token = text(token)?;
    let mut read = MaybeUninit::<sys::Token>::uninit();
    // SAFETY: the text and the result outlive the call.
    done(unsafe { sys::zs_read_token(token.as_ptr(), read.as_mut_ptr()) })?;
    // SAFETY: filled, by contract, whenever the result is 0.
    let read = unsafe { read.assume_init() };
    Ok(Token {
        to_name: from_array(&read.to_name),
        to_guid: read.to_guid,
        from_guid: (read.incremental != 0).then_some(read.from_guid),
        resume: ResumePoint {
            object: read.object,
            offset: read.offset,
        },
        received_bytes: read.bytes,
        flags: SendFlags {
            embed_data: read.embed_data != 0,
            large_block: read.large_block != 0,
            compress: read.compress != 0,
            raw: read.raw != 0,
        },
    })
}
