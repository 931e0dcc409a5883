//! Claims about sources that are mount points.

use super::*;

fn mounted(
    list: &[(&str, &str)],
) -> std::collections::BTreeMap<std::path::PathBuf, crate::name::DatasetName> {
    let entry = |(path, dataset): &(&str, &str)| {
        (
            path.into(),
            crate::name::DatasetName::parse(dataset).unwrap(),
        )
    };
    list.iter().map(entry).collect()
}

#[test]
fn a_mount_point_becomes_the_dataset_that_is_mounted_there_when_its_node_says_so() {
    let service = service_with("src@n1 = /srv/{name}\ndst = back/a\ntarget = nodes drpnodes\n");
    let resource = only(&service, "n1");
    assert!(resource.sends().is_none());
    assert_eq!(resource.targets().len(), 2);
    let points = service.mount_points(&node("n1"));
    assert_eq!(
        (points.len(), points[0].path.as_path()),
        (1, Path::new("/srv/svc"))
    );
    assert_eq!(service.mount_points(&node("n2")), []);
    // The receivers know all that they need.
    let from = &service.receives_for(&node("d1")).unwrap()[0].from[0];
    assert_eq!((from.dst.as_str(), &from.src), ("back/a", &None));

    let other = service
        .with_mounts(&node("n1"), &mounted(&[("/srv", "tank")]))
        .unwrap();
    assert_eq!(other.mount_points(&node("n1")), points);
    let there = other
        .with_mounts(&node("n1"), &mounted(&[("/srv/svc", "tank/s")]))
        .unwrap();
    assert_eq!(there.mount_points(&node("n1")), []);
    let sends = sends(&there, "n1");
    assert_eq!(
        (sends.src.as_str(), sends.dst.as_str()),
        ("tank/s", "back/a")
    );
    assert_eq!(sends.mount_point.as_deref(), Some(Path::new("/srv/svc")));
    assert_eq!(sends.targets, resource.targets());
}

#[test]
fn what_is_mounted_is_checked_like_what_is_written() {
    let local = service_with("src@n1 = /srv\ndst = tank/copy\ntarget = local\n");
    let error = local
        .with_mounts(&node("n1"), &mounted(&[("/srv", "tank/s")]))
        .unwrap_err();
    assert!(error.to_string().contains("in one pool of n1"), "{error}");
    let two = service(
        "[sync#1]\nsrc@n1 = /srv\ndst = back/a\ntarget = nodes\n\
         [sync#2]\nsrc@n1 = tank/s/child\ndst = back/b\ntarget = nodes\n",
    );
    let error = two
        .with_mounts(&node("n1"), &mounted(&[("/srv", "tank/s")]))
        .unwrap_err();
    assert!(error.to_string().contains("naming = rid"), "{error}");
    assert!(
        two.with_mounts(&node("n1"), &mounted(&[("/srv", "tank/other")]))
            .is_ok()
    );
}
