//! The functions of the three libraries, as tables of pointers.
//!
//! The prototypes are written out here once. They are those of OpenZFS 2.3;
//! other versions differ only in `const`, which has no part in the ABI. Where
//! the bindings come from that version, the compiler compares each prototype
//! with the one in the headers, and a difference does not compile.
//!
//! Symbols marked `optional` are not in every supported version.

use std::ffi::{c_char, c_int, c_void};

use crate::bindings::{
    boolean_t, data_type_t, hrtime_t, libzfs_handle_t, lzc_dataset_type, lzc_send_flags, nvlist_t,
    nvpair_t, uchar_t, uint_t, zfs_handle_t, zfs_iter_f, zfs_prop_t, zfs_type_t, zpool_handle_t,
    zpool_iter_f, zpool_prop_t, zprop_source_t, zprop_type_t,
};
use crate::dmu_replay_record;
use crate::loader::{LoadError, Symbols};

/// Defines one table: a struct of function pointers, how it is filled at run
/// time or by the linker, and the comparison with the headers.
macro_rules! functions {
    (
        $(#[$table_meta:meta])*
        $table:ident: {
            $( $(#[$meta:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)?; )*
        }
        optional: {
            $( $(#[$opt_meta:meta])* fn $opt_name:ident($($opt_arg:ident: $opt_type:ty),* $(,)?) $(-> $opt_ret:ty)?; )*
        }
    ) => {
        $(#[$table_meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $table {
            $(
                $(#[$meta])*
                #[doc = concat!("`", stringify!($name), "`")]
                pub $name: unsafe extern "C" fn($($arg: $type),*) $(-> $ret)?,
            )*
            $(
                $(#[$opt_meta])*
                #[doc = concat!("`", stringify!($opt_name), "`, where the library has it")]
                pub $opt_name: Option<unsafe extern "C" fn($($opt_arg: $opt_type),*) $(-> $opt_ret)?>,
            )*
        }

        impl $table {
            #[cfg(not(feature = "link"))]
            pub(crate) fn resolve(symbols: &Symbols) -> Result<Self, LoadError> {
                Ok(Self {
                    $(
                        $(#[$meta])*
                        // SAFETY: the prototype is the one of the headers of
                        // this library (see the comparison below).
                        $name: unsafe { symbols.required(stringify!($name)) }?,
                    )*
                    $(
                        $(#[$opt_meta])*
                        // SAFETY: as above.
                        $opt_name: unsafe { symbols.optional(stringify!($opt_name)) },
                    )*
                })
            }

            #[cfg(feature = "link")]
            pub(crate) fn resolve(symbols: &Symbols) -> Result<Self, LoadError> {
                #[allow(
                    clashing_extern_declarations,
                    reason = "headers of other versions differ in const"
                )]
                mod linked {
                    use super::*;
                    unsafe extern "C" {
                        $( $(#[$meta])* pub fn $name($($arg: $type),*) $(-> $ret)?; )*
                    }
                }
                let _ = symbols; // not every table has optional functions
                Ok(Self {
                    $( $(#[$meta])* $name: linked::$name, )*
                    $(
                        $(#[$opt_meta])*
                        // SAFETY: the prototype is the one of the headers of
                        // the versions that have the function.
                        $opt_name: unsafe { symbols.optional(stringify!($opt_name)) },
                    )*
                })
            }
        }

        // Evaluated when compiling only: no symbol is referenced by the result.
        #[cfg(prototypes_recorded)]
        const _: () = {
            $(
                $(#[$meta])*
                {
                    let _: unsafe extern "C" fn($($type),*) $(-> $ret)? = crate::bindings::$name;
                }
            )*
        };
    };
}

functions! {
    /// libnvpair: lists of typed name-value pairs. Works without kernel module.
    Nvpair: {
        fn nvlist_alloc(list: *mut *mut nvlist_t, flags: uint_t, kmflag: c_int) -> c_int;
        fn nvlist_free(list: *mut nvlist_t);
        fn nvlist_dup(list: *const nvlist_t, copy: *mut *mut nvlist_t, kmflag: c_int) -> c_int;
        fn nvlist_next_nvpair(list: *mut nvlist_t, pair: *const nvpair_t) -> *mut nvpair_t;
        fn nvlist_lookup_nvpair(list: *mut nvlist_t, name: *const c_char, pair: *mut *mut nvpair_t) -> c_int;
        fn nvlist_remove_all(list: *mut nvlist_t, name: *const c_char) -> c_int;
        fn nvlist_add_boolean(list: *mut nvlist_t, name: *const c_char) -> c_int;
        fn nvlist_add_boolean_value(list: *mut nvlist_t, name: *const c_char, value: boolean_t) -> c_int;
        fn nvlist_add_byte(list: *mut nvlist_t, name: *const c_char, value: uchar_t) -> c_int;
        fn nvlist_add_int8(list: *mut nvlist_t, name: *const c_char, value: i8) -> c_int;
        fn nvlist_add_uint8(list: *mut nvlist_t, name: *const c_char, value: u8) -> c_int;
        fn nvlist_add_int16(list: *mut nvlist_t, name: *const c_char, value: i16) -> c_int;
        fn nvlist_add_uint16(list: *mut nvlist_t, name: *const c_char, value: u16) -> c_int;
        fn nvlist_add_int32(list: *mut nvlist_t, name: *const c_char, value: i32) -> c_int;
        fn nvlist_add_uint32(list: *mut nvlist_t, name: *const c_char, value: u32) -> c_int;
        fn nvlist_add_int64(list: *mut nvlist_t, name: *const c_char, value: i64) -> c_int;
        fn nvlist_add_uint64(list: *mut nvlist_t, name: *const c_char, value: u64) -> c_int;
        fn nvlist_add_string(list: *mut nvlist_t, name: *const c_char, value: *const c_char) -> c_int;
        fn nvlist_add_nvlist(list: *mut nvlist_t, name: *const c_char, value: *const nvlist_t) -> c_int;
        fn nvlist_add_byte_array(list: *mut nvlist_t, name: *const c_char, values: *const uchar_t, count: uint_t) -> c_int;
        fn nvlist_add_uint64_array(list: *mut nvlist_t, name: *const c_char, values: *const u64, count: uint_t) -> c_int;
        fn nvlist_add_string_array(list: *mut nvlist_t, name: *const c_char, values: *const *const c_char, count: uint_t) -> c_int;
        fn nvlist_add_nvlist_array(list: *mut nvlist_t, name: *const c_char, values: *const *const nvlist_t, count: uint_t) -> c_int;
        fn nvpair_name(pair: *const nvpair_t) -> *const c_char;
        fn nvpair_type(pair: *const nvpair_t) -> data_type_t;
        fn nvpair_value_boolean_value(pair: *const nvpair_t, value: *mut boolean_t) -> c_int;
        fn nvpair_value_byte(pair: *const nvpair_t, value: *mut uchar_t) -> c_int;
        fn nvpair_value_int8(pair: *const nvpair_t, value: *mut i8) -> c_int;
        fn nvpair_value_uint8(pair: *const nvpair_t, value: *mut u8) -> c_int;
        fn nvpair_value_int16(pair: *const nvpair_t, value: *mut i16) -> c_int;
        fn nvpair_value_uint16(pair: *const nvpair_t, value: *mut u16) -> c_int;
        fn nvpair_value_int32(pair: *const nvpair_t, value: *mut i32) -> c_int;
        fn nvpair_value_uint32(pair: *const nvpair_t, value: *mut u32) -> c_int;
        fn nvpair_value_int64(pair: *const nvpair_t, value: *mut i64) -> c_int;
        fn nvpair_value_uint64(pair: *const nvpair_t, value: *mut u64) -> c_int;
        fn nvpair_value_string(pair: *const nvpair_t, value: *mut *const c_char) -> c_int;
        fn nvpair_value_nvlist(pair: *mut nvpair_t, value: *mut *mut nvlist_t) -> c_int;
        fn nvpair_value_hrtime(pair: *mut nvpair_t, value: *mut hrtime_t) -> c_int;
        fn nvpair_value_byte_array(pair: *mut nvpair_t, values: *mut *mut uchar_t, count: *mut uint_t) -> c_int;
        fn nvpair_value_uint8_array(pair: *mut nvpair_t, values: *mut *mut u8, count: *mut uint_t) -> c_int;
        fn nvpair_value_uint64_array(pair: *mut nvpair_t, values: *mut *mut u64, count: *mut uint_t) -> c_int;
        fn nvpair_value_string_array(pair: *mut nvpair_t, values: *mut *mut *const c_char, count: *mut uint_t) -> c_int;
        fn nvpair_value_nvlist_array(pair: *mut nvpair_t, values: *mut *mut *mut nvlist_t, count: *mut uint_t) -> c_int;
    }
    optional: {}
}

functions! {
    /// libzfs_core: one atomic ioctl per call, thread-safe, prints nothing,
    /// returns an errno.
    Core: {
        fn libzfs_core_init() -> c_int;
        fn lzc_snapshot(snapshots: *mut nvlist_t, properties: *mut nvlist_t, errors: *mut *mut nvlist_t) -> c_int;
        fn lzc_create(name: *const c_char, kind: lzc_dataset_type, properties: *mut nvlist_t, key: *mut u8, key_bytes: uint_t) -> c_int;
        fn lzc_destroy(name: *const c_char) -> c_int;
        fn lzc_destroy_snaps(snapshots: *mut nvlist_t, defer: boolean_t, errors: *mut *mut nvlist_t) -> c_int;
        fn lzc_bookmark(bookmarks: *mut nvlist_t, errors: *mut *mut nvlist_t) -> c_int;
        fn lzc_get_bookmarks(dataset: *const c_char, properties: *mut nvlist_t, bookmarks: *mut *mut nvlist_t) -> c_int;
        fn lzc_destroy_bookmarks(bookmarks: *mut nvlist_t, errors: *mut *mut nvlist_t) -> c_int;
        fn lzc_hold(holds: *mut nvlist_t, cleanup_fd: c_int, errors: *mut *mut nvlist_t) -> c_int;
        fn lzc_release(holds: *mut nvlist_t, errors: *mut *mut nvlist_t) -> c_int;
        fn lzc_get_holds(snapshot: *const c_char, holds: *mut *mut nvlist_t) -> c_int;
        fn lzc_send(snapshot: *const c_char, from: *const c_char, fd: c_int, flags: lzc_send_flags) -> c_int;
        fn lzc_send_resume(snapshot: *const c_char, from: *const c_char, fd: c_int, flags: lzc_send_flags, object: u64, offset: u64) -> c_int;
        fn lzc_send_space(snapshot: *const c_char, from: *const c_char, flags: lzc_send_flags, bytes: *mut u64) -> c_int;
        fn lzc_receive_with_cmdprops(
            snapshot: *const c_char,
            received: *mut nvlist_t,
            local: *mut nvlist_t,
            key: *mut u8,
            key_bytes: uint_t,
            origin: *const c_char,
            force: boolean_t,
            resumable: boolean_t,
            raw: boolean_t,
            fd: c_int,
            begin: *const dmu_replay_record,
            cleanup_fd: c_int,
            bytes_read: *mut u64,
            error_flags: *mut u64,
            action_handle: *mut u64,
            errors: *mut *mut nvlist_t,
        ) -> c_int;
        fn lzc_exists(name: *const c_char) -> boolean_t;
        fn lzc_rollback_to(dataset: *const c_char, snapshot: *const c_char) -> c_int;
        fn lzc_rename(source: *const c_char, target: *const c_char) -> c_int;
    }
    optional: {}
}

functions! {
    /// libzfs: names, properties, trees. Its handle belongs to one thread.
    Zfs: {
        fn libzfs_init() -> *mut libzfs_handle_t;
        fn libzfs_fini(handle: *mut libzfs_handle_t);
        fn libzfs_print_on_error(handle: *mut libzfs_handle_t, print: boolean_t);
        fn libzfs_errno(handle: *mut libzfs_handle_t) -> c_int;
        fn libzfs_error_init(errno: c_int) -> *const c_char;
        fn libzfs_error_action(handle: *mut libzfs_handle_t) -> *const c_char;
        fn libzfs_error_description(handle: *mut libzfs_handle_t) -> *const c_char;
        fn zfs_open(handle: *mut libzfs_handle_t, name: *const c_char, types: c_int) -> *mut zfs_handle_t;
        fn zfs_close(dataset: *mut zfs_handle_t);
        fn zfs_get_type(dataset: *const zfs_handle_t) -> zfs_type_t;
        fn zfs_get_name(dataset: *const zfs_handle_t) -> *const c_char;
        fn zfs_get_all_props(dataset: *mut zfs_handle_t) -> *mut nvlist_t;
        fn zfs_get_recvd_props(dataset: *mut zfs_handle_t) -> *mut nvlist_t;
        fn zfs_prop_get_int(dataset: *mut zfs_handle_t, property: zfs_prop_t) -> u64;
        fn zfs_iter_filesystems(dataset: *mut zfs_handle_t, visit: zfs_iter_f, data: *mut c_void) -> c_int;
        // OpenZFS 2.0 added the bounds; illumos does not have them.
        #[cfg(not(target_os = "illumos"))]
        fn zfs_iter_snapshots(dataset: *mut zfs_handle_t, simple: boolean_t, visit: zfs_iter_f, data: *mut c_void, createtxg_min: u64, createtxg_max: u64) -> c_int;
        #[cfg(target_os = "illumos")]
        fn zfs_iter_snapshots(dataset: *mut zfs_handle_t, simple: boolean_t, visit: zfs_iter_f, data: *mut c_void) -> c_int;
        // OpenZFS 2.0 replaced two booleans by a struct of bits, by value.
        #[cfg(not(target_os = "illumos"))]
        fn zfs_rename(dataset: *mut zfs_handle_t, target: *const c_char, flags: crate::bindings::renameflags_t) -> c_int;
        #[cfg(target_os = "illumos")]
        fn zfs_rename(dataset: *mut zfs_handle_t, target: *const c_char, recursive: boolean_t, force_unmount: boolean_t) -> c_int;
        fn zfs_unmount(dataset: *mut zfs_handle_t, mount_point: *const c_char, flags: c_int) -> c_int;
        fn zfs_send_resume_token_to_nvlist(handle: *mut libzfs_handle_t, token: *const c_char) -> *mut nvlist_t;
        fn zfs_name_to_prop(name: *const c_char) -> zfs_prop_t;
        fn zfs_prop_readonly(property: zfs_prop_t) -> boolean_t;
        fn zfs_prop_setonce(property: zfs_prop_t) -> boolean_t;
        fn zfs_prop_inheritable(property: zfs_prop_t) -> boolean_t;
        fn zfs_prop_get_type(property: zfs_prop_t) -> zprop_type_t;
        fn zfs_prop_user(name: *const c_char) -> boolean_t;
        fn zfs_prop_index_to_string(property: zfs_prop_t, index: u64, text: *mut *const c_char) -> c_int;
        fn zfs_valid_proplist(
            handle: *mut libzfs_handle_t,
            kind: zfs_type_t,
            properties: *mut nvlist_t,
            zoned: u64,
            dataset: *mut zfs_handle_t,
            pool: *mut zpool_handle_t,
            key_parameters_allowed: boolean_t,
            error_text: *const c_char,
        ) -> *mut nvlist_t;
        fn zpool_iter(handle: *mut libzfs_handle_t, visit: zpool_iter_f, data: *mut c_void) -> c_int;
        fn zpool_close(pool: *mut zpool_handle_t);
        fn zpool_get_name(pool: *mut zpool_handle_t) -> *const c_char;
        fn zpool_name_to_prop(name: *const c_char) -> zpool_prop_t;
        fn zpool_get_prop_int(pool: *mut zpool_handle_t, property: zpool_prop_t, source: *mut zprop_source_t) -> u64;
        fn zpool_get_features(pool: *mut zpool_handle_t) -> *mut nvlist_t;
    }
    optional: {
        // OpenZFS only.
        fn zfs_version_userland() -> *const c_char;
        // OpenZFS only. The caller frees the text.
        fn zfs_version_kernel() -> *mut c_char;
    }
}
