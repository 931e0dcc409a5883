//! States of a machine in which ZFS does not take a stream: what the command
//! says, what it leaves, and that the next run goes on when the state is over.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::replicate::{events, newest_snapshot, replicate, run};
use super::{Case, cases};
use crate::data::Data;
use crate::dataset::Dataset;
use crate::pair::Pair;
use crate::script::{Output, Script, quote};

pub(super) const CASES: &[Case] = cases![Zferry:
    a_pool_that_was_imported_read_only_is_named_with_the_command_that_mends_it,
    a_suspended_pool_keeps_no_command_waiting_and_when_it_is_back_the_next_run_goes_on,
    a_quota_that_ends_an_increment_leaves_the_base_and_what_had_arrived,
    a_target_that_is_mounted_and_in_use_takes_an_increment,
    a_receive_of_somebody_else_is_waited_for_and_left_alone,
    a_source_whose_key_is_not_loaded_is_named_and_sent_raw,
    a_target_whose_key_is_not_loaded_is_named_and_keeps_its_base,
];

const SMALL: Data = Data {
    seed: 31,
    bytes: 400_000,
};

/// Not tried again: what is waited for here does not pass by itself.
const ONCE: [&str; 2] = ["--retry-for", "0"];

/// A pair in step, with a change on the source that is not sent yet.
fn in_step<'a>(pair: &'a Pair, name: &str) -> Result<(Dataset<'a>, Dataset<'a>)> {
    let source = pair.source.dataset(name).create()?;
    let target = pair.target.dataset(name);
    source.fill(&SMALL)?;
    replicate(&pair.source, &[source.name(), &target.remote_name()])?;
    source.fill(&Data { seed: 32, ..SMALL })?;
    Ok((source, target))
}

fn ensure_says(output: &Output, code: i32, parts: &[&str]) -> Result<()> {
    let text = output.text() + &output.error_text();
    ensure!(
        output.code == code && parts.iter().all(|part| text.contains(part)),
        "exit {} instead of {code}, or not all of {parts:?}: {text}",
        output.code
    );
    Ok(())
}

/// The next run is incremental, and both sides are equal after it.
fn goes_on(pair: &Pair, source: &Dataset<'_>, target: &Dataset<'_>) -> Result<Output> {
    let output = replicate(&pair.source, &[source.name(), &target.remote_name()])?;
    let text = output.text();
    for started in events(&text, "transfer_started") {
        ensure!(!started.contains("\"base\":null"), "a full: {started}");
    }
    let newest = newest_snapshot(target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)?;
    Ok(output)
}

fn a_pool_that_was_imported_read_only_is_named_with_the_command_that_mends_it(
    pair: &Pair,
) -> Result<()> {
    let source = pair.source.dataset("readonly").create()?;
    source.fill(&SMALL)?;
    let pool = pair.target.pool("frozen")?;
    let target = pool.dataset("copy");
    let arguments = [source.name(), &target.remote_name(), ONCE[0], ONCE[1]];
    replicate(&pair.source, &arguments)?;
    source.fill(&Data { seed: 32, ..SMALL })?;
    let import = |options: &str| {
        pair.target.sh(format!(
            "zpool export {0} && zpool import -o cachefile=none {options} -d /dev {0}",
            pool.name()
        ))
    };
    import("-o readonly=on")?;
    let refused = run(&pair.source, &arguments);
    import("")?;
    ensure_says(&refused?, 1, &["read-only", "zpool import frozen"])?;
    goes_on(pair, &source, &target).map(drop)
}

/// A pool whose disk is a file on a file system without room: the next write
/// to it fails, and the pool is suspended until it is cleared.
struct Shaky<'a>(&'a Pair);

impl<'a> Shaky<'a> {
    fn new(pair: &'a Pair) -> Result<Self> {
        pair.target.sh("mkdir -p /mnt/shaky
             mount -t tmpfs -o size=100m tmpfs /mnt/shaky
             truncate -s 256M /mnt/shaky/disk
             zpool create -o failmode=wait -o cachefile=none shaky /mnt/shaky/disk")?;
        Ok(Self(pair))
    }

    fn take_room(&self) -> Result<()> {
        // More than there is: all that is there is taken.
        self.0
            .target
            .sh("zpool sync shaky; head -c 100M /dev/zero > /mnt/shaky/ballast || true")
            .map(drop)
    }

    fn give_room(&self) -> Result<()> {
        self.0
            .target
            .sh("rm -f /mnt/shaky/ballast && zpool clear shaky")
            .map(drop)
    }
}

impl Drop for Shaky<'_> {
    fn drop(&mut self) {
        let _ = self.give_room();
        let _ = self
            .0
            .target
            .run("zpool destroy -f shaky; umount /mnt/shaky");
    }
}

fn a_suspended_pool_keeps_no_command_waiting_and_when_it_is_back_the_next_run_goes_on(
    pair: &Pair,
) -> Result<()> {
    let source = pair.source.dataset("suspended").create()?;
    source.fill(&SMALL)?;
    let shaky = Shaky::new(pair)?;
    let remote = "target:shaky/copy";
    replicate(&pair.source, &[source.name(), remote])?;
    let target = Dataset::new(&pair.target, "shaky/copy".to_owned());
    let base = newest_snapshot(&target)?;
    source.fill(&Data {
        seed: 32,
        bytes: 8 << 20,
    })?;
    shaky.take_room()?;
    let arguments = [
        "--json",
        "replicate",
        source.name(),
        remote,
        ONCE[0],
        ONCE[1],
        "--stall-timeout",
        "15s",
    ];
    // Ends by itself, long before the limit of the harness kills it.
    let script = pair
        .source
        .zferry(arguments)
        .within(Duration::from_secs(110));
    let failed = pair.source.run(script)?;
    let health = pair.target.sh("zpool get -H -o value health shaky")?;
    ensure!(health == "SUSPENDED", "the pool is {health}");
    ensure_says(&failed, 5, &["target"])?;
    // What begins now is told at once: nothing new is started in such a pool.
    let refused = pair.source.run(pair.source.zferry(arguments))?;
    ensure!(
        [1, 5].contains(&refused.code),
        "exit {}: {}",
        refused.code,
        refused.text()
    );
    shaky.give_room()?;
    pair.target
        .wait_until("! pgrep -x zferry", Duration::from_secs(120))?;
    replicate(&pair.source, &[source.name(), remote])?;
    ensure!(newest_snapshot(&target)? != base, "nothing new has arrived");
    let newest = newest_snapshot(&target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)
}

fn a_quota_that_ends_an_increment_leaves_the_base_and_what_had_arrived(pair: &Pair) -> Result<()> {
    let parent = pair.target.dataset("quota").create()?;
    let source = pair.source.dataset("quota").create()?;
    let target = parent.child("copy");
    source.fill(&SMALL)?;
    let arguments = [source.name(), &target.remote_name()];
    replicate(&pair.source, &arguments)?;
    let base = target.guids()?;
    source.fill(&Data {
        seed: 32,
        bytes: 16 << 20,
    })?;
    pair.target
        .sh(format!("zfs set quota=6M {}", parent.name()))?;
    let failed = run(&pair.source, &arguments)?;
    ensure_says(&failed, 1, &["quota", "zfs get -r quota,refquota"])?;
    ensure!(target.guids()? == base, "the base is not what it was");
    let token = target.property("receive_resume_token")?;
    ensure!(token != "-", "nothing of what had arrived is kept");
    pair.target
        .sh(format!("zfs set quota=none {}", parent.name()))?;
    let text = goes_on(pair, &source, &target)?.text();
    let resumed = events(&text, "transfer_started")
        .iter()
        .any(|started| !started.contains("\"resumed_bytes\":null"));
    ensure!(resumed, "it began anew: {text}");
    Ok(())
}

fn a_target_that_is_mounted_and_in_use_takes_an_increment(pair: &Pair) -> Result<()> {
    let (source, target) = in_step(pair, "in-use")?;
    let name = target.name();
    pair.target
        .sh(format!("zfs set readonly=on {name} && zfs mount {name}"))?;
    let path = target.property("mountpoint")?;
    // Somebody works there, with an open file.
    let mut user = pair.target.spawn(Script::bash(format!(
        "cd {0} && exec 3< \"$(find . -type f | head -n 1)\" && touch /run/in-use && sleep 600",
        quote(&path)
    )))?;
    pair.target
        .wait_until("[ -e /run/in-use ]", Duration::from_secs(60))?;
    let outcome = goes_on(pair, &source, &target);
    let pid = user.pid()?;
    // The shell and what it waits for.
    pair.target.sh(format!(
        "pkill -KILL -P {pid} || true; kill -KILL {pid} || true"
    ))?;
    let _ = user.wait();
    outcome?;
    ensure!(target.property("mounted")? == "yes", "it was unmounted");
    Ok(())
}

fn a_receive_of_somebody_else_is_waited_for_and_left_alone(pair: &Pair) -> Result<()> {
    let (source, target) = in_step(pair, "other-receive")?;
    source.snapshot("theirs")?;
    let base = newest_snapshot(&target)?;
    let stream = "/var/tmp/theirs";
    pair.target.sh(format!(
        "ssh source zfs send -i @{base} {} > {stream}; rm -f /run/go; mkfifo /run/go",
        quote(&source.at("theirs")),
    ))?;
    let mut other = pair.target.spawn(Script::bash(format!(
        "{{ head -c 20000 {stream}; cat /run/go; tail -c +20001 {stream}; }} | zfs receive {}",
        quote(target.name()),
    )))?;
    // It has taken what there is, and waits for more.
    pair.target.wait_until(
        "pgrep -f 'cat /run/go' && grep pipe /proc/$(pgrep -xn zfs)/wchan",
        Duration::from_secs(60),
    )?;
    let arguments = [source.name(), &target.remote_name(), ONCE[0], ONCE[1]];
    let busy = run(&pair.source, &arguments)?;
    ensure_says(&busy, 5, &["busy"])?;
    pair.target.sh(": > /run/go")?;
    let output = other.wait()?;
    ensure!(output.ok(), "it was disturbed: {}", output.error_text());
    ensure!(
        source.guids()?.get("@theirs") == target.guids()?.get("@theirs"),
        "what it received is not there"
    );
    goes_on(pair, &source, &target).map(drop)
}

/// An encrypted dataset whose key lies in a file of its guest.
fn encrypted<'a>(host: &'a crate::host::Host, name: &str) -> Result<Dataset<'a>> {
    host.sh("[ -e /run/zferry-key ] || head -c 32 /dev/zero | tr '\\0' k > /run/zferry-key")?;
    host.dataset(name)
        .create_with("-o encryption=on -o keyformat=raw -o keylocation=file:///run/zferry-key")
}

fn a_source_whose_key_is_not_loaded_is_named_and_sent_raw(pair: &Pair) -> Result<()> {
    let source = encrypted(&pair.source, "locked-source")?;
    source.fill(&SMALL)?;
    source.snapshot("a")?;
    let name = source.name();
    pair.source.sh(format!(
        "cd / && zfs unmount {name} && zfs unload-key {name}"
    ))?;
    let target = pair.target.dataset("locked-source");
    let arguments = ["--snapshot", "a", name, &target.remote_name()];
    let refused = run(&pair.source, &arguments)?;
    ensure_says(&refused, 1, &["--raw", &format!("zfs load-key {name}")])?;
    ensure!(!target.exists()?, "something was created");
    let raw = [&arguments[..], &["--raw"]].concat();
    replicate(&pair.source, &raw)?;
    ensure!(
        source.guids()?.get("@a") == target.guids()?.get("@a"),
        "the snapshot has another identity"
    );
    Ok(())
}

fn a_target_whose_key_is_not_loaded_is_named_and_keeps_its_base(pair: &Pair) -> Result<()> {
    let parent = encrypted(&pair.target, "vault")?;
    let source = pair.source.dataset("vault").create()?;
    let target = parent.child("copy");
    source.fill(&SMALL)?;
    let arguments = [source.name(), &target.remote_name()];
    replicate(&pair.source, &arguments)?;
    let base = target.guids()?;
    source.fill(&Data { seed: 32, ..SMALL })?;
    let name = parent.name();
    pair.target.sh(format!(
        "cd / && zfs unmount {name}; zfs unload-key -r {name}"
    ))?;
    let refused = run(&pair.source, &arguments)?;
    ensure_says(&refused, 1, &["key", "zfs load-key"])?;
    ensure!(target.guids()? == base, "the base is not what it was");
    pair.target.sh(format!("zfs load-key -r {name}"))?;
    goes_on(pair, &source, &target).map(drop)
}
