//! Where the processor time of a method goes: samples of all its processes, by
//! what the processor was at and by thread.
//!
//! `perf` takes the samples, a thousand for each second of processor time, of
//! this process and of all that it starts meanwhile. They are told by time, not
//! by the cycles of a counter, which a virtual machine need not have.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};

/// The program that takes samples.
pub const PERF: &str = "perf";
/// Samples in a second of processor time. No round number, so that they do not
/// run in step with anything.
const SAMPLES: &str = "997";

/// What a processor is at, told by the name of the function and where it is
/// from. The first that fits is it.
const WORK: [(&str, &[&str]); 10] = [
    (
        "encryption",
        &["aes", "gcm", "ghash", "poly1305", "chacha", "libcrypto"],
    ),
    ("blake3", &["blake3"]),
    ("ZFS's checksum", &["fletcher", "pulp::"]),
    ("zstd", &["zstd", "huf_", "fse_", "hist_"]),
    ("copies in programs", &["memmove", "memcpy", "memset"]),
    (
        "kernel: copies",
        &[
            "copy_to_iter",
            "copy_from_iter",
            "copy_user",
            "copy_folio",
            "rep_movs",
            "clear_page",
        ],
    ),
    (
        "kernel: network",
        &[
            "tcp", "ip_", "skb", "sock", "softirq", "netif", "napi", "loopback", "tun_",
        ],
    ),
    ("kernel: pipes", &["pipe", "splice"]),
    ("kernel: the rest", &["[kernel"]),
    ("programs: the rest", &[""]),
];

/// Samples that are being taken.
pub struct Profile {
    perf: Child,
    data: PathBuf,
    /// All that it says.
    said: JoinHandle<String>,
}

impl Profile {
    /// Takes samples from here on.
    ///
    /// # Errors
    /// If `perf` cannot do so, with what it says.
    pub fn begin(folder: &Path) -> Result<Self> {
        let data = folder.join("samples");
        let mut perf = Command::new(PERF)
            .args(["record", "--event=cpu-clock", "--freq", SAMPLES])
            // Then it says when it has begun.
            .arg("--delay=1")
            .arg(format!("--pid={}", std::process::id()))
            .arg("--output")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context(PERF)?;
        let mut said = BufReader::new(perf.stderr.take().context("it has one")?);
        let mut before = String::new();
        loop {
            let mut line = String::new();
            let length = said.read_line(&mut line)?;
            ensure!(length > 0, "perf record takes no samples: {before}");
            if line.contains("Events enabled") {
                break;
            }
            before.push_str(&line);
        }
        // What it says later must not make it wait.
        let said = std::thread::spawn(move || {
            let mut words = String::new();
            let _ = said.read_to_string(&mut words);
            words
        });
        Ok(Self { perf, data, said })
    }

    /// Ends it and prints where the time went, for a stream of so many bytes.
    ///
    /// # Errors
    /// If `perf` fails.
    pub fn print(mut self, name: &str, bytes: u64) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.perf), Signal::INT)?;
        let status = self.perf.wait()?;
        let said = self.said.join().unwrap_or_default();
        // It ends itself by the signal once the samples are written.
        let is_done = status.success() || status.signal() == Some(Signal::INT.as_raw());
        ensure!(is_done, "perf record ended with {status}: {said}");
        let script = Command::new(PERF)
            .args([
                "script",
                "--no-inline",
                "--fields=comm,period,ip,sym,dso",
                "--input",
            ])
            .arg(&self.data)
            .stderr(Stdio::null())
            .output()?;
        ensure!(script.status.success(), "perf script failed");
        let text = String::from_utf8_lossy(&script.stdout);
        let (mut works, mut threads) = (BTreeMap::new(), BTreeMap::new());
        let mut all = 0.0;
        for sample in text.lines().filter_map(sample) {
            *works.entry(sample.work()).or_insert(0.0) += sample.seconds;
            *threads.entry(sample.thread.clone()).or_insert(0.0) += sample.seconds;
            all += sample.seconds;
        }
        println!("  {name}: {:.2} CPU s/GB", all / (bytes as f64 / 1e9));
        for shares in [works, threads] {
            let mut shares: Vec<(String, f64)> = shares.into_iter().collect();
            shares.sort_by(|one, other| other.1.total_cmp(&one.1));
            let shown = shares
                .iter()
                .map(|(what, seconds)| format!("{what} {:.2}", seconds / (bytes as f64 / 1e9)));
            println!("    {}", shown.collect::<Vec<_>>().join(", "));
        }
        Ok(())
    }
}

/// Where a processor was.
#[derive(Debug, PartialEq)]
struct Sample {
    thread: String,
    seconds: f64,
    /// The function, and the file that it is from.
    place: String,
}

impl Sample {
    fn work(&self) -> String {
        let place = self.place.to_lowercase();
        let fits = |(_, words): &&(&str, &[&str])| words.iter().any(|word| place.contains(word));
        let fitting = WORK.iter().find(fits);
        fitting.map_or("", |(name, _)| name).to_owned()
    }
}

/// A line of `perf script`: thread, nanoseconds, address, function, (file). The
/// name of a thread may have spaces.
fn sample(line: &str) -> Option<Sample> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_address = |word: &str| word.len() >= 8 && u64::from_str_radix(word, 16).is_ok();
    let at = (1..words.len().checked_sub(1)?)
        .find(|at| words[*at].parse::<u64>().is_ok() && is_address(words[at + 1]))?;
    Some(Sample {
        thread: words[..at].join(" "),
        seconds: words[at].parse::<f64>().ok()? / 1e9,
        place: words[at + 2..].join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_a_thread_and_of_a_kind_of_work() {
        let lines = [
            (
                "    ssh connection    1003009     7f0b92c662b1 ring_core_0_17_14__aes_gcm_enc_update_vaes_avx2 (/a/bench)",
                ("ssh connection", "encryption"),
            ),
            (
                "kworker/0:1-events    1003009 ffffffff822010c9 _raw_spin_unlock ([kernel.kallsyms])",
                ("kworker/0:1-events", "kernel: the rest"),
            ),
            (
                " sshd 1003009 7f0b92c662b1 [unknown] (/usr/lib/x86_64-linux-gnu/libcrypto.so.3)",
                ("sshd", "encryption"),
            ),
            (
                " zfs-send 1003009 ffffffff822010c9 _copy_to_iter ([kernel.kallsyms])",
                ("zfs-send", "kernel: copies"),
            ),
            (
                " bench 1003009 557408eda1a0 clap::parser::run (/a/bench)",
                ("bench", "programs: the rest"),
            ),
        ];
        for (line, (thread, work)) in lines {
            let sample = sample(line).unwrap();
            assert_eq!(
                (sample.thread.as_str(), sample.work().as_str()),
                (thread, work)
            );
            assert!((sample.seconds - 0.001_003_009).abs() < 1e-12);
        }
        assert_eq!(sample("# nothing"), None);
        assert_eq!(sample(""), None);
    }
}
