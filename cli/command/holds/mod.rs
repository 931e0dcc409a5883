//! `zferry holds`: which snapshots zferry keeps from being destroyed, and why.
//!
//! Endpoints → a conversation with each machine → its holds → those of zferry.

mod list;
mod release;

use engine::helper::ClaimFolder;
use engine::hold::{Held, HoldReason};
use engine::peer::Peer;
use serde_json::{Value, json};

use super::Context;
use crate::args::Transfer;
use crate::args::holds::{Action, Holds};
use crate::connect::{Connect, ConnectTrouble};
use crate::endpoint::Endpoint;
use crate::environment;
use crate::failure::Failure;
use crate::output::{Outcome, Verbosity};
use crate::zfs::Machine;

/// Runs the command.
pub async fn run(context: &Context, args: Holds) -> Result<Outcome, Failure> {
    match args.action {
        Action::List(args) => list::run(context, args).await,
        Action::Release(args) => release::run(context, args).await,
    }
}

/// Conversations with the machines of `places`, one for each place.
async fn reach(
    context: &Context,
    transfer: &Transfer,
    places: &[&Endpoint],
) -> Result<Vec<Peer>, Failure> {
    let observer = context.console.observer(Verbosity::Steps);
    let connect = Connect {
        about: environment::about(&context.node_text(), &[]),
        zfs: Machine::new(context.images()?),
        transfer: transfer.clone(),
        states: None,
        claims: ClaimFolder::below(&context.global.state),
        observer: &*observer,
    };
    let mut peers = Vec::with_capacity(places.len());
    for place in places {
        let peer: Result<Peer, ConnectTrouble> = match &place.host {
            None => connect.local().await,
            Some(host) => connect.remote(host).await,
        };
        peers.push(peer?);
    }
    Ok(peers)
}

/// How a snapshot at `place` is written on the command line.
fn shown(place: &Endpoint, held: &Held) -> String {
    let place = Endpoint {
        host: place.host.clone(),
        dataset: held.snapshot.dataset.clone(),
    };
    format!("{place}@{}", held.snapshot.short)
}

/// A hold of ours for programs, with what it is for.
fn value(place: &Endpoint, held: &Held, reason: &HoldReason) -> Value {
    let mut value = json!({
        "host": place.host.as_ref().map(ToString::to_string),
        "snapshot": held.snapshot.to_string(),
        "guid": held.guid.to_string(),
        "tag": held.tag,
        "reason": reason.to_string(),
        "since_seconds": held.since_seconds,
    });
    match reason {
        HoldReason::Run { pid, peer } => {
            value["kind"] = json!("run");
            value["pid"] = json!(pid);
            value["peer"] = json!(peer);
        }
        HoldReason::Resource { service, rid } => {
            value["kind"] = json!("base");
            value["service"] = json!(service);
            value["rid"] = json!(rid.replacen('.', "#", 1));
        }
        HoldReason::Pair { pair } => {
            value["kind"] = json!("base");
            value["pair"] = json!(pair);
        }
        HoldReason::Unknown => value["kind"] = json!("unknown"),
    }
    value
}
