//! A pool in a file, as the rest of zferry sees it.

mod error;
mod image;
mod pool;
mod process;
mod slots;
mod watch;
mod worker;

pub use error::{Ended, Error};
pub use image::{IMAGE_BYTES_MIN, Image};
pub use pool::Pool;
pub use worker::{Patience, Unavailable, VERSION_WORD, Worker};
