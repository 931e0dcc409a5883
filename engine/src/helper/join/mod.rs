//! How another session of the same driver finds the helper of its first one.
//!
//! Every session of `sshd` starts a process of its own. The helper of the first
//! one listens on a socket in its state folder, under a name that follows from a
//! random token, and gives the token to its driver. The driver opens another
//! session and says the token first of all; the process that `sshd` started
//! there passes its standard input and output on through that socket, and stays
//! until they are not needed any more: `sshd` writes nothing to a command that
//! has ended.
//!
//! What comes over a session that has joined is part of the first conversation,
//! under the first helper's `--allow`. Who knows the token could speak there
//! anyway. The folder belongs to the account, and nobody else may enter it.
//!
//! # If it breaks
//!
//! A socket that a killed helper leaves is removed by the next one that offers
//! sessions. A process that has joined ends with the helper that it joined.

mod desk;
mod session;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

pub use self::desk::Hall;
pub(super) use self::desk::{Desk, Remains};
pub use self::session::{JoinError, Opening, join, opening, opening_of};
use crate::protocol::join::Token;

/// How long a process may take to hand its session over.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// Sockets of others that are looked at when one is made.
const OTHERS_MAX: usize = 256;

/// What is answered to the right token.
const WELCOME: u8 = 1;

/// Where a helper finds more sessions.
#[derive(Debug, Clone)]
pub enum Door {
    /// Behind `sshd`, where each is a process.
    Folder(JoinFolder),
    /// In this process, which has all of them.
    Hall(Hall),
}

impl Door {
    /// Bytes that one session carries in a round trip: the window that `sshd`
    /// grants, or what TCP buffers by default where the window is ours.
    pub(super) fn window_bytes(&self) -> u64 {
        match self {
            Self::Folder(_) => 2 << 20,
            Self::Hall(_) => 4 << 20,
        }
    }
}

/// Where sessions are handed over; one for all helpers of an account.
#[derive(Debug, Clone)]
pub struct JoinFolder(PathBuf);

impl JoinFolder {
    /// Below this state folder, which is created with the first socket.
    #[must_use]
    pub fn below(state: impl Into<PathBuf>) -> Self {
        Self(state.into().join("join"))
    }

    fn socket(&self, token: &Token) -> PathBuf {
        self.0.join(token.name())
    }

    /// Makes the folder, and sees that nobody else can enter it.
    fn prepare(&self) -> io::Result<()> {
        // Only this one is closed to others: what lies above may be read by them.
        if let Some(state) = self.0.parent() {
            std::fs::create_dir_all(state)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = std::fs::metadata(&self.0)?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() != own || found.mode() & 0o077 != 0 {
            let shown = self.0.display();
            return Err(io::Error::other(format!(
                "{shown} can be entered by other accounts"
            )));
        }
        Ok(())
    }

    /// Removes sockets that nobody listens on any more.
    fn sweep(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0)?.take(OTHERS_MAX) {
            let entry = entry?;
            let abandoned = entry.file_type()?.is_socket()
                && UnixStream::connect(entry.path())
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if abandoned {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::desk::Joined;
    use super::*;

    fn ends() -> (OwnedFd, OwnedFd, io::PipeWriter, io::PipeReader) {
        let (input, far_output) = io::pipe().unwrap();
        let (far_input, output) = io::pipe().unwrap();
        (input.into(), output.into(), far_output, far_input)
    }

    #[tokio::test]
    async fn a_session_is_handed_over_with_both_directions_and_let_go_at_the_end() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        let desk = Desk::open(&Door::Folder(folder.clone())).unwrap();
        let token = desk.token().clone();
        let (input, output, mut far_output, mut far_input) = ends();
        let joining = tokio::task::spawn_blocking(move || join(&folder, &token, input, output));
        let mut joined = desk.collect(1, HAND_OVER_MAX).await.unwrap();
        let Joined { mut link, rest } = joined.remove(0);
        io::Write::write_all(&mut far_output, b"there").unwrap();
        assert_eq!(link.inbound.recv().await.unwrap().unwrap(), "there");
        link.outbound.send("back".into()).await.unwrap();
        drop(link);
        drop(far_output);
        let (text, finished) = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            far_input.read_to_string(&mut text).unwrap();
            (text, rest.finish())
        })
        .await
        .unwrap();
        assert_eq!(text, "back");
        finished.unwrap();
        joining.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn another_token_finds_nobody_and_a_wrong_one_is_not_let_in() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        let desk = Desk::open(&Door::Folder(folder.clone())).unwrap();
        let socket = folder.socket(desk.token());
        let other = Token::new([3; Token::BYTES]);
        let (wrong_door, wrong_token) = tokio::task::spawn_blocking(move || {
            let (input, output, ..) = ends();
            let wrong_door = join(&folder, &other, input, output).unwrap_err();
            std::fs::hard_link(&socket, folder.socket(&other)).unwrap();
            let (input, output, ..) = ends();
            (
                wrong_door,
                join(&folder, &other, input, output).unwrap_err(),
            )
        })
        .await
        .unwrap();
        assert!(matches!(wrong_door, JoinError::Nobody { .. }));
        assert!(matches!(wrong_token, JoinError::Refused));
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_removed_by_the_next_helper() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        let door = Door::Folder(folder.clone());
        let living = Desk::open(&door).unwrap();
        // As after a kill: closed, and still there.
        let dead = folder.0.join("dead");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        assert!(dead.exists());
        let next = Desk::open(&door).unwrap();
        assert!(!dead.exists());
        for desk in [&living, &next] {
            assert!(folder.socket(desk.token()).exists());
        }
        drop((living, next));
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_is_closed_to_others_and_the_state_around_it_stays_as_it_was() {
        let state = tempfile::tempdir().unwrap();
        let above = state.path().join("state");
        let folder = JoinFolder::below(&above);
        folder.prepare().unwrap();
        folder.prepare().unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder.0), 0o700);
        let beside = state.path().join("beside");
        std::fs::create_dir(&beside).unwrap();
        assert_eq!(mode(&above), mode(&beside));
    }

    #[test]
    fn a_folder_that_others_may_enter_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        folder.prepare().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&folder.0, open).unwrap();
        let error = folder.prepare().unwrap_err().to_string();
        assert!(error.contains("other accounts"), "{error}");
    }

    #[test]
    fn an_opening_is_told_by_its_first_bytes_and_nothing_beyond_is_read() {
        let token = Token::new([9; Token::BYTES]);
        let cases = [
            (token.record(), true),
            (token.record()[..20].to_vec(), false),
            (b"zfy\x89\r\n\x1a\nrest".to_vec(), false),
            (Vec::new(), false),
        ];
        for (bytes, joins) in cases {
            let (input, mut far) = io::pipe().unwrap();
            io::Write::write_all(&mut far, &bytes).unwrap();
            io::Write::write_all(&mut far, b"more").unwrap();
            drop(far);
            let input = OwnedFd::from(input);
            let seen = match opening(&input, HAND_OVER_MAX).unwrap() {
                Opening::Join(found) => {
                    assert!(joins && found == token);
                    bytes.clone()
                }
                Opening::Conversation(seen) => {
                    assert!(!joins, "{bytes:?}");
                    seen
                }
            };
            let mut rest = String::new();
            File::from(input).read_to_string(&mut rest).unwrap();
            assert_eq!(
                [&seen[..], rest.as_bytes()].concat(),
                [&bytes[..], b"more"].concat()
            );
        }
    }
}
