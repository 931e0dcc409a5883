//! What this process finds around it: environment variables, the user's home,
//! the machine's name, the time.
//!
//! The engine reads none of these; commands hand on what they need. This is
//! the only module that looks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::image::Image;
use engine::limit::WallClock;
use engine::protocol::hello::About;
use engine::sync::attempts::civil;
use engine::sync::moment::UtcSeconds;
use jiff::tz::TimeZone;

/// `zferry 0.1.0 (commit)`.
pub const PROGRAM: &str = concat!(
    "zferry ",
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("ZFERRY_COMMIT"),
    ")"
);

/// The name that this machine gives itself (`uname -n`).
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// What this side says about itself in a handshake; `images` are those it
/// serves.
pub fn about(node: &str, images: &[Image]) -> About {
    About {
        program: PROGRAM.to_owned(),
        node: node.to_owned(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        images: images
            .iter()
            .map(|image| image.pool().to_string())
            .collect(),
        clock: Some(now()),
    }
}

/// The time.
pub fn now() -> UtcSeconds {
    // A clock before 1970 is wrong anyway; status then says by how much.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UtcSeconds(since.as_secs())
}

/// Whether a terminal of this user can move its cursor.
pub fn can_draw() -> bool {
    std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// The time zone of this machine; UTC if that is unknown.
pub fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// What the clock on the wall shows.
pub fn wall() -> WallClock {
    let zone = zone();
    // After the year 9999 it shows the beginning of time.
    Arc::new(move || civil(now(), &zone).unwrap_or_default())
}

/// The file of this program; what belongs to it lies beside it.
pub fn program() -> PathBuf {
    // Only gone if somebody removed it; then nothing lies beside it either.
    std::env::current_exe().unwrap_or_default()
}

/// The user's home.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|path| path.is_absolute())
}

/// The socket of the user's SSH agent.
pub fn agent() -> Option<PathBuf> {
    let socket = std::env::var_os("SSH_AUTH_SOCK")?;
    (!socket.is_empty()).then(|| PathBuf::from(socket))
}

/// The user's name, which SSH uses on the other host too if nobody says
/// otherwise.
pub fn user() -> Option<String> {
    // Under sudo the variables may still name who called it.
    if rustix::process::geteuid().is_root() {
        return Some("root".to_owned());
    }
    let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    named("LOGNAME").or_else(|| named("USER"))
}
