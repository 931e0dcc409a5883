//! A dataset of a guest: filling it, and telling what is in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::contents::Contents;
use crate::data::Data;
use crate::host::Host;
use crate::script::{Script, quote};

/// A handle on a dataset, which may or may not exist.
#[derive(Clone)]
pub struct Dataset<'a> {
    host: &'a Host,
    name: String,
}

impl<'a> Dataset<'a> {
    pub(crate) fn new(host: &'a Host, name: String) -> Self {
        Self { host, name }
    }

    /// Its full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name as an argument of zferry or of ssh on the other guest: `HOST:NAME`.
    pub fn remote_name(&self) -> String {
        format!("{}:{}", self.host.role(), self.name)
    }

    /// Runs a command on its guest that has to succeed.
    ///
    /// # Errors
    /// If it fails.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.host.sh(script)
    }

    /// Full name of a snapshot of it.
    pub fn at(&self, snapshot: &str) -> String {
        format!("{}@{snapshot}", self.name)
    }

    /// A handle on a child. It creates nothing.
    pub fn child(&self, name: &str) -> Self {
        Self {
            host: self.host,
            name: format!("{}/{name}", self.name),
        }
    }

    /// Creates it with its missing parents as a file system.
    ///
    /// # Errors
    /// If `zfs create` fails.
    pub fn create(self) -> Result<Self> {
        self.create_with("")
    }

    /// Creates it with options of `zfs create` in shell syntax, such as `-V 8M`.
    ///
    /// # Errors
    /// If `zfs create` fails.
    pub fn create_with(self, options: &str) -> Result<Self> {
        self.host
            .sh(format!("zfs create -p {options} {}", quote(&self.name)))?;
        Ok(self)
    }

    /// Whether it exists.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn exists(&self) -> Result<bool> {
        Ok(self
            .host
            .run(format!("zfs list {}", quote(&self.name)))?
            .ok())
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    /// If `zfs snapshot` fails.
    pub fn snapshot(&self, name: &str) -> Result<()> {
        self.host
            .sh(format!("zfs snapshot {}", quote(&self.at(name))))
            .map(drop)
    }

    /// Destroys it with all snapshots and children.
    ///
    /// # Errors
    /// If `zfs destroy` fails.
    pub fn destroy(&self) -> Result<()> {
        self.host
            .sh(format!("zfs destroy -r {}", quote(&self.name)))
            .map(drop)
    }

    /// Value of a property, in numbers where there are numbers.
    ///
    /// # Errors
    /// If `zfs get` fails.
    pub fn property(&self, property: &str) -> Result<String> {
        self.host.sh(format!(
            "zfs get -Hp -o value {} {}",
            quote(property),
            quote(&self.name)
        ))
    }

    /// Writes seeded data into the mounted file system, over what has the same
    /// names: another seed makes another version of the same files.
    ///
    /// # Errors
    /// If it is not mounted or a file cannot be written.
    pub fn fill(&self, data: &Data) -> Result<()> {
        let directory = quote(&self.mountpoint()?).to_string();
        let script = Script::bash(format!("tar -xf - -C {directory}; sync"));
        self.host
            .sh(script.stdin(data.tar()).within(data.time_limit()))
            .map(drop)
    }

    /// Writes seeded random bytes over a part of a file, or of the volume
    /// itself if `file` is empty.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn overwrite(&self, file: &str, part: Part) -> Result<()> {
        let path = if file.is_empty() {
            format!("/dev/zvol/{}", self.name)
        } else {
            format!("{}/{file}", self.mountpoint()?)
        };
        let data = Data {
            seed: part.seed,
            bytes: part.bytes,
        };
        // seek counts output blocks: the largest that the offset is made of.
        let block_bytes = 1_u64 << part.offset_bytes.trailing_zeros().min(16);
        let script = Script::bash(format!(
            "for try in $(seq 100); do [ -e {path} ] && break; sleep 0.1; done
             dd of={path} obs={block_bytes} seek={} conv=notrunc 2> /dev/null
             sync",
            part.offset_bytes / block_bytes,
            path = quote(&path),
        ));
        self.host
            .sh(script.stdin(data.random()).within(data.time_limit()))
            .map(drop)
    }

    /// What the mounted file system holds now.
    ///
    /// # Errors
    /// If it is not mounted or cannot be read.
    pub fn contents(&self) -> Result<Contents> {
        Contents::of_directory(self.host, &self.mountpoint()?)
    }

    /// What a snapshot holds, of a file system or a volume, mounted or not.
    ///
    /// # Errors
    /// If there is no such snapshot, or it cannot be read.
    pub fn contents_at(&self, snapshot: &str) -> Result<Contents> {
        let kind = self.property("type")?;
        match kind.as_str() {
            "filesystem" => Contents::of_snapshot(self.host, &self.at(snapshot)),
            "volume" => Contents::of_volume_snapshot(self.host, &self.at(snapshot)),
            _ => bail!("{} is a {kind}", self.name),
        }
    }

    /// Names (`@x`, `#y`) and guids of its snapshots and bookmarks.
    ///
    /// # Errors
    /// If `zfs get` fails.
    pub fn guids(&self) -> Result<BTreeMap<String, u64>> {
        let list = self.host.sh(format!(
            "zfs get -Hp -d 1 -t snapshot,bookmark -o name,value guid {}",
            quote(&self.name)
        ))?;
        let mut guids = BTreeMap::new();
        for line in list.lines() {
            let (name, guid) = line
                .split_once('\t')
                .with_context(|| format!("zfs get: {line:?}"))?;
            let name = name
                .strip_prefix(&self.name)
                .context("a snapshot of another dataset")?;
            guids.insert(
                name.to_owned(),
                guid.parse().with_context(|| format!("guid {guid:?}"))?,
            );
        }
        Ok(guids)
    }

    fn mountpoint(&self) -> Result<String> {
        if self.property("mounted")? != "yes" {
            bail!("{} is not mounted", self.name);
        }
        self.property("mountpoint")
    }
}

/// A part of a file, and the seed of its new bytes.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where it begins.
    pub offset_bytes: u64,
    /// How long it is.
    pub bytes: usize,
    /// What makes its bytes.
    pub seed: u64,
}
