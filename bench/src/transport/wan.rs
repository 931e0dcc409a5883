//! A long or narrow way between two network namespaces: packets go through a
//! program of ours that lets so many bits per second pass and delays them.
//!
//! What TCP does on it is the kernel's own doing. Needs root, `ip` and
//! `/dev/net/tun`. Packets have 9000 bytes: with 1500 the program would take
//! more of the processor than what is measured.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::server::run;

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 203, 77, 1);
/// The address of the other side.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 203, 77, 2);
const MTU: usize = 9000;
/// What a router on the way keeps at least, bytes.
const QUEUE_BYTES_MIN: f64 = 256.0 * 1024.0;

/// How wide and how long the way is.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Way {
    /// Bits per second, with k, M or G: what passes at most [default: loopback]
    #[arg(long, value_name = "BITS", value_parser = bits)]
    pub rate: Option<f64>,
    /// Round trip, ms
    #[arg(long, value_name = "MS", default_value_t = 0.0, requires = "rate")]
    pub rtt: f64,
}

/// A rate, from the command line.
pub fn bits(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "k" | "kbit" => 1e3,
        "M" | "Mbit" => 1e6,
        "G" | "Gbit" => 1e9,
        _ => return Err("a number and k, M or G are due".to_owned()),
    };
    match digits.parse::<f64>() {
        Ok(number) if (1e3..=1e11).contains(&(number * factor)) => Ok(number * factor),
        _ => Err("a rate from 1k to 100G is due".to_owned()),
    }
}

/// A namespace and the program that leads there. Both go when this is dropped.
pub struct Wan {
    namespace: String,
    link: Child,
}

impl Wan {
    /// Makes both.
    pub fn new(way: Way) -> Result<Option<Self>> {
        let Some(rate) = way.rate else {
            return Ok(None);
        };
        let namespace = format!("zferry-bench-{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &namespace]))
            .context("no network namespace: it takes root and iproute2")?;
        let link = Command::new(std::env::current_exe()?)
            .args(["part", "link", &namespace])
            .arg(format!("--rate={rate}"))
            .arg(format!("--rtt={}", way.rtt))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut wan = Self { namespace, link };
        let mut said = String::new();
        let stdout = wan.link.stdout.take().context("it has a standard output")?;
        BufReader::new(stdout).read_line(&mut said)?;
        ensure!(said.trim() == "ready", "the link was not made");
        Ok(Some(wan))
    }

    /// A command that runs on the other side.
    pub fn there(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.namespace]);
        there.arg(command.get_program()).args(command.get_args());
        there
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        let _ = self.link.kill();
        let _ = self.link.wait();
        let _ = run(Command::new("ip").args(["netns", "del", &self.namespace]));
    }
}

/// The program in between; runs until it is killed.
pub fn link(namespace: &str, way: Way) -> Result<()> {
    let rate = way.rate.context("a rate is due")?;
    let near = Arc::new(device(NEAR)?);
    let path = format!("/run/netns/{namespace}");
    let there = std::fs::File::open(&path).with_context(|| path.clone())?;
    // Devices and commands belong to the namespace of the thread.
    let far = thread::spawn(move || {
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(there.as_fd(), network)?;
        device(FAR)
    });
    let far = Arc::new(far.join().expect("making a device does not panic")?);
    let delay = Duration::from_secs_f64(way.rtt / 2000.0);
    let start = Instant::now();
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        let (queue, packets) = mpsc::channel::<(Duration, Vec<u8>)>();
        let mut shaper = Shaper::new(rate / 8.0, delay);
        thread::spawn(move || {
            let mut packet = vec![0; 65536];
            while let Ok(length) = from.recv(&mut packet) {
                if let Some(arrives) = shaper.admit(start.elapsed(), length)
                    && queue.send((arrives, packet[..length].to_vec())).is_err()
                {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for (arrives, packet) in packets {
                thread::sleep(arrives.saturating_sub(start.elapsed()));
                // One that the other side does not take is lost, as packets are.
                let _ = to.send(&packet);
            }
        });
    }
    let mut said = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    writeln!(said, "ready")?;
    loop {
        thread::park();
    }
}

fn device(address: Ipv4Addr) -> Result<SyncDevice> {
    let device = DeviceBuilder::new().layer(Layer::L3).build_sync()?;
    let name = device.name()?;
    for words in [
        format!("addr add {address}/30 dev {name}"),
        format!("link set {name} mtu {MTU} up"),
        "link set lo up".to_owned(),
    ] {
        run(Command::new("ip").args(words.split(' ')))?;
    }
    if name.is_empty() {
        bail!("a device without a name");
    }
    Ok(device)
}

/// When packets arrive, and which are lost. Rates in bytes per second.
struct Shaper {
    rate: f64,
    delay: Duration,
    queue_bytes: f64,
    /// When the line has sent everything before.
    free_at: Duration,
}

impl Shaper {
    fn new(rate: f64, delay: Duration) -> Self {
        // A router keeps about what is under way at a time.
        let under_way = rate * 2.0 * delay.as_secs_f64();
        Self {
            rate,
            delay,
            queue_bytes: under_way.max(QUEUE_BYTES_MIN),
            free_at: Duration::ZERO,
        }
    }

    /// When a packet arrives that comes `now`; `None` if there is no room for it.
    fn admit(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let begins = self.free_at.max(now);
        let waiting = (begins - now).as_secs_f64() * self.rate;
        if waiting > self.queue_bytes {
            return None;
        }
        self.free_at = begins + Duration::from_secs_f64(bytes as f64 / self.rate);
        Some(self.free_at + self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_arrive_after_the_delay_and_one_after_the_other() {
        let mut shaper = Shaper::new(1e6, 25 * MS);
        let first = shaper.admit(Duration::ZERO, 1000).unwrap();
        let second = shaper.admit(Duration::ZERO, 1000).unwrap();
        assert_eq!((first, second), (26 * MS, 27 * MS));
        // After a pause the line is free.
        assert_eq!(shaper.admit(100 * MS, 1000), Some(126 * MS));
    }

    #[test]
    fn no_more_passes_than_the_rate_and_what_finds_no_room_is_lost() {
        let mut shaper = Shaper::new(1e6, 50 * MS);
        let mut passed = 0;
        // Twice as much as passes, for ten seconds.
        for n in 0..20_000u32 {
            let now = Duration::from_micros(500) * n;
            passed += u32::from(shaper.admit(now, 1000).is_some());
        }
        let most = 10_000 + (shaper.queue_bytes / 1000.0) as u32;
        assert!((10_000..=most + 1).contains(&passed), "{passed}");
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!(bits("10Mbit"), Ok(1e7));
        assert_eq!(bits("1G"), Ok(1e9));
        assert_eq!(bits("64000"), Ok(64e3));
        for text in ["", "M", "10X", "0", "-1M", "1e99G"] {
            assert!(bits(text).is_err(), "{text}");
        }
    }
}
