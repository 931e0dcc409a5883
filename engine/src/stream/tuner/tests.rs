//! The tuner on links and processors that are made up: what it reaches, beside
//! what a fixed level would have.

use super::*;

/// Bytes of a block.
const BLOCK: f64 = 1024.0 * 1024.0;

/// Data, by what each level of [`LEVELS`] makes of it: coded bytes per byte, and
/// how fast, MB/s of one core.
#[derive(Debug, Clone, Copy)]
struct Data {
    ratios: [f64; LEVELS.len()],
    speeds: [f64; LEVELS.len()],
}

const TEXT: Data = Data {
    ratios: [1.0, 0.42, 0.30, 0.27, 0.25],
    speeds: [4000.0, 700.0, 450.0, 250.0, 70.0],
};
const MIX: Data = Data {
    ratios: [1.0, 0.78, 0.71, 0.68, 0.66],
    speeds: [4000.0, 674.0, 412.0, 317.0, 90.0],
};
/// What the probe of the compressor calls hopeless is not tried.
const NOISE: Data = Data {
    ratios: [1.0; LEVELS.len()],
    speeds: [4000.0, 3300.0, 3300.0, 3300.0, 3300.0],
};

/// Where the blocks go.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// What the link carries, MB/s.
    link: f64,
    /// What ZFS writes, MB/s.
    zfs: f64,
    /// Share of the link's rate that is lost while we compute: both ends on one
    /// machine, or an SSH client on the same core.
    shared: f64,
    /// What waits on the way before anybody has to wait for it, in blocks.
    buffer: f64,
}

/// One connection.
const BUFFER: f64 = 8.0;
/// Several, with megabytes each.
const DEEP_BUFFER: f64 = 30.0;

const MBIT: f64 = 0.125;

/// Seconds that so many blocks take, with the buffers empty at last.
fn seconds(machine: Machine, blocks: &[Data], mut level: impl FnMut(Option<Sent>) -> usize) -> f64 {
    let buffer = machine.buffer * BLOCK;
    let (link, zfs) = (machine.link * 1e6, machine.zfs * 1e6);
    let (mut now, mut in_flight, mut last) = (0.0, 0.0f64, None);
    let mut busy_before = 0.0;
    for data in blocks {
        let level_now = level(last);
        let made = (BLOCK / zfs - busy_before).max(0.0);
        let coded = BLOCK / (data.speeds[level_now] * 1e6);
        let coded_bytes = BLOCK * data.ratios[level_now];
        in_flight -= link * made + link * (1.0 - machine.shared) * coded;
        in_flight = in_flight.max(0.0) + coded_bytes;
        let waited = ((in_flight - buffer) / link).max(0.0);
        in_flight -= link * waited;
        now += made + coded + waited;
        busy_before = coded + waited;
        last = Some(Sent {
            level: level_now,
            raw_bytes: BLOCK as usize,
            coded_bytes: coded_bytes as usize,
            spent: Spent {
                made: Duration::from_secs_f64(made),
                coded: Duration::from_secs_f64(coded),
                waited: Duration::from_secs_f64(waited),
            },
        });
    }
    now + in_flight / link
}

fn tuned(machine: Machine, blocks: &[Data]) -> (f64, Tuner) {
    let mut tuner = Tuner::default();
    let taken = seconds(machine, blocks, |sent| {
        if let Some(sent) = sent {
            tuner.learn(&sent);
        }
        tuner.level()
    });
    (taken, tuner)
}

fn fixed(machine: Machine, blocks: &[Data], level: usize) -> f64 {
    seconds(machine, blocks, |_| level)
}

/// The least that stored blocks take, or level -3 or 3 of zstd.
fn best_fixed(machine: Machine, blocks: &[Data]) -> f64 {
    let levels = [0, 1, 3].into_iter();
    levels
        .map(|level| fixed(machine, blocks, level))
        .fold(f64::INFINITY, f64::min)
}

/// So many blocks that stored they take about so many minutes.
fn minutes(count: f64, machine: Machine) -> usize {
    let rate = machine.link.min(machine.zfs) * 1e6;
    ((count * 60.0 * rate / BLOCK) as usize).max(64)
}

#[test]
fn on_no_link_and_no_data_it_is_slower_than_stored_or_a_fixed_level() {
    for link in [
        10.0 * MBIT,
        100.0 * MBIT,
        1000.0 * MBIT,
        10_000.0 * MBIT,
        400.0,
    ] {
        for shared in [0.0, 0.9] {
            for data in [TEXT, MIX, NOISE] {
                let machine = Machine {
                    link,
                    zfs: 1500.0,
                    shared,
                    buffer: BUFFER,
                };
                let blocks = vec![data; minutes(3.0, machine)];
                let (taken, _) = tuned(machine, &blocks);
                let best = best_fixed(machine, &blocks);
                // Where both ends take the processor from each other a trial of
                // a thorough level costs more than it was forecast to.
                let bound = if shared > 0.0 { 1.04 } else { 1.03 };
                assert!(
                    taken < best * bound,
                    "{machine:?} {data:?}: {taken} s, at best {best} s"
                );
            }
        }
    }
}

#[test]
fn nor_does_it_lose_half_a_second_where_all_is_over_in_a_moment() {
    for megabits in [10.0, 100.0, 1000.0, 10_000.0] {
        for data in [TEXT, MIX, NOISE] {
            for count in [1, 4, 16, 96, 300] {
                let machine = Machine {
                    link: megabits * MBIT,
                    zfs: 1500.0,
                    shared: 0.0,
                    buffer: BUFFER,
                };
                let blocks = vec![data; count];
                let (taken, _) = tuned(machine, &blocks);
                let best = best_fixed(machine, &blocks);
                assert!(
                    taken < best * 1.03 + 0.5,
                    "{count} blocks, {machine:?} {data:?}: {taken} s, at best {best} s"
                );
            }
        }
    }
}

/// As it was measured where both ends had two processors together.
const LOGS: Data = Data {
    ratios: [1.0, 0.324, 0.284, 0.265, 0.253],
    speeds: [4000.0, 290.0, 265.0, 210.0, 40.0],
};

#[test]
fn deep_buffers_do_not_make_a_link_fast() {
    for link in [100.0 * MBIT, 1000.0 * MBIT] {
        let machine = Machine {
            link,
            zfs: 1500.0,
            shared: 0.0,
            buffer: DEEP_BUFFER,
        };
        let blocks = vec![LOGS; 1000];
        let (taken, _) = tuned(machine, &blocks);
        let best = best_fixed(machine, &blocks);
        // What the buffers took before anybody waited has to get through.
        let taken_in = DEEP_BUFFER * BLOCK / (link * 1e6);
        let bound = best * 1.03 + taken_in;
        assert!(taken < bound, "{link}: {taken} s, at best {best} s");
    }
}

#[test]
fn what_a_level_has_just_beaten_is_not_tried_again_at_once() {
    let link = |mbit: f64| Machine {
        link: mbit * MBIT,
        zfs: 1500.0,
        shared: 0.0,
        buffer: BUFFER,
    };
    let (_, mut tuner) = tuned(link(10_000.0), &[LOGS; 1000]);
    assert_eq!(tuner.level(), 0);
    // It becomes slow. Compressed, it is the processor that is waited for, which
    // stored blocks would not need.
    let mut levels = Vec::new();
    seconds(link(1000.0), &[LOGS; 1000], |sent| {
        if let Some(sent) = sent {
            tuner.learn(&sent);
        }
        levels.push(tuner.level());
        tuner.level()
    });
    let left = levels.iter().position(|level| *level > 0).unwrap();
    let again = levels[left..].iter().filter(|level| **level == 0).count();
    assert_eq!(again, 0, "blocks were stored again");
}

#[test]
fn a_level_that_is_left_alone_for_long_is_not_forgiven_for_being_beaten() {
    for (before, after) in [(0, PATIENCE_FIRST), (200, 200)] {
        let mut tuner = Tuner {
            level: 2,
            ..Tuner::default()
        };
        tuner.patience[0] = (before, 400);
        let trial = Trial {
            from: 0,
            before: 100e6,
            settles: 0.0,
        };
        tuner.judge(trial, 200e6);
        assert_eq!((tuner.level, tuner.patience[0]), (2, (after, 400)));
    }
}

#[test]
fn a_transfer_begins_with_what_those_before_it_have_learnt() {
    let slow = Machine {
        link: 10.0 * MBIT,
        zfs: 1500.0,
        shared: 0.0,
        buffer: BUFFER,
    };
    let (_, mut tuner) = tuned(slow, &[TEXT; 200]);
    let learnt = tuner.level();
    assert!(learnt > CHEAPEST);
    tuner.begin();
    assert_eq!(tuner.level(), learnt);
}

#[test]
fn once_a_link_has_proved_fast_the_next_transfer_begins_with_the_cheapest_level() {
    let fast = Machine {
        link: 2000.0,
        zfs: 1000.0,
        shared: 0.0,
        buffer: BUFFER,
    };
    assert_eq!(Tuner::default().level(), FIRST);
    for data in [TEXT, MIX, NOISE] {
        let (_, mut tuner) = tuned(fast, &[data; 300]);
        assert_eq!(tuner.level(), 0);
        tuner.begin();
        assert_eq!(tuner.level(), CHEAPEST);
    }
}

#[test]
fn a_slow_link_gets_the_thorough_level_within_seconds() {
    let machine = Machine {
        link: 10.0 * MBIT,
        zfs: 1500.0,
        shared: 0.0,
        buffer: BUFFER,
    };
    let blocks = vec![TEXT; 200];
    let (taken, tuner) = tuned(machine, &blocks);
    assert_eq!(tuner.level(), LEVELS.len() - 1);
    assert!(taken < fixed(machine, &blocks, 0) * 0.35, "{taken}");
}

#[test]
fn a_link_that_is_fast_enough_gets_stored_blocks() {
    let machine = Machine {
        link: 2000.0,
        zfs: 1000.0,
        shared: 0.0,
        buffer: BUFFER,
    };
    let mut tuner = Tuner::default();
    let mut levels = vec![0; LEVELS.len()];
    seconds(machine, &[MIX; 5000], |sent| {
        if let Some(sent) = sent {
            tuner.learn(&sent);
        }
        levels[tuner.level()] += 1;
        tuner.level()
    });
    // But for the beginning, when nobody knows yet.
    assert!(levels[FIRST] <= 20, "{levels:?}");
    assert_eq!(levels.iter().sum::<usize>(), levels[0] + levels[FIRST]);
}

#[test]
fn where_both_ends_share_the_processor_ever_fewer_blocks_are_tried() {
    let machine = Machine {
        link: 400.0,
        zfs: 1500.0,
        shared: 1.0,
        buffer: BUFFER,
    };
    let mut tuner = Tuner::default();
    let mut levels = Vec::new();
    seconds(machine, &[MIX; 100_000], |sent| {
        if let Some(sent) = sent {
            tuner.learn(&sent);
        }
        levels.push(tuner.level());
        tuner.level()
    });
    let tried = |part: &[usize]| part.iter().filter(|level| **level > 0).count();
    let (early, late) = levels.split_at(levels.len() / 2);
    assert!(
        tried(late) < tried(early),
        "{} {}",
        tried(early),
        tried(late)
    );
    assert!(tried(late) * 50 < late.len(), "{}", tried(late));
}

#[test]
fn it_follows_the_data_and_the_link() {
    let slow = Machine {
        link: 100.0 * MBIT,
        zfs: 1500.0,
        shared: 0.0,
        buffer: BUFFER,
    };
    // Noise first: that compression was of no use then is no reason for ever.
    let turned = [vec![NOISE; 500], vec![TEXT; 2000]].concat();
    let (taken, _) = tuned(slow, &turned);
    let best = fixed(slow, &turned, 1);
    assert!(taken < best * 1.03, "{taken} s, at best {best} s");
    // And back: what cannot be compressed is not worth a try for long.
    let turned = [vec![TEXT; 1000], vec![NOISE; 1000]].concat();
    let (taken, _) = tuned(slow, &turned);
    let best = fixed(slow, &turned, 1);
    assert!(taken < best * 1.03, "{taken} s, at best {best} s");
}
