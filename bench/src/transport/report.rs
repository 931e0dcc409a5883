//! What was measured, as text, as JSON and as a plot.

use std::fmt::Write;

use super::content::Kind;
use super::methods::{Method, Taken};
use crate::sample::{median, spread, spread_to};

/// One method in one round.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub method: Method,
    pub kind: Kind,
    pub round: usize,
    /// Length of the stream.
    pub bytes: u64,
    pub taken: Taken,
}

impl Sample {
    /// Megabytes (10^6) of the stream per second.
    fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.taken.seconds
    }

    /// Processor seconds of both sides per gigabyte (10^9) of the stream.
    fn cost(&self) -> f64 {
        self.taken.cpu_seconds / (self.bytes as f64 / 1e9)
    }
}

/// Says that a method is not measured.
pub fn left_out(name: &str, missing: &[&str]) {
    println!(
        "{name}: not measured, since this machine lacks {}",
        missing.join(", ")
    );
}

fn of(samples: &[Sample], kind: Kind, method: Method) -> Vec<Sample> {
    let own = samples.iter();
    own.filter(|one| one.kind == kind && one.method == method)
        .copied()
        .collect()
}

/// The median of `value` over that of `than` in the same round.
fn ratio(
    samples: &[Sample],
    kind: Kind,
    (method, than): (Method, Method),
    value: fn(&Sample) -> f64,
) -> Option<f64> {
    let others = of(samples, kind, than);
    let ratios: Vec<f64> = of(samples, kind, method)
        .iter()
        .filter_map(|own| {
            let other = others.iter().find(|other| other.round == own.round)?;
            Some(value(own) / value(other))
        })
        .collect();
    (!ratios.is_empty()).then(|| median(&ratios))
}

/// Prints one line per method, and what was to be reached.
pub fn print(samples: &[Sample], kind: Kind, methods: &[Method]) {
    println!("{}:", kind.name());
    println!(
        "  {:<24} {:<20} {:<18} {:<9} {:<9} peak MiB near/far",
        "method", "MB/s (least-most)", "CPU s/GB", "rate/ssh", "cpu/ssh"
    );
    for method in methods {
        let own = of(samples, kind, *method);
        let values = |value: fn(&Sample) -> f64| own.iter().map(value).collect::<Vec<f64>>();
        let than_ssh = |value| {
            let ratio = ratio(samples, kind, (*method, Method::Ssh), value);
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        };
        let peaks = own.iter().filter_map(|one| one.taken.peak_mib);
        let peak = peaks.reduce(|one, other| [one[0].max(other[0]), one[1].max(other[1])]);
        println!(
            "  {:<24} {:<20} {:<18} {:<9} {:<9} {}",
            method.name(),
            spread_to(&values(Sample::rate), 0),
            spread(&values(Sample::cost)),
            than_ssh(Sample::rate),
            than_ssh(Sample::cost),
            peak.map_or_else(String::new, |[near, far]| format!("{near:.0} / {far:.0}")),
        );
    }
}

/// All samples.
pub fn json(samples: &[Sample]) -> String {
    let one = |sample: &Sample| {
        serde_json::json!({
            "method": sample.method.name(),
            "content": sample.kind.name(),
            "round": sample.round,
            "bytes": sample.bytes,
            "seconds": sample.taken.seconds,
            "cpu_seconds": sample.taken.cpu_seconds,
            "peak_mib": sample.taken.peak_mib,
        })
    };
    let all: Vec<_> = samples.iter().map(one).collect();
    serde_json::to_string_pretty(&all).expect("plain data")
}

const ROW: f64 = 18.0;
const LEFT: f64 = 190.0;
const WIDTH: f64 = 640.0;

/// The median rate of each method as a bar, ours in another colour.
pub fn svg(samples: &[Sample], kinds: &[Kind], methods: &[Method]) -> String {
    let rate = |kind, method| {
        let rates: Vec<f64> = of(samples, kind, method).iter().map(Sample::rate).collect();
        median(&rates)
    };
    let pairs = kinds
        .iter()
        .flat_map(|kind| methods.iter().map(|method| (*kind, *method)));
    let most = pairs
        .map(|(kind, method)| rate(kind, method))
        .fold(1.0, f64::max);
    let rows = kinds.len() * (methods.len() + 2);
    let height = rows as f64 * ROW + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = ROW;
    for kind in kinds {
        let _ = writeln!(
            out,
            "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{}, MB/s</text>",
            kind.name()
        );
        y += ROW;
        for method in methods {
            let rate = rate(*kind, *method);
            let length = (WIDTH - LEFT - 60.0) * rate / most;
            let colour = match method {
                Method::Engine(..) => "#2a7ab0",
                Method::Own(..) => "#1b4f72",
                Method::Pipe | Method::Tcp | Method::Sealed => "#c8c8c8",
                _ => "#8a8a8a",
            };
            let top = y - 12.0;
            let _ = writeln!(
                out,
                "<text x=\"16\" y=\"{y}\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{y}\">{rate:.0}</text>",
                method.name(),
                LEFT + length + 6.0
            );
            y += ROW;
        }
        y += ROW;
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(method: Method, round: usize, seconds: f64) -> Sample {
        Sample {
            method,
            kind: Kind::Mix,
            round,
            bytes: 1_000_000_000,
            taken: Taken {
                seconds,
                cpu_seconds: 2.0 * seconds,
                peak_mib: None,
            },
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let engine = Method::Engine("off", "auto");
        let samples = [
            sample(Method::Ssh, 0, 1.0),
            sample(engine, 0, 2.0),
            sample(Method::Ssh, 1, 10.0),
            sample(engine, 1, 5.0),
            sample(Method::Ssh, 2, 4.0),
            sample(engine, 2, 4.0),
        ];
        let of = |value| ratio(&samples, Kind::Mix, (engine, Method::Ssh), value);
        assert_eq!(of(Sample::rate), Some(1.0));
        assert_eq!(of(Sample::cost), Some(1.0));
        assert_eq!(samples[0].rate(), 1000.0);
        let none = ratio(&samples, Kind::Text, (engine, Method::Ssh), Sample::rate);
        assert_eq!(none, None);
    }

    #[test]
    fn a_plot_has_a_bar_for_each_method() {
        let samples = [sample(Method::Ssh, 0, 2.0), sample(Method::Pipe, 0, 1.0)];
        let plot = svg(&samples, &[Kind::Mix], &[Method::Pipe, Method::Ssh]);
        assert_eq!(plot.matches("<rect x=").count(), 2);
        assert!(plot.contains(">500<") && plot.contains(">1000<"), "{plot}");
    }
}
