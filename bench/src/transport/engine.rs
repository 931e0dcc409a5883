//! The two sides of the engine, over a ZFS that is none.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engine::event::{Event, Observer};
use engine::helper::join::{self, Door, Hall, JoinFolder, Opening};
use engine::helper::{Authorization, Helper, Workers, Workforce, serve};
use engine::limit::Limiter;
use engine::name::{DatasetName, ShortName};
use engine::peer::{Connections, Parallel, Peer};
use engine::protocol::hello::About;
use engine::replicate::{Job, OnConflict, Placement, SnapshotChoice, replicate};
use engine::stream::compress::Compression;
use engine::transport::ssh::server::{
    HostKey, Server, ServerEvent, ServerOptions, Service, Watcher,
};
use engine::transport::ssh::{self, Identity, SshEndpoint, SshOptions};
use engine::transport::{local, stdio};
use engine::zfs::{Scope, SendMode};
use tokio::sync::mpsc;

use super::parts::{Driver, leave, say_port};
use super::synthetic::{SHORT, SOURCE, Synthetic, TARGET};

const PATIENCE: Duration = Duration::from_secs(60);

struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

fn about(node: &str) -> About {
    About {
        program: "bench".to_owned(),
        node: node.to_owned(),
        platform: String::new(),
        images: Vec::new(),
        clock: None,
    }
}

fn end(node: &str, zfs: Arc<Synthetic>, door: Option<Door>) -> Helper {
    Helper {
        zfs,
        authorization: Authorization::everything(),
        states: None,
        claims: None,
        door,
        about: about(node),
        patience: PATIENCE,
        workforce: Workforce::default(),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .thread_name("transfer")
        .enable_all()
        .build()?)
}

/// Behind `sshd`, as `zferry helper` is.
pub fn helper(report: &Path, state: &Path) -> Result<()> {
    let folder = JoinFolder::below(state);
    let (input, output) = stdio::take()?;
    let first = match join::opening(&input, PATIENCE)? {
        Opening::Join(token) => return Ok(join::join(&folder, &token, input, output)?),
        Opening::Conversation(first) => first,
    };
    let zfs = Arc::new(Synthetic::Target(Mutex::default()));
    let far = end("target", Arc::clone(&zfs), Some(Door::Folder(folder)));
    let output = runtime()?.block_on(async {
        let (link, output) = stdio::over_after(first.into(), input, output)?;
        Box::pin(serve(link, far)).await?;
        anyhow::Ok(output)
    })?;
    output.finish()?;
    leave(report, &received(&zfs)?)
}

fn received(zfs: &Synthetic) -> Result<blake3::Hash> {
    let Synthetic::Target(hash) = zfs else {
        unreachable!("it was made a target");
    };
    let hash = hash.lock().expect("nobody panics");
    hash.context("nothing was received")
}

/// With our own SSH server, as `zferry listen` is, until one conversation has
/// ended.
pub fn listen(report: &Path, user: &Path, known_hosts: &Path, address: Ipv4Addr) -> Result<()> {
    let listener = TcpListener::bind((address, 0))?;
    let host = user.with_extension("host");
    let keys = user.with_extension("authorized");
    for old in [user, &host, &keys] {
        let _ = std::fs::remove_file(old);
    }
    let (user, host) = (HostKey::create(user)?, HostKey::create(&host)?);
    std::fs::write(
        &keys,
        format!("allow=\"{TARGET}\" {}\n", user.public_line()),
    )?;
    std::fs::set_permissions(&keys, Permissions::from_mode(0o600))?;
    let address = listener.local_addr()?;
    std::fs::write(
        known_hosts,
        format!(
            "[{}]:{} {}\n",
            address.ip(),
            address.port(),
            host.public_line()
        ),
    )?;
    let zfs = Arc::new(Synthetic::Target(Mutex::default()));
    let (hall, target) = (Hall::default(), Arc::clone(&zfs));
    let service: Service = Arc::new(move |link, _| {
        let (hall, target) = (hall.clone(), Arc::clone(&target));
        Box::pin(async move {
            let (token, link) = join::opening_of(link, PATIENCE).await;
            if let Some(token) = token {
                let joined = hall.join(&token, link).await;
                return joined.map_err(|error| error.to_string());
            }
            let far = end("target", target, Some(Door::Hall(hall)));
            let served = Box::pin(serve(link, far)).await;
            served.map_err(|error| error.to_string())
        })
    });
    let options = ServerOptions::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let watcher: Watcher = Arc::new(move |event| drop(tell.send(event)));
    let server = Server::new(host, keys, options, service, watcher)?;
    // The keys are there by now.
    say_port(&listener)?;
    listener.set_nonblocking(true)?;
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let accepting = tokio::spawn(server.serve(listener));
        let mut under_way = 0;
        while let Some(event) = told.recv().await {
            match event {
                ServerEvent::Started { .. } => under_way += 1,
                ServerEvent::Ended { why: None, .. } => under_way -= 1,
                other => bail!("{other}"),
            }
            if under_way == 0 {
                break;
            }
        }
        accepting.abort();
        anyhow::Ok(())
    })?;
    leave(report, &received(&zfs)?)
}

pub fn drive(driver: &Driver) -> Result<()> {
    let compression = match driver.compression.as_str() {
        "auto" => Compression::Adaptive,
        "off" => Compression::Off,
        level => Compression::Level(level.parse()?),
    };
    let job = Job {
        loss: engine::plan::Loss::default(),
        intermediary: engine::plan::Intermediary::Skip,
        on_conflict: OnConflict::Refuse,
        base: engine::hold::BaseHold::default(),
        source: DatasetName::parse(SOURCE)?,
        target: DatasetName::parse(TARGET)?,
        snapshot: SnapshotChoice::Existing(ShortName::parse(SHORT)?),
        scope: Scope::One,
        mode: SendMode::Plain,
        placement: Placement::TwoMachines,
        compression,
        workers: match driver.workers.as_str() {
            "auto" => Workers::Auto,
            number => Workers::Exactly(number.parse()?),
        },
        // Limits here have no times, and ask no clock.
        limiter: driver
            .bandwidth_limit
            .clone()
            .map(|limit| Limiter::new(limit, Arc::new(Default::default))),
        rehearsal: false,
    };
    let endpoint = SshEndpoint::new(&driver.user, &driver.host, driver.port)?;
    let options = SshOptions {
        identities: vec![Identity::Named(driver.key.clone())],
        known_hosts: vec![driver.known_hosts.clone()],
        ..SshOptions::default()
    };
    let connections = match driver.connections.as_str() {
        "auto" => Connections::Auto,
        number => Connections::Exactly(number.parse()?),
    };
    let way = ssh::Route {
        endpoint,
        options,
        command: driver.command.clone(),
    };
    runtime()?.block_on(async {
        let (near, far) = local::pair();
        let zfs = Arc::new(Synthetic::Source(driver.file.clone()));
        tokio::spawn(serve(far, end("source", zfs, None)));
        let about = about("driver");
        let mut source = Peer::greet("source", near, &about, PATIENCE).await?;
        let link = ssh::connect(&way.endpoint, &way.options, &way.command).await?;
        let target = Peer::greet("target", link, &about, PATIENCE).await?;
        let parallel = Parallel {
            connections,
            transfers: 1,
        };
        let mut target = target.with_more(Arc::new(way), parallel);
        Box::pin(replicate(&job, &mut source, &mut target, &Silent)).await?;
        // Only what has ended can be asked for what it took.
        target.close().await?;
        anyhow::Ok(())
    })?;
    leave(&driver.report, &blake3::hash(&[]))
}
