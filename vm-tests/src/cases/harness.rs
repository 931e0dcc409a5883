//! Claims about the harness itself, made with plain `zfs` and `ssh`: if one of
//! these fails, no other case says anything about zferry.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Case, cases};
use crate::data::Data;
use crate::dataset::Part;
use crate::guest::{Link, Role, Signal};
use crate::pair::{Pair, Trust};
use crate::script::{CommandError, Outcome, Script};

pub(super) const CASES: &[Case] = cases![Zfs:
    a_commands_streams_and_exit_code_come_back_unchanged,
    a_command_beyond_its_time_limit_is_killed_in_the_guest,
    a_sent_file_system_holds_the_same_on_the_target,
    a_sent_volume_holds_the_same_on_the_target,
    a_difference_on_the_target_is_noticed,
    a_killed_sender_leaves_a_resumable_receive,
    a_cut_link_looks_like_a_dead_network,
    an_impostor_is_refused_by_ssh,
    a_pool_of_a_case_is_gone_afterwards,
    a_power_cut_keeps_what_was_synced,
];

/// Small enough for emulation, large enough for several records per file.
const DATA_BYTES: usize = 4 << 20;

fn a_commands_streams_and_exit_code_come_back_unchanged(pair: &Pair) -> Result<()> {
    for host in [&pair.source, &pair.target] {
        let all_bytes: Vec<u8> = (0..=255).collect();
        let script = Script::bash("cat; echo 'to stderr' >&2; exit 42").stdin(all_bytes.clone());
        let output = host.run(script)?;
        ensure!(output.stdout == all_bytes, "stdout is {:?}", output.stdout);
        ensure!(
            output.error_text() == "to stderr",
            "stderr is {:?}",
            output.error_text()
        );
        ensure!(output.code == 42, "exit code is {}", output.code);
        ensure!(host.sh("hostname")? == host.role().to_string());
        ensure!(
            !host.run("false | true")?.ok(),
            "a failure inside a pipeline is lost"
        );
    }
    Ok(())
}

fn a_command_beyond_its_time_limit_is_killed_in_the_guest(pair: &Pair) -> Result<()> {
    let script = "echo begun; sleep 7654321".to_owned();
    let late = pair
        .source
        .run(Script::bash(script).within(Duration::from_secs(5)));
    let Err(error) = late else {
        bail!("sleep ended early")
    };
    let Some(error) = error.downcast_ref::<CommandError>() else {
        return Err(error);
    };
    ensure!(matches!(error.outcome, Outcome::TimedOut(_)), "{error}");
    ensure!(
        error.to_string().contains("begun"),
        "what it printed is lost: {error}"
    );
    pair.source
        .wait_until("! pgrep -f 'sleep 765432[1]'", Duration::from_secs(30))
}

fn a_sent_file_system_holds_the_same_on_the_target(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("plain").create()?;
    let target = pair.target.dataset("plain");
    source.fill(&Data {
        seed: 1,
        bytes: DATA_BYTES,
    })?;
    source.snapshot("a")?;
    pair.source.sh(format!(
        "zfs send {} | ssh target zfs receive -u {}",
        source.at("a"),
        target.name()
    ))?;
    source
        .contents_at("a")?
        .ensure_same(&target.contents_at("a")?)?;
    source.contents()?.ensure_same(&target.contents_at("a")?)?;
    ensure!(
        source.contents()?.count() > 50,
        "the data has too few files to prove anything"
    );

    source.fill(&Data {
        seed: 2,
        bytes: DATA_BYTES,
    })?;
    source.snapshot("b")?;
    pair.source.sh(format!(
        "zfs send -i @a {} | ssh target zfs receive -u {}",
        source.at("b"),
        target.name()
    ))?;
    source
        .contents_at("b")?
        .ensure_same(&target.contents_at("b")?)?;
    ensure!(source.guids()? == target.guids()?, "snapshots differ");
    ensure!(source.guids()?.len() == 2, "two snapshots were sent");
    Ok(())
}

fn a_sent_volume_holds_the_same_on_the_target(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("volume").create_with("-V 8M")?;
    let target = pair.target.dataset("volume");
    source.overwrite(
        "",
        Part {
            offset_bytes: 1 << 20,
            bytes: 2 << 20,
            seed: 3,
        },
    )?;
    source.snapshot("a")?;
    pair.source.sh(format!(
        "zfs send {} | ssh target zfs receive {}",
        source.at("a"),
        target.name()
    ))?;
    source
        .contents_at("a")?
        .ensure_same(&target.contents_at("a")?)
}

fn a_difference_on_the_target_is_noticed(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("differs").create()?;
    let target = pair.target.dataset("differs").create()?;
    for dataset in [&source, &target] {
        dataset.fill(&Data {
            seed: 4,
            bytes: 100_000,
        })?;
    }
    source.contents()?.ensure_same(&target.contents()?)?;
    target.overwrite(
        "random",
        Part {
            offset_bytes: 1000,
            bytes: 1,
            seed: 5,
        },
    )?;
    ensure!(
        source.contents()?.ensure_same(&target.contents()?).is_err(),
        "one changed byte goes unnoticed"
    );
    Ok(())
}

fn a_killed_sender_leaves_a_resumable_receive(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("killed").create()?;
    let target = pair.target.dataset("killed");
    source.fill(&Data {
        seed: 6,
        bytes: 2 * DATA_BYTES,
    })?;
    source.snapshot("a")?;
    // The pipe is held open, so that the send blocks half way and is alive for
    // as long as it takes to kill it.
    let gate = pair.target.sh("cd $(mktemp -d) && mkfifo gate && pwd")?;
    let receive = format!(
        "(head -c 2000000; cat {gate}/gate) | zfs receive -s -u {}",
        target.name()
    );
    let mut background = pair.source.spawn(format!(
        "zfs send {} | ssh target {}",
        source.at("a"),
        crate::script::quote(&receive)
    ))?;
    pair.target.wait_until(
        &format!("zfs list {}", target.name()),
        Duration::from_secs(60),
    )?;
    let pid = background.pid()?;
    let sender = pair.source.sh(format!("pgrep -P {pid} zfs"))?.parse()?;
    pair.source.signal(sender, Signal::Kill)?;
    pair.target.sh(format!(": > {gate}/gate; rm -r {gate}"))?;
    ensure!(
        !background.wait()?.ok(),
        "the killed send passes for a success"
    );
    let token = target.property("receive_resume_token")?;
    ensure!(token.len() > 10, "no resume token, but {token:?}");
    pair.source.sh(format!(
        "zfs send -t {token} | ssh target zfs receive -s {}",
        target.name()
    ))?;
    source
        .contents_at("a")?
        .ensure_same(&target.contents_at("a")?)
}

fn a_cut_link_looks_like_a_dead_network(pair: &Pair) -> Result<()> {
    let ping = "ssh -o ConnectTimeout=5 -o ServerAliveInterval=3 -o ServerAliveCountMax=2 target";
    pair.source.sh(format!("{ping} true"))?;
    let mut session = pair
        .source
        .spawn(format!("{ping} 'echo open; sleep 600'"))?;
    pair.target
        .wait_until("pgrep -f 'sleep 60[0]'", Duration::from_secs(60))?;
    pair.set_link(Link::Down)?;
    let carrier = pair
        .source
        .sh("[ $(uname) != Linux ] || ip -o link show dev eth1")?;
    ensure!(
        !carrier.contains("NO-CARRIER"),
        "the guest is told of the cut: {carrier}"
    );
    let output = session.wait()?;
    ensure!(
        output.code == 255 && output.text() == "open",
        "the open session: {output:?}"
    );
    let refused = pair.source.fails(format!("{ping} true"))?;
    ensure!(refused.code == 255, "a new session: {refused:?}");
    ensure!(
        pair.source.is_up() && pair.target.is_up(),
        "the harness is cut off too"
    );
    pair.set_link(Link::Up)?;
    pair.await_link()?;
    pair.source.sh(format!("{ping} true")).map(drop)
}

fn an_impostor_is_refused_by_ssh(pair: &Pair) -> Result<()> {
    for (trust, message) in [
        (Trust::Impostor, "REMOTE HOST IDENTIFICATION HAS CHANGED"),
        (Trust::Nobody, "Host key verification failed"),
    ] {
        pair.trust(Role::Source, trust)?;
        let refused = pair.source.fails("ssh -o BatchMode=yes target true")?;
        ensure!(
            refused.error_text().contains(message),
            "{trust:?}: {}",
            refused.error_text()
        );
    }
    pair.trust(Role::Source, Trust::Right)?;
    pair.source.sh("ssh -o BatchMode=yes target true")?;
    pair.target.sh("ssh -o BatchMode=yes source true").map(drop)
}

fn a_pool_of_a_case_is_gone_afterwards(pair: &Pair) -> Result<()> {
    let pool = pair.target.pool("passing")?;
    let name = pool.name().to_owned();
    pool.dataset("x").create()?.fill(&Data {
        seed: 8,
        bytes: 10_000,
    })?;
    pair.target.sh(format!("zpool list {name}"))?;
    drop(pool);
    pair.target.fails(format!("zpool list {name}"))?;
    // Its disk serves the next one.
    drop(pair.target.pool("passing")?);
    Ok(())
}

fn a_power_cut_keeps_what_was_synced(pair: &Pair) -> Result<()> {
    let dataset = pair.target.dataset("power").create()?;
    dataset.fill(&Data {
        seed: 9,
        bytes: 100_000,
    })?;
    dataset.snapshot("a")?;
    let before = (dataset.guids()?, dataset.contents_at("a")?);
    pair.target.power_off()?;
    ensure!(!pair.target.is_up(), "it runs without power");
    pair.target.boot()?;
    ensure!(
        dataset.guids()? == before.0,
        "the snapshot is gone or another"
    );
    dataset.contents_at("a")?.ensure_same(&before.1)?;
    pair.await_link()
}
