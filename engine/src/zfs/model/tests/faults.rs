//! Faults and crashes, and a sweep as the engine makes them.

use super::*;
use crate::hold::HoldTag;

/// One step of a small replication: the newest common snapshot by guid, then
/// what is missing on the target.
fn replicate(source: &Model, target: &Model) -> Result<(), ZfsErrorKind> {
    let fail = |error: ZfsError| error.kind;
    let (from, to) = (dataset("tank/a"), dataset("safe/deep/a"));
    let tosend = snapshot("tank/a@tosend");
    source
        .destroy_snapshots(std::slice::from_ref(&tosend))
        .map_err(fail)?;
    source
        .snapshot(std::slice::from_ref(&tosend))
        .map_err(fail)?;
    let _hold = source
        .hold(std::slice::from_ref(&tosend), &HoldTag::for_run("test"))
        .map_err(fail)?;
    let left = source
        .tree(&from, Scope::One)
        .map_err(fail)?
        .unwrap()
        .remove(0);
    let right = target.tree(&to, Scope::One).map_err(fail)?;
    let (send, receive) = match right {
        None => {
            target.create_ancestors(&to).map_err(fail)?;
            (full("tank/a@tosend"), new("safe/deep/a@tosend"))
        }
        Some(mut right) => {
            let right = right.remove(0);
            // What a crash left behind: received, not yet renamed.
            let leftover = snapshots(&["safe/deep/a@tosend"]);
            let base = left
                .snapshots
                .iter()
                .rev()
                .find(|s| right.snapshot_by_guid(s.guid).is_some());
            let base = base.ok_or(ZfsErrorKind::NoSuchBase)?;
            let common = right.snapshot_by_guid(base.guid).unwrap();
            if right.snapshot_by_name(&leftover[0].short).is_some() {
                assert_ne!(common.short, leftover[0].short);
                return Err(ZfsErrorKind::Exists);
            }
            let base = from.snapshot(&base.short).unwrap();
            (
                since(&base.to_string(), "tank/a@tosend"),
                next("safe/deep/a@tosend"),
            )
        }
    };
    transfer(source, &send, target, &receive)?;
    let stamp = short(&format!("s{}", left.snapshots.len()));
    // The target commits first; the other order is what a sweep would find.
    target
        .rename_snapshot(&snapshot("safe/deep/a@tosend"), &stamp, Scope::One)
        .map_err(fail)?;
    source
        .rename_snapshot(&tosend, &stamp, Scope::One)
        .map_err(fail)
}

/// Source and target with one counter, one snapshot on each side.
fn counted() -> (Model, Model, Faults) {
    let faults = Faults::default();
    let source = Model::with_faults(1, faults.clone());
    let target = Model::with_faults(2, faults.clone());
    let hands = source.by_hand();
    hands.add_pool("tank", POOL_BYTES).unwrap();
    hands.create("tank/a").unwrap();
    hands.write("tank/a", 0, &[1; LARGE_BYTES]).unwrap();
    target.by_hand().add_pool("safe", POOL_BYTES).unwrap();
    (source, target, faults)
}

#[test]
fn an_error_strikes_its_operation_once_and_nothing_is_done() {
    let (model, _) = pair();
    let names = snapshots(&["tank/a@s2"]);
    model
        .faults()
        .fail_at(2, Fault::Error(ZfsErrorKind::NoSpace));
    model.tree(&dataset("tank"), Scope::One).unwrap();
    let before = model.by_hand().list();
    assert_eq!(kind(model.snapshot(&names)), ZfsErrorKind::NoSpace);
    assert_eq!(model.by_hand().list(), before);
    model.snapshot(&names).unwrap();
    assert_eq!(model.faults().operations(), 3);
    let struck = (2, Fault::Error(ZfsErrorKind::NoSpace));
    assert_eq!(model.faults().struck(), [struck]);
    assert_eq!(model.commands(), ["zfs snapshot tank/a@s2"]);
}

#[test]
fn a_crash_comes_before_or_after_the_operation_and_the_process_stays_dead() {
    for (fault, done) in [
        (Fault::CrashBefore, false),
        (Fault::CrashMidway, false),
        (Fault::CrashAfter, true),
    ] {
        let (model, _) = pair();
        model.faults().fail_at(1, fault);
        let names = snapshots(&["tank/a@s2"]);
        assert_eq!(kind(model.snapshot(&names)), ZfsErrorKind::Unavailable);
        assert_eq!(model.by_hand().content("tank/a@s2").is_some(), done);
        assert_eq!(model.commands().len(), usize::from(done));
        assert!(model.is_crashed());
        let tree = model.tree(&dataset("tank"), Scope::One);
        assert_eq!(kind(tree), ZfsErrorKind::Unavailable);
        assert_eq!(model.faults().operations(), 1);
        model.revive();
        assert!(model.tree(&dataset("tank"), Scope::One).is_ok());
    }
}

#[test]
fn a_crash_midway_creates_a_part_of_the_ancestors() {
    let model = machine(1, "tank");
    model.faults().fail_at(1, Fault::CrashMidway);
    let created = model.create_ancestors(&dataset("tank/a/b/c"));
    assert_eq!(kind(created), ZfsErrorKind::Unavailable);
    assert_eq!(model.by_hand().list(), ["tank", "tank/a"]);
}

#[test]
fn temporary_holds_end_with_the_process_and_permanent_ones_do_not() {
    let (model, _) = pair();
    let names = snapshots(&["tank/a@s1"]);
    let old = model.hold(&names, &HoldTag::for_run("test")).unwrap();
    model.by_hand().hold("tank/a@s1", "keep").unwrap();
    model.crash();
    assert_eq!(model.by_hand().holds("tank/a@s1"), ["keep"]);
    model.revive();
    let _new = model.hold(&names, &HoldTag::for_run("test")).unwrap();
    // A value that outlived its process releases nothing of the next.
    drop(old);
    assert_eq!(model.by_hand().holds("tank/a@s1").len(), 2);
}

#[test]
fn a_crash_ends_a_send_that_waits_for_its_reader() {
    let (source, _, _) = counted();
    source.by_hand().snapshot("tank/a@s").unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| source.send(&full("tank/a@s"), writer.into()));
        reader.read_exact(&mut [0; RECORD_BYTES]).unwrap();
        source.crash();
        assert_eq!(kind(sender.join().unwrap()), ZfsErrorKind::Unavailable);
        // Whoever reads sees the end of a stream that was cut.
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < LARGE_BYTES);
    });
    source.revive();
    source.destroy_snapshots(&snapshots(&["tank/a@s"])).unwrap();
}

#[test]
fn a_sender_that_dies_midway_leaves_a_truncated_stream() {
    let (source, target, faults) = counted();
    source.by_hand().snapshot("tank/a@s").unwrap();
    faults.fail_at(1, Fault::CrashMidway);
    let result = transfer(&source, &full("tank/a@s"), &target, &new("safe/a@s"));
    assert_eq!(result, Err(ZfsErrorKind::StreamTruncated));
    assert!(source.is_crashed() && !target.is_crashed());
    assert_eq!(target.by_hand().list(), ["safe"]);
}

#[test]
fn a_receiver_that_dies_midway_interrupts_the_sender() {
    let (source, target) = pair();
    // Two, since a record is stored when the next one has come.
    for block in [1, 2] {
        source
            .by_hand()
            .write("tank/a", block, &[1; LARGE_BYTES])
            .unwrap();
    }
    source.by_hand().snapshot("tank/a@s").unwrap();
    target.faults().fail_at(1, Fault::CrashMidway);
    let (mut reader, writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| source.send(&full("tank/a@s"), writer.into()));
        let mut begin = [0; RECORD_BYTES];
        reader.read_exact(&mut begin).unwrap();
        let begin = BeginRecord::parse(&begin).unwrap();
        let received = target.receive(&new("safe/a@s"), &begin, reader.into());
        assert_eq!(kind(received), ZfsErrorKind::Unavailable);
        assert_eq!(kind(sender.join().unwrap()), ZfsErrorKind::Interrupted);
    });
    assert_eq!(target.by_hand().list(), ["safe"]);
    target.revive();
    assert_eq!(target.by_hand().used_bytes("safe"), 0);
}

#[test]
fn a_received_snapshot_is_there_if_the_process_dies_before_it_hears_of_it() {
    let (source, target) = pair();
    target.faults().fail_at(1, Fault::CrashAfter);
    let bytes = stream(&source, &full("tank/a@s1")).unwrap();
    let received = feed(&target, &new("safe/a@s1"), &bytes);
    assert_eq!(received, Err(ZfsErrorKind::Unavailable));
    assert_eq!(target.by_hand().list(), ["safe", "safe/a", "safe/a@s1"]);
}

/// Renames a leftover on the target by its guid, so that the next run has a
/// base again.
fn recover(source: &Model, target: &Model) {
    let Some(right) = target.by_hand().look("safe/deep/a") else {
        return;
    };
    let left = source.by_hand().look("tank/a").unwrap();
    for snapshot in &right.snapshots {
        let twin = left.snapshot_by_guid(snapshot.guid).unwrap();
        if snapshot.short == short("tosend") {
            let name = format!("r{}", right.snapshots.len());
            let hands = target.by_hand();
            hands.rename_snapshot("safe/deep/a@tosend", &name).unwrap();
        }
        if twin.short == short("tosend") {
            let name = format!("r{}", right.snapshots.len());
            let hands = source.by_hand();
            hands.rename_snapshot("tank/a@tosend", &name).unwrap();
        }
    }
}

#[test]
fn a_sweep_reaches_every_operation_and_the_next_run_converges() {
    let mut reached = 0;
    for fault in [
        Fault::Error(ZfsErrorKind::Io),
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
    ] {
        for operation in 1.. {
            let (source, target, faults) = counted();
            faults.fail_at(operation, fault);
            for run in 0..3_u8 {
                let bytes = vec![run; LARGE_BYTES / 4];
                source
                    .by_hand()
                    .write("tank/a", u64::from(run), &bytes)
                    .unwrap();
                let result = replicate(&source, &target);
                assert!(
                    result.is_ok() || !faults.struck().is_empty(),
                    "{fault:?} at {operation}, run {run}: {result:?}"
                );
                source.revive();
                target.revive();
                recover(&source, &target);
            }
            let (from, to) = (source.by_hand(), target.by_hand());
            let newest = to.look("safe/deep/a").unwrap().snapshots.pop().unwrap();
            let twin = from.look("tank/a").unwrap();
            let twin = twin.snapshot_by_guid(newest.guid).unwrap();
            assert_eq!(
                to.digest(&format!("safe/deep/a@{}", newest.short)),
                from.digest(&format!("tank/a@{}", twin.short)),
                "{fault:?} at {operation}"
            );
            if faults.struck().is_empty() {
                reached += operation - 1;
                break;
            }
            if faults.struck()[0].0 <= 10 {
                // Two runs came after it: the last one reached the target.
                assert_eq!(from.digest("tank/a"), to.digest("safe/deep/a"));
            }
        }
    }
    // Three runs of about ten operations for each of the four faults.
    assert!(reached > 100, "{reached}");
}
