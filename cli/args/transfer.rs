//! How data gets to another machine: words that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use engine::helper::{WORKERS_MAX, Workers};
use engine::image::Image;
use engine::peer::{Connections, TRANSFERS_DEFAULT, TRANSFERS_MAX};
use engine::stream::compress::{Compression, LEVEL_MAX, LEVEL_MIN};
use engine::transport::Dscp;
use engine::transport::bundle::LINKS_MAX;

use super::{remote_image, seconds};

/// How data gets to another machine.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Transfer {
    /// Private key file to offer, before those of the agent (repeatable)
    /// [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa]
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    /// The file of trusted host keys
    /// [default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// What to start on the other machine [default: zferry helper]
    #[arg(long, value_name = "COMMAND")]
    pub remote_command: Option<String>,
    /// A pool of the other machine that is in a file there (repeatable)
    #[arg(long, value_name = "POOL=FILE", value_parser = remote_image)]
    pub remote_image: Vec<Image>,
    /// How long to wait for a connection, and then for the helper's greeting
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub connect_timeout: Duration,
    /// On the way: whatever is fastest (auto), nothing (off), or always this
    /// level of zstd, from -7 to 19
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = compression,
        allow_hyphen_values = true)]
    pub compression: Compression,
    /// To the other host: as many as its distance calls for (auto), or so many,
    /// from 1 to 8
    #[arg(long, value_name = "N", default_value = "auto", value_parser = connections)]
    pub connections: Connections,
    /// That hash and compress a large transfer, on each side: as its processors
    /// call for (auto), or so many if they are free, from 1 to 8
    #[arg(long, value_name = "N", default_value = "auto", value_parser = workers)]
    pub workers: Workers,
    /// Datasets that are sent at the same time, if they are small
    #[arg(long, value_name = "N", default_value_t = TRANSFERS_DEFAULT, value_parser = transfers)]
    pub transfers: usize,
    #[command(flatten)]
    pub marks: Marks,
}

/// How packets are marked, by those who connect and by those who listen.
#[derive(Debug, Clone, clap::Args)]
pub struct Marks {
    /// Code point of the packets that are sent: le, cs0 to cs7, af11 to af43, ef,
    /// or a number [default: none]
    #[arg(long, value_name = "DSCP")]
    pub dscp: Option<Dscp>,
}

fn transfers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=TRANSFERS_MAX) => Ok(number),
        _ => Err(format!("a whole number from 1 to {TRANSFERS_MAX} is due")),
    }
}

fn workers(text: &str) -> Result<Workers, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Workers::Auto),
        (_, Ok(number @ 1..=WORKERS_MAX)) => Ok(Workers::Exactly(number)),
        _ => Err(format!(
            "auto, or a whole number from 1 to {WORKERS_MAX} is due"
        )),
    }
}

fn connections(text: &str) -> Result<Connections, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Connections::Auto),
        (_, Ok(number @ 1..=LINKS_MAX)) => Ok(Connections::Exactly(number)),
        _ => Err(format!(
            "auto, or a whole number from 1 to {LINKS_MAX} is due"
        )),
    }
}

fn compression(text: &str) -> Result<Compression, String> {
    match text {
        "auto" => Ok(Compression::Adaptive),
        "off" => Ok(Compression::Off),
        level => match level.parse() {
            Ok(level @ LEVEL_MIN..=LEVEL_MAX) => Ok(Compression::Level(level)),
            _ => Err(format!(
                "auto, off, or a whole number from {LEVEL_MIN} to {LEVEL_MAX} is due"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_a_word_or_a_small_number() {
        assert_eq!(connections("auto"), Ok(Connections::Auto));
        assert_eq!(connections("1"), Ok(Connections::Exactly(1)));
        assert_eq!(connections("8"), Ok(Connections::Exactly(8)));
        for text in ["", "0", "9", "-1", "2.0", "many"] {
            assert!(connections(text).is_err(), "{text}");
        }
    }

    #[test]
    fn workers_are_a_word_or_a_small_number() {
        assert_eq!(workers("auto"), Ok(Workers::Auto));
        assert_eq!(workers("1"), Ok(Workers::Exactly(1)));
        assert_eq!(workers("8"), Ok(Workers::Exactly(8)));
        for text in ["", "0", "9", "-1", "2.0", "many"] {
            assert!(workers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn compression_is_a_word_or_a_level_of_zstd() {
        assert_eq!(compression("auto"), Ok(Compression::Adaptive));
        assert_eq!(compression("off"), Ok(Compression::Off));
        assert_eq!(compression("-7"), Ok(Compression::Level(-7)));
        assert_eq!(compression("19"), Ok(Compression::Level(19)));
        for text in ["", "on", "-8", "20", "3.5"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
