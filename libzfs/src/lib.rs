//! Safe wrapper around libnvpair, libzfs_core and libzfs. `unsafe` ends here.
//!
//! Place in the way of the data: the engine's kernel backend calls this crate;
//! it calls the tables of `libzfs-sys`. Here are ownership, typed errors and
//! the traps of the C interface; names are `&str` and checked by ZFS alone, the
//! engine has newtypes for them.
//!
//! Two doors, for what each library is good at:
//!
//! - [`Core`]: libzfs_core. One atomic ioctl per call, any thread, plain
//!   errnos. Takes, holds, sends, receives, destroys.
//! - [`with_handle`]: libzfs. One handle per thread; names, properties, trees
//!   ([`list`], by several threads), resume tokens, and the one thing only libzfs can do in one transaction:
//!   renaming a snapshot in a whole tree.
//!
//! Without ZFS everything compiles, loads and says [`Unavailable`].
//!
//! Nothing here forces a receive, and no call prints.

mod api;
mod errno;
mod error;
mod handle;
mod lzc;
mod mounts;
mod nvlist;
mod property;
mod signals;

pub use api::{DEVICE_PATH, Unavailable, device_exists};
pub use errno::{Errno, ErrorKind};
pub use error::{Cause, Error, ItemError, LibzfsError, Operation};
pub use handle::{
    Dataset, DatasetKind, DatasetRename, Depth, Encryption, Handle, KeyStatus, Listed, Pool,
    PropertyInfo, RecursiveRename, ResumeToken, Snapshot, SnapshotId, ValueKind, Version, list,
    with_handle,
};
pub use libzfs_sys::{LoadError, REPLAY_RECORD_BYTES};
pub use lzc::{
    BeginRecord, Bookmark, BookmarkRequest, Core, DestroyTiming, Hold, HoldGuard, NewFilesystem,
    ReceiveRequest, Received, Rename, ResumePoint, Rollback, SendFlags, SendRequest,
};
pub use nvlist::{NvError, NvList, NvListRef, NvPairs, NvValue};
pub use property::{Property, PropertySetting, PropertySource, PropertyValue};
