//! Tries the claims about backends on the kernel of this machine.
//!
//! ```text
//! cargo run -p zferry-engine --features conformance --example conformance -- tank backup
//! ```
//!
//! It works in `POOL/zferry-conformance` of both pools, and in
//! `POOL/zferry-conformance-read`, which it creates and destroys. zfs(8) and
//! block devices do what the trait cannot. Exit status 0 if every claim holds.
#![expect(clippy::print_stdout, reason = "a program, its report is its output")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::name::{DatasetName, SnapshotName};
use engine::zfs::Zfs;
use engine::zfs::conformance::{self, Failed, Fixture, PoolNames, VOLUME_BYTES};
use engine::zfs::kernel::Kernel;

/// How long udev may take to make a device or to let go of one.
const PATIENCE: Duration = Duration::from_secs(60);

struct ThisKernel(Arc<dyn Zfs>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("conformance: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// How many claims do not hold. Arguments after the pools are parts of names
/// of claims.
fn run(arguments: &[String]) -> Result<usize, Failed> {
    let [here, there, wanted @ ..] = arguments else {
        return Err(Failed("usage: conformance POOL POOL [CLAIM]…".to_owned()));
    };
    let pools = PoolNames {
        here: DatasetName::parse(here)?,
        there: DatasetName::parse(there)?,
    };
    let fixture = ThisKernel(Kernel::open()?);
    let (mut passed, mut failed) = (0, 0);
    for claim in conformance::all() {
        if !wanted.is_empty() && !wanted.iter().any(|part| claim.name.contains(part)) {
            continue;
        }
        let begun = Instant::now();
        let outcome = claim.check(&fixture, &pools);
        let seconds = begun.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok     {} ({seconds:.1} s)", claim.name);
            }
            Err(why) => {
                failed += 1;
                println!("FAILED {} ({seconds:.1} s): {why:?}", claim.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

fn command(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program).args(arguments).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(Failed(format!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

fn zfs(arguments: &[&str]) -> Result<String, Failed> {
    command("zfs", arguments)
}

/// Tries again what udev and blkid keep from succeeding for a moment.
fn patiently<T>(mut what: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let begun = Instant::now();
    loop {
        match what() {
            Err(_) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            outcome => return outcome,
        }
    }
}

fn device(volume: &str) -> PathBuf {
    PathBuf::from("/dev/zvol").join(volume)
}

impl ThisKernel {
    fn destroy_tree(name: &str) -> Result<(), Failed> {
        let listed = ["list", "-Hrp", "-o", "name,receive_resume_token", name];
        let Ok(listed) = zfs(&listed) else {
            return Ok(());
        };
        for line in listed.lines() {
            if let Some((dataset, token)) = line.split_once('\t')
                && token != "-"
            {
                zfs(&["receive", "-A", dataset])?;
            }
        }
        // A new dataset of which a part had arrived is gone by now.
        match zfs(&["list", name]) {
            Ok(_) => patiently(|| zfs(&["destroy", "-R", name]).map(drop)),
            Err(_) => Ok(()),
        }
    }
}

impl Fixture for ThisKernel {
    fn zfs(&self) -> Arc<dyn Zfs> {
        Arc::clone(&self.0)
    }

    fn create_volume(&self, name: &DatasetName) -> Result<(), Failed> {
        let bytes = VOLUME_BYTES.to_string();
        zfs(&["create", "-s", "-V", &bytes, name.as_str()]).map(drop)
    }

    fn write(&self, volume: &DatasetName, content: &[u8]) -> Result<(), Failed> {
        patiently(|| {
            let mut file = OpenOptions::new()
                .write(true)
                .open(device(volume.as_str()))?;
            file.write_all(content)?;
            Ok(file.sync_all()?)
        })?;
        command("zpool", &["sync", volume.pool()]).map(drop)
    }

    fn read(&self, snapshot: &SnapshotName, bytes: usize) -> Result<Vec<u8>, Failed> {
        let clone = format!("{}/zferry-conformance-read", snapshot.dataset.pool());
        Self::destroy_tree(&clone)?;
        zfs(&["clone", &snapshot.to_string(), &clone])?;
        let content = patiently(|| {
            let mut content = vec![0; bytes];
            File::open(device(&clone))?.read_exact(&mut content)?;
            Ok(content)
        });
        Self::destroy_tree(&clone)?;
        content
    }

    fn clone_snapshot(&self, of: &SnapshotName, to: &DatasetName) -> Result<(), Failed> {
        zfs(&["clone", &of.to_string(), to.as_str()]).map(drop)
    }

    fn create_encrypted(&self, name: &DatasetName) -> Result<bool, Failed> {
        let key = std::env::temp_dir().join("zferry-conformance-key");
        std::fs::write(&key, [b'k'; 32])?;
        let location = format!("keylocation=file://{}", key.display());
        let options = [
            "-o",
            "encryption=on",
            "-o",
            "keyformat=raw",
            "-o",
            &location,
        ];
        let words = [&["create"], &options[..], &[name.as_str()]].concat();
        zfs(&words).map(|_| true)
    }

    fn destroy(&self, name: &DatasetName) -> Result<(), Failed> {
        Self::destroy_tree(name.as_str())
    }
}
