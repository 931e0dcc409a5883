//! What a run leaves to know: the state of a resource, on this node and on
//! every target in reach.

use super::conversations::QUESTION_MAX;
use super::error::TargetError;
use super::service::Run;
use super::work::Work;
use crate::event::Event;
use crate::sync::config::{NodeName, TargetKind};
use crate::sync::state::{ResourceState, TargetOf, Trouble, TroubleKind};

impl Work<'_> {
    /// Writes this node's state file, on top of what the targets know: after a
    /// change of roles they may have newer records.
    pub(super) async fn record(&self, run: &Run<'_>) -> Option<ResourceState> {
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
            let parsed = theirs.and_then(|text| ResourceState::from_json(text.as_bytes()).ok());
            if let Some(theirs) = parsed {
                // Of another resource: it is not merged, and ours replaces it.
                let _ = state.merge(&theirs);
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
        match sync.states.write(&state) {
            Ok(written) => Some(written.state),
            Err(error) => {
                self.notice(sync.node, error.to_string());
                Some(state)
            }
        }
    }

    pub(super) async fn deliver(&self, run: &Run<'_>, state: &ResourceState) {
        let json = String::from_utf8_lossy(&state.to_json()).into_owned();
        let service = run.sync.service.name().as_str();
        let rid = self.round.resource.rid.as_str();
        let mut undelivered = Vec::new();
        for (target, reached) in &self.targets {
            if target.kind == TargetKind::Local || reached.is_err() {
                continue;
            }
            let delivered = run
                .conversations
                .with(target, Some(QUESTION_MAX), async |_, peer| {
                    let (dst, json) = (target.dst.clone(), json.clone());
                    Ok(peer.put_state(service, rid, dst, json).await?)
                });
            match delivered.await {
                Ok(()) => {}
                Err(TargetError::Peer(error)) => {
                    undelivered.push((error.peer, error.cause.to_string()));
                }
                Err(error) => undelivered.push((target.node.to_string(), error.to_string())),
            }
        }
        for (peer, why) in undelivered {
            let text = format!("the state could not be delivered: {why}");
            self.round.observer.event(&Event::Notice { peer, text });
        }
    }

    fn notice(&self, node: &NodeName, text: String) {
        self.round.observer.event(&Event::Notice {
            peer: node.to_string(),
            text,
        });
    }
}
