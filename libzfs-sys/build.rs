//! Makes the bindings: from the installed headers where they and libclang are
//! there, else from the file committed for this target.
//!
//! `ZFERRY_BINDINGS=committed` or `=generated` forces one of the two.
//! What was done is handed to the crate's own tests in two variables,
//! `LIBZFS_SYS_BINDINGS` (`generated` or `committed`) and
//! `LIBZFS_SYS_HEADERS` (the version of the headers, or empty).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use bindgen::callbacks::{EnumVariantCustomBehavior, EnumVariantValue, ParseCallbacks};

/// The version of OpenZFS whose headers the committed bindings for Linux come
/// from. Another version gives the same ABI with other constness, so only
/// against this one are the hand-written prototypes checked.
const RECORDED_VERSION: &str = "2.3.2";

/// Last libzfs error number that means the same in every OpenZFS and illumos;
/// later ones were inserted in between.
const EZFS_STABLE_MAX: i64 = 2065;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=wrapper.h");
    println!("cargo::rerun-if-changed=bindings");
    println!("cargo::rerun-if-env-changed=ZFERRY_BINDINGS");
    println!("cargo::rustc-check-cfg=cfg(prototypes_recorded)");

    let out = PathBuf::from(variable("OUT_DIR")).join("bindings.rs");
    let headers = Headers::find();
    let choice = env::var("ZFERRY_BINDINGS").unwrap_or_default();
    let (origin, version) = match (choice.as_str(), &headers) {
        ("committed", _) => (use_committed(&out), String::new()),
        ("generated", Err(missing)) => panic!("ZFERRY_BINDINGS=generated, but {missing}"),
        ("generated" | "", Ok(headers)) => {
            headers.generate(&out);
            ("generated", headers.version.clone())
        }
        ("", Err(_)) => (use_committed(&out), String::new()),
        (other, _) => panic!("ZFERRY_BINDINGS is `{other}`: use `committed` or `generated`"),
    };
    println!("cargo::rustc-env=LIBZFS_SYS_BINDINGS={origin}");
    println!("cargo::rustc-env=LIBZFS_SYS_HEADERS={version}");
    println!("cargo::rustc-env=LIBZFS_SYS_RECORDED={RECORDED_VERSION}");
    if variable("CARGO_CFG_TARGET_OS") == "linux"
        && (origin == "committed" || version == RECORDED_VERSION)
    {
        println!("cargo::rustc-cfg=prototypes_recorded");
    }

    if env::var_os("CARGO_FEATURE_LINK").is_some() {
        if let Ok(headers) = &headers {
            for path in &headers.library_paths {
                println!("cargo::rustc-link-search=native={}", path.display());
            }
        }
        for library in ["zfs", "zfs_core", "nvpair"] {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
    }
}

/// A variable that cargo always sets for a build script.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// The committed bindings that fit the target.
fn committed() -> PathBuf {
    let os = variable("CARGO_CFG_TARGET_OS");
    let width = variable("CARGO_CFG_TARGET_POINTER_WIDTH");
    let endian = variable("CARGO_CFG_TARGET_ENDIAN");
    // The headers use fixed-width types only: all 64-bit little-endian targets
    // of one system have the same bindings.
    let model = match (width.as_str(), endian.as_str()) {
        ("64", "little") => "lp64",
        _ => "unknown",
    };
    Path::new(&variable("CARGO_MANIFEST_DIR"))
        .join("bindings")
        .join(format!("{os}-{model}.rs"))
}

/// Puts the committed bindings where the crate includes them from.
fn use_committed(out: &Path) -> &'static str {
    let file = committed();
    assert!(
        file.exists(),
        "no committed bindings for this target ({}): install the headers of libzfs \
         (Debian: libzfslinux-dev) and libclang, and build again",
        file.display()
    );
    fs::copy(&file, out).expect("OUT_DIR is writable");
    "committed"
}

/// Installed headers, and what it takes to compile against them.
struct Headers {
    include_paths: Vec<PathBuf>,
    library_paths: Vec<PathBuf>,
    version: String,
}

impl Headers {
    /// Looks for headers and libclang; the error is half a sentence.
    fn find() -> Result<Self, String> {
        if variable("TARGET") != variable("HOST") {
            return Err("headers of this machine do not fit another target".to_owned());
        }
        let headers = Self::from_pkg_config().or_else(|missing| {
            // illumos ships the headers with the system, and no .pc files.
            let system = Path::new("/usr/include/libzfs_core.h");
            if variable("CARGO_CFG_TARGET_OS") == "illumos" && system.exists() {
                return Ok(Self {
                    include_paths: Vec::new(),
                    library_paths: Vec::new(),
                    version: "system".to_owned(),
                });
            }
            Err(missing)
        })?;
        clang_sys::load().map_err(|error| format!("libclang is not usable: {error}"))?;
        Ok(headers)
    }

    fn from_pkg_config() -> Result<Self, String> {
        let library = pkg_config::Config::new()
            .cargo_metadata(false)
            .env_metadata(true)
            .probe("libzfs")
            .map_err(|_| "pkg-config does not find libzfs".to_owned())?;
        Ok(Self {
            include_paths: library.include_paths,
            library_paths: library.link_paths,
            version: library.version,
        })
    }

    fn generate(&self, out: &Path) {
        let includes = self
            .include_paths
            .iter()
            .map(|path| format!("-I{}", path.display()));
        let text = bindgen::Builder::default()
            .header("wrapper.h")
            .clang_args(includes)
            // Without it libspl's sys/stat.h does not compile on Linux.
            .clang_arg("-D_GNU_SOURCE")
            .raw_line(format!(
                "// Generated from the headers of OpenZFS {}.\n// Do not edit: see tests/bindings.rs.",
                self.version
            ))
            .allowlist_function(FUNCTIONS)
            .allowlist_type(TYPES)
            .allowlist_var(CONSTANTS)
            // renameflags: three bits, built by hand in lib.rs; bindgen's access to
            // bit fields would be half of the file.
            .opaque_type("avl_tree|nvlist|nvpair|zfs_cmd|renameflags")
            // Declared in lib.rs: its header is not among the installed ones.
            .blocklist_type("dmu_replay_record")
            .default_enum_style(bindgen::EnumVariation::Consts)
            .prepend_enum_name(false)
            .generate_comments(false)
            .merge_extern_blocks(true)
            .sort_semantically(true)
            .layout_tests(true)
            .formatter(bindgen::Formatter::Prettyplease)
            .rust_edition(bindgen::RustEdition::Edition2024)
            .parse_callbacks(Box::new(Constants))
            .generate()
            .unwrap_or_else(|error| panic!("bindgen on the installed headers: {error}"))
            .to_string();
        fs::write(out, text).expect("OUT_DIR is writable");
    }
}

/// Keeps numbers out of the bindings that differ between versions or
/// platforms, so that nobody can use them by accident.
#[derive(Debug)]
struct Constants;

impl ParseCallbacks for Constants {
    fn enum_variant_behavior(
        &self,
        _enum_name: Option<&str>,
        name: &str,
        value: EnumVariantValue,
    ) -> Option<EnumVariantCustomBehavior> {
        let value = match value {
            EnumVariantValue::Signed(value) => value,
            EnumVariantValue::Unsigned(value) => i64::try_from(value).unwrap_or(i64::MAX),
            EnumVariantValue::Boolean(value) => i64::from(value),
        };
        let unstable = name.starts_with("ZFS_PROP_")
            || name.starts_with("ZFS_NUM_")
            || name.starts_with("ZPOOL_PROP_")
            || name.starts_with("ZPOOL_NUM_")
            || (name.starts_with("EZFS_") && value > EZFS_STABLE_MAX);
        unstable.then_some(EnumVariantCustomBehavior::Hide)
    }
}

/// Functions that every supported version declares; `functions.rs` has the
/// same list with prototypes, which the compiler compares with these.
const FUNCTIONS: &str = "libzfs_core_init|libzfs_(init|fini|errno|error_init|error_action\
|error_description|print_on_error)\
|lzc_(snapshot|create|destroy|destroy_snaps|bookmark|get_bookmarks|destroy_bookmarks|hold\
|release|get_holds|send|send_resume|send_space|receive_with_cmdprops|exists|rollback_to|rename)\
|zfs_(open|close|get_type|get_name|get_all_props|get_recvd_props|prop_get_int|iter_filesystems\
|iter_snapshots|rename|unmount|send_resume_token_to_nvlist|name_to_prop|prop_to_name|prop_readonly\
|prop_setonce|prop_inheritable|prop_get_type|prop_user|prop_index_to_string|valid_proplist)\
|zpool_(iter|close|get_name|get_prop_int|name_to_prop|get_features)\
|nvlist_(alloc|free|dup|empty|next_nvpair|add_boolean|add_boolean_value|add_byte|add_int8\
|add_uint8|add_int16|add_uint16|add_int32|add_uint32|add_int64|add_uint64|add_string|add_nvlist\
|add_byte_array|add_uint64_array|add_string_array|add_nvlist_array|lookup_nvpair|remove_all)\
|nvpair_(name|type|value_boolean_value|value_byte|value_int8|value_uint8|value_int16\
|value_uint16|value_int32|value_uint32|value_int64|value_uint64|value_string|value_nvlist\
|value_byte_array|value_uint8_array|value_int32_array|value_uint32_array|value_int64_array\
|value_uint64_array|value_string_array|value_nvlist_array|value_hrtime)";

/// Types beyond those that the functions bring along.
const TYPES: &str = "boolean_t|data_type_t|zprop_source_t|zprop_type_t|renameflags_t|zfs_error_t\
|zfs_errno_t|lzc_send_flags|lzc_dataset_type|zfs_type_t";

/// Constants that are macros.
const CONSTANTS: &str = "NV_UNIQUE_NAME|ZFS_MAX_DATASET_NAME_LEN";
