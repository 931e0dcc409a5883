//! The claims that every backend has to fulfil.

use super::*;
use crate::zfs::conformance::{self, CONTENT_BYTES, Failed, Fixture, PoolNames};

/// Blocks of a volume, bytes.
const BLOCK_BYTES: usize = 16 << 10;

struct Machine(Model);

impl Fixture for Machine {
    fn zfs(&self) -> Arc<dyn Zfs> {
        Arc::new(self.0.clone())
    }

    fn create_volume(&self, name: &DatasetName) -> Result<(), Failed> {
        Ok(self.0.by_hand().create_volume(name.as_str())?)
    }

    fn write(&self, volume: &DatasetName, content: &[u8]) -> Result<(), Failed> {
        for (block, bytes) in (0..).zip(content.chunks(BLOCK_BYTES)) {
            self.0.by_hand().write(volume.as_str(), block, bytes)?;
        }
        Ok(())
    }

    fn read(&self, snapshot: &SnapshotName, bytes: usize) -> Result<Vec<u8>, Failed> {
        let blocks = self.0.by_hand().content(&snapshot.to_string());
        let blocks = blocks.ok_or_else(|| Failed(format!("there is no {snapshot}")))?;
        let mut content: Vec<u8> = blocks.into_values().flatten().collect();
        content.truncate(bytes);
        Ok(content)
    }

    fn clone_snapshot(&self, of: &SnapshotName, to: &DatasetName) -> Result<(), Failed> {
        let (of, to) = (of.to_string(), to.to_string());
        Ok(self.0.by_hand().clone_snapshot(&of, &to)?)
    }

    fn create_encrypted(&self, name: &DatasetName) -> Result<bool, Failed> {
        self.0.by_hand().create_encrypted(name.as_str())?;
        Ok(true)
    }

    fn destroy(&self, name: &DatasetName) -> Result<(), Failed> {
        match self.0.by_hand().destroy(name.as_str()) {
            Err(error) if error.kind != ZfsErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn the_model_conforms() {
    let model = Model::new(1);
    let pool_bytes = 64 * CONTENT_BYTES as u64;
    for pool in ["tank", "safe"] {
        model.by_hand().add_pool(pool, pool_bytes).unwrap();
    }
    let pools = PoolNames {
        here: dataset("tank"),
        there: dataset("safe"),
    };
    let failed: Vec<_> = conformance::all()
        .into_iter()
        .filter_map(|claim| {
            let failed = claim.check(&Machine(model.clone()), &pools).err()?;
            Some(format!("{}: {failed:?}", claim.name))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
