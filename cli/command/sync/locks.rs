//! The locks of a resource: its own, and those of its pairs of datasets.

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use engine::sync::config::{Resource, Sends, ServiceName};
use engine::sync::run::{ConnectFault, Locking, Locks};
use engine::transport::ssh::SSH_PORT;

use crate::endpoint::{Endpoint, Host};
use crate::failure::Failure;
use crate::lock::{Lock, LockError, Subject};
use crate::pair::Pair;

/// Takes locks under `STATE/lock`.
pub struct Files<'a> {
    /// The folder of states.
    pub state: &'a Path,
    /// The service.
    pub service: &'a ServiceName,
    /// The name of this machine.
    pub node: &'a str,
    /// How long to wait for all of them together.
    pub patience: Duration,
}

impl Files<'_> {
    async fn take(&self, resource: &Resource, sends: &Sends) -> Result<Vec<Lock>, LockError> {
        let until = tokio::time::Instant::now() + self.patience;
        let rid = &resource.rid;
        let mut wanted = vec![(
            format!("sync-{}-{}", self.service, rid.dotted()),
            format!("{} {rid}", self.service),
        )];
        let mut pairs: Vec<_> = pairs(sends, self.node)
            .map(|pair| (pair.lock_file(), pair.shown))
            .collect();
        // In one order everywhere, so that two runs do not wait for each other.
        pairs.sort();
        wanted.extend(pairs);
        let mut held = Vec::new();
        for (file, what) in &wanted {
            let subject = Subject {
                state: self.state,
                file,
                what,
            };
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            held.push(Lock::wait(subject, left).await?);
        }
        Ok(held)
    }
}

/// The pairs as `zferry replicate SRC DST` would name them.
fn pairs(sends: &Sends, node: &str) -> impl Iterator<Item = Pair> {
    let source = Endpoint {
        host: None,
        dataset: sends.src.clone(),
    };
    sends.targets.iter().map(move |target| {
        let host = target.connection.as_ref().map(|connection| Host {
            user: None,
            name: connection.address.to_ascii_lowercase(),
            port: connection.port.unwrap_or(SSH_PORT),
        });
        let target = Endpoint {
            host,
            dataset: target.dst.clone(),
        };
        Pair::new(&source, &target, node)
    })
}

impl Locks for Files<'_> {
    fn lock<'a>(&'a self, resource: &'a Resource, sends: &'a Sends) -> Locking<'a> {
        Box::pin(async move {
            match self.take(resource, sends).await {
                Ok(held) => Ok(Box::new(held) as Box<dyn Any>),
                Err(error) => {
                    let failure = Failure::from(error);
                    Err(ConnectFault {
                        family: failure.family,
                        remedy: failure.remedies.first().cloned(),
                        source: failure.message.into(),
                    })
                }
            }
        })
    }
}
