//! Collects what a walk through a tree finds.

use std::ffi::{c_int, c_void};
use std::ptr;

use rustix::io::Errno;
use userland::protocol::{Dataset, Encryption, Fault, Kind, Point, Property, PropertyValue, Scope};

use super::arguments::{done, from_c, text};
use super::sys;

/// The datasets from `root` on; `None` if it does not exist.
pub fn tree(root: &str, scope: Scope) -> Result<Option<Vec<Dataset>>, Fault> {
    let root = text(root)?;
    let mut found: Vec<Dataset> = Vec::new();
    let walk = sys::Walk {
        context: ptr::from_mut(&mut found).cast(),
        dataset,
        property,
        point,
    };
    let recursive = c_int::from(scope == Scope::Recursive);
    // SAFETY: `found` and `walk` outlive the call; nothing else touches `found`
    // until it returns.
    let errno = unsafe { sys::zs_tree(root.as_ptr(), recursive, &raw const walk) };
    if errno == Errno::NOENT.raw_os_error() {
        return Ok(None);
    }
    done(errno)?;
    for dataset in &mut found {
        dataset.properties.sort_by(|a, b| a.name.cmp(&b.name));
        for points in [&mut dataset.snapshots, &mut dataset.bookmarks] {
            points.sort_by(|a, b| (a.createtxg, &a.short).cmp(&(b.createtxg, &b.short)));
        }
    }
    Ok(Some(found))
}

/// The list behind the context of a callback.
///
/// # Safety
/// Only for a context that [`tree`] made, during its call.
unsafe fn list<'a>(context: *mut c_void) -> &'a mut Vec<Dataset> {
    // SAFETY: C calls back from the calling thread, one callback at a time.
    unsafe { &mut *context.cast() }
}

extern "C" fn dataset(context: *mut c_void, dataset: *const sys::Dataset) {
    // SAFETY: a context of `tree`, during its call.
    let found = unsafe { list(context) };
    // SAFETY: valid during the callback.
    let dataset = unsafe { &*dataset };
    // SAFETY: null, or a string that is valid during the callback; so below.
    let name = unsafe { from_c(dataset.name) };
    // SAFETY: as above.
    let origin = unsafe { from_c(dataset.origin) };
    // SAFETY: as above.
    let root = unsafe { from_c(dataset.encryption_root) };
    // SAFETY: as above.
    let resume_token = unsafe { from_c(dataset.resume_token) };
    found.push(Dataset {
        name: name.unwrap_or_default(),
        kind: if dataset.volume == 0 {
            Kind::Filesystem
        } else {
            Kind::Volume
        },
        guid: dataset.guid,
        written_bytes: dataset.written_bytes,
        volume_bytes: dataset.volume_bytes,
        origin,
        encryption: root.map(|root| Encryption {
            root,
            key_loaded: dataset.key_loaded != 0,
        }),
        resume_token,
        properties: Vec::new(),
        snapshots: Vec::new(),
        bookmarks: Vec::new(),
    });
}

extern "C" fn property(context: *mut c_void, property: *const sys::Property) {
    // SAFETY: a context of `tree`, during its call.
    let found = unsafe { list(context) };
    // SAFETY: valid during the callback.
    let property = unsafe { &*property };
    // SAFETY: a string that is valid during the callback.
    let name = unsafe { from_c(property.name) };
    // SAFETY: null, or such a string.
    let text = unsafe { from_c(property.text) };
    if let Some(dataset) = found.last_mut() {
        dataset.properties.push(Property {
            name: name.unwrap_or_default(),
            value: text.map_or(PropertyValue::Number(property.number), PropertyValue::Text),
        });
    }
}

extern "C" fn point(context: *mut c_void, bookmark: c_int, point: *const sys::Point) {
    // SAFETY: a context of `tree`, during its call.
    let found = unsafe { list(context) };
    // SAFETY: valid during the callback.
    let point = unsafe { &*point };
    // SAFETY: a string that is valid during the callback.
    let name = unsafe { from_c(point.name) };
    if let Some(dataset) = found.last_mut() {
        let points = if bookmark == 0 {
            &mut dataset.snapshots
        } else {
            &mut dataset.bookmarks
        };
        points.push(Point {
            short: name.unwrap_or_default(),
            guid: point.guid,
            createtxg: point.createtxg,
            creation_seconds: point.creation,
            written_bytes: point.written_bytes,
            holds: point.holds,
            clones: point.clones,
            ivset: point.ivset,
        });
    }
}
