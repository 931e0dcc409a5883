//! The words of `zferry listen`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::transfer::Marks;

/// Serve replications to and from this machine without sshd
///
/// Runs until it is stopped. A zferry on another machine reaches it as it
/// reaches sshd, by host and port; the user name does not matter. Only keys in
/// --authorized-keys may come in, each to the datasets of its line. Nothing but
/// zferry can be run: there is no shell and no forwarding.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  zferry listen --address 0.0.0.0:8022 --host-key /etc/zferry/host_key \\
      --authorized-keys /etc/zferry/authorized_keys
Each line of the authorized keys says what the key is for:
  allow=\"pool/backup\" ssh-ed25519 AAAA… root@web")]
pub struct Listen {
    /// Where to accept connections (repeatable); port 0: any that is free
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    pub address: Vec<SocketAddr>,
    /// The private key of this server, in OpenSSH's format and without a passphrase
    #[arg(long, value_name = "FILE")]
    pub host_key: PathBuf,
    /// Make the host key first; it must not exist
    #[arg(long)]
    pub new_host_key: bool,
    /// The keys that may come in, read again at every login
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: PathBuf,
    /// With each state that is delivered, write the cluster agents' one-line state file here
    #[arg(long, value_name = "DIR")]
    pub legacy_state: Option<PathBuf>,
    /// How long a connection may take to start a helper
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = super::seconds)]
    pub connect_timeout: Duration,
    #[command(flatten)]
    pub marks: Marks,
}
