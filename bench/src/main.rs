//! How fast zferry is, in ratios: methods take turns within a round, and ratios
//! are taken within a round before their median is. A single figure says more
//! about the machine and its hour than about the program.
#![expect(clippy::print_stdout, reason = "the report is the result")]

mod datasets;
mod images;
mod sample;
mod transport;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Measures, and prints medians with least and most.
#[derive(Debug, Parser)]
enum Args {
    /// The whole engine between two pools in files, beside their bare send into
    /// receive
    Images {
        /// Data of the volume that is replicated, MiB
        #[arg(long, default_value_t = 512)]
        mib: u64,
        /// How often each method is measured
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// The worker [default: beside this program]
        #[arg(long, value_name = "FILE")]
        worker: Option<PathBuf>,
    },
    /// Many small datasets between two pools in files
    Datasets {
        /// How many
        #[arg(long, default_value_t = 1000)]
        count: usize,
        /// How many file systems are listed, at the end
        #[arg(long, default_value_t = 10_000)]
        listed: usize,
        /// How often each way is measured
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// The worker [default: beside this program]
        #[arg(long, value_name = "FILE")]
        worker: Option<PathBuf>,
    },
    /// The way to another machine, beside ssh, mbuffer and zstd, over loopback
    Transport(transport::Args),
    /// Adaptive compression beside stored blocks and a fixed level, on links of
    /// several rates
    Levels(transport::levels::Args),
    /// What a replication does to others on the same line
    Beside(transport::beside::Args),
    /// What these consist of
    #[command(subcommand, hide = true)]
    Part(transport::Part),
}

fn main() -> Result<()> {
    match Args::parse() {
        Args::Images {
            mib,
            rounds,
            worker,
        } => images::run(mib, rounds, worker),
        Args::Datasets {
            count,
            listed,
            rounds,
            worker,
        } => datasets::run(count, listed, rounds, worker),
        Args::Transport(args) => transport::run(&args),
        Args::Levels(args) => transport::levels::run(&args),
        Args::Beside(args) => transport::beside::run(&args),
        Args::Part(part) => transport::run_part(part),
    }
}
