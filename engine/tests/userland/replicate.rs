//! Whole replications between two images, and what a cut one leaves.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::error::Family;
use engine::event::{Event, Observer};
use engine::helper::{Authorization, Helper, Workers, Workforce, serve};
use engine::hold::{BaseHold, HoldTag};
use engine::name::{BookmarkName, DatasetName, ShortName, SnapshotName};
use engine::peer::Peer;
use engine::plan::{Intermediary, Loss, Step};
use engine::protocol::hello::About;
use engine::replicate::{
    Job, OnConflict, Placement, ReplicateError, Report, SnapshotChoice, replicate,
};
use engine::stream::compress::Compression;
use engine::stream::record::BeginRecord;
use engine::transport::local;
use engine::zfs::userland::Contents;
use engine::zfs::{
    Dataset, Hold, NewBookmark, Pools, PropertyRefusal, ReceiveRequest, Scope, SendMode,
    SendRequest, Zfs, ZfsError,
};

use crate::{Images, content, dataset, file, snapshot};

const PATIENCE: Duration = Duration::from_secs(30);

struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Pools of a machine whose next receive gets only the beginning of its stream.
struct Flaky {
    pools: Arc<Pools>,
    cut_after_bytes: Mutex<Option<u64>>,
}

impl Zfs for Flaky {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        self.pools.tree(root, scope)
    }
    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        self.pools.create_ancestors(dataset)
    }
    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.pools.snapshot(names)
    }
    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.pools.destroy_snapshots(names)
    }
    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        self.pools.rename_snapshot(from, to, scope)
    }
    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        self.pools.rename_dataset(from, to)
    }
    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        self.pools.discard_partial(dataset, token)
    }
    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        self.pools.destroy_dataset(name)
    }
    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        self.pools.available_bytes(dataset)
    }
    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        self.pools.bookmark(marks)
    }
    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        self.pools.destroy_bookmarks(names)
    }
    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        self.pools.hold(names, tag)
    }
    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        self.pools.hold_kept(names, tag)
    }
    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        self.pools.release(names, tag)
    }
    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        self.pools.holds(snapshot)
    }
    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        self.pools.rollback(to)
    }
    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        self.pools.send_size(request)
    }
    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        self.pools.send(request, into)
    }
    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        let Some(bytes) = self.cut_after_bytes.lock().unwrap().take() else {
            return self.pools.receive(request, begin, from);
        };
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut from = std::fs::File::from(from);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut part = Vec::new();
                (&mut from).take(bytes).read_to_end(&mut part).unwrap();
                writer.write_all(&part).unwrap();
            });
            self.pools.receive(request, begin, reader.into())
        })
    }
}

async fn peer(name: &str, zfs: Arc<dyn Zfs>) -> Peer {
    let about = About {
        program: "zferry test".into(),
        node: name.into(),
        platform: "files".into(),
        images: Vec::new(),
        clock: None,
    };
    let (near, far) = local::pair();
    let helper = Helper {
        zfs,
        authorization: Authorization::everything(),
        states: None,
        claims: None,
        door: None,
        about: about.clone(),
        patience: PATIENCE,
        workforce: Workforce::default(),
    };
    tokio::spawn(serve(far, helper));
    Peer::greet(name, near, &about, PATIENCE).await.unwrap()
}

fn go(images: &Images, run: u32, cut_after_bytes: Option<u64>) -> Result<Report, ReplicateError> {
    go_with(images, run, cut_after_bytes, Intermediary::Skip)
}

fn go_with(
    images: &Images,
    run: u32,
    cut_after_bytes: Option<u64>,
    intermediary: Intermediary,
) -> Result<Report, ReplicateError> {
    let job = Job {
        loss: Loss::default(),
        intermediary,
        source: dataset("tank/vol"),
        target: dataset("safe/deep/vol"),
        snapshot: SnapshotChoice::Take {
            short: ShortName::parse(&format!("ours-{run}")).unwrap(),
            series: "ours-".into(),
        },
        scope: Scope::Recursive,
        mode: SendMode::Plain,
        placement: Placement::OneMachine,
        compression: Compression::Adaptive,
        workers: Workers::Auto,
        limiter: None,
        on_conflict: OnConflict::Refuse,
        base: BaseHold::default(),
        rehearsal: false,
    };
    let flaky = Flaky {
        pools: Arc::clone(&images.pools),
        cut_after_bytes: Mutex::new(cut_after_bytes),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut source = peer("source", Arc::clone(&images.pools) as Arc<dyn Zfs>).await;
        let mut target = peer("target", Arc::new(flaky)).await;
        replicate(&job, &mut source, &mut target, &Silent).await
    })
}

fn put(images: &Images, name: &str, seed: u64) -> Vec<u8> {
    let bytes = content(seed, 4_000_000);
    let from = file(&images.folder.path("in"), &bytes);
    let pool = images.pool(dataset(name).pool());
    pool.put(&dataset(name), from).unwrap();
    bytes
}

fn ensure_arrived(images: &Images, run: u32, bytes: &[u8]) {
    let name = format!("safe/deep/vol@ours-{run}");
    let path = images.folder.path("out");
    let into = std::fs::File::create(&path).unwrap();
    let of = Contents::parse(&name).unwrap();
    images.pool("safe").get(&of, into.into()).unwrap();
    assert!(std::fs::read(path).unwrap() == bytes, "{name} differs");
    for name in ["tank/vol", "safe/deep/vol"] {
        let tree = images.tree(&dataset(name), Scope::One).unwrap().unwrap();
        assert_eq!(tree[0].snapshots.len(), 1, "{:?}", tree[0].snapshots);
    }
}

#[test]
fn a_volume_is_replicated_and_then_only_its_changes() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    let bytes = put(&images, "tank/vol", 1);
    let report = go(&images, 1, None).unwrap();
    assert_eq!(report.datasets[0].step, Step::Full);
    ensure_arrived(&images, 1, &bytes);
    let bytes = put(&images, "tank/vol", 2);
    let report = go(&images, 2, None).unwrap();
    assert!(matches!(report.datasets[0].step, Step::Incremental { .. }));
    ensure_arrived(&images, 2, &bytes);
}

#[test]
fn a_transfer_that_was_cut_goes_on_where_it_was_cut() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    for (run, full) in [(1, true), (11, false)] {
        put(&images, "tank/vol", u64::from(run));
        let error = go(&images, run, Some(2_500_000)).unwrap_err();
        assert_eq!(error.family(), Family::Transient, "{error}");
        let tree = images.tree(&dataset("safe/deep/vol"), Scope::One);
        let left = tree.unwrap().unwrap()[0].partial.clone().unwrap();
        let arrived = left.content.unwrap().received_bytes;
        assert!(arrived > 1_000_000, "{arrived} bytes have arrived");
        let bytes = put(&images, "tank/vol", u64::from(run) + 1);
        let report = go(&images, run + 1, None).unwrap();
        let [resumed, update] = &report.datasets[..] else {
            panic!("{report:?}");
        };
        assert!(matches!(resumed.step, Step::Resume { .. }), "{resumed:?}");
        assert_eq!(resumed.step.is_full(), full);
        assert!(resumed.moved.raw_bytes < 3_000_000, "{resumed:?}");
        assert!(
            matches!(update.step, Step::Incremental { .. }),
            "{update:?}"
        );
        ensure_arrived(&images, run + 1, &bytes);
    }
}

#[test]
fn an_older_snapshot_that_is_held_stays_and_keeps_no_other() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    let held = [snapshot("safe/deep/vol@ours-1")];
    let tag = HoldTag::parse("zferry:test").unwrap();
    for (run, left) in [
        (1, &["ours-1"][..]),
        (2, &["ours-1", "ours-2"]),
        (3, &["ours-1", "ours-3"]),
        (4, &["ours-4"]),
    ] {
        if run == 4 {
            images.release(&held, &tag).unwrap();
        }
        put(&images, "tank/vol", u64::from(run));
        go(&images, run, None).unwrap();
        if run == 1 {
            images.hold_kept(&held, &tag).unwrap();
        }
        let tree = images.tree(&dataset("safe/deep/vol"), Scope::One);
        let tree = tree.unwrap().unwrap();
        let shorts = tree[0].snapshots.iter().map(|s| s.short.as_str());
        assert!(shorts.eq(left.iter().copied()), "after run {run}: {tree:?}");
    }
}

#[test]
fn a_target_that_was_changed_is_a_conflict_until_it_is_rolled_back() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    put(&images, "tank/vol", 1);
    go(&images, 1, None).unwrap();
    put(&images, "safe/deep/vol", 7);
    let bytes = put(&images, "tank/vol", 2);
    let error = go(&images, 2, None).unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    images.rollback(&snapshot("safe/deep/vol@ours-1")).unwrap();
    go(&images, 3, None).unwrap();
    ensure_arrived(&images, 3, &bytes);
}

#[test]
fn snapshots_in_between_arrive_whole_though_the_run_was_cut_in_the_first_of_them() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    for (run, full) in [(1, true), (11, false)] {
        let mut expected = Vec::new();
        for day in ["monday", "tuesday"] {
            let name = format!("{day}-{run}");
            let bytes = put(&images, "tank/vol", u64::from(run) + expected.len() as u64);
            images
                .snapshot(&[snapshot(&format!("tank/vol@{name}"))])
                .unwrap();
            expected.push((name, bytes));
        }
        let now = put(&images, "tank/vol", u64::from(run) + 5);
        let carry = Intermediary::Carry;
        go_with(&images, run, Some(2_500_000), carry).unwrap_err();
        let report = go_with(&images, run + 1, None, carry).unwrap();
        let [resumed, update] = &report.datasets[..] else {
            panic!("{report:?}");
        };
        assert_eq!(resumed.target.short.as_str(), expected[0].0);
        assert!(matches!(resumed.step, Step::Resume { .. }), "{resumed:?}");
        assert_eq!((resumed.step.is_full(), update.carried), (full, 1));
        expected.push((format!("ours-{}", run + 1), now));
        for (name, bytes) in &expected {
            let of = Contents::parse(&format!("safe/deep/vol@{name}")).unwrap();
            let path = images.folder.path("out");
            let into = std::fs::File::create(&path).unwrap();
            images.pool("safe").get(&of, into.into()).unwrap();
            assert!(std::fs::read(path).unwrap() == *bytes, "{name} differs");
        }
        let listed = |name: &str| {
            let tree = images.tree(&dataset(name), Scope::One).unwrap().unwrap();
            let all = tree[0].snapshots.iter();
            all.map(|s| (s.short.clone(), s.guid)).collect::<Vec<_>>()
        };
        assert_eq!(listed("tank/vol"), listed("safe/deep/vol"));
    }
}
