//! What a run leaves to know: the state of a resource, on this node and on
//! every target in reach.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::conversations::QUESTION_MAX;
use super::error::TargetError;
use super::service::Run;
use super::work::Work;
use crate::event::Event;
use crate::sync::config::{NodeName, ServiceName, TargetKind};
use crate::sync::state::{ResourceState, StateFault, TargetOf, Trouble, TroubleKind};

/// How long a node that gets no data may take to learn of the state: it must
/// not hold up a run that has done its work.
const INFORM_MAX: Duration = Duration::from_secs(10);

/// What is written down of a run.
pub(super) struct Recorded {
    state: ResourceState,
    /// Targets whose answers are about something else.
    refused: Vec<NodeName>,
}

impl Work<'_> {
    /// Writes this node's state file, on top of what the targets know: after a
    /// change of roles they may have newer records.
    ///
    /// A target that answers for another service is not what the configuration
    /// takes it for: that is told, and it is in `refused`.
    pub(super) async fn record(&self, run: &Run<'_>) -> Recorded {
        let mut refused = Vec::new();
        let sync = run.sync;
        let rid = &self.round.resource.rid;
        let service = sync.service.name();
        let mut state = match sync.states.read(service, rid) {
            Ok(state) => state,
            Err(error) => {
                self.notice(sync.node, error.to_string());
                None
            }
        }
        .unwrap_or_else(|| ResourceState::new(service.clone(), rid.clone()));
        for (target, reached) in &self.targets {
            if reached.is_err() {
                continue;
            }
            // What it has received it has, whether it answers now or not.
            let asked = run
                .conversations
                .with(target, Some(QUESTION_MAX), async |_, peer| {
                    Ok(peer.get_state(service.as_str(), rid.as_str()).await?)
                });
            let Ok(theirs) = asked.await else { continue };
            let Some(theirs) = theirs else { continue };
            let merged = ResourceState::of_peer(theirs.as_bytes(), service, rid)
                .and_then(|theirs| state.merge(&theirs));
            if let Err(fault) = merged {
                let text = format!("the state that it tells of {rid} is not taken over: {fault}");
                self.notice(&target.node, text);
                if matches!(fault, StateFault::OtherResource { .. }) {
                    refused.push(target.node.clone());
                }
            }
        }
        for ((target, reached), synced) in self.targets.iter().zip(&self.synced) {
            let of = TargetOf {
                node: target.node.clone(),
                kind: target.kind,
                sender: sync.node.clone(),
            };
            if let Some(synced) = synced {
                state.record_synced(of.clone(), synced.clone());
            }
            let of_resource = self.failure.as_ref().filter(|_| synced.is_none());
            let trouble = match (reached, of_resource) {
                (Err(error), _) => Some((error.trouble(), error.to_string())),
                (Ok(()), Some(error)) => Some((TroubleKind::Failed, error.to_string())),
                (Ok(()), None) => None,
            };
            if let Some((kind, message)) = trouble {
                let since = (sync.clock)();
                let trouble = Trouble {
                    kind,
                    message,
                    since,
                };
                state.record_trouble(of, trouble);
            }
        }
        let state = match sync.states.write(&state) {
            Ok(written) => {
                let file = sync.states.file(service, rid);
                self.tell_written(sync.node.to_string(), service, Some(file));
                written.state
            }
            Err(error) => {
                self.notice(sync.node, error.to_string());
                state
            }
        };
        Recorded { state, refused }
    }

    /// Gives the state to every target in reach, but for those that answered
    /// for another service, and to the nodes that are to be informed.
    pub(super) async fn deliver(&self, run: &Run<'_>, recorded: &Recorded) {
        let Recorded { state, refused } = recorded;
        let json = String::from_utf8_lossy(&state.to_json()).into_owned();
        let service = run.sync.service.name().as_str();
        let rid = self.round.resource.rid.as_str();
        let mut undelivered = Vec::new();
        for (target, reached) in &self.targets {
            let is_refused = refused.contains(&target.node);
            if target.kind == TargetKind::Local || reached.is_err() || is_refused {
                continue;
            }
            let delivered = run
                .conversations
                .with(target, Some(QUESTION_MAX), async |_, peer| {
                    let (dst, json) = (target.dst.clone(), json.clone());
                    Ok(peer.put_state(service, rid, dst, json).await?)
                });
            match delivered.await {
                Ok(()) => {
                    let service = run.sync.service.name();
                    self.tell_written(target.node.to_string(), service, None);
                }
                Err(TargetError::Peer(error)) => {
                    undelivered.push((error.peer, error.cause.to_string()));
                }
                Err(error) => undelivered.push((target.node.to_string(), error.to_string())),
            }
        }
        let told = self.round.sends.informed.iter().map(async |node| {
            let (dst, json) = (node.dst.clone(), json.clone());
            let telling = async {
                let mut peer = run.sync.connector.reach(node).await?;
                peer.put_state(service, rid, dst, json).await?;
                Ok::<(), TargetError>(())
            };
            match timeout(INFORM_MAX, telling).await {
                Ok(told) => (node, told.map_err(|error| error.to_string())),
                Err(_) => (node, Err(format!("no answer within {INFORM_MAX:?}"))),
            }
        });
        for (node, told) in join_all(told).await {
            match told {
                Ok(()) => {
                    self.tell_written(node.node.to_string(), run.sync.service.name(), None);
                }
                Err(why) => undelivered.push((node.node.to_string(), why)),
            }
        }
        for (peer, why) in undelivered {
            let text = format!("the state could not be delivered: {why}");
            self.round.observer.event(&Event::Notice { peer, text });
        }
    }

    fn tell_written(&self, peer: String, service: &ServiceName, file: Option<PathBuf>) {
        let brought = self.synced.iter().flatten().next();
        self.round.observer.event(&Event::StateWritten {
            peer,
            resource: format!("{service} {}", self.round.resource.rid),
            file,
            guid: brought.map(|synced| synced.guid),
        });
    }

    fn notice(&self, node: &NodeName, text: String) {
        self.round.observer.event(&Event::Notice {
            peer: node.to_string(),
            text,
        });
    }
}
