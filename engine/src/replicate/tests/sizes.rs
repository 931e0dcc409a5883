//! What streams will take, asked of a helper.

use super::{machines, peer};
use crate::name::SnapshotName;
use crate::zfs::model::Faults;
use crate::zfs::{SendMode, SendRequest, Zfs};

#[tokio::test]
async fn many_sizes_are_asked_at_once_and_a_failure_among_them_leaves_no_answer_behind() {
    let (source, _) = machines(&Faults::default());
    for name in ["tank/a@s", "tank/a/x@s"] {
        source.by_hand().snapshot(name).unwrap();
    }
    let mut peer = peer("source", &source).await;
    let asked = |name: &str| SendRequest {
        snapshot: SnapshotName::parse(name).unwrap(),
        base: None,
        mode: SendMode::Plain,
        resume: None,
    };
    // More than all queues on the way hold.
    let turns = ["tank/a@s", "tank/a/x@s"].into_iter().cycle().take(5000);
    let many: Vec<_> = turns.map(asked).collect();
    let sizes = peer.send_sizes(many.clone()).await.unwrap();
    let expected = |request| Zfs::send_size(&source, request).unwrap();
    let expected: Vec<u64> = many.iter().map(expected).collect();
    assert_eq!(sizes, expected);
    let wrong = vec![asked("tank/a@s"), asked("tank/a@none"), asked("tank/a/x@s")];
    let error = peer.send_sizes(wrong).await.unwrap_err();
    assert!(error.to_string().contains("tank/a@none"), "{error}");
    let one = peer.send_sizes(vec![asked("tank/a/x@s")]).await.unwrap();
    assert_eq!(one, sizes[1..2]);
    assert!(peer.send_sizes(Vec::new()).await.unwrap().is_empty());
}
