//! Images of the Debian guests: kernel, initrd and root file system.
//!
//! Two stages, cached apart: the kernel with zfs.ko compiled against it, which
//! takes minutes, and the root file system around them. The recipes are the
//! shell scripts in `image/` and the guest's own files in `guest/`; this module
//! decides what has to run and keys the results by versions and recipe. Booting
//! an image is the business of `guest::qemu`.

mod recipe;
mod vmlinux;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::cache::{Building, Cache, Key};
use crate::report;
use recipe::Recipe;

/// An OpenZFS release that there is a recipe for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ZfsRelease {
    /// Debian 12.
    V2_1,
    /// Debian 12 backports.
    V2_3,
    /// Debian 13 backports, its module against the kernel of Debian 12.
    V2_4,
}

impl fmt::Display for ZfsRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2_1 => "2.1",
            Self::V2_3 => "2.3",
            Self::V2_4 => "2.4",
        })
    }
}

impl FromStr for ZfsRelease {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "2.1" => Ok(Self::V2_1),
            "2.3" => Ok(Self::V2_3),
            "2.4" => Ok(Self::V2_4),
            _ => Err("known releases of OpenZFS are 2.1, 2.3 and 2.4".to_owned()),
        }
    }
}

/// What QEMU boots.
#[derive(Clone, Debug)]
pub struct Image {
    /// Uncompressed kernel: emulation would spend seconds on unpacking it.
    pub kernel: PathBuf,
    /// Initial RAM disk that mounts the root disk.
    pub initrd: PathBuf,
    /// Read-only root disk, shared by all guests.
    pub root: PathBuf,
}

/// The image with this OpenZFS, from the cache or built now.
///
/// # Errors
/// If a step of the recipe fails; the error holds the end of its log.
pub fn provide(cache: &Cache, release: ZfsRelease) -> Result<Image> {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR"));
    let steps = recipes.join("image");
    let apt = steps.join("apt.sh");

    // One at a time refreshes the package lists.
    let lists = cache.lock("apt")?;
    let versions = Recipe::new(&steps, "versions", cache.log("versions"))
        .env("APT_DIR", cache.package_lists())
        .output(&[&release.to_string()])?;
    drop(lists);
    let versions = parse_versions(&versions)?;
    let zfs_version = versions
        .get("zfs_version")
        .context("versions.sh printed no zfs_version")?;

    let mut modules_key = Key::default()
        .with_file(&apt)?
        .with_file(&steps.join("modules.sh"))?;
    for (name, value) in &versions {
        modules_key = modules_key.with(name, value);
    }
    let step = |name: &str, dirs: &Building<'_>| {
        let mut step = Recipe::new(&steps, name, cache.log(&format!("{name}-{release}")))
            .env("APT_DIR", cache.package_lists())
            .env("OUT", dirs.out)
            .env("WORK", dirs.work);
        for (name, value) in &versions {
            step = step.env(name, value);
        }
        step
    };
    let modules = cache.entry("modules", &modules_key, |dirs| {
        report::note(&format!(
            "compiling zfs.ko of OpenZFS {zfs_version}, which takes minutes"
        ));
        step("modules", dirs).run(&[])
    })?;

    let guest = recipes.join("guest");
    let mut image_key = Key::default()
        .with("modules", modules_key.hex())
        .with_file(&apt)?
        .with_file(&steps.join("rootfs.sh"))?;
    for name in ["initrd-init", "inittab", "setup", "sshd.conf"] {
        image_key = image_key.with_file(&guest.join(name))?;
    }
    let image = cache.entry("image", &image_key, |dirs| {
        report::note(&format!("building the image of OpenZFS {zfs_version}"));
        step("rootfs", dirs)
            .env("MODULES", &modules)
            .env("GUEST", &guest)
            .run(&[])?;
        vmlinux::extract(&dirs.out.join("vmlinuz"), &dirs.out.join("vmlinux"))?;
        Ok(fs::remove_file(dirs.out.join("vmlinuz"))?)
    })?;
    Ok(Image {
        kernel: image.join("vmlinux"),
        initrd: image.join("initrd.cpio"),
        root: image.join("rootfs.squashfs"),
    })
}

fn parse_versions(text: &str) -> Result<BTreeMap<String, String>> {
    text.lines()
        .map(|line| {
            let (name, value) = line
                .split_once('=')
                .with_context(|| format!("versions.sh printed {line:?}, not NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}
