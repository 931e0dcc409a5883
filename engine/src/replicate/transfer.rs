//! One transfer: frames go from one peer to another, unopened.
//!
//! The driver asks the target to get ready, asks the source to send, and passes
//! frames on. It looks at headers only; what is in the frames is between the
//! two helpers. The target's answer decides: an end frame that was passed on
//! proves nothing.
//!
//! When one side fails the other is told to stop and both are left ready for
//! the next request, so that the failure of one dataset does not cost the
//! connections. If both fail, the target's reason is the cause to report: a
//! sender whose receiver went away only knows that it did. Stopping has a limit
//! of seconds; a side that does not stop in time (its ZFS hangs) is given up.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::meter::{Meter, Wait};
use super::pace::Pace;
use crate::event::Observer;
use crate::helper::Workers;
use crate::limit::Limiter;
use crate::peer::wire::{Gone, WireError};
use crate::peer::{Peer, PeerCause, PeerError, Stalled};
use crate::plan::DatasetPlan;
use crate::protocol::failure::{Abort, Failure};
use crate::protocol::message::{Reply, Request};
use crate::stream::compress::Compression;
use crate::stream::frame::{Frame, Kind};
use crate::stream::outbound::StreamEnd;
use crate::zfs::PropertyRefusal;

/// What a transfer moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Bytes of the ZFS stream.
    pub raw_bytes: u64,
    /// Bytes on the wire, headers included.
    pub wire_bytes: u64,
    /// Properties that the target did not take.
    pub refused: Vec<PropertyRefusal>,
    /// What [`Compression::Adaptive`] came to, as the source tells.
    pub came_to: Option<Compression>,
}

impl Moved {
    /// Together with what another transfer of the same dataset moved.
    pub(crate) fn add(&mut self, more: Self) {
        self.raw_bytes += more.raw_bytes;
        self.wire_bytes += more.wire_bytes;
        // The same properties go with each.
        self.refused = more.refused;
        self.came_to = more.came_to.or(self.came_to);
    }
}

/// The two ends of a transfer.
pub(crate) struct Ends<'a> {
    pub source: &'a mut Peer,
    pub target: &'a mut Peer,
}

/// How a transfer is carried out.
#[derive(Clone)]
pub(crate) struct Manner<'a> {
    pub compression: Compression,
    /// On each side.
    pub workers: Workers,
    /// Shared with other transfers.
    pub limiter: Option<Arc<Limiter>>,
    pub observer: &'a dyn Observer,
}

/// Sends what `plan` says. Its step must not be `UpToDate`.
///
/// After success the target has the snapshot. After an error it does not,
/// unless the connection broke between ZFS's success and the answer; the next
/// run then finds it by its guid.
pub(crate) async fn transfer(
    ends: &mut Ends<'_>,
    plan: &DatasetPlan,
    manner: Manner<'_>,
) -> Result<Moved, PeerError> {
    let Some(request) = plan.send_request() else {
        return Ok(Moved::default());
    };
    let until = ends.source.limits.transfers_until;
    if until.is_some_and(|until| until <= Instant::now()) {
        return Err(out_of_time(ends.source));
    }
    let number = ends.source.next_transfer();
    let told = |peer: &Peer| manner.workers.told().filter(|_| peer.workers.is_some());
    let receive = Request::Receive {
        request: plan.receive_request(),
        transfer: number,
        to_guid: plan.guid,
        from_guid: plan.base_guid(),
        workers: told(ends.target),
    };
    ends.target.request(&receive).await?;
    match ends.target.reply().await? {
        Reply::Ready => {}
        _ => {
            return Err(ends
                .target
                .confused("it should have become ready to receive"));
        }
    }
    let asked = ends
        .source
        .request(&Request::Send {
            request,
            transfer: number,
            compression: manner.compression,
            workers: told(ends.source),
        })
        .await;
    let mut switch = Switch {
        number,
        moved: Moved::default(),
        moved_at: Instant::now(),
        meter: Meter::new(ends, plan, manner.observer),
        pace: Pace::new(manner.limiter),
    };
    match asked {
        Ok(()) => switch.run(ends).await,
        Err(error) => switch.give_up(ends, error).await,
    }
}

struct Switch<'a> {
    number: u64,
    moved: Moved,
    /// When a frame came or went last.
    moved_at: Instant,
    meter: Meter<'a>,
    pace: Pace,
}

/// What came first.
enum Next {
    FromSource(Result<Option<Frame>, WireError>),
    FromTarget(Result<Option<Frame>, WireError>),
    Sent(Result<(), Gone>),
    OutOfTime,
    Stalled,
    Held,
    Tell,
}

impl Switch<'_> {
    async fn run(&mut self, ends: &mut Ends<'_>) -> Result<Moved, PeerError> {
        let mut waiting: Option<Frame> = None;
        loop {
            let held = self.pace.held_until();
            let wait = match (&waiting, held) {
                (None, _) => Wait::Frame,
                (Some(_), Some(_)) => Wait::Limit,
                (Some(_), None) => Wait::Room,
            };
            let next = {
                let limits = ends.source.limits;
                let stalls_at = limits.stall_max.map(|most| self.moved_at + most);
                let (source, target) = (&mut ends.source.reader, &mut ends.target.reader);
                let writer = &ends.target.writer;
                let tell = self.meter.due();
                tokio::select! {
                    biased;
                    early = target.next() => Next::FromTarget(early),
                    permit = writer.reserve(), if wait == Wait::Room => {
                        Next::Sent(permit.map(|permit| pass(permit, waiting.take())))
                    }
                    () = over(limits.transfers_until) => Next::OutOfTime,
                    () = over(held), if wait == Wait::Limit => Next::Held,
                    () = over(stalls_at), if wait != Wait::Limit => Next::Stalled,
                    () = tell => Next::Tell,
                    frame = source.next(), if waiting.is_none() => Next::FromSource(frame),
                }
            };
            self.meter.waited(wait, ends);
            match next {
                Next::Tell => self.meter.tell(&self.moved),
                // Whoever is held back does not stand still.
                Next::Held => self.moved_at = Instant::now(),
                Next::Sent(Ok(())) => {
                    self.moved_at = Instant::now();
                    self.pace.passed();
                }
                Next::Sent(Err(Gone)) => {
                    let cause = ends.target.reader.cause_of_end().await;
                    let error = ends.target.broken(cause);
                    return self.stop_source(ends, error).await;
                }
                Next::OutOfTime => {
                    let error = out_of_time(ends.source);
                    return self.cut(ends, error).await;
                }
                Next::Stalled => {
                    let error = self.stalled(ends, waiting.is_some());
                    return self.cut(ends, error).await;
                }
                Next::FromTarget(reply) => {
                    let error = early_answer(ends.target, reply);
                    let error = self.stop_source(ends, error).await;
                    // The target drops frames until it is told that no more come.
                    let told = ends.target.writer.send(self.abort("the target failed"));
                    let most = ends.target.limits.cut_max;
                    if timeout(most, told).await.is_err() {
                        ends.target.give_up(Stalled::Unknown, most);
                    }
                    return error;
                }
                Next::FromSource(frame) => match self.sort(ends.source, frame) {
                    Ok(frame) if frame.header.kind == Kind::End => {
                        return self.end(ends, frame).await;
                    }
                    Ok(frame) => {
                        self.moved_at = Instant::now();
                        self.count(&frame);
                        self.pace.book(&frame);
                        waiting = Some(frame);
                    }
                    Err(error) => return self.give_up(ends, error).await,
                },
            }
        }
    }

    /// Accepts what may come from the source during a transfer.
    fn sort(
        &self,
        source: &Peer,
        frame: Result<Option<Frame>, WireError>,
    ) -> Result<Frame, PeerError> {
        let frame = frame
            .map_err(|error| source.broken(error))?
            .ok_or_else(|| source.broken(WireError::Closed))?;
        match frame.header.kind {
            Kind::Message => match source.read_reply(&frame) {
                Err(error) => Err(error),
                Ok(_) => Err(source.confused("stream data was due")),
            },
            _ if frame.header.transfer != self.number => {
                Err(source.confused("stream data of another transfer came"))
            }
            Kind::Data | Kind::End => Ok(frame),
            Kind::Heartbeat => Err(source.confused("stream data was due")),
            Kind::Abort => Err(match read_abort(&frame) {
                Some(failure) => PeerError::new(&source.name, failure),
                None => source.confused("it stopped and gave no valid reason"),
            }),
        }
    }

    fn count(&mut self, frame: &Frame) {
        self.moved.raw_bytes += frame.header.raw_bytes as u64;
        self.moved.wire_bytes += frame.wire_bytes() as u64;
        self.meter.tell(&self.moved);
    }

    /// The whole stream has come: its end goes to the target, whose verdict
    /// counts.
    async fn end(&mut self, ends: &mut Ends<'_>, end: Frame) -> Result<Moved, PeerError> {
        self.moved.came_to = StreamEnd::came_to(&end);
        let sent = ends.target.writer.send(end);
        let sent = self.meter.watch(&self.moved, sent);
        let sent = match ends.target.limits.stall_max {
            None => sent.await,
            Some(waited) => match timeout(waited, sent).await {
                Ok(sent) => sent,
                Err(_) => {
                    let why = Stalled::while_receiving(ends.target.reader.pulse());
                    return Err(ends.target.give_up(why, waited));
                }
            },
        };
        if sent.is_err() {
            let cause = ends.target.reader.cause_of_end().await;
            return Err(ends.target.broken(cause));
        }
        self.answer(ends.target).await
    }

    /// Nothing has moved for too long; whose fault it is, the helpers' last
    /// heartbeats tell.
    fn stalled(&self, ends: &Ends<'_>, frame_waits: bool) -> PeerError {
        let (peer, why) = if frame_waits {
            let pulse = ends.target.reader.pulse();
            (&ends.target, Stalled::while_receiving(pulse))
        } else {
            let pulse = ends.source.reader.pulse();
            (&ends.source, Stalled::while_sending(pulse))
        };
        let waited = self.moved_at.elapsed();
        PeerError::new(&peer.name, PeerCause::Stalled { why, waited })
    }

    /// Stops both sides because of `error`.
    async fn cut(&self, ends: &mut Ends<'_>, error: PeerError) -> Result<Moved, PeerError> {
        let told = self.abort(&error.cause.to_string());
        futures_util::future::join(stop_sending(ends.source), stop_receiving(ends.target, told))
            .await;
        Err(error)
    }

    /// The target's verdict, after the end frame.
    async fn answer(&mut self, target: &mut Peer) -> Result<Moved, PeerError> {
        let answered = self.meter.watch(&self.moved, target.reply()).await;
        match answered? {
            Reply::Received { raw_bytes, refused } if raw_bytes == self.moved.raw_bytes => {
                Ok(Moved {
                    refused,
                    ..self.moved.clone()
                })
            }
            Reply::Received { .. } => {
                Err(target.confused("it received another number of bytes than was sent"))
            }
            _ => Err(target.confused("the result of the transfer was due")),
        }
    }

    /// The source failed: the target is told, and its answer (that it received
    /// nothing) is taken off the line.
    async fn give_up(&self, ends: &mut Ends<'_>, error: PeerError) -> Result<Moved, PeerError> {
        stop_receiving(ends.target, self.abort(&error.to_string())).await;
        Err(error)
    }

    /// The target failed: the source is told, and what it still sends is
    /// taken off the line.
    async fn stop_source(&self, ends: &mut Ends<'_>, error: PeerError) -> Result<Moved, PeerError> {
        stop_sending(ends.source).await;
        Err(error)
    }

    fn abort(&self, reason: &str) -> Frame {
        let failure = Failure::Internal(reason.to_owned());
        let text = serde_json::to_vec(&Abort { failure }).expect("plain data");
        Frame::stored(Kind::Abort, self.number, 0, &text)
    }
}

/// Tells the source to stop, and takes what it still sends off the line. If it
/// does not stop in time it is given up.
async fn stop_sending(source: &mut Peer) {
    let most = source.limits.cut_max;
    let stopped = async {
        if source.request(&Request::Cancel).await.is_ok() {
            while let Ok(Some(frame)) = source.reader.next().await {
                if matches!(frame.header.kind, Kind::End | Kind::Abort | Kind::Message) {
                    break;
                }
            }
        }
    };
    if timeout(most, stopped).await.is_err() {
        source.give_up(Stalled::while_sending(source.reader.pulse()), most);
    }
}

/// Tells the target that no more comes, and takes its answer off the line (that
/// it received nothing). If it does not answer in time it is given up.
async fn stop_receiving(target: &mut Peer, told: Frame) {
    let most = target.limits.cut_max;
    let stopped = async {
        if target.writer.send(told).await.is_ok() {
            let _ = target.reply().await;
        }
    };
    if timeout(most, stopped).await.is_err() {
        target.give_up(Stalled::while_receiving(target.reader.pulse()), most);
    }
}

/// Ends then; never without a limit.
async fn over(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn out_of_time(source: &Peer) -> PeerError {
    PeerError::new(&source.name, PeerCause::OutOfTime)
}

fn pass(permit: mpsc::Permit<'_, bytes::Bytes>, frame: Option<Frame>) {
    if let Some(frame) = frame {
        permit.send(frame.into_wire());
    }
}

/// Whatever the target says before the end frame is a failure.
fn early_answer(target: &Peer, reply: Result<Option<Frame>, WireError>) -> PeerError {
    match reply {
        Ok(Some(frame)) => match target.read_reply(&frame) {
            Err(error) => error,
            Ok(_) => target.confused("it answered before the stream had ended"),
        },
        Ok(None) => target.broken(WireError::Closed),
        Err(error) => target.broken(error),
    }
}

fn read_abort(frame: &Frame) -> Option<Failure> {
    let payload = frame.verified_payload().ok()?;
    serde_json::from_slice::<Abort>(payload)
        .ok()
        .map(|abort| abort.failure.made_printable())
}
