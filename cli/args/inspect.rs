//! `zferry inspect`: what may be written after it.

use std::path::PathBuf;

/// Verify a send stream that lies in a file, and show what it consists of
///
/// Reads what `zfs send > FILE` has written, of any version and byte order:
/// one stream, or a package of several (-R, -I). Every record is bounded and
/// the checksum that ZFS itself has put into the stream is verified. With -v
/// every record is shown. Needs no ZFS and touches none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry inspect /srv/streams/monthly.zs
  zstd -dc monthly.zs.zst | zferry inspect -v -")]
pub struct Inspect {
    /// The stream; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
