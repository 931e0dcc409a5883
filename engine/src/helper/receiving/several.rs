//! The part of a receive that several workers verify and unpack.
//!
//! A frame's place is checked as it arrives, and the frame handed to the
//! workers while there is room. When there is none, or no frame has come, the
//! oldest block is taken from them, its records are checked, and the block before
//! it written: nothing that is verified lies around while the connection is
//! idle, but for the last block. Whatever ends the stream, what came before it is
//! dealt with first, as if there were one block at a time.

use std::thread;

use bytes::Bytes;

use super::{Feeding, Receiving, Stop};
use crate::helper::crew::{self, Dealer, Taker};
use crate::helper::workforce::Hired;
use crate::protocol::failure::Failure;
use crate::protocol::pulse::WaitsFor;
use crate::stream::frame::{Frame, FrameError, Header, Kind};
use crate::stream::inbound::Unpacker;

type Unpacked = (Header, Result<Bytes, FrameError>);

impl Receiving {
    /// Feeds ZFS the rest of the stream: the bytes of all of it. `None` if there
    /// were no threads to be had: nothing has happened then.
    pub(super) fn by_several(
        &mut self,
        hired: &Hired,
        mut feeding: Feeding<'_>,
    ) -> Option<Result<u64, Stop>> {
        let unpackers = (0..hired.count()).map(|_| Unpacker::new(&self.pool));
        let unpackers: Vec<Unpacker> = unpackers.collect::<Result<_, _>>().ok()?;
        let workers = unpackers.into_iter().map(|mut unpacker| {
            move |frame: Frame| -> Unpacked {
                hired.begins();
                (frame.header, unpacker.unpack(&frame))
            }
        });
        thread::scope(|scope| {
            let (mut dealer, mut taker) = crew::start(scope, workers.collect()).ok()?;
            Some(self.feed_all(&mut dealer, &mut taker, &mut feeding))
        })
    }

    fn feed_all(
        &mut self,
        dealer: &mut Dealer<Frame>,
        taker: &mut Taker<Unpacked>,
        feeding: &mut Feeding<'_>,
    ) -> Result<u64, Stop> {
        loop {
            let come = match dealer.under_way() {
                0 => Some(self.next_frame()),
                _ if dealer.has_room() => self.waiting_frame(),
                _ => None,
            };
            let Some(come) = come else {
                self.feed_one(taker, feeding)?;
                continue;
            };
            let ends = match come {
                Ok(frame) if frame.header.kind == Kind::End => Ok(frame),
                Ok(frame) => match feeding.inbound.arrived(&frame) {
                    Ok(()) => {
                        // Should a worker have died, the next result says so.
                        let _ = dealer.deal(frame);
                        continue;
                    }
                    Err(error) => Err(self.damaged(&error)),
                },
                Err(failure) => Err(failure),
            };
            while dealer.under_way() > 0 {
                self.feed_one(taker, feeding)?;
            }
            let end = feeding.inbound.end(&ends?);
            let end = end.map_err(|error| self.damaged(&error))?;
            let whole = feeding.scanner.finish();
            whole.map_err(|error| self.damaged(&error))?;
            self.write(feeding.pipe, feeding.kept)?;
            return Ok(end.raw_bytes);
        }
    }

    /// Takes the oldest block, and writes the one before it.
    fn feed_one(&self, taker: &mut Taker<Unpacked>, feeding: &mut Feeding<'_>) -> Result<(), Stop> {
        self.activity.waits_for(WaitsFor::Processor);
        let died = |error: &dyn std::error::Error| Failure::Internal(error.to_string());
        let taken = taker.take(|_| ()).map_err(|error| died(&error))?;
        let (header, unpacked) = taken.ok_or_else(|| died(&crew::Died))?;
        let block = unpacked.map_err(|error| self.damaged(&error))?;
        feeding.inbound.verified(&header);
        self.scan(feeding.scanner, &block)?;
        self.write(feeding.pipe, feeding.kept)?;
        *feeding.kept = block;
        Ok(())
    }
}
