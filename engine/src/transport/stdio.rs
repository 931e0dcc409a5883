//! The standard input and output of this process as a link: how a helper that
//! was started by `sshd`, or by any other parent, talks to it.
//!
//! In the way of the data: the far end of `ssh`. Two plain threads do the
//! system calls, because a pipe is read fastest by blocking on it. Left to
//! others: what the bytes mean.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::Shutdown;
use tokio::sync::mpsc;

use super::link::{
    INBOUND_CHUNK_BYTES_MAX, INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX,
};

/// What a pipe should hold, in bytes: a whole frame, so that the two processes
/// take turns once per frame instead of sixteen times. It is Linux' limit for
/// unprivileged users, and only a wish.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1024 * 1024;

/// The side of a link that writes, to be waited for before the process ends.
#[derive(Debug)]
#[must_use = "what is still queued is lost if the process ends before it is written"]
pub struct Output(JoinHandle<io::Result<()>>);

impl Output {
    /// Waits until everything sent is written and the output is closed, which
    /// begins when `outbound` is dropped. Blocks.
    ///
    /// # Errors
    /// [`LinkError::Write`] if not all of it could be written. `inbound` has
    /// the same error, unless it had ended before.
    pub fn finish(self) -> Result<(), LinkError> {
        let written = self
            .0
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer died")));
        written.map_err(|source| LinkError::Write { source })
    }
}

/// Takes over this process's standard input and output.
///
/// Both are moved away: afterwards file descriptor 0 reads nothing, and what is
/// written to descriptor 1, by a C library for instance, goes to standard
/// error and cannot damage the link. To be called once per process.
///
/// Dropping `outbound` closes standard output once everything is written, for
/// which [`Output::finish`] waits; no bytes are held back until then. The end
/// of `inbound` is the end of the input alone: a later failure to write just
/// closes `outbound`. The thread that reads ends with the input. One blocked in
/// a read cannot be called back, so that dropping `inbound` ends it no earlier,
/// and leaves `outbound` open.
///
/// # Errors
/// If the descriptors cannot be duplicated or a thread cannot be started.
pub fn link() -> io::Result<(Link, Output)> {
    let (input, output) = take()?;
    over(input, output)
}

/// The same without a link: the two descriptors.
///
/// # Errors
/// If they cannot be duplicated.
pub fn take() -> io::Result<(OwnedFd, OwnedFd)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok((input, output))
}

/// A link over two descriptors of a pipe, socket or file; see [`link`] for when
/// its threads end.
///
/// # Errors
/// If a thread cannot be started.
pub fn over(input: OwnedFd, output: OwnedFd) -> io::Result<(Link, Output)> {
    over_after(Bytes::new(), input, output)
}

/// The same, if these first bytes of the input were read already.
///
/// # Errors
/// If a thread cannot be started.
pub fn over_after(first: Bytes, input: OwnedFd, output: OwnedFd) -> io::Result<(Link, Output)> {
    #[cfg(target_os = "linux")]
    for end in [&input, &output] {
        // Not a pipe, or a limit of the user: then it stays as it is.
        let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE_BYTES);
    }
    let (outbound, chunks) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
    let (received, inbound) = mpsc::channel(INBOUND_CHUNKS_MAX);
    if !first.is_empty() {
        let queued = received.try_send(Ok(first));
        queued.map_err(io::Error::other)?;
    }
    let received = Inbound(Arc::new(Mutex::new(Some(received))));
    let verdict = received.clone();
    let output = thread::Builder::new()
        .name("stdout".into())
        .spawn(move || write(output, chunks, &verdict))?;
    thread::Builder::new()
        .name("stdin".into())
        .spawn(move || read(&input, &received))?;
    Ok((Link { inbound, outbound }, Output(output)))
}

/// The sending side of `inbound`, shared by both threads; taken out by the one
/// that sends the last item, so that an error is the last indeed. The lock is
/// held while a full queue blocks: the other thread would have to wait as well.
#[derive(Clone)]
struct Inbound(Arc<Mutex<Option<Received>>>);

type Received = mpsc::Sender<Result<Bytes, LinkError>>;

impl Inbound {
    /// Whether the item was taken, and more may follow.
    fn send(&self, chunk: Bytes) -> bool {
        self.0.lock().is_ok_and(|sender| {
            sender
                .as_ref()
                .is_some_and(|sender| sender.blocking_send(Ok(chunk)).is_ok())
        })
    }

    fn end(&self, error: Option<LinkError>) {
        let sender = self.0.lock().ok().and_then(|mut sender| sender.take());
        if let (Some(sender), Some(error)) = (sender, error) {
            // Nobody listens: then nobody misses it.
            let _ = sender.blocking_send(Err(error));
        }
    }
}

fn read(input: &OwnedFd, received: &Inbound) {
    let mut buffer = Vec::with_capacity(INBOUND_CHUNK_BYTES_MAX);
    let error = loop {
        buffer.clear();
        match rustix::io::read(input, spare_capacity(&mut buffer)) {
            Ok(0) => break None,
            Ok(count) => {
                // A chunk keeps all of its buffer in memory. A peer that sends
                // little at a time must not fill ours with empty ones.
                let chunk = if count < INBOUND_CHUNK_BYTES_MAX / 4 {
                    Bytes::copy_from_slice(&buffer)
                } else {
                    let next = Vec::with_capacity(INBOUND_CHUNK_BYTES_MAX);
                    std::mem::replace(&mut buffer, next).into()
                };
                if !received.send(chunk) {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => {
                break Some(LinkError::Read {
                    source: errno.into(),
                });
            }
        }
    };
    received.end(error);
}

fn write(output: OwnedFd, mut chunks: mpsc::Receiver<Bytes>, verdict: &Inbound) -> io::Result<()> {
    let mut output = File::from(output);
    while let Some(chunk) = chunks.blocking_recv() {
        if let Err(source) = output.write_all(&chunk) {
            // First close `outbound`: a blocked sender should not wait for
            // somebody to read `inbound`.
            drop(chunks);
            let same = source
                .raw_os_error()
                .map_or(source.kind().into(), io::Error::from_raw_os_error);
            verdict.end(Some(LinkError::Write { source }));
            return Err(same);
        }
    }
    // Closing is enough for a pipe. A socket may be the standard input as well,
    // which stays open: then the end of the data has to be said.
    let _ = rustix::net::shutdown(&output, Shutdown::Write);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A link over pipes, and the far ends: what it reads, what it wrote.
    fn piped() -> (Link, Output, File, File) {
        let (link_input, far_output) = io::pipe().unwrap();
        let (far_input, link_output) = io::pipe().unwrap();
        let (link, output) = over(link_input.into(), link_output.into()).unwrap();
        (
            link,
            output,
            File::from(OwnedFd::from(far_output)),
            File::from(OwnedFd::from(far_input)),
        )
    }

    #[test]
    fn every_chunk_leaves_at_once_and_the_end_of_outbound_closes_the_output() {
        let (link, output, far_output, mut far_input) = piped();
        let mut answer = [0; 5];
        link.outbound
            .blocking_send(Bytes::from_static(b"frame"))
            .unwrap();
        far_input.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"frame");
        link.outbound
            .blocking_send(Bytes::from(vec![3; 3 << 20]))
            .unwrap();
        drop(link.outbound);
        let mut rest = Vec::new();
        far_input.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, vec![3; 3 << 20]);
        output.finish().unwrap();
        drop(far_output);
    }

    #[test]
    fn the_end_of_the_input_ends_inbound_while_outbound_stays_open() {
        let (mut link, output, mut far_output, mut far_input) = piped();
        far_output.write_all(&vec![9; 1 << 20]).unwrap();
        drop(far_output);
        let mut bytes = 0;
        while let Some(chunk) = link.inbound.blocking_recv() {
            let chunk = chunk.unwrap();
            assert!(chunk.len() <= INBOUND_CHUNK_BYTES_MAX && chunk.iter().all(|b| *b == 9));
            bytes += chunk.len();
        }
        assert_eq!(bytes, 1 << 20);
        link.outbound
            .blocking_send(Bytes::from_static(b"late"))
            .unwrap();
        drop(link.outbound);
        let mut rest = Vec::new();
        far_input.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"late");
        output.finish().unwrap();
    }

    #[test]
    fn a_broken_output_closes_outbound_and_its_cause_arrives_in_inbound() {
        let (mut link, output, far_output, far_input) = piped();
        drop(far_input);
        while link
            .outbound
            .blocking_send(Bytes::from_static(b"x"))
            .is_ok()
        {}
        let Some(Err(LinkError::Write { source })) = link.inbound.blocking_recv() else {
            panic!("inbound ended without the cause")
        };
        assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
        assert!(link.inbound.blocking_recv().is_none());
        assert!(matches!(output.finish(), Err(LinkError::Write { .. })));
        drop(far_output);
    }

    #[test]
    fn a_socket_that_is_input_and_output_ends_in_each_direction_by_itself() {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        let output = near.try_clone().unwrap();
        let (mut link, output) = over(near.into(), output.into()).unwrap();
        drop(link.outbound);
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
        far.write_all(b"still heard").unwrap();
        assert_eq!(
            link.inbound.blocking_recv().unwrap().unwrap(),
            "still heard"
        );
        output.finish().unwrap();
        drop(far);
        assert!(link.inbound.blocking_recv().is_none());
    }

    #[test]
    fn an_unread_output_stops_the_sender() {
        let (link, _output, far_output, far_input) = piped();
        let chunk = Bytes::from(vec![0; 1 << 20]);
        // The pipe takes one, the writer holds one, the queue the rest: a send
        // beyond that has to fail however long the writer is given.
        let mut sent = 0;
        while sent <= OUTBOUND_CHUNKS_MAX + 2 && link.outbound.try_send(chunk.clone()).is_ok() {
            sent += 1;
        }
        assert!(sent <= OUTBOUND_CHUNKS_MAX + 2, "{sent} chunks accepted");
        drop((far_output, far_input));
    }
}
