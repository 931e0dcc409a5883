//! The kernel proper out of Debian's self-extracting one.
//!
//! QEMU can start an uncompressed ELF kernel at its PVH entry. That saves the
//! emulation of the kernel's own decompressor, which would take longer than the
//! rest of the boot. Layout: Linux `Documentation/arch/x86/boot.rst`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Offset of the number of 512-byte setup sectors.
const SETUP_SECTORS: usize = 0x1f1;
/// Offset of the payload's place behind the setup, and of its length behind that.
const PAYLOAD_OFFSET: usize = 0x248;
const SECTOR_BYTES: usize = 512;

/// Writes the ELF kernel inside `vmlinuz` to `vmlinux`.
pub(super) fn extract(vmlinuz: &Path, vmlinux: &Path) -> Result<()> {
    let image = fs::read(vmlinuz).with_context(|| format!("reading {}", vmlinuz.display()))?;
    let payload = payload(&image).with_context(|| format!("kernel {}", vmlinuz.display()))?;
    let decompressor: &[&str] = match payload {
        [0xfd, b'7', b'z', b'X', ..] => &["xz", "-dc", "--single-stream"],
        [0x28, 0xb5, 0x2f, 0xfd, ..] => &["zstd", "-dcq"],
        [0x02, 0x21, 0x4c, 0x18, ..] => &["lz4", "-dc"],
        _ => bail!(
            "kernel compressed by an unknown method: {:02x?}",
            &payload[..4.min(payload.len())]
        ),
    };
    let mut child = Command::new(decompressor[0])
        .args(&decompressor[1..])
        .stdin(Stdio::piped())
        .stdout(File::create(vmlinux)?)
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("running {}", decompressor[0]))?;
    // The payload ends with the size that the kernel wants to know, which the
    // tools take for garbage: their complaint does not count, the result does.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(payload);
    }
    child.wait()?;
    let kernel = fs::read(vmlinux)?;
    ensure!(
        kernel.starts_with(b"\x7fELF"),
        "no ELF kernel inside {}",
        vmlinuz.display()
    );
    Ok(())
}

fn payload(image: &[u8]) -> Result<&[u8]> {
    let number = |at: usize| {
        let bytes = image
            .get(at..at + 4)
            .context("too short for a boot header")?;
        let bytes = bytes.try_into().expect("four bytes were taken");
        Ok::<_, anyhow::Error>(u32::from_le_bytes(bytes) as usize)
    };
    // Zero means four, for kernels older than this field.
    let sectors = match image
        .get(SETUP_SECTORS)
        .context("too short for a boot header")?
    {
        0 => 4,
        count => usize::from(*count),
    };
    let start = (sectors + 1) * SECTOR_BYTES + number(PAYLOAD_OFFSET)?;
    image
        .get(start..start + number(PAYLOAD_OFFSET + 4)?)
        .context("payload beyond the end")
}
