//! Which guests a run gets, and their life around it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::Args;

use crate::cache::Cache;
use crate::cases::Needs;
use crate::guest::machine::{self, MachineGuest};
use crate::guest::qemu::{QemuGuest, System};
use crate::guest::{Guest, Role};
use crate::host::{Host, Leftovers};
use crate::image::{self, Image, ZfsRelease};
use crate::keys::Keys;
use crate::pair::Pair;
use crate::report;
use crate::rundir::{self, RunDirectory};
use crate::zferry;

/// What the operator says about the guests.
#[derive(Args, Clone, Debug)]
pub struct GuestArgs {
    /// OpenZFS of the source: 2.1, 2.3 or 2.4
    #[arg(
        long,
        global = true,
        env = "ZFERRY_VM_SOURCE_ZFS",
        default_value = "2.3"
    )]
    source_zfs: ZfsRelease,
    /// OpenZFS of the target: 2.1, 2.3 or 2.4
    #[arg(
        long,
        global = true,
        env = "ZFERRY_VM_TARGET_ZFS",
        default_value = "2.3"
    )]
    target_zfs: ZfsRelease,
    /// The binary to test; by default the workspace's newest, built if missing
    #[arg(long, global = true, value_name = "PATH")]
    zferry: Option<PathBuf>,
    /// Processors of each guest. One is what a machine of two has to give
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..)
    )]
    cpus: u8,
    /// A disk image of another system as the source (docs/vm-tests.md)
    #[arg(
        long,
        global = true,
        value_name = "DISK",
        env = "ZFERRY_VM_SOURCE_IMAGE",
        requires = "source_image_key"
    )]
    source_image: Option<PathBuf>,
    /// The private key that logs in to it as root
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "ZFERRY_VM_SOURCE_IMAGE_KEY"
    )]
    source_image_key: Option<PathBuf>,
    /// A zferry for it, if it has none
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "ZFERRY_VM_SOURCE_IMAGE_ZFERRY"
    )]
    source_image_zferry: Option<PathBuf>,
    /// A disk image of another system as the target
    #[arg(
        long,
        global = true,
        value_name = "DISK",
        env = "ZFERRY_VM_TARGET_IMAGE",
        requires = "target_image_key"
    )]
    target_image: Option<PathBuf>,
    /// The private key that logs in to it as root
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "ZFERRY_VM_TARGET_IMAGE_KEY"
    )]
    target_image_key: Option<PathBuf>,
    /// A zferry for it, if it has none
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "ZFERRY_VM_TARGET_IMAGE_ZFERRY"
    )]
    target_image_zferry: Option<PathBuf>,
}

impl GuestArgs {
    /// OpenZFS of our own image for this guest.
    pub fn release(&self, role: Role) -> ZfsRelease {
        match role {
            Role::Source => self.source_zfs,
            Role::Target => self.target_zfs,
        }
    }

    /// The other system that is to be this guest, if one is.
    fn foreign(&self, role: Role) -> Result<Option<System>> {
        let (disk, key, zferry) = match role {
            Role::Source => (
                &self.source_image,
                &self.source_image_key,
                &self.source_image_zferry,
            ),
            Role::Target => (
                &self.target_image,
                &self.target_image_key,
                &self.target_image_zferry,
            ),
        };
        let Some(disk) = disk else { return Ok(None) };
        let key = key
            .clone()
            .with_context(|| format!("--{role}-image-key is missing"))?;
        // QEMU's directory is another one than ours.
        let disk = disk
            .canonicalize()
            .with_context(|| format!("disk {}", disk.display()))?;
        Ok(Some(System::Foreign {
            disk,
            key,
            zferry: zferry.clone(),
        }))
    }
}

/// Boots a pair for as long as `work` takes. Whatever ends it, the guests and
/// the run's directory go with it.
///
/// # Errors
/// Those of building and booting, and those of `work`.
pub fn with_pair<T>(
    args: &GuestArgs,
    needs: Needs,
    leftovers: Leftovers,
    work: impl FnOnce(&Pair) -> Result<T>,
) -> Result<T> {
    let on_this_machine = std::env::var_os(machine::CONSENT_VARIABLE).is_some();
    let systems = if on_this_machine {
        None
    } else {
        Some(systems(args)?)
    };
    let zferry = zferry::provide(args.zferry.as_deref(), needs)?;
    let run = RunDirectory::create()?;
    if on_this_machine {
        machine::check()?;
        machine::clear_pools()?;
    }
    let path = run.path().to_owned();
    ctrlc::set_handler(move || {
        rundir::clear(&path);
        if on_this_machine && let Err(error) = machine::clear_pools() {
            report::note(&format!("warning: {error:#}"));
        }
        std::process::exit(130);
    })?;
    let zferry = zferry
        .map(|binary| zferry::slim(&binary, run.path()))
        .transpose()?;
    let keys = Rc::new(Keys::generate(run.path().join("keys"))?);
    let guest = |role: Role| -> Result<Box<dyn Guest>> {
        let Some([source, target]) = &systems else {
            return Ok(Box::new(MachineGuest::new(
                role,
                zferry.clone(),
                &keys,
                run.path(),
            )?));
        };
        let mut system = match role {
            Role::Source => source.clone(),
            Role::Target => target.clone(),
        };
        if let System::Debian { zferry: place, .. } = &mut system {
            place.clone_from(&zferry);
        }
        Ok(Box::new(QemuGuest::new(
            role,
            system,
            args.cpus,
            Rc::clone(&keys),
            run.path(),
        )?))
    };
    let source = Host::new(guest(Role::Source)?, leftovers);
    let target = Host::new(guest(Role::Target)?, leftovers);
    let pair = Pair::boot(source, target, Rc::clone(&keys))?;
    work(&pair)
}

/// Systems of source and target; images that are missing are built now.
fn systems(args: &GuestArgs) -> Result<[System; 2]> {
    let mut images = BTreeMap::new();
    let mut system = |role| {
        if let Some(foreign) = args.foreign(role)? {
            return Ok(foreign);
        }
        let release = args.release(role);
        if let Entry::Vacant(vacant) = images.entry(release) {
            vacant.insert(image::provide(&Cache::open()?, release)?);
        }
        let image = Image::clone(&images[&release]);
        Ok::<_, anyhow::Error>(System::Debian {
            image,
            zferry: None,
        })
    };
    Ok([system(Role::Source)?, system(Role::Target)?])
}
