//! The built binary, from the outside: arguments in; exit code, standard output
//! and standard error out. No test here needs ZFS.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that fails is a test that fails"
)]

mod config;
mod configuration;
mod documents;
mod ending;
mod helper;
mod host_keys;
mod images;
mod inspect;
mod listen;
mod lock;
mod marks;
mod peers;
mod program;
mod retries;
mod status;
mod sync;
mod usage;

#[path = "../engine/tests/ssh/sshd.rs"]
#[expect(dead_code, reason = "the engine's tests need more of it")]
#[expect(clippy::print_stderr, reason = "the server's log belongs to a failure")]
mod sshd;
