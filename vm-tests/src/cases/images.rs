//! Pools in files pass between user space and a kernel, in both directions.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Case, cases};
use crate::data::Data;
use crate::pair::Pair;
use crate::script::Script;
use crate::zferry;

pub(super) const CASES: &[Case] = cases![Zfs:
    a_pool_of_user_space_is_one_of_the_kernel_and_comes_back,
];

/// A guest unpacks, imports and scrubs 64 MiB in seconds, also on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// What is put into the volume: a multiple of every block size, so that the
/// volume holds exactly this.
const CONTENT_BYTES: usize = 4 << 20;

fn a_pool_of_user_space_is_one_of_the_kernel_and_comes_back(pair: &Pair) -> Result<()> {
    let desk = Desk::new()?;
    let content = Data {
        seed: 11,
        bytes: CONTENT_BYTES,
    }
    .random();
    let content_file = desk.path("content");
    fs::write(&content_file, &content)?;

    for pool in ["vmimage", "vmorigin"] {
        let spot = format!("{pool}={}", desk.path(pool).display());
        desk.zferry(&["image", "create", &spot, "--size", "64M"], None)?;
    }
    desk.zferry(&["image", "put", "vmorigin/vol"], Some(&content_file))?;
    // Below a file system that user space makes: `deep`.
    let replicate = ["replicate", "vmorigin/vol", "vmimage/deep/vol"];
    desk.zferry(&replicate, None)?;

    let host = &pair.source;
    let place = host.sh("mktemp -d")?;
    let packed = desk.pack("vmimage")?;
    host.copy_in(&packed, &format!("{place}/vmimage.gz"))?;
    let visit = format!(
        "cd {place}
         gzip -d vmimage.gz
         zpool import -d {place}/vmimage vmimage
         zpool scrub -w vmimage
         zpool status vmimage
         zfs list -H -t all -o name,guid -r vmimage
         udevadm settle
         md5sum < /dev/zvol/vmimage/deep/vol
         zfs set canmount=on mountpoint={place}/mnt vmimage/deep
         echo seen by a kernel > {place}/mnt/note
         dd if=/dev/zvol/vmimage/deep/vol bs=1M count=1 of={place}/first
         dd if={place}/first bs=1M seek=1 conv=notrunc,fsync of=/dev/zvol/vmimage/deep/vol
         zfs snapshot vmimage/deep/vol@kernel
         md5sum < /dev/zvol/vmimage/deep/vol
         zpool export vmimage
         gzip -1 vmimage"
    );
    let seen = host.sh(Script::bash(visit).within(TIME_LIMIT))?;
    ensure!(seen.contains("No known data errors"), "{seen}");
    let sums: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.strip_suffix("  -"))
        .collect();
    ensure!(sums.len() == 2, "{seen}");
    ensure!(sums[0] == desk.md5(&content_file)?, "{seen}");

    host.copy_out(&format!("{place}/vmimage.gz"), &packed)?;
    host.sh(format!("rm -r {place}"))?;
    desk.unpack("vmimage")?;
    desk.zferry(&["image", "check", "vmimage"], None)?;
    let changed = desk.path("changed");
    let text = desk.zferry(&["image", "get", "vmimage/deep/vol@kernel"], None)?;
    fs::write(&changed, text)?;
    ensure!(
        desk.md5(&changed)? == sums[1],
        "what the kernel wrote is not what user space reads"
    );
    Ok(())
}

/// A folder of this machine with images in it, and the zferry that uses them.
struct Desk {
    folder: PathBuf,
    zferry: PathBuf,
}

impl Desk {
    fn new() -> Result<Self> {
        let zferry = zferry::with_worker()?;
        let folder = std::env::temp_dir().join(format!("zferry-images-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder, zferry })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs zferry with every image there is; what it wrote.
    fn zferry(&self, words: &[&str], input: Option<&Path>) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.zferry);
        command.arg("--state").arg(self.path("state"));
        for pool in ["vmimage", "vmorigin"] {
            if self.path(pool).exists() {
                let mut spot = std::ffi::OsString::from(format!("{pool}="));
                spot.push(self.path(pool));
                command.arg("--image").arg(spot);
            }
        }
        command.args(words);
        command.stdin(match input {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::null(),
        });
        finished(&mut command)
    }

    fn md5(&self, path: &Path) -> Result<String> {
        let line = finished(Command::new("md5sum").stdin(File::open(path)?))?;
        let line = String::from_utf8(line)?;
        Ok(line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    /// An image is mostly holes; links to guests are slow.
    fn pack(&self, name: &str) -> Result<PathBuf> {
        let packed = self.path(&format!("{name}.gz"));
        let bytes = finished(Command::new("gzip").arg("-1c").arg(self.path(name)))?;
        File::create(&packed)?.write_all(&bytes)?;
        Ok(packed)
    }

    fn unpack(&self, name: &str) -> Result<()> {
        let packed = self.path(&format!("{name}.gz"));
        let bytes = finished(Command::new("gzip").arg("-dc").arg(packed))?;
        Ok(fs::write(self.path(name), bytes)?)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A folder that stays is in the temporary one.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn finished(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
