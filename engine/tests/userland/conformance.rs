//! The claims that every backend has to fulfil, on two images behind `Pools`.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use engine::name::{DatasetName, SnapshotName};
use engine::zfs::conformance::{self, CONTENT_BYTES, Failed, Fixture, PoolNames, VOLUME_BYTES};
use engine::zfs::userland::{Contents, ImagePool};
use engine::zfs::{Scope, Zfs, ZfsErrorKind};

use crate::{Images, dataset, file};

impl Images {
    fn of(&self, dataset: &DatasetName) -> Result<&ImagePool, Failed> {
        let pool = self.image(dataset.pool());
        pool.map(AsRef::as_ref)
            .ok_or_else(|| Failed(format!("no image holds {dataset}")))
    }
}

impl Fixture for Images {
    fn zfs(&self) -> Arc<dyn Zfs> {
        Arc::clone(&self.pools) as Arc<dyn Zfs>
    }

    fn create_volume(&self, name: &DatasetName) -> Result<(), Failed> {
        Ok(self.of(name)?.create_volume(name, VOLUME_BYTES)?)
    }

    fn write(&self, volume: &DatasetName, content: &[u8]) -> Result<(), Failed> {
        let from = file(&self.folder.path("content"), content);
        Ok(self.of(volume)?.put(volume, from).map(drop)?)
    }

    fn read(&self, snapshot: &SnapshotName, bytes: usize) -> Result<Vec<u8>, Failed> {
        let path = self.folder.path("read");
        let into = File::create(&path)?;
        let of = Contents::Snapshot(snapshot.clone());
        self.of(&snapshot.dataset)?.get(&of, into.into())?;
        let mut content = Vec::new();
        File::open(path)?
            .take(bytes as u64)
            .read_to_end(&mut content)?;
        Ok(content)
    }

    fn clone_snapshot(&self, of: &SnapshotName, to: &DatasetName) -> Result<(), Failed> {
        Ok(self.of(to)?.clone_snapshot(of, to)?)
    }

    /// Keys are nothing that pools in files are given.
    fn create_encrypted(&self, _name: &DatasetName) -> Result<bool, Failed> {
        Ok(false)
    }

    /// Deepest first; those that clones keep from going are tried again.
    fn destroy(&self, name: &DatasetName) -> Result<(), Failed> {
        let pool = self.of(name)?;
        loop {
            let Some(mut tree) = pool.tree(name, Scope::Recursive)? else {
                return Ok(());
            };
            tree.reverse();
            let before = tree.len();
            let mut last = None;
            for dataset in tree {
                let snapshots: Vec<SnapshotName> = dataset
                    .snapshots
                    .iter()
                    .filter_map(|s| dataset.name.snapshot(&s.short).ok())
                    .collect();
                // What is partial keeps its base: the dataset takes it along.
                let abandoned = dataset.partial.is_some() && !snapshots.is_empty();
                if abandoned {
                    pool.abort_receive(&dataset.name)?;
                }
                let destroyed = pool
                    .destroy_snapshots(&snapshots)
                    .and_then(|()| pool.destroy(&dataset.name));
                last = destroyed.err().or(last);
            }
            let left = pool.tree(name, Scope::Recursive)?.map_or(0, |t| t.len());
            match last {
                Some(error) if left == before && error.kind != ZfsErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn user_space_zfs_conforms() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    let pools = PoolNames {
        here: dataset("tank"),
        there: dataset("safe"),
    };
    let claims = conformance::all();
    let failed: Vec<_> = claims
        .iter()
        .filter_map(|claim| {
            let failed = claim.check(&images, &pools).err()?;
            Some(format!("{}: {failed:?}", claim.name))
        })
        .collect();
    assert!(CONTENT_BYTES as u64 <= VOLUME_BYTES);
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        claims.len(),
        failed.join("\n")
    );
}
