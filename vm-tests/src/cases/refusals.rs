//! What `zferry` refuses, with which exit code, and that nothing was touched.

use anyhow::{Result, ensure};

use super::replicate::{newest_snapshot, replicate, run};
use super::{Case, cases};
use crate::data::Data;
use crate::guest::Role;
use crate::pair::{Pair, Trust};
use crate::script::quote;

pub(super) const CASES: &[Case] = cases![Zferry:
    a_modified_target_is_refused_and_left_alone,
    a_target_without_a_common_snapshot_is_refused,
    a_full_target_pool_is_an_error_and_with_room_the_next_run_goes_on,
    a_wrong_key_is_refused,
    an_unknown_host_key_is_refused_with_the_command_that_adds_it,
    a_changed_host_key_is_refused,
    a_missing_helper_is_named,
    a_machine_without_zfs_is_named,
    a_helper_keeps_to_what_it_was_allowed,
    a_missing_source_is_a_mistake_of_the_command,
];

const SMALL: Data = Data {
    seed: 1,
    bytes: 200_000,
};

fn a_modified_target_is_refused_and_left_alone(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("modified").create()?;
    source.fill(&SMALL)?;
    let target = pair.target.dataset("modified");
    let arguments = [source.name(), &target.remote_name()];
    replicate(&pair.source, &arguments)?;
    pair.target.sh(format!(
        "zfs mount {0} && cd $(zfs get -H -o value mountpoint {0}) && echo local > changed && sync",
        target.name()
    ))?;
    source.fill(&Data { seed: 2, ..SMALL })?;
    let before = (target.guids()?, source.guids()?);
    let refused = run(&pair.source, &arguments)?;
    ensure!(
        refused.code == 4,
        "exit {}: {}",
        refused.code,
        refused.text()
    );
    let text = refused.text();
    ensure!(
        text.contains("modified") && text.contains("zfs rollback"),
        "it does not say what is wrong and what to do: {text}"
    );
    ensure!(
        target.guids()? == before.0,
        "snapshots of the target changed"
    );
    ensure!(
        source.guids()? == before.1,
        "a snapshot was left on the source"
    );
    pair.target.sh(format!(
        "grep -q local $(zfs get -H -o value mountpoint {})/changed",
        target.name()
    ))?;
    // What it says to do makes the next run succeed.
    let base = newest_snapshot(&target)?;
    pair.target
        .sh(format!("zfs rollback {}", target.at(&base)))?;
    replicate(&pair.source, &arguments)?;
    let newest = newest_snapshot(&target)?;
    source
        .contents()?
        .ensure_same(&target.contents_at(&newest)?)
}

fn a_target_without_a_common_snapshot_is_refused(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("stranger").create()?;
    let target = pair.target.dataset("stranger").create()?;
    source.fill(&SMALL)?;
    target.fill(&Data { seed: 9, ..SMALL })?;
    // The same name, another snapshot.
    source.snapshot("a")?;
    target.snapshot("a")?;
    let before = (target.guids()?, target.contents()?);
    for arguments in [
        vec![source.name(), &target.remote_name()],
        vec!["--snapshot", "a", source.name(), &target.remote_name()],
    ] {
        let refused = run(&pair.source, &arguments)?;
        ensure!(
            refused.code == 4,
            "exit {}: {}",
            refused.code,
            refused.text()
        );
        ensure!(refused.text().contains("in common"), "{}", refused.text());
    }
    ensure!(target.guids()? == before.0, "the target changed");
    target.contents()?.ensure_same(&before.1)?;
    ensure!(source.guids()?.len() == 1, "a snapshot was left behind");
    Ok(())
}

fn a_full_target_pool_is_an_error_and_with_room_the_next_run_goes_on(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("large").create()?;
    source.fill(&Data {
        seed: 3,
        bytes: 16 << 20,
    })?;
    let parent = pair.target.dataset("narrow").create_with("-o quota=4M")?;
    let target = parent.child("copy");
    let arguments = [source.name(), &target.remote_name()];
    let failed = run(&pair.source, &arguments)?;
    ensure!(failed.code == 1, "exit {}: {}", failed.code, failed.text());
    ensure!(failed.text().contains("quota"), "{}", failed.text());
    ensure!(
        target.guids()?.is_empty(),
        "a stream that did not fit became a snapshot"
    );
    pair.target
        .sh(format!("zfs set quota=none {}", parent.name()))?;
    replicate(&pair.source, &arguments)?;
    let newest = newest_snapshot(&target)?;
    let sent = source.contents_at(&newest)?;
    sent.ensure_same(&target.contents_at(&newest)?)?;
    // A pool that is really full.
    let name = format!("{}-tiny", pair.target.standing_pool());
    pair.target.sh(format!(
        "truncate -s 64M /var/tmp/tiny.img && zpool create {name} /var/tmp/tiny.img \
         && free=$(zfs get -H -p -o value available {name}) \
         && zfs create -o reservation=$((free - 3000000)) {name}/ballast"
    ))?;
    let remote = format!("target:{name}/copy");
    let failed = run(&pair.source, &[source.name(), &remote])?;
    let left = pair
        .target
        .run(format!("zfs list -H -t snapshot -o name -r {name}"))?;
    pair.target.sh(format!("zfs destroy {name}/ballast"))?;
    let with_room = run(&pair.source, &[source.name(), &remote])?;
    pair.target
        .sh(format!("zpool destroy {name} && rm /var/tmp/tiny.img"))?;
    ensure!(failed.code == 1, "exit {}: {}", failed.code, failed.text());
    ensure!(failed.text().contains("out of space"), "{}", failed.text());
    ensure!(left.text().trim().is_empty(), "{}", left.text());
    ensure!(
        with_room.code == 0,
        "exit {}: {}",
        with_room.code,
        with_room.text()
    );
    Ok(())
}

fn a_wrong_key_is_refused(pair: &Pair) -> Result<()> {
    pair.source
        .sh("rm -f /tmp/wrong /tmp/wrong.pub; ssh-keygen -q -t ed25519 -N '' -f /tmp/wrong")?;
    let refused = run(
        &pair.source,
        &[
            "--identity",
            "/tmp/wrong",
            "tank/none",
            "target:backup/none",
        ],
    )?;
    ensure!(
        refused.code == 6,
        "exit {}: {}",
        refused.code,
        refused.text()
    );
    ensure!(refused.text().contains("/tmp/wrong"), "{}", refused.text());
    Ok(())
}

fn an_unknown_host_key_is_refused_with_the_command_that_adds_it(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("unknown").create()?;
    source.fill(&SMALL)?;
    let target = pair.target.dataset("unknown");
    let arguments = ["replicate", source.name(), &target.remote_name()];
    pair.trust(Role::Source, Trust::Nobody)?;
    let refused = pair.source.run(pair.source.zferry(arguments))?;
    ensure!(
        refused.code == 6,
        "exit {}: {}",
        refused.code,
        refused.error_text()
    );
    let text = refused.error_text();
    let Some(command) = text
        .lines()
        .find_map(|line| line.find("echo ").map(|at| line[at..].trim()))
    else {
        anyhow::bail!("no command in: {text}")
    };
    pair.source.sh(command)?;
    pair.source.sh(pair.source.zferry(arguments))?;
    pair.trust(Role::Source, Trust::Right)
}

fn a_changed_host_key_is_refused(pair: &Pair) -> Result<()> {
    pair.trust(Role::Source, Trust::Impostor)?;
    let refused = run(&pair.source, &["tank/none", "target:backup/none"])?;
    pair.trust(Role::Source, Trust::Right)?;
    ensure!(
        refused.code == 6,
        "exit {}: {}",
        refused.code,
        refused.text()
    );
    ensure!(refused.text().contains("known_hosts"), "{}", refused.text());
    Ok(())
}

fn a_missing_helper_is_named(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("helperless").create()?;
    let failed = run(
        &pair.source,
        &[
            "--remote-command",
            "/opt/nowhere/zferry helper",
            source.name(),
            "target:backup/helperless",
        ],
    )?;
    ensure!(failed.code == 1, "exit {}: {}", failed.code, failed.text());
    let text = failed.text();
    ensure!(
        text.contains("/opt/nowhere/zferry") && text.contains("--remote-command"),
        "{text}"
    );
    ensure!(source.guids()?.is_empty(), "a snapshot was left behind");
    Ok(())
}

fn a_machine_without_zfs_is_named(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("zfsless").create()?;
    // A mount namespace whose /dev has no zfs, on either side.
    let without = |command: &str| {
        format!(
            "unshare -m sh -c {}",
            quote(&format!(
                "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec {command}"
            ))
        )
    };
    let there = run(
        &pair.source,
        &[
            "--remote-command",
            &without("zferry helper"),
            source.name(),
            "target:backup/zfsless",
        ],
    )?;
    ensure!(there.code == 7, "exit {}: {}", there.code, there.text());
    ensure!(there.text().contains("target"), "{}", there.text());
    let command = format!("zferry replicate {} target:backup/zfsless", source.name());
    let here = pair.source.run(without(&command))?;
    ensure!(here.code == 7, "exit {}: {}", here.code, here.error_text());
    ensure!(here.error_text().contains("zfs"), "{}", here.error_text());
    ensure!(source.guids()?.is_empty(), "a snapshot was left behind");
    Ok(())
}

fn a_helper_keeps_to_what_it_was_allowed(pair: &Pair) -> Result<()> {
    let source = pair.source.dataset("allowed").create()?;
    source.fill(&SMALL)?;
    let inside = pair.target.dataset("allowed");
    let outside = pair.target.dataset("elsewhere");
    let command = format!("zferry helper --allow {}", inside.name());
    let to =
        |target: &str| ["--remote-command", &command, source.name(), target].map(str::to_owned);
    let refused = to(&outside.remote_name());
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    let refused = run(&pair.source, &refused)?;
    ensure!(
        refused.code == 6,
        "exit {}: {}",
        refused.code,
        refused.text()
    );
    ensure!(!outside.exists()?, "it was received");
    let allowed = to(&inside.remote_name());
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    replicate(&pair.source, &allowed)?;
    ensure!(inside.exists()?);
    Ok(())
}

fn a_missing_source_is_a_mistake_of_the_command(pair: &Pair) -> Result<()> {
    let missing = run(&pair.source, &["tank/misspelt", "target:backup/misspelt"])?;
    ensure!(
        missing.code == 2,
        "exit {}: {}",
        missing.code,
        missing.text()
    );
    ensure!(
        missing.text().contains("tank/misspelt"),
        "{}",
        missing.text()
    );
    ensure!(!pair.target.dataset("misspelt").exists()?);
    let pool = run(&pair.source, &["tank", "target:nopool/x"])?;
    ensure!(pool.code != 0, "a missing pool passes");
    Ok(())
}
