//! From an image file to a pool.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::Once;

use rustix::io::Errno;
use userland::protocol::{Opening, Start, StartFault};

use super::arguments::{from_array, text};
use super::sys;

/// Memory for what was read, bytes. Streams are read once; this holds the
/// metadata of a large pool.
const CACHE_BYTES: u64 = 256 << 20;

/// Smallest vdev, bytes (`SPA_MINDEVSIZE`).
const VDEV_BYTES_MIN: u64 = 64 << 20;

/// Creates or imports the pool; its name for C, and its guid.
pub fn open(start: &Start) -> Result<(CString, u64), StartFault> {
    let invalid = |_| errno("read the names", Errno::INVAL.raw_os_error());
    let pool = text(&start.pool).map_err(invalid)?;
    let image = text(&start.image).map_err(invalid)?;
    start_library();
    let guid = match start.opening {
        Opening::Create => create(&pool, &image),
        Opening::Import => look(start).and_then(|()| import(&pool, &image, sys::zs_import)),
        Opening::ImportAndWriteOff => {
            look(start).and_then(|()| import(&pool, &image, sys::zs_import_and_write_off))
        }
    }?;
    Ok((pool, guid))
}

/// The library starts once in a process, and stays.
fn start_library() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // SAFETY: the first call into the library, and `Once` makes it the
        // only one.
        unsafe { sys::zs_start(CACHE_BYTES) }
    });
}

fn errno(step: &str, errno: i32) -> StartFault {
    StartFault::Errno {
        step: step.to_owned(),
        errno,
    }
}

fn create(pool: &CStr, image: &CStr) -> Result<u64, StartFault> {
    let mut guid = 0;
    // SAFETY: both are strings, and the guid outlives the call.
    match unsafe { sys::zs_create(pool.as_ptr(), image.as_ptr(), &raw mut guid) } {
        0 => Ok(guid),
        number if number == Errno::OVERFLOW.raw_os_error() => Err(StartFault::TooSmall),
        number => Err(errno("create the pool", number)),
    }
}

/// Refuses what would fail later with less clear words.
fn look(start: &Start) -> Result<(), StartFault> {
    let failed = |error: std::io::Error| {
        let number = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        errno("read the image", number)
    };
    let image = File::open(&start.image).map_err(failed)?;
    let bytes = image.metadata().map_err(failed)?.len();
    if bytes < VDEV_BYTES_MIN {
        return Err(StartFault::TooSmall);
    }
    let label = read_label(&image)?.ok_or(StartFault::NotAPool)?;
    let name = from_array(&label.pool);
    if name != start.pool {
        Err(StartFault::OtherName(name))
    } else if label.newer != 0 {
        Err(StartFault::NewerPool)
    } else if label.several_vdevs != 0 {
        let number = Errno::NOTSUP.raw_os_error();
        Err(errno("use a pool that has more than this file", number))
    } else if bytes < label.bytes_min {
        Err(StartFault::TooSmall)
    } else {
        Ok(())
    }
}

/// `None` if there is no label.
fn read_label(image: &File) -> Result<Option<sys::Label>, StartFault> {
    let mut label = MaybeUninit::uninit();
    // SAFETY: the descriptor is open, and the label outlives the call.
    match unsafe { sys::zs_read_label(image.as_raw_fd(), label.as_mut_ptr()) } {
        // SAFETY: filled, by contract, whenever the result is 0.
        0 => Ok(Some(unsafe { label.assume_init() })),
        number if number == Errno::NOENT.raw_os_error() => Ok(None),
        number => Err(errno("read the labels of the image", number)),
    }
}

type Import = unsafe extern "C" fn(*const c_char, *const c_char, *mut u64) -> c_int;

fn import(pool: &CStr, image: &CStr, way: Import) -> Result<u64, StartFault> {
    let mut guid = 0;
    // SAFETY: both are strings, and the guid outlives the call.
    match unsafe { way(pool.as_ptr(), image.as_ptr(), &raw mut guid) } {
        0 => Ok(guid),
        number if number == Errno::NOTSUP.raw_os_error() => Err(StartFault::NewerPool),
        number => Err(errno("import the pool", number)),
    }
}
