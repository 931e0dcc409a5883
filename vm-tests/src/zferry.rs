//! The programs that go into guests: found, or built if there are none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cases::Needs;
use crate::report;

/// The binary to put into the guests. Cases that do not need it get one only
/// if there is one.
///
/// # Errors
/// If it is named and missing, or cannot be built.
pub fn provide(named: Option<&Path>, needs: Needs) -> Result<Option<PathBuf>> {
    if let Some(path) = named {
        ensure!(path.is_file(), "there is no zferry at {}", path.display());
        return Ok(Some(path.to_owned()));
    }
    if let Some(found) = newest("zferry")? {
        report::note(&format!("zferry is {}", found.display()));
        return Ok(Some(found));
    }
    if needs == Needs::Zfs {
        return Ok(None);
    }
    report::note("no zferry is built yet: building it");
    build(&["--package", "zferry", "--bin", "zferry"])?;
    Ok(Some(newest("zferry")?.context(
        "cargo built zferry somewhere else; name it with --zferry",
    )?))
}

/// The program that tries the engine's claims about backends, without debugging
/// information. It is always built, which costs nothing if it is up to date.
///
/// # Errors
/// If it cannot be built.
pub fn conformance() -> Result<PathBuf> {
    report::note("building the conformance suite");
    let features = ["--features", "conformance"];
    example("zferry-engine", "conformance", &features)
}

/// The program that tries every call of the wrapper around ZFS' libraries, the
/// same way.
///
/// # Errors
/// If it cannot be built.
pub fn probe() -> Result<PathBuf> {
    report::note("building the probe of the libraries");
    example("libzfs", "probe", &[])
}

fn example(package: &str, name: &str, more: &[&str]) -> Result<PathBuf> {
    let what = ["--package", package, "--example", name];
    build(&[&what[..], more].concat())?;
    let built = newest(&format!("examples/{name}"))?;
    let built = built.context("cargo built the example somewhere else")?;
    let slim = built.with_extension("slim");
    strip(&built, &slim)?;
    Ok(slim)
}

/// The newest zferry of this machine that has its worker beside it, for pools in
/// files here.
///
/// # Errors
/// If there is none and none can be built.
pub fn with_worker() -> Result<PathBuf> {
    let complete = |program: &Path| program.with_file_name("zferry-zpool").is_file();
    if let Some(found) = newest("zferry")?.filter(|found| complete(found)) {
        return Ok(found);
    }
    report::note("building zferry with its worker");
    build(&["--bin", "zferry", "--bin", "zferry-zpool"])?;
    let built = newest("zferry")?.filter(|found| complete(found));
    built.context("cargo built zferry or its worker somewhere else")
}

fn build(what: &[&str]) -> Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .arg("build")
        .args(what)
        .current_dir(workspace())
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "cargo could not build {}", what.join(" "));
    Ok(())
}

/// A copy without debugging information in `directory`: guests keep it in memory.
///
/// # Errors
/// If `strip` fails.
pub fn slim(binary: &Path, directory: &Path) -> Result<PathBuf> {
    let slim = directory.join("zferry");
    strip(binary, &slim)?;
    Ok(slim)
}

fn strip(binary: &Path, slim: &Path) -> Result<()> {
    let status = Command::new("strip")
        .arg("--strip-debug")
        .arg("-o")
        .arg(slim)
        .arg(binary)
        .status()
        .context("running strip")?;
    ensure!(status.success(), "strip cannot read {}", binary.display());
    Ok(())
}

fn newest(program: &str) -> Result<Option<PathBuf>> {
    let mut found = Vec::new();
    for profile in ["debug", "release"] {
        let path = target_directory().join(profile).join(program);
        if let Ok(metadata) = fs::metadata(&path) {
            found.push((metadata.modified()?, path));
        }
    }
    found.sort();
    Ok(found.pop().map(|(_, path)| path))
}

fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

fn workspace() -> &'static Path {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member
        .parent()
        .expect("the crate is a member of a workspace")
}
