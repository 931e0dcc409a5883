//! The C interface of `shim/zpool_shim.h`, as it is; that file explains it.
//!
//! The layouts are compared with C's by a test.

use std::ffi::{c_char, c_int, c_void};

/// Longest name with its final NUL, bytes.
pub const NAME_BYTES: usize = 256;

#[repr(C)]
pub struct Names {
    pub at: *const *const c_char,
    pub count: usize,
}

#[repr(C)]
pub struct Property {
    pub name: *const c_char,
    pub text: *const c_char,
    pub number: u64,
}

#[repr(C)]
pub struct Properties {
    pub at: *const Property,
    pub count: usize,
}

#[repr(C)]
pub struct Items {
    pub take: extern "C" fn(*mut c_void, *const c_char, u64),
    pub context: *mut c_void,
}

#[repr(C)]
pub struct Label {
    pub pool: [c_char; NAME_BYTES],
    pub newer: c_int,
    pub several_vdevs: c_int,
    pub bytes_min: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct Scrub {
    pub examined_bytes: u64,
    pub repaired_bytes: u64,
    pub errors: u64,
}

#[repr(C)]
pub struct Dataset {
    pub name: *const c_char,
    pub volume: c_int,
    pub guid: u64,
    pub written_bytes: u64,
    pub volume_bytes: u64,
    pub origin: *const c_char,
    pub encryption_root: *const c_char,
    pub resume_token: *const c_char,
    pub key_loaded: c_int,
}

#[repr(C)]
pub struct Point {
    pub name: *const c_char,
    pub guid: u64,
    pub createtxg: u64,
    pub creation: u64,
    pub written_bytes: u64,
    pub holds: u64,
    pub clones: u64,
    pub ivset: u64,
}

#[repr(C)]
pub struct Walk {
    pub context: *mut c_void,
    pub dataset: extern "C" fn(*mut c_void, *const Dataset),
    pub property: extern "C" fn(*mut c_void, *const Property),
    pub point: extern "C" fn(*mut c_void, c_int, *const Point),
}

#[repr(C)]
pub struct Send {
    pub snapshot: *const c_char,
    pub base: *const c_char,
    pub embed_data: c_int,
    pub large_block: c_int,
    pub compress: c_int,
    pub raw: c_int,
    pub resume_object: u64,
    pub resume_offset: u64,
}

#[repr(C)]
pub struct Receive {
    pub snapshot: *const c_char,
    pub begin: *const u8,
    pub origin: *const c_char,
    pub resumable: c_int,
    pub received: Properties,
    pub local: Properties,
}

#[repr(C)]
pub struct Token {
    pub to_name: [c_char; NAME_BYTES],
    pub to_guid: u64,
    pub from_guid: u64,
    pub incremental: c_int,
    pub object: u64,
    pub offset: u64,
    pub bytes: u64,
    pub embed_data: c_int,
    pub large_block: c_int,
    pub compress: c_int,
    pub raw: c_int,
}

unsafe extern "C" {
    pub fn zs_start(cache_bytes: u64);
    pub fn zs_create(pool: *const c_char, image: *const c_char, guid: *mut u64) -> c_int;
    pub fn zs_read_label(image: c_int, label: *mut Label) -> c_int;
    pub fn zs_import(pool: *const c_char, image: *const c_char, guid: *mut u64) -> c_int;
    pub fn zs_import_and_write_off(
        pool: *const c_char,
        image: *const c_char,
        guid: *mut u64,
    ) -> c_int;
    pub fn zs_export(pool: *const c_char) -> c_int;
    pub fn zs_space(pool: *const c_char, total: *mut u64, allocated: *mut u64) -> c_int;
    pub fn zs_scrub(pool: *const c_char, result: *mut Scrub) -> c_int;

    pub fn zs_tree(root: *const c_char, recursive: c_int, walk: *const Walk) -> c_int;

    pub fn zs_check_dataset(name: *const c_char) -> c_int;
    pub fn zs_create_volume(name: *const c_char, bytes: u64, block_bytes: u64) -> c_int;
    pub fn zs_destroy_dataset(name: *const c_char) -> c_int;
    pub fn zs_rename_dataset(from: *const c_char, to: *const c_char) -> c_int;
    pub fn zs_clone(origin: *const c_char, name: *const c_char) -> c_int;
    pub fn zs_rollback(dataset: *const c_char, to: *const c_char) -> c_int;
    pub fn zs_write_volume(
        name: *const c_char,
        offset: u64,
        from: c_int,
        written: *mut u64,
    ) -> c_int;
    pub fn zs_read_volume(name: *const c_char, offset: u64, into: c_int, read: *mut u64) -> c_int;

    pub fn zs_set_properties(
        dataset: *const c_char,
        properties: Properties,
        refused: Items,
    ) -> c_int;

    pub fn zs_snapshot(names: Names, errors: Items) -> c_int;
    pub fn zs_destroy_snapshots(names: Names, errors: Items) -> c_int;
    pub fn zs_rename_snapshot(
        dataset: *const c_char,
        from: *const c_char,
        to: *const c_char,
        recursive: c_int,
    ) -> c_int;
    pub fn zs_hold(names: Names, tag: *const c_char, temporary: c_int, errors: Items) -> c_int;
    pub fn zs_release(names: Names, tag: *const c_char, errors: Items) -> c_int;
    pub fn zs_holds(snapshot: *const c_char, tags_and_times: Items) -> c_int;
    pub fn zs_bookmark(of: Names, marks: Names, errors: Items) -> c_int;
    pub fn zs_destroy_bookmarks(names: Names, errors: Items) -> c_int;

    pub fn zs_send(request: *const Send, into: c_int) -> c_int;
    pub fn zs_send_size(request: *const Send, bytes: *mut u64) -> c_int;
    pub fn zs_receive(request: *const Receive, from: c_int, refused: Items) -> c_int;
    pub fn zs_read_token(text: *const c_char, token: *mut Token) -> c_int;
}
