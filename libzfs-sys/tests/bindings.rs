//! The committed bindings are what the headers say, and the loader tells what
//! is missing.

use std::path::Path;

/// The bindings this build uses.
const IN_USE: &str = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));

/// Set to 1 to write the committed bindings instead of comparing them.
const BLESS: &str = "ZFERRY_BLESS";

#[test]
fn committed_bindings_are_those_of_the_headers_of_the_recorded_version() {
    let recorded = env!("LIBZFS_SYS_RECORDED");
    let headers = env!("LIBZFS_SYS_HEADERS");
    if env!("LIBZFS_SYS_BINDINGS") != "generated" {
        println!("not compared: this build has no headers, it uses the committed bindings");
        return;
    }
    if headers != recorded || std::env::consts::OS != "linux" {
        println!("not compared: the headers are of {headers}, the recording is of {recorded}");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings/linux-lp64.rs");
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        std::fs::write(&path, IN_USE).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let different = committed
        .lines()
        .zip(IN_USE.lines())
        .position(|(committed, generated)| committed != generated)
        .or_else(|| {
            let counts = [committed.lines().count(), IN_USE.lines().count()];
            (counts[0] != counts[1]).then_some(counts[0].min(counts[1]))
        });
    if let Some(line) = different {
        panic!(
            "{} differs from the headers of {headers} at line {}:\n  committed: {}\n  headers:   {}\n\
             If that is meant: {BLESS}=1 cargo test -p libzfs-sys",
            path.display(),
            line + 1,
            committed.lines().nth(line).unwrap_or_default(),
            IN_USE.lines().nth(line).unwrap_or_default(),
        );
    }
}

#[test]
fn recursive_rename_sets_exactly_the_first_bit() {
    let flags = libzfs_sys::rename_recursively();
    let bits = flags._bindgen_opaque_blob;
    let expected: u32 = if cfg!(target_endian = "little") {
        1
    } else {
        0x8000_0000
    };
    assert_eq!(bits, expected);
}

#[cfg(not(feature = "link"))]
mod loader {
    use libzfs_sys::{Library, LibraryNames, LoadError, load_from};

    fn absent(name: &str) -> Vec<String> {
        vec![
            format!("lib{name}_absent.so.9"),
            format!("lib{name}_absent.so.8"),
        ]
    }

    #[test]
    fn machine_without_the_libraries_is_told_which_is_missing() {
        let names = LibraryNames {
            nvpair: absent("nvpair"),
            core: absent("core"),
            zfs: absent("zfs"),
        };
        let error = load_from(&names).unwrap_err();
        assert!(
            matches!(&error, LoadError::Missing { library: Library::Nvpair, tried, .. } if tried.len() == 2)
        );
        assert_eq!(
            error.to_string(),
            "libnvpair cannot be loaded (tried libnvpair_absent.so.9, libnvpair_absent.so.8)"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn library_without_the_functions_is_told_by_the_first_missing_function() {
        // The C library stands for a libnvpair of an unsupported version.
        let libc = if cfg!(target_os = "linux") {
            "libc.so.6"
        } else {
            "libc.so.1"
        };
        let names = LibraryNames {
            nvpair: vec![libc.to_owned()],
            core: vec![libc.to_owned()],
            zfs: vec![libc.to_owned()],
        };
        let error = load_from(&names).unwrap_err();
        assert!(
            matches!(
                error,
                LoadError::Symbol {
                    library: Library::Nvpair,
                    symbol: "nvlist_alloc",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn library_names_are_tried_in_order_until_one_opens() {
        let mut names = LibraryNames::default();
        names.zfs.insert(0, "libzfs_absent.so.9".to_owned());
        match load_from(&names) {
            Ok(_) => {}
            // No ZFS here: then the first library is the one complained about.
            Err(LoadError::Missing { library, .. }) => assert_eq!(library, Library::Nvpair),
            Err(error) => panic!("{error}"),
        }
    }
}
