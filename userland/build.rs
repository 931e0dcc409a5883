//! Finds libzpool and its headers, compiles the shim against them, and links
//! both into the worker executable alone. Without them everything else still
//! builds, and the worker says what is missing.
//!
//! Sets `cfg(have_libzpool)` and, for the worker, `LIBZPOOL_VERSION` (of the
//! headers) or `LIBZPOOL_MISSING` (half a sentence).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The sources of the shim, in `shim/`.
const SOURCES: [&str; 9] = [
    "bookmark.c",
    "dataset.c",
    "names.c",
    "pool.c",
    "property.c",
    "snapshot.c",
    "stream.c",
    "token.c",
    "tree.c",
];

/// The only target that is linked to libzpool, its unit tests included.
const WORKER: &str = "zferry-zpool";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");
    println!("cargo::rustc-check-cfg=cfg(have_libzpool)");
    match Libzpool::find().and_then(|found| found.compile().map(|()| found)) {
        Ok(found) => {
            println!("cargo::rustc-cfg=have_libzpool");
            println!("cargo::rustc-env=LIBZPOOL_VERSION={}", found.version);
        }
        Err(missing) => {
            println!("cargo::warning=the worker is built without libzpool: {missing}");
            println!("cargo::rustc-env=LIBZPOOL_MISSING={missing}");
        }
    }
}

/// A variable that cargo always sets for a build script.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// Installed headers and library.
struct Libzpool {
    include_paths: Vec<PathBuf>,
    library_path: PathBuf,
    version: String,
}

impl Libzpool {
    /// Looks for them; the error is half a sentence.
    fn find() -> Result<Self, String> {
        if variable("TARGET") != variable("HOST") {
            return Err("the libzpool of this machine does not fit another target".to_owned());
        }
        let library = pkg_config::Config::new()
            .cargo_metadata(false)
            .env_metadata(true)
            .probe("libzfs")
            .map_err(|_| "pkg-config does not find libzfs (Debian: libzfslinux-dev)".to_owned())?;
        let library_path = pkg_config::get_variable("libzfs", "libdir")
            .map(PathBuf::from)
            .map_err(|_| "pkg-config does not know where libzfs is".to_owned())?;
        if !library_path.join("libzpool.so").exists() {
            return Err(format!(
                "there is no libzpool.so in {}",
                library_path.display()
            ));
        }
        Ok(Self {
            include_paths: library.include_paths,
            library_path,
            version: library.version,
        })
    }

    /// Compiles the shim and has it linked into the worker.
    fn compile(&self) -> Result<(), String> {
        let out = PathBuf::from(variable("OUT_DIR"));
        let mut build = cc::Build::new();
        build
            .cargo_metadata(false)
            .include("shim")
            .files(SOURCES.iter().map(|name| Path::new("shim").join(name)))
            .flag("-std=gnu99")
            // The library is built this way, and layouts depend on it.
            .define("DEBUG", None)
            .define("ZFS_DEBUG", None)
            .flag("-UNDEBUG")
            .define("_GNU_SOURCE", None)
            .define("_LARGEFILE64_SOURCE", None)
            .define(
                "ZS_VERSION",
                Some(self.version_number()?.to_string().as_str()),
            )
            // Their headers are not ours to make warning-free.
            .flag("-Wno-unknown-pragmas")
            .warnings(true)
            .extra_warnings(false)
            .pic(true);
        for path in self.system_include_paths(&out)? {
            build.flag("-isystem").flag(path.display().to_string());
        }
        build
            .try_compile("zpool_shim")
            .map_err(|error| format!("the shim does not fit OpenZFS {}: {error}", self.version))?;
        if self.version_number()? < 20_200 {
            // libzpool 2.1 has symbols of it without saying so.
            println!("cargo::rustc-link-arg-bin={WORKER}=-Wl,--no-as-needed");
            println!("cargo::rustc-link-arg-bin={WORKER}=-lzfs_core");
        }
        for argument in [
            format!("{}", out.join("libzpool_shim.a").display()),
            format!("-L{}", self.library_path.display()),
            "-lzpool".to_owned(),
            "-lnvpair".to_owned(),
            "-lz".to_owned(),
        ] {
            println!("cargo::rustc-link-arg-bin={WORKER}={argument}");
        }
        Ok(())
    }

    /// `2.3.2` is 20302.
    fn version_number(&self) -> Result<u32, String> {
        let numbers: Vec<u32> = self
            .version
            .split(['.', '-'])
            .map_while(|part| part.parse().ok())
            .collect();
        match numbers[..] {
            [2, minor, patch, ..] if (1..100).contains(&minor) => {
                Ok(20_000 + minor * 100 + patch.min(99))
            }
            _ => Err(format!(
                "OpenZFS {} is not one of 2.1 and later",
                self.version
            )),
        }
    }

    /// With ways around two packaging faults: Debian's 2.3 ships `sys/abd_os.h`
    /// as `libzpool/abd_os.h`, and no version ships `sys/zfs_ioctl.h`.
    fn system_include_paths(&self, out: &Path) -> Result<Vec<PathBuf>, String> {
        let mut paths = self.include_paths.clone();
        let has = |paths: &[PathBuf], name: &str| paths.iter().any(|path| path.join(name).exists());
        if !has(&paths, "sys/dmu_recv.h") {
            return Err("the headers of libzpool are not installed".to_owned());
        }
        let misplaced = paths
            .iter()
            .filter_map(|path| path.parent())
            .map(|parent| parent.join("libzpool/abd_os.h"))
            .find(|path| path.exists());
        if let (false, Some(misplaced)) = (has(&paths, "sys/abd_os.h"), misplaced) {
            let folder = out.join("include");
            fs::create_dir_all(folder.join("sys"))
                .and_then(|()| fs::copy(misplaced, folder.join("sys/abd_os.h")))
                .map_err(|error| format!("OUT_DIR cannot be written: {error}"))?;
            paths.push(folder);
        }
        // Last: only for what is not installed at all.
        paths.push(PathBuf::from("shim/missing"));
        Ok(paths)
    }
}
