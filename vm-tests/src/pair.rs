//! The two guests of a run, as cases get them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::guest::{Link, Role};
use crate::host::Host;
use crate::keys::Keys;
use crate::report;
use crate::script::{Script, quote};

/// Source and target, booted, each with its standing pool.
pub struct Pair {
    /// Where data comes from.
    pub source: Host,
    /// Where data goes to.
    pub target: Host,
    keys: Rc<Keys>,
}

/// Which keys a guest's known_hosts file holds for the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The other guest's own keys.
    Right,
    /// None: the other guest is unknown.
    Nobody,
    /// Somebody else's keys under the other guest's name.
    Impostor,
}

impl Pair {
    /// Boots both guests side by side and creates their standing pools.
    ///
    /// # Errors
    /// If a guest does not come up.
    pub fn boot(source: Host, target: Host, keys: Rc<Keys>) -> Result<Self> {
        let started = Instant::now();
        let pair = Self {
            source,
            target,
            keys,
        };
        for host in pair.hosts() {
            host.start()?;
        }
        for host in pair.hosts() {
            host.await_boot()?;
            host.create_standing_pool()?;
        }
        report::note(&format!(
            "both guests are up after {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        Ok(pair)
    }

    /// One of them.
    pub fn host(&self, role: Role) -> &Host {
        match role {
            Role::Source => &self.source,
            Role::Target => &self.target,
        }
    }

    fn hosts(&self) -> [&Host; 2] {
        [&self.source, &self.target]
    }

    /// Cuts or restores the link between the two. A cut one swallows packets
    /// and tells nobody.
    ///
    /// # Errors
    /// If the guests cannot do that.
    pub fn set_link(&self, link: Link) -> Result<()> {
        // Each guest answers for what it sends.
        self.hosts()
            .into_iter()
            .try_for_each(|host| host.set_link(link))
    }

    /// Writes root's known_hosts in `role` anew.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn trust(&self, role: Role, trust: Trust) -> Result<()> {
        let other = role.other();
        let names = format!("{other},{}", other.address());
        let lines = match trust {
            Trust::Right => self.keys.known_hosts(other, &names)?,
            Trust::Nobody => String::new(),
            Trust::Impostor => self.keys.known_hosts(role, &names)?,
        };
        let write = Script::bash("cat > /root/.ssh/known_hosts").stdin(lines);
        self.host(role).sh(write).map(drop)
    }

    /// Makes the pair usable for the next case, whatever the last one did to
    /// link, guests and known hosts. Datasets are each case's own affair.
    ///
    /// # Errors
    /// If a guest does not come up again.
    pub fn recover(&self) -> Result<()> {
        for host in self.hosts() {
            if !host.is_up() {
                report::note(&format!("{} is not up: booting it again", host.role()));
                // It may be running and hung, or off already.
                let _ = host.power_off();
                host.boot()
                    .with_context(|| format!("reviving {}", host.role()))?;
            }
        }
        self.set_link(Link::Up)?;
        for role in Role::BOTH {
            self.trust(role, Trust::Right)?;
        }
        Ok(())
    }

    /// Waits until packets pass between the two again.
    ///
    /// # Errors
    /// If they do not within a minute.
    pub fn await_link(&self) -> Result<()> {
        let knock = format!("exec 3<> /dev/tcp/{}/22", quote(Role::Target.address()));
        self.source.wait_until(
            &format!("timeout 2 bash -c '{knock}'"),
            Duration::from_secs(60),
        )
    }
}
