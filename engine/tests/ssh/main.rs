//! The SSH transport against the system's own `sshd`, on the loopback interface
//! with keys and configuration of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that fails is a test that fails"
)]
#![expect(clippy::print_stderr, reason = "the server's log belongs to a failure")]

mod agent;
mod authentication;
mod bytes;
mod dead_peer;
mod ending;
mod host_key;
mod listen;
mod proxy;
mod sshd;
