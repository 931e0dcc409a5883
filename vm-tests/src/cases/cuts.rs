//! Runs that end at sampled points on real kernels: kill -9 of either process,
//! and power cuts of either machine. The next run loses nothing and is no full.
//!
//! The same claims are swept over every operation in memory and in user space;
//! here the kernel says whether they hold when a process really dies, and what
//! of a pool is there after the power was cut.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::service::{Service, sends};
use super::{Case, cases};
use crate::dataset::Dataset;
use crate::guest::{Running, Signal};
use crate::host::Host;
use crate::pair::Pair;
use crate::report;
use crate::script::{Script, quote};

pub(super) const CASES: &[Case] = cases![Zferry:
    a_driver_killed_at_sampled_points_loses_nothing,
    a_helper_killed_at_sampled_points_loses_nothing,
    a_source_without_power_at_sampled_points_loses_nothing,
    a_target_without_power_at_sampled_points_loses_nothing,
];

/// How many points of a run are tried in each way, instead of the few that
/// every change is tested with.
const POINTS: &str = "ZFERRY_VM_POINTS";

/// Longest that a frozen run, or the helper of a dead one, may last.
const PATIENCE: Duration = Duration::from_secs(240);

/// What ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    DriverKilled,
    HelperKilled,
    SourcePowerCut,
    TargetPowerCut,
}

impl End {
    /// Points for every change; a power cut costs a boot.
    fn usual_points(self) -> usize {
        match self {
            Self::DriverKilled | Self::HelperKilled => 5,
            Self::SourcePowerCut | Self::TargetPowerCut => 2,
        }
    }
}

fn a_driver_killed_at_sampled_points_loses_nothing(pair: &Pair) -> Result<()> {
    sweep(pair, "cut-driver", End::DriverKilled)
}

fn a_helper_killed_at_sampled_points_loses_nothing(pair: &Pair) -> Result<()> {
    sweep(pair, "cut-helper", End::HelperKilled)
}

fn a_source_without_power_at_sampled_points_loses_nothing(pair: &Pair) -> Result<()> {
    sweep(pair, "cut-source", End::SourcePowerCut)
}

fn a_target_without_power_at_sampled_points_loses_nothing(pair: &Pair) -> Result<()> {
    sweep(pair, "cut-target", End::TargetPowerCut)
}

fn sweep(pair: &Pair, name: &'static str, end: End) -> Result<()> {
    let service = Service::new(pair, name)?;
    service.write(1)?;
    service.sync("nodes")?;
    let strangers = Strangers::plant(&service)?;
    // How many events a run has, and so how many points there are.
    service.write(2)?;
    let events = pair.source.sh(pair
        .source
        .zferry(["--json", "sync", "update", service.name]))?;
    let events = events.lines().count();
    let tried = points(end, events)?;
    for (round, &point) in tried.iter().enumerate() {
        let when = format!("{end:?} after event {point} of {events}");
        service.write(10 + round as u64)?;
        let run = Frozen::after(&pair.source, service.name, point)?;
        cut(pair, run, end).with_context(|| when.clone())?;
        service.configure()?;
        if round % 2 == 1 {
            // Nothing about data is decided by a state file.
            for host in [&pair.source, &pair.target] {
                host.sh("rm -rf /var/lib/zferry")?;
            }
        }
        recover(&service, &strangers).with_context(|| when)?;
    }
    report::note(&format!(
        "{end:?}: {} of {events} points, none lost",
        tried.len()
    ));
    Ok(())
}

/// Numbers of events, spread evenly over a run.
fn points(end: End, events: usize) -> Result<Vec<usize>> {
    let wanted = match std::env::var(POINTS) {
        Ok(text) => text.parse().with_context(|| format!("{POINTS}={text}"))?,
        Err(_) => end.usual_points(),
    };
    let wanted = wanted.clamp(1, events);
    Ok((0..wanted)
        .map(|n| 1 + (2 * n + 1) * events / (2 * wanted))
        .map(|point| point.min(events))
        .collect())
}

/// A run that stands still since its Nth event, or has ended before.
struct Frozen<'a> {
    host: &'a Host,
    running: Box<dyn Running>,
}

/// Where the script of a frozen run says what became of it.
const MARKS: &str = "/run/zferry-cut";

impl<'a> Frozen<'a> {
    fn after(host: &'a Host, service: &str, event: usize) -> Result<Self> {
        // Before it is spawned: nobody shall take the marks of the last run for its.
        host.sh(format!(
            "rm -rf {MARKS}; mkdir {MARKS}; mkfifo {MARKS}/events"
        ))?;
        let script = format!(
            "zferry --json sync update {service} > {MARKS}/events 2> {MARKS}/errors & driver=$!
             echo $driver > {MARKS}/pid
             n=0
             while IFS= read -r line; do
                 n=$((n + 1))
                 if [ $n -eq {event} ]; then kill -STOP $driver; touch {MARKS}/frozen; fi
             done < {MARKS}/events
             code=0; wait $driver || code=$?
             touch {MARKS}/ended
             exit $code",
            service = quote(service),
        );
        let running = host.spawn(Script::bash(script).within(PATIENCE))?;
        host.wait_until(
            &format!("[ -e {MARKS}/frozen ] || [ -e {MARKS}/ended ]"),
            PATIENCE,
        )?;
        Ok(Self { host, running })
    }

    /// A signal for it; one that has ended already gets none.
    fn signal(&self, signal: Signal) -> Result<()> {
        let kill = format!(
            "[ -e {MARKS}/ended ] || kill -{} $(cat {MARKS}/pid)",
            signal.name()
        );
        self.host.sh(kill).map(drop)
    }
}

/// Ends the run, and brings back whoever lost power.
fn cut(pair: &Pair, mut run: Frozen<'_>, end: End) -> Result<()> {
    match end {
        End::DriverKilled => {
            run.signal(Signal::Kill)?;
            run.running.wait().map(drop)
        }
        End::HelperKilled => {
            pair.target.sh("pkill -KILL -x zferry || true")?;
            run.signal(Signal::Continue)?;
            let output = run.running.wait()?;
            ensure!(
                [0, 5].contains(&output.code),
                "exit {}: {}",
                output.code,
                pair.source.sh(format!("cat {MARKS}/errors"))?
            );
            Ok(())
        }
        End::SourcePowerCut => {
            pair.source.power_off()?;
            pair.source.boot()?;
            pair.recover()
        }
        End::TargetPowerCut => {
            pair.target.power_off()?;
            run.signal(Signal::Kill)?;
            run.running.wait()?;
            pair.target.boot()?;
            pair.recover()
        }
    }
}

/// A base is there, and the next run goes on from it until all is equal.
fn recover(service: &Service<'_>, strangers: &Strangers<'_>) -> Result<()> {
    let pair = service.pair;
    pair.target
        .wait_until("! pgrep -x zferry", PATIENCE)
        .context("the helper of the cut run does not end")?;
    for (here, there) in service.datasets() {
        let known: Vec<u64> = here.guids()?.into_values().collect();
        let theirs = there.guids()?;
        ensure!(
            theirs
                .iter()
                .any(|(name, guid)| name.starts_with('@') && known.contains(guid)),
            "no base is left: {} knows {known:?}, and {} has {theirs:?}",
            here.name(),
            there.name()
        );
    }
    let next = service.sync("update")?;
    let sends = sends(&next);
    ensure!(
        sends
            .iter()
            .all(|step| step.contains(" -i ") || step.contains(" -t ")),
        "the next run is a full: {sends:#?}"
    );
    service.ensure_in_step()?;
    strangers.ensure_untouched()?;
    for (here, there) in service.datasets() {
        for dataset in [here, there] {
            let held = dataset.sh(&format!(
                "zfs list -H -o name -t snapshot -d 1 {} | xargs -r zfs holds -H",
                dataset.name()
            ))?;
            ensure!(held.is_empty(), "holds are left: {held}");
            ensure!(
                dataset.name().ends_with("vol") || dataset.property("receive_resume_token")? == "-",
                "a part of a stream is left in {}",
                dataset.name()
            );
        }
    }
    Ok(())
}

/// What others have on the target beside the copies, and what must stay.
struct Strangers<'a> {
    dataset: Dataset<'a>,
    beside: Dataset<'a>,
    before: String,
}

impl<'a> Strangers<'a> {
    fn plant(service: &Service<'a>) -> Result<Self> {
        let beside = service.on_target.clone();
        let dataset = beside.child("foreign").create_with("-o canmount=off")?;
        dataset.snapshot("theirs")?;
        dataset.sh(&format!(
            "zfs hold keep {0} && zfs bookmark {1} {2}#theirs",
            dataset.at("theirs"),
            beside.at("sent"),
            beside.name()
        ))?;
        let mut strangers = Self {
            dataset,
            beside,
            before: String::new(),
        };
        strangers.before = strangers.look()?;
        Ok(strangers)
    }

    fn look(&self) -> Result<String> {
        self.dataset.sh(&format!(
            "zfs get -Hp -r -t all -o name,value guid {0}; zfs holds -H {0}@theirs | cut -f 1,2; \
             zfs get -Hp -o value guid {1}#theirs",
            self.dataset.name(),
            self.beside.name()
        ))
    }

    fn ensure_untouched(&self) -> Result<()> {
        let now = self.look()?;
        ensure!(
            now == self.before,
            "what is not ours changed:\n{}\nbecame\n{now}",
            self.before
        );
        Ok(())
    }
}
