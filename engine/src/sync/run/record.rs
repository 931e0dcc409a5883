//! What a run leaves to know: the state of a resource, on this node and on
//! every target in reach.

use super::Sync;
use super::conversations::Conversations;
use super::service::Work;
use crate::event::Event;
use crate::sync::config::{NodeName, TargetKind};
use crate::sync::state::{ResourceState, TargetOf, Trouble};

impl Work<'_> {
    /// Writes this node's state file, on top of what the targets know: after a
    /// change of roles they may have newer records.
    pub(super) async fn record(
        &mut self,
        sync: &Sync<'_>,
        conversations: &mut Conversations<'_>,
    ) -> Option<ResourceState> {
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
            let Ok(mut peer) = conversations.take(target).await else {
                continue;
            };
            let theirs = peer.get_state(service.as_str(), rid.as_str()).await;
            let Ok(theirs) = theirs else { continue };
            conversations.keep(target, peer);
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
            if let Err(error) = reached {
                let trouble = Trouble {
                    kind: error.trouble(),
                    message: error.to_string(),
                    since: (sync.clock)(),
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

    pub(super) async fn deliver(
        &mut self,
        sync: &Sync<'_>,
        conversations: &mut Conversations<'_>,
        state: &ResourceState,
    ) {
        let json = String::from_utf8_lossy(&state.to_json()).into_owned();
        let service = sync.service.name().as_str();
        let rid = self.round.resource.rid.as_str();
        let mut undelivered = Vec::new();
        for (target, reached) in &self.targets {
            if target.kind == TargetKind::Local || reached.is_err() {
                continue;
            }
            let mut peer = match conversations.take(target).await {
                Ok(peer) => peer,
                Err(error) => {
                    undelivered.push((target.node.to_string(), error.to_string()));
                    continue;
                }
            };
            let delivered = peer
                .put_state(service, rid, target.dst.clone(), json.clone())
                .await;
            match delivered {
                Ok(()) => conversations.keep(target, peer),
                Err(error) => undelivered.push((error.peer, error.cause.to_string())),
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
