//! A slow link between the guests, so that a transfer lasts long enough to be
//! met in the middle.

use anyhow::Result;

use crate::pair::Pair;

/// The link between the guests at a limited rate, until dropped.
pub struct SlowLink<'a>(&'a Pair);

impl<'a> SlowLink<'a> {
    /// At `rate` in both directions, as tc(8) spells rates.
    ///
    /// # Errors
    /// If a guest cannot do that.
    pub fn new(pair: &'a Pair, rate: &str) -> Result<Self> {
        for host in [&pair.source, &pair.target] {
            host.sh(format!(
                "tc qdisc replace dev eth1 root tbf rate {rate} burst 32k latency 1s"
            ))?;
        }
        Ok(Self(pair))
    }
}

impl Drop for SlowLink<'_> {
    fn drop(&mut self) {
        for host in [&self.0.source, &self.0.target] {
            // A guest that was switched off has lost it already.
            let _ = host.run("tc qdisc del dev eth1 root");
        }
    }
}
