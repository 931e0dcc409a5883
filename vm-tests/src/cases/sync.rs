//! The `@tosend`/`@sent` scheme between two kernels.

use anyhow::{Context, Result, ensure};

use super::service::{Service, ensure_sent_from, steps};
use super::{Case, cases};
use crate::data::Data;
use crate::dataset::Dataset;
use crate::host::Host;
use crate::pair::Pair;
use crate::script::{Output, quote};

pub(super) const CASES: &[Case] = cases![Zferry:
    a_service_goes_full_then_incremental_and_both_nodes_are_up,
    the_log_of_a_full_and_of_an_update_reads_like_the_scheme,
    a_swap_of_roles_stays_incremental,
    a_broken_chain_is_noticed_and_never_repaired_by_a_full,
    a_full_sync_takes_the_place_of_a_copy_and_keeps_it_until_it_is_confirmed,
    a_base_destroyed_by_hand_is_found_by_its_mark,
    a_rotation_that_was_cut_is_completed,
    a_run_cut_after_the_transfer_is_committed_by_the_next,
    a_configuration_with_mistakes_lists_all_of_them,
    a_mount_point_is_sent_as_what_is_mounted_there,
];

fn a_service_goes_full_then_incremental_and_both_nodes_are_up(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "svc")?;
    service.write(1)?;
    let never = service.status(&pair.source)?;
    ensure!(never.code == 3, "never synchronized: exit {}", never.code);
    let full = steps(&service.sync("nodes")?);
    ensure!(
        full.first()
            .is_some_and(|step| step.starts_with("zfs snapshot -r ") && step.ends_with("@tosend")),
        "{full:#?}"
    );
    ensure!(
        !full
            .iter()
            .any(|step| step.starts_with("zfs send") && step.contains(" -i ")),
        "the first run is not full: {full:#?}"
    );
    service.ensure_in_step()?;
    for host in [&pair.source, &pair.target] {
        let status = service.status(host)?;
        ensure!(
            status.code == 0 && status.text().contains("up"),
            "{}: {} {}",
            host.role(),
            status.code,
            status.text()
        );
    }
    for seed in [2, 3] {
        service.write(seed)?;
        ensure_sent_from("@sent", &service.sync("update")?)?;
        service.ensure_in_step()?;
    }
    Ok(())
}

/// The lines that were said of a tree with a child and a volume; from `base`,
/// or in full.
fn ensure_reads_like_the_scheme(
    output: &Output,
    (here, there): (&str, &str),
    base: Option<&str>,
) -> Result<()> {
    let mut expected = vec![format!("source: zfs snapshot -r {here}@tosend")];
    let from = base.map_or_else(String::new, |base| format!("-i {base} "));
    for child in ["", "/child", "/vol"] {
        expected.push(format!("source: zfs send -Lc {from}{here}{child}@tosend"));
        expected.push(format!("target: zfs receive -s -u {there}{child}@tosend"));
    }
    for (side, name) in [("target", there), ("source", here)] {
        if base.is_some() {
            expected.push(format!("{side}: zfs rename -r {name}@sent {name}@sent.old"));
        }
        expected.push(format!("{side}: zfs rename -r {name}@tosend {name}@sent"));
        if base.is_some() {
            expected.push(format!("{side}: zfs destroy -r {name}@sent.old"));
        }
    }
    for side in ["source: state of", "target: state of"] {
        expected.push(side.to_owned());
    }
    let said = output.error_text();
    let said: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("source: ") || line.starts_with("target: "))
        .collect();
    let fits = |(said, expected): (&&str, &String)| match expected.ends_with("state of") {
        true => said.starts_with(expected) && said.contains("guid "),
        false => said == expected,
    };
    ensure!(
        said.len() == expected.len() && said.iter().zip(&expected).all(fits),
        "{said:#?}, and not {expected:#?}"
    );
    Ok(())
}

fn the_log_of_a_full_and_of_an_update_reads_like_the_scheme(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "log")?;
    service.write(1)?;
    let names = (service.on_source.name(), service.on_target.name());
    ensure_reads_like_the_scheme(&service.sync("full")?, names, None)?;
    service.write(2)?;
    ensure_reads_like_the_scheme(&service.sync("update")?, names, Some("@sent"))?;
    service.ensure_in_step()
}

fn a_swap_of_roles_stays_incremental(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "swap")?;
    service.write(1)?;
    service.sync("nodes")?;
    // The target takes over.
    let mount = |host: &Host, dataset: &Dataset<'_>| {
        host.sh(format!(
            "for d in {0} {0}/child; do zfs mount | grep -q \"^$d \" || zfs mount $d; done",
            dataset.name()
        ))
    };
    mount(&pair.target, &service.on_target)?;
    service.on_target.fill(&Data {
        seed: 5,
        bytes: 200_000,
    })?;
    pair.source.sh(format!(
        "cd / && zfs unmount {0}/child; zfs unmount {0}",
        service.on_source.name()
    ))?;
    let back = service.run(&pair.target, "update")?;
    ensure!(
        back.ok(),
        "exit {}: {}\n{}",
        back.code,
        back.text(),
        back.error_text()
    );
    ensure_sent_from("@sent", &back)?;
    service.ensure_in_step()?;
    // And back again.
    pair.target.sh(format!(
        "cd / && zfs unmount {0}/child; zfs unmount {0}",
        service.on_target.name()
    ))?;
    mount(&pair.source, &service.on_source)?;
    service.write(6)?;
    ensure_sent_from("@sent", &service.sync("update")?)?;
    service.ensure_in_step()
}

fn a_broken_chain_is_noticed_and_never_repaired_by_a_full(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "broken")?;
    service.write(1)?;
    service.sync("nodes")?;
    // Nothing in common any more: the target's base is gone.
    pair.target.sh(format!(
        "zfs destroy -r {} && zfs snapshot -r {}",
        service.on_target.at("sent"),
        service.on_target.at("sent")
    ))?;
    let before = service.on_target.guids()?;
    service.write(2)?;
    let refused = service.run(&pair.source, "update")?;
    ensure!(
        refused.code == 4,
        "exit {}: {}",
        refused.code,
        refused.error_text()
    );
    ensure!(service.on_target.guids()? == before, "the target changed");
    let status = service.status(&pair.source)?;
    ensure!(
        status.code == 4 && status.text().contains("nor any other of the"),
        "{} {}",
        status.code,
        status.text()
    );
    Ok(())
}

fn a_full_sync_takes_the_place_of_a_copy_and_keeps_it_until_it_is_confirmed(
    pair: &Pair,
) -> Result<()> {
    let service = Service::new(pair, "again")?;
    service.write(1)?;
    service.sync("full")?;
    service.ensure_in_step()?;
    // A copy that is mounted, with a snapshot that is nobody else's.
    let target = &service.on_target;
    pair.target.sh(format!(
        "zfs mount {0} && zfs snapshot {0}@mine && echo mine > /{0}/mine",
        target.name()
    ))?;
    service.write(2)?;
    service.sync("full")?;
    service.ensure_in_step()?;
    let copies = || {
        pair.target.sh(format!(
            "zfs list -H -o name -r -d 1 $(dirname {0}) | grep {0}.zferry- || true",
            target.name()
        ))
    };
    let old = copies()?.trim().to_owned();
    ensure!(old.contains(".zferry-old-") && !old.contains('\n'), "{old}");
    pair.target.sh(format!(
        "zfs list {old}@mine && test \"$(cat $(zfs get -H -o value mountpoint {old})/mine)\" = mine"
    ))?;
    // And it goes, mounted as it is, with its snapshots and its child.
    let held = format!("zfs hold keep {old}@mine");
    pair.target.sh(held)?;
    let told = service.run(&pair.source, "confirm")?;
    ensure!(
        told.code == 1 && told.error_text().contains("held") && copies()?.trim() == old,
        "exit {}: {}",
        told.code,
        told.error_text()
    );
    pair.target.sh(format!("zfs release keep {old}@mine"))?;
    service.sync("confirm")?;
    ensure!(copies()?.trim().is_empty(), "{}", copies()?);
    service.ensure_in_step()
}

fn a_base_destroyed_by_hand_is_found_by_its_mark(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "marked")?;
    service.write(1)?;
    service.sync("nodes")?;
    pair.source
        .sh(format!("zfs destroy -r {}", service.on_source.at("sent")))?;
    service.write(2)?;
    ensure_sent_from("#zferry.sync.1.target.", &service.sync("update")?)?;
    service.ensure_in_step()
}

fn a_rotation_that_was_cut_is_completed(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "rotation")?;
    service.write(1)?;
    service.sync("nodes")?;
    // Each half of a rotation, on each side.
    let (source, target) = (&service.on_source, &service.on_target);
    let cuts = [
        (&pair.source, source, "zfs rename -r D@sent D@sent.old"),
        (&pair.target, target, "zfs rename -r D@sent D@sent.old"),
        (&pair.target, target, "zfs snapshot -r D@sent.old"),
    ];
    for (seed, (host, dataset, cut)) in cuts.into_iter().enumerate() {
        host.sh(cut.replace('D', dataset.name()))?;
        service.write(10 + seed as u64)?;
        ensure_sent_from("@sent", &service.sync("update")?).with_context(|| cut.to_owned())?;
        service.ensure_in_step()?;
    }
    Ok(())
}

fn a_run_cut_after_the_transfer_is_committed_by_the_next(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "committed")?;
    service.write(1)?;
    service.sync("nodes")?;
    service.write(2)?;
    // What a run does until its commit, by hand.
    let (source, target) = (&service.on_source, &service.on_target);
    pair.source.sh(format!(
        "zfs snapshot -r {0}@tosend && zfs send -R -i @sent {0}@tosend | \
         ssh target zfs receive -u {1}",
        source.name(),
        target.name()
    ))?;
    service.write(3)?;
    ensure_sent_from("@sent", &service.sync("update")?)?;
    service.ensure_in_step()?;
    // What was written last is there too, not only what had been cut.
    let child = target.child("child").contents_at("sent")?;
    source.child("child").contents()?.ensure_same(&child)
}

fn a_configuration_with_mistakes_lists_all_of_them(pair: &Pair) -> Result<()> {
    pair.source.sh(
        "mkdir -p /etc/zferry && printf '[DEFAULT]\\nnodes = source target\\n[sync#1]\\n\
         type = zfs\\nsrc = tank/x y/../z\\ntraget = nodes\\nsync_max_delay = 3parsecs\\n' \
         > /etc/zferry/mistakes.conf",
    )?;
    let failed = pair
        .source
        .run(pair.source.zferry(["sync", "update", "mistakes"]))?;
    ensure!(failed.code == 2, "exit {}", failed.code);
    let text = failed.error_text();
    for part in ["mistakes.conf", "traget", "target", "3parsecs"] {
        ensure!(text.contains(part), "{part} is not mentioned: {text}");
    }
    Ok(())
}

fn a_mount_point_is_sent_as_what_is_mounted_there(pair: &Pair) -> Result<()> {
    let service = Service::new(pair, "mounted")?;
    let path = service.on_source.property("mountpoint")?;
    for host in [&pair.source, &pair.target] {
        host.sh(format!(
            "sed -i {} /etc/zferry/mounted.conf",
            quote(&format!("s|^src@source = .*|src@source = {path}|"))
        ))?;
    }
    service.write(1)?;
    service.sync("nodes")?;
    service.ensure_in_step()?;
    let shown = pair
        .source
        .run(pair.source.zferry(["config", "show", "mounted"]))?;
    let expected = format!("src: {} (mounted at {path})", service.on_source.name());
    ensure!(
        shown.ok() && shown.text().contains(&expected),
        "{expected} is not in {}\n{}",
        shown.text(),
        shown.error_text()
    );
    // What is not mounted is not sent under the name of something else.
    pair.source.sh(format!(
        "cd / && zfs unmount {0}/child; zfs unmount {0}",
        service.on_source.name()
    ))?;
    let refused = service.run(&pair.source, "update")?;
    ensure!(
        refused.code == 1 && refused.error_text().contains("no dataset is mounted at"),
        "exit {}: {}",
        refused.code,
        refused.error_text()
    );
    Ok(())
}
