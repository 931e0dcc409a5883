//! `zferry listen`: helpers for other machines, over our own SSH server.
//!
//! Like `zferry helper` behind `sshd`, in one process: what a helper may touch
//! is in the line of the key that started it. A signal ends it and all its
//! connections at once; drivers see a lost connection and try again.

use std::net::SocketAddr;
use std::sync::Arc;

use engine::error::Family;
use engine::helper::join::{self, Door, Hall};
use engine::helper::{self, Authorization, ClaimFolder, StateKeeper, Workforce, serve};
use engine::image::Image;
use engine::sync::state::StateStore;
use engine::transport::Link;
use engine::transport::ssh::SSH_PORT;
use engine::transport::ssh::server::{
    AuthorizedKey, HostKey, Server, ServerError, ServerOptions, Service, Watcher,
};
use engine::zfs::Absent;
use tokio::net::TcpListener;

use super::Context;
use crate::args::listen::Listen;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::Machine;

/// What every helper of this process works with.
struct Shared {
    machine: Machine,
    images: Vec<Image>,
    node: String,
    states: Arc<dyn StateKeeper>,
    claims: ClaimFolder,
    /// Where connections find the conversation that they belong to.
    hall: Hall,
    args: Listen,
}

/// Runs the command until a signal drops it.
pub async fn run(context: &Context, args: Listen) -> Result<Outcome, Failure> {
    let host_key = if args.new_host_key {
        HostKey::create(&args.host_key)?
    } else {
        HostKey::read(&args.host_key)?
    };
    let images = context.images()?;
    let mut states = StateStore::new(&context.global.state);
    if let Some(dir) = &args.legacy_state {
        states = states.with_legacy(dir.clone(), environment::zone());
    }
    let options = ServerOptions {
        login_max: args.connect_timeout,
        dscp: args.marks.dscp,
        ..ServerOptions::default()
    };
    let (addresses, keys) = (args.address.clone(), args.authorized_keys.clone());
    let shared = Arc::new(Shared {
        machine: Machine::new(images.clone()),
        images,
        node: context.node_text(),
        states: Arc::new(states),
        claims: ClaimFolder::below(&context.global.state),
        hall: Hall::default(),
        args,
    });
    let console = context.console;
    // Images are opened once, now: another process that has them is told here.
    if let Err(missing) = shared.machine.open().await {
        if !shared.images.is_empty() {
            return Err(missing.into());
        }
        console.notice(&format!(
            "{missing}; connections are told so until there is one"
        ));
    }
    let service: Service =
        Arc::new(move |link, key| Box::pin(help(Arc::clone(&shared), link, key)));
    let watcher: Watcher = Arc::new(move |event| console.notice(&event.to_string()));
    let server = Server::new(host_key.clone(), keys, options, service, watcher)?;
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| not_bound(address, &error))?;
        let bound = listener.local_addr().unwrap_or(address);
        console.notice(&format!(
            "listening on {bound}; for known_hosts of the others: {} {}",
            known_as(bound),
            host_key.public_line()
        ));
        listeners.push(listener);
    }
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(Arc::clone(&server).serve(listener)))
        .collect();
    for task in accepting {
        // None of them ends.
        let _ = task.await;
    }
    Ok(Outcome {
        exit: Exit::Done,
        human: String::new(),
        json: serde_json::Value::Null,
        failures: Vec::new(),
    })
}

/// Serves one connection.
async fn help(shared: Arc<Shared>, link: Link, key: AuthorizedKey) -> Result<(), String> {
    let (token, link) = join::opening_of(link, shared.args.connect_timeout).await;
    if let Some(token) = token {
        let joined = shared.hall.join(&token, link).await;
        return joined.map_err(|error| error.to_string());
    }
    let zfs = shared.machine.open().await;
    let zfs = zfs.unwrap_or_else(|missing| Arc::new(Absent(*missing.error)));
    let helper = helper::Helper {
        zfs,
        authorization: Authorization::only(key.allow),
        states: Some(Arc::clone(&shared.states)),
        claims: Some(shared.claims.clone()),
        door: Some(Door::Hall(shared.hall.clone())),
        about: environment::about(&shared.node, &shared.images),
        patience: shared.args.connect_timeout,
        workforce: Workforce::default(),
    };
    Box::pin(serve(link, helper)).await.map_err(|error| {
        let failure = Failure::of(error.family(), &error);
        let causes = failure.causes.iter().map(|cause| format!(": {cause}"));
        failure.message.clone() + &causes.collect::<String>()
    })
}

/// How clients name this address in `known_hosts`.
fn known_as(bound: SocketAddr) -> String {
    let host = if bound.ip().is_unspecified() {
        environment::host_name()
    } else {
        bound.ip().to_string()
    };
    match bound.port() {
        SSH_PORT => host,
        port => format!("[{host}]:{port}"),
    }
}

fn not_bound(address: SocketAddr, error: &std::io::Error) -> Failure {
    let failure = Failure::new(
        Family::Failed,
        format!("cannot listen on {address}: {error}"),
    );
    match error.kind() {
        std::io::ErrorKind::AddrInUse => failure.remedy(format!(
            "see who has the port: ss -ltnp 'sport = :{}'",
            address.port()
        )),
        std::io::ErrorKind::PermissionDenied => {
            failure.remedy("take a port above 1023, or give the service CAP_NET_BIND_SERVICE")
        }
        _ => failure.remedy("see which addresses this machine has: ip address"),
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let family = match &error {
            ServerError::Exposed { .. } => Family::Refused,
            ServerError::File { .. } => Family::Failed,
            _ => Family::Usage,
        };
        Self {
            remedies: error.remedies(),
            ..Self::of(family, &error)
        }
    }
}
