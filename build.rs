//! Stamps the commit into the binary, so that `zferry --version` and the
//! handshake name exactly what runs. Outside a git checkout it says "release".
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|out| out.status.success())
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map_or_else(|| "release".to_owned(), |text| text.trim().to_owned());
    println!("cargo:rustc-env=ZFERRY_COMMIT={commit}");
}
