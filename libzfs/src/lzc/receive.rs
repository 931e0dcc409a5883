//! Receiving: the kernel reads a stream from a pipe.

use std::os::fd::BorrowedFd;
use std::ptr;

use libzfs_sys::bindings::{B_FALSE, B_TRUE};
use libzfs_sys::{REPLAY_RECORD_BYTES, dmu_replay_record};

use super::{Core, name, optional, pipe_number};
use crate::error::{Error, ItemError, Operation};
use crate::nvlist::{NvList, NvValue};
use crate::property::PropertySetting;
use crate::signals::SignalsBlocked;

/// The first record of a stream, which the caller has read (and checked)
/// already; in the byte order of this machine.
pub type BeginRecord = [u8; REPLAY_RECORD_BYTES];

/// One stream to take in. There is no force: with a full stream it would
/// destroy the whole history of the target, with an increment foreign
/// snapshots. Look at the target and roll back instead.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveRequest<'a> {
    /// `dataset@snapshot` that exists afterwards. The dataset too must not
    /// exist for a full stream, and must for an increment; its parent must.
    pub snapshot: &'a str,
    /// First record of the stream.
    pub begin: &'a BeginRecord,
    /// The snapshot to clone from, if the stream is an increment that creates a
    /// new dataset.
    pub origin: Option<&'a str>,
    /// Keep what came so far if the stream is cut. A resumed stream must have
    /// it too: without, the partial dataset is destroyed.
    pub resumable: bool,
    /// The stream is raw (`zfs send -w`). The kernel also sees that in the
    /// first record.
    pub raw: bool,
    /// Properties of the source, stored as received values.
    pub received: &'a [PropertySetting],
    /// Properties set here (`zfs receive -o`), stored as local values.
    pub overrides: &'a [PropertySetting],
    /// Names of received properties that are to have no effect here (`zfs
    /// receive -x`). They stay so on later receives too.
    pub excluded: &'a [&'a str],
}

/// A stream that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Bytes the kernel read from the pipe, without the first record. 0 where
    /// the kernel does not tell.
    pub bytes_read: u64,
    /// Properties that could not be set. The data is there all the same.
    pub property_errors: Vec<ItemError>,
    /// More of those, which the kernel had no room to name.
    pub property_errors_omitted: u64,
}

impl Core {
    /// Receives one stream from `pipe`, whose first record has been taken out
    /// of it. Blocks the thread; another one fills the pipe. Never mounts,
    /// never forces. Source: `lzc_receive_with_cmdprops`.
    ///
    /// On success the snapshot exists, with the guid that the first record
    /// names; bytes after the END record are left in the pipe. On failure, or
    /// if the machine crashes, the snapshot does not exist: a new dataset is
    /// gone again, an old one is unchanged. With `resumable` the partial state
    /// is kept instead (`receive_resume_token` on the dataset, which for a new
    /// dataset exists without a snapshot), also if this process is killed. It
    /// has to be finished, or aborted by [`Self::destroy`], before anything
    /// else can be received there.
    ///
    /// `pipe` must be the read end of a pipe, with `O_CLOEXEC` on both ends.
    /// Signals are blocked in the thread meanwhile. To cancel, close the write
    /// end. **After a failure close the read end**, or the sender waits for
    /// ever.
    ///
    /// # Errors
    /// `Modified` (changed since the base), `NoSuchBase`, `Exists`, `NotFound`
    /// (no parent, or an increment for a missing dataset), `Busy` (another
    /// receive or its partial state), `StreamTruncated`, `ChecksumMismatch`,
    /// `IvsetMismatch`, `KeyUnavailable`, `NoSpace`, `Quota`, `NotSupported`,
    /// `Permission`, `Invalid` (damaged stream, raw flag that does not fit, a
    /// snapshot taken on the target meanwhile).
    pub fn receive(
        &self,
        request: &ReceiveRequest<'_>,
        pipe: BorrowedFd<'_>,
    ) -> Result<Received, Error> {
        let operation = Operation::Receive;
        let fd = pipe_number(operation, request.snapshot, pipe)?;
        let snapshot = name(operation, request.snapshot)?;
        let origin = request
            .origin
            .map(|origin| name(operation, origin))
            .transpose()?;
        let list = |pairs: Vec<(&str, NvValue)>| {
            NvList::from_pairs(&self.api.nvpair, pairs)
                .map_err(|error| Error::new(operation, request.snapshot, error))
        };
        let received = list(settings(request.received).collect())?;
        let excluded = request.excluded.iter().map(|&name| (name, NvValue::Flag));
        let local = list(settings(request.overrides).chain(excluded).collect())?;
        let begin = dmu_replay_record {
            bytes: *request.begin,
        };
        let boolean = |value| if value { B_TRUE } else { B_FALSE };

        let mut bytes_read = 0;
        let mut error_flags = 0;
        let mut errors = ptr::null_mut();
        let rc = {
            let _blocked = SignalsBlocked::new();
            // SAFETY: names, lists, record and descriptor live until the call
            // returns; there is no key; the answers are written to the three
            // variables. The last two of the ignored ones may be -1 and null.
            unsafe {
                (self.api.core.lzc_receive_with_cmdprops)(
                    snapshot.as_ptr(),
                    received.as_ptr(),
                    local.as_ptr(),
                    ptr::null_mut(),
                    0,
                    optional(origin.as_ref()),
                    B_FALSE,
                    boolean(request.resumable),
                    boolean(request.raw),
                    fd,
                    &begin,
                    -1,
                    &mut bytes_read,
                    &mut error_flags,
                    ptr::null_mut(),
                    &mut errors,
                )
            }
        };
        let errors = self.take_error_list(errors);
        if rc != 0 {
            // Why properties failed does not matter once the data has.
            return Err(Error::errno(operation, request.snapshot, rc));
        }
        Ok(Received {
            bytes_read,
            property_errors: errors.items,
            property_errors_omitted: errors.omitted,
        })
    }
}

fn settings(settings: &[PropertySetting]) -> impl Iterator<Item = (&str, NvValue)> {
    settings
        .iter()
        .map(|setting| (setting.name.as_str(), setting.value.to_nv()))
}
