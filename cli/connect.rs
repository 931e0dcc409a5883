//! Conversations with helpers: one in this process for datasets of this
//! machine, others at the end of SSH sessions.
//!
//! Between the command line and the engine: which keys, which host, which
//! remote command. What is found customary (the user's keys and known hosts)
//! is decided here and nowhere else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::error::{Family, RetryClass};
use engine::event::{Event, Observer};
use engine::helper::{self, Authorization, ClaimFolder, StateKeeper, Workforce};
use engine::image::Image;
use engine::peer::wire::WireError;
use engine::peer::{Connections, Parallel, Peer, PeerCause, PeerError};
use engine::protocol::hello::About;
use engine::replicate::{PersistError, Unreachable};
use engine::sync::config::{Connection, Target, duration_text};
use engine::sync::moment::UtcSeconds;
use engine::sync::run::{ConnectFault, Connector, Reaching};
use engine::sync::status::CLOCK_SKEW_MAX;
use engine::transport::ssh::{self, ConnectError, Identity, SSH_PORT, SshEndpoint, SshOptions};
use engine::transport::{LinkError, Reopen, Reopening, local};

use crate::args::Transfer;
use crate::endpoint::Host;
use crate::environment;
use crate::failure::Failure;
use crate::remote_command;
use crate::zfs::{Machine, NoZfs};

/// The keys that OpenSSH tries too, in `~/.ssh`; best first.
const CUSTOMARY_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The host keys that the administrator of this machine trusts.
const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";

/// Opens conversations.
pub struct Connect<'a> {
    /// What this side says about itself.
    pub about: About,
    /// What the command line says about connections.
    pub transfer: Transfer,
    /// ZFS of this machine.
    pub zfs: Machine,
    /// Where the helper of this machine keeps states, if it is asked to.
    pub states: Option<Arc<dyn StateKeeper>>,
    /// Where the helper of this machine claims destinations.
    pub claims: ClaimFolder,
    /// Is told who answered.
    pub observer: &'a dyn Observer,
}

/// More helpers of this machine, in this process.
struct Here(helper::Helper);

impl Reopen for Here {
    fn reopen(&self) -> Reopening<'_> {
        let (near, far) = local::pair();
        tokio::spawn(helper::serve(far, self.0.clone()));
        Box::pin(async { Ok(near) })
    }
}

/// How to reach one machine, everything decided.
struct Route {
    /// Its name in messages.
    name: String,
    way: ssh::Route,
    /// What the helper there has to serve besides its kernel's pools.
    images: Vec<Image>,
}

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum ConnectTrouble {
    /// ZFS of this machine cannot be used.
    #[error(transparent)]
    NoZfs(NoZfs),
    /// Nobody says who logs in.
    #[error("the account on {host} is not known: neither LOGNAME nor USER is set")]
    NoUser { host: String },
    /// SSH does not get there.
    #[error("{}", headline(.0))]
    Ssh(Box<ConnectError>),
    /// There is no helper, or not one for us.
    #[error("{error}")]
    Greeting {
        error: PeerError,
        /// What should have been started.
        command: String,
    },
    /// The helper that answers was not started for our images.
    #[error(
        "the helper on {peer} does not serve the image of pool {}; \
         it was started by another command than the one asked for",
        image.pool()
    )]
    ImageNotServed { peer: String, image: Image },
}

impl ConnectTrouble {
    fn ssh(error: ConnectError) -> Self {
        Self::Ssh(Box::new(error))
    }

    /// The exit-code family.
    pub fn family(&self) -> Family {
        match self {
            Self::NoZfs(error) => error.family(),
            Self::NoUser { .. } => Family::Usage,
            Self::Ssh(error) => ssh_family(error),
            Self::Greeting { error, .. } => error.family(),
            Self::ImageNotServed { .. } => Family::Refused,
        }
    }

    /// What to do next.
    pub fn remedies(&self) -> Vec<String> {
        match self {
            Self::ImageNotServed { peer, image } => vec![format!(
                "if the key is bound to a command in authorized_keys on {peer}, let its owner add \
                 --image {image} there; otherwise see that --remote-command ends where arguments \
                 may follow"
            )],
            Self::NoZfs(error) => error.remedies(),
            Self::NoUser { host } => vec![format!("write USER@{host}")],
            Self::Ssh(error) => match &**error {
                ConnectError::UnknownHostKey(key) => vec![
                    format!(
                        "compare the fingerprint with what this shows on the host itself: {}",
                        key.compare_command()
                    ),
                    format!(
                        "and if they are the same, make the key known: {}",
                        key.command()
                    ),
                ],
                ConnectError::AuthenticationFailed { .. } => vec![
                    "add the public half of a key to ~/.ssh/authorized_keys of that account, or \
                     name another key with --identity"
                        .to_owned(),
                ],
                _ if error.class() == RetryClass::Transient => {
                    vec!["run the same command again when the host can be reached".to_owned()]
                }
                _ => Vec::new(),
            },
            Self::Greeting { error, command } => match &*error.cause {
                PeerCause::Wire(WireError::Link(LinkError::HelperNotFound { .. })) => {
                    vec![format!(
                        "install zferry on {}, or name it with --remote-command '/path/to/zferry \
                         helper' (remote_command in a service's configuration)",
                        error.peer
                    )]
                }
                PeerCause::Wire(
                    WireError::Link(LinkError::RemoteFailed { .. })
                    | WireError::Closed
                    | WireError::Hello(_),
                ) => vec![format!("see what it does on {}: {command}", error.peer)],
                _ => Vec::new(),
            },
        }
    }
}

impl Unreachable for ConnectTrouble {
    fn family(&self) -> Family {
        Self::family(self)
    }
}

impl From<ConnectTrouble> for Failure {
    fn from(trouble: ConnectTrouble) -> Self {
        let source: &dyn std::error::Error = match &trouble {
            ConnectTrouble::NoZfs(error) => &*error.error,
            ConnectTrouble::NoUser { .. } | ConnectTrouble::ImageNotServed { .. } => &trouble,
            ConnectTrouble::Ssh(error) => &**error,
            ConnectTrouble::Greeting { error, .. } => error,
        };
        Self {
            message: trouble.to_string(),
            remedies: trouble.remedies(),
            ..Self::of(trouble.family(), source)
        }
    }
}

impl From<PersistError<ConnectTrouble>> for Failure {
    fn from(error: PersistError<ConnectTrouble>) -> Self {
        match error {
            PersistError::Unreachable(trouble) => trouble.into(),
            PersistError::Failed(error) => error.into(),
        }
    }
}

impl From<ConnectTrouble> for ConnectFault {
    fn from(trouble: ConnectTrouble) -> Self {
        let remedies = trouble.remedies();
        Self {
            family: trouble.family(),
            remedy: (!remedies.is_empty()).then(|| remedies.join("; ")),
            source: Box::new(trouble),
        }
    }
}

/// What happened, without the ways out that [`ConnectTrouble::remedies`] has.
fn headline(error: &ConnectError) -> String {
    let ConnectError::UnknownHostKey(key) = error else {
        return error.to_string();
    };
    let mut text = format!(
        "the {} host key of {} is not known: {}",
        key.key_type, key.host, key.fingerprint
    );
    if let Some(other) = key.others.first() {
        text +=
            &format!("; beware: this host is known by another key ({other}), which it did not use");
    }
    text
}

/// What is to be said about the clock of a peer that has just greeted.
fn skew(theirs: Option<UtcSeconds>, ours: UtcSeconds) -> Option<String> {
    let theirs = theirs?;
    let apart = theirs.apart(ours);
    (apart > CLOCK_SKEW_MAX).then(|| {
        format!(
            "its clock says {theirs} and the one of this machine {ours}: they differ by {}, and \
             so does the age of data as the two tell it",
            duration_text(apart)
        )
    })
}

fn ssh_family(error: &ConnectError) -> Family {
    match error {
        ConnectError::InvalidHost { .. }
        | ConnectError::InvalidUser { .. }
        | ConnectError::NoKnownHosts
        | ConnectError::IdentityMissing { .. } => Family::Usage,
        ConnectError::UnknownHostKey(_)
        | ConnectError::ChangedHostKey { .. }
        | ConnectError::RevokedHostKey { .. }
        | ConnectError::IdentityUnusable { .. }
        | ConnectError::IdentityEncrypted { .. }
        | ConnectError::AuthenticationFailed { .. }
        | ConnectError::CommandRefused { .. } => Family::Refused,
        ConnectError::NoCommonAlgorithm { .. } | ConnectError::KnownHostsUnreadable { .. } => {
            Family::Failed
        }
        ConnectError::Resolve { .. }
        | ConnectError::Refused { .. }
        | ConnectError::Unreachable { .. }
        | ConnectError::Timeout { .. }
        | ConnectError::Lost { .. }
        | ConnectError::NoThread { .. } => Family::Transient,
    }
}

impl Connect<'_> {
    fn patience(&self) -> Duration {
        self.transfer.connect_timeout
    }

    /// The helper of this machine, in this process.
    pub async fn local(&self) -> Result<Peer, ConnectTrouble> {
        let zfs = self.zfs.open().await.map_err(ConnectTrouble::NoZfs)?;
        let (near, far) = local::pair();
        let helper = helper::Helper {
            zfs,
            authorization: Authorization::everything(),
            states: self.states.clone(),
            claims: Some(self.claims.clone()),
            door: None,
            about: self.about.clone(),
            patience: self.patience(),
            workforce: Workforce::default(),
        };
        // How it ends, its driver sees at the other end of the link.
        let activity = helper::Activity::default();
        let watched = helper::serve_watched(far, helper.clone(), activity.clone());
        tokio::spawn(watched);
        let greeted = Peer::greet(&self.about.node, near, &self.about, self.patience()).await;
        let mut peer = greeted.map_err(|error| ConnectTrouble::Greeting {
            error,
            command: String::new(),
        })?;
        peer.watch(activity);
        let parallel = Parallel {
            connections: Connections::Exactly(1),
            transfers: self.transfer.transfers,
        };
        Ok(peer.with_more(Arc::new(Here(helper)), parallel))
    }

    /// The helper of a machine that the command line names.
    pub async fn remote(&self, host: &Host) -> Result<Peer, ConnectTrouble> {
        let route = self.route(
            host.name.clone(),
            &Connection {
                address: host.name.clone(),
                user: host.user.clone(),
                port: Some(host.port),
                identity: None,
                known_hosts: None,
                remote_command: None,
                images: Vec::new(),
                dscp: None,
            },
        )?;
        self.travel(route).await
    }

    /// Decides what nobody said. What the command line says wins over the
    /// configuration, and that over what is customary.
    fn route(&self, name: String, connection: &Connection) -> Result<Route, ConnectTrouble> {
        let user = match connection.user.clone().or_else(environment::user) {
            Some(user) => user,
            None => return Err(ConnectTrouble::NoUser { host: name }),
        };
        let port = connection.port.unwrap_or(SSH_PORT);
        let endpoint = match SshEndpoint::new(&user, &connection.address, port) {
            Ok(endpoint) => endpoint,
            Err(error) => return Err(ConnectTrouble::ssh(error)),
        };
        let options = SshOptions {
            identities: self.identities(connection),
            agent: environment::agent(),
            known_hosts: self.known_hosts(connection),
            connect_timeout: self.transfer.connect_timeout,
            dscp: self.transfer.marks.dscp.or(connection.dscp),
            ..SshOptions::default()
        };
        let images = self.remote_images(connection);
        let command = self.transfer.remote_command.as_ref();
        let command = command.or(connection.remote_command.as_ref());
        Ok(Route {
            name,
            way: ssh::Route {
                endpoint,
                options,
                command: remote_command::compose(command.map(String::as_str), &images),
            },
            images,
        })
    }

    fn identities(&self, connection: &Connection) -> Vec<Identity> {
        let named = |path: &PathBuf| Identity::Named(path.clone());
        if !self.transfer.identity.is_empty() {
            return self.transfer.identity.iter().map(named).collect();
        }
        if let Some(path) = &connection.identity {
            return vec![named(path)];
        }
        let Some(home) = environment::home() else {
            return Vec::new();
        };
        CUSTOMARY_KEYS
            .map(|name| Identity::Customary(home.join(".ssh").join(name)))
            .into()
    }

    fn remote_images(&self, connection: &Connection) -> Vec<Image> {
        let mut images = self.transfer.remote_image.clone();
        let named = |image: &Image| images.iter().any(|named| named.pool() == image.pool());
        let more = connection.images.iter().filter(|image| !named(image));
        let more: Vec<Image> = more.cloned().collect();
        images.extend(more);
        images
    }

    fn known_hosts(&self, connection: &Connection) -> Vec<PathBuf> {
        let named = self.transfer.known_hosts.as_ref();
        if let Some(path) = named.or(connection.known_hosts.as_ref()) {
            return vec![path.clone()];
        }
        let own = environment::home().map(|home| home.join(".ssh/known_hosts"));
        let system = PathBuf::from(SYSTEM_KNOWN_HOSTS);
        own.into_iter().chain([system]).collect()
    }

    async fn travel(&self, route: Route) -> Result<Peer, ConnectTrouble> {
        let Route { name, way, images } = route;
        let link = match ssh::connect(&way.endpoint, &way.options, &way.command).await {
            Ok(link) => link,
            Err(error) => return Err(ConnectTrouble::ssh(error)),
        };
        let greeted = Peer::greet(&name, link, &self.about, self.patience()).await;
        let peer = match greeted {
            Ok(peer) => {
                let parallel = Parallel {
                    connections: self.transfer.connections,
                    transfers: self.transfer.transfers,
                };
                peer.with_more(Arc::new(way), parallel)
            }
            Err(error) => {
                let command = way.command;
                return Err(ConnectTrouble::Greeting { error, command });
            }
        };
        // A pool of that name in its kernel is not what was meant.
        let served = &peer.about.images;
        let missing = |image: &Image| !served.iter().any(|pool| pool == image.pool().as_str());
        if let Some(image) = images.into_iter().find(missing) {
            return Err(ConnectTrouble::ImageNotServed { peer: name, image });
        }
        self.observer.event(&Event::Connected {
            peer: name,
            program: peer.about.program.clone(),
            node: peer.about.node.clone(),
        });
        if let Some(text) = skew(peer.about.clock, environment::now()) {
            let peer = peer.name.clone();
            self.observer.event(&Event::Notice { peer, text });
        }
        Ok(peer)
    }
}

impl Connector for Connect<'_> {
    fn local(&self) -> Reaching<'_> {
        Box::pin(async { Ok(self.local().await?) })
    }

    fn reach<'a>(&'a self, target: &'a Target) -> Reaching<'a> {
        Box::pin(async move {
            match &target.connection {
                None => Ok(self.local().await?),
                Some(connection) => {
                    let route = self.route(target.node.to_string(), connection)?;
                    Ok(self.travel(route).await?)
                }
            }
        })
    }
}
