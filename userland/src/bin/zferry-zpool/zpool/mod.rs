//! libzpool, safely: a pool in a file, and the calls on it.
//!
//! The only `unsafe` of the worker is here and below, over the C shim in
//! `shim/`. Each call becomes one function of the shim, and its errno is passed
//! on as it is. The layers of the kernel above the DSL (names, values of
//! properties, what a receive does with properties) are redone in the shim, so
//! that a caller meets the same errnos as there.
//!
//! What is asked for is on the image when a call returns: the DSL waits for its
//! transaction group, and so do writes to volumes. A crash leaves each call
//! done or not done; a receive leaves its partial state if it is resumable.

mod arguments;
mod dataset;
mod filesystem;
mod open;
mod snapshot;
mod stream;
mod sys;
#[cfg(test)]
mod tests;
mod tree;

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use userland::protocol::{Answer, Call, Checked, Fault, Outcome, Start, StartFault};

use arguments::{done, fault};

/// The pool that this process serves.
#[derive(Debug)]
pub struct Zpool {
    pool: CString,
}

impl Zpool {
    /// Creates or imports the pool; with it comes its guid.
    ///
    /// A disk that fails to take a write ends this process with words of the
    /// library on standard error: nobody could mend it, and waiting would be
    /// for ever.
    ///
    /// # Errors
    /// See [`StartFault`]. After an error the process is of no more use.
    ///
    /// Source: `spa_create`, `spa_import`.
    pub fn start(start: &Start) -> Result<(Self, u64), StartFault> {
        let (pool, guid) = open::open(start)?;
        Ok((Self { pool }, guid))
    }

    /// Version of OpenZFS whose headers the shim was compiled against.
    // Asked on an object: without a pool nobody wants to know.
    #[expect(clippy::unused_self, reason = "a question to the worker that runs")]
    pub fn version(&self) -> String {
        env!("LIBZPOOL_VERSION").to_owned()
    }

    /// Carries out one call; any number at a time. A call that needs a
    /// descriptor and has none is `EBADF`.
    pub fn carry_out(&self, call: Call, fd: Option<OwnedFd>) -> Outcome {
        match self.answer(call, fd) {
            Ok(answer) => Outcome::Answer(answer),
            Err(fault) => Outcome::Fault(fault),
        }
    }

    fn answer(&self, call: Call, fd: Option<OwnedFd>) -> Result<Answer, Fault> {
        let no_stream = fault(
            Errno::BADF.raw_os_error(),
            "the call came without a descriptor",
        );
        // It is closed when the call ends: the other end must learn of it.
        let stream = fd.ok_or(no_stream);
        match call {
            Call::Send(request) => return stream::send(&request, &stream?).map(|()| Answer::Done),
            Call::Receive(request) => {
                return stream::receive(&request, &stream?).map(Answer::Received);
            }
            Call::WriteVolume { name, offset } => {
                return dataset::write_volume(&name, offset, &stream?).map(Answer::Bytes);
            }
            Call::ReadVolume { name, offset } => {
                return dataset::read_volume(&name, offset, &stream?).map(Answer::Bytes);
            }
            Call::Tree { root, scope } => return tree::tree(&root, scope).map(Answer::Tree),
            Call::Holds { snapshot } => return snapshot::holds(&snapshot).map(Answer::Holds),
            Call::SendSize(request) => return stream::send_size(&request).map(Answer::Bytes),
            Call::ReadToken { token } => return stream::read_token(&token).map(Answer::Token),
            Call::Scrub => return self.scrub().map(Answer::Checked),
            Call::Space => return self.space(),
            Call::CreateFilesystem { name, properties } => filesystem::create(&name, &properties),
            Call::CreateVolume {
                name,
                bytes,
                block_bytes,
                properties,
            } => dataset::create_volume(&name, bytes, block_bytes, &properties),
            Call::DestroyDataset { name } => dataset::destroy(&name),
            Call::RenameDataset { from, to } => dataset::rename(&from, &to),
            Call::Clone { origin, name } => dataset::clone(&origin, &name),
            Call::SetProperties {
                dataset,
                properties,
            } => dataset::set_properties(&dataset, &properties),
            Call::Rollback { dataset, to } => dataset::rollback(&dataset, &to),
            Call::Snapshot { names } => snapshot::take(&names),
            Call::DestroySnapshots { names } => snapshot::destroy(&names),
            Call::RenameSnapshot {
                dataset,
                from,
                to,
                scope,
            } => snapshot::rename(&dataset, &from, &to, scope),
            Call::Bookmark { marks } => snapshot::bookmark(&marks),
            Call::DestroyBookmarks { names } => snapshot::destroy_bookmarks(&names),
            Call::Hold {
                names,
                tag,
                temporary: true,
            } => snapshot::hold(&names, &tag, snapshot::Lasts::UntilNextImport),
            Call::Hold { names, tag, .. } => {
                snapshot::hold(&names, &tag, snapshot::Lasts::UntilReleased)
            }
            Call::Release { names, tag } => snapshot::release(&names, &tag),
            Call::Export => self.export(),
        }?;
        Ok(Answer::Done)
    }

    fn pool(&self) -> &CStr {
        &self.pool
    }

    fn scrub(&self) -> Result<Checked, Fault> {
        let mut found = sys::Scrub::default();
        // SAFETY: the name and the result outlive the call.
        done(unsafe { sys::zs_scrub(self.pool().as_ptr(), &raw mut found) })?;
        Ok(Checked {
            examined_bytes: found.examined_bytes,
            repaired_bytes: found.repaired_bytes,
            errors: found.errors,
        })
    }

    fn space(&self) -> Result<Answer, Fault> {
        let (mut total_bytes, mut allocated_bytes) = (0, 0);
        // SAFETY: the name and both numbers outlive the call.
        done(unsafe {
            sys::zs_space(
                self.pool().as_ptr(),
                &raw mut total_bytes,
                &raw mut allocated_bytes,
            )
        })?;
        Ok(Answer::Space {
            total_bytes,
            allocated_bytes,
        })
    }

    fn export(&self) -> Result<(), Fault> {
        // SAFETY: the name outlives the call.
        done(unsafe { sys::zs_export(self.pool().as_ptr()) })
    }
}
