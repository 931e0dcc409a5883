//! Claims about whole configuration files.

use std::path::Path;
use std::time::Duration;

use super::*;

mod beside;
mod mistakes;
mod mounts;
mod random;

const PAGE: &str = "
[DEFAULT]
nodes = osol1.opensvc.com osol2.opensvc.com
drpnodes = drp1.opensvc.com
sync_max_delay = 1d

[sync#1]
type = zfs
src@osol1.opensvc.com = osol1_z3_root/data
src@osol2.opensvc.com = osol2_z3_root/data
dst@osol1.opensvc.com = osol2_z3_root/data
dst@osol2.opensvc.com = osol1_z3_root/data
target = nodes
;recursive = True
";

fn parse(text: &str) -> Result<Service, ConfigError> {
    let name = ServiceName::parse("svc").unwrap();
    Service::parse(&name, Path::new("/etc/svc.conf"), text.as_bytes())
}

/// Two nodes and a drp node, with `more` after the `[DEFAULT]` lines.
fn with_nodes(more: &str) -> String {
    format!("[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1\n{more}")
}

fn service(more: &str) -> Service {
    parse(&with_nodes(more)).unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn only(service: &Service, on: &str) -> Resource {
    let mut resources = service.resolve(&node(on)).unwrap();
    assert_eq!(resources.len(), 1);
    resources.remove(0)
}

fn sends(service: &Service, on: &str) -> Sends {
    only(service, on).sends().expect("it sends").clone()
}

#[test]
fn the_example_of_the_page_resolves_on_its_first_node() {
    let service = parse(PAGE).unwrap();
    assert_eq!(service.notices(), []);
    let resource = only(&service, "osol1.opensvc.com");
    assert_eq!(resource.sync_max_delay, Duration::from_secs(86_400));
    assert!(resource.recursive && resource.intermediary);
    assert!(!resource.optional && !resource.disabled);
    assert_eq!(resource.names.sent.as_str(), "sent");
    assert_eq!(resource.names.tosend.as_str(), "tosend");
    let sends = resource.sends().unwrap();
    assert_eq!(sends.src.as_str(), "osol1_z3_root/data");
    // The drp node is listed, but `target = nodes` leaves it out.
    assert_eq!(sends.targets.len(), 1);
    let target = &sends.targets[0];
    assert_eq!(target.node, node("osol2.opensvc.com"));
    assert_eq!(target.kind, TargetKind::Nodes);
    assert_eq!(target.dst.as_str(), "osol2_z3_root/data");
    let connection = target.connection.as_ref().unwrap();
    assert_eq!(connection.address, "osol2.opensvc.com");
    assert_eq!(connection.user, None);
}

#[test]
fn the_example_of_the_page_resolves_the_other_way_round_on_its_second_node() {
    let service = parse(PAGE).unwrap();
    let sends = sends(&service, "osol2.opensvc.com");
    assert_eq!(sends.src.as_str(), "osol2_z3_root/data");
    assert_eq!(sends.targets[0].node, node("osol1.opensvc.com"));
    assert_eq!(sends.targets[0].dst.as_str(), "osol1_z3_root/data");
}

#[test]
fn each_node_of_the_page_receives_into_the_dataset_that_it_sends_after_a_failover() {
    let service = parse(PAGE).unwrap();
    for (here, there) in [("osol1", "osol2"), ("osol2", "osol1")] {
        let here = format!("{here}.opensvc.com");
        let receptions = service.receives_for(&node(&here)).unwrap();
        assert_eq!(receptions.len(), 1);
        let from = &receptions[0].from;
        assert_eq!(from.len(), 1);
        assert_eq!(from[0].node, node(&format!("{there}.opensvc.com")));
        assert_eq!(from[0].dst, sends(&service, &here).src);
    }
    let drp = node("drp1.opensvc.com");
    assert_eq!(service.receives_for(&drp).unwrap(), []);
}

#[test]
fn a_node_without_source_is_a_receiver_and_says_why() {
    let service = parse(PAGE).unwrap();
    let resource = only(&service, "drp1.opensvc.com");
    assert_eq!(resource.role, Role::ReceiverOnly(WhyReceiver::NoSource));
    let emptied = service_with("src = tank/a\nsrc@d1 =\ntarget = nodes drpnodes\n");
    assert!(only(&emptied, "d1").sends().is_none());
    assert_eq!(sends(&emptied, "n1").targets.len(), 2);
    assert_eq!(emptied.receives_for(&node("d1")).unwrap()[0].from.len(), 2);
}

fn service_with(section: &str) -> Service {
    service(&format!("[sync#1]\n{section}"))
}

#[test]
fn a_node_that_is_not_listed_gets_a_typed_answer_with_the_nodes_that_are() {
    let service = parse(PAGE).unwrap();
    for unlisted in ["osol1", "OSOL1.opensvc.com"] {
        let error = service.resolve(&node(unlisted)).unwrap_err();
        assert!(
            error.to_string().contains("osol2.opensvc.com drp1"),
            "{error}"
        );
        assert_eq!(service.receives_for(&node(unlisted)).unwrap_err(), error);
    }
}

#[test]
fn this_node_is_removed_from_every_target_list() {
    let service = service_with("src = tank/a\ndst = back/a\ntarget = nodes drpnodes local\n");
    for on in ["n1", "n2", "d1"] {
        let targets = sends(&service, on).targets;
        let remote: Vec<_> = targets
            .iter()
            .filter(|t| t.kind != TargetKind::Local)
            .collect();
        assert_eq!(remote.len(), 2, "{on}");
        assert!(remote.iter().all(|target| target.node != node(on)), "{on}");
        let local = targets
            .iter()
            .find(|t| t.kind == TargetKind::Local)
            .unwrap();
        assert_eq!((&local.node, &local.connection), (&node(on), &None));
    }
}

#[test]
fn dst_is_src_by_default_and_evaluated_on_the_sender() {
    let service = service_with("src@n1 = a/x\nsrc@n2 = b/x\ndst@n2 = c/x\ntarget = nodes\n");
    assert_eq!(sends(&service, "n1").dst.as_str(), "a/x");
    assert_eq!(sends(&service, "n2").dst.as_str(), "c/x");
}

#[test]
fn what_describes_the_peer_is_scoped_by_the_peer_and_files_by_this_node() {
    let service = service(
        "ssh_user = zferry\naddress@n2 = 10.0.0.2\nssh_port@n2 = 2222\n\
         ssh_identity@n1 = /etc/key1\nssh_identity@n2 = /etc/key2\n\
         ssh_known_hosts = /etc/known\ndscp@n1 = le\ndscp@n2 = af11\naddress@d1 = {nodename}.far\n\
         [sync#1]\nsrc = tank/a\ntarget = nodes drpnodes\nremote_command@d1 = sudo zferry helper\n",
    );
    let targets = sends(&service, "n1").targets;
    let n2 = targets[0].connection.clone().unwrap();
    assert_eq!((n2.address.as_str(), n2.port), ("10.0.0.2", Some(2222)));
    assert_eq!(n2.user.as_deref(), Some("zferry"));
    assert_eq!(n2.identity.as_deref(), Some(Path::new("/etc/key1")));
    assert_eq!(n2.known_hosts.as_deref(), Some(Path::new("/etc/known")));
    assert_eq!(n2.remote_command, None);
    assert_eq!(n2.dscp, Some("le".parse().unwrap()));
    let d1 = targets[1].connection.clone().unwrap();
    assert_eq!((d1.address.as_str(), d1.port), ("d1.far", None));
    assert_eq!(d1.remote_command.as_deref(), Some("sudo zferry helper"));
}

#[test]
fn settings_of_the_service_are_read_and_have_defaults() {
    let plain = service("[sync#1]\nsrc = a/b\ntarget = nodes\n");
    assert_eq!(plain.lock_timeout(), Duration::from_secs(60));
    assert_eq!((plain.topology(), plain.env()), (Topology::Failover, None));
    let set = service("lock_timeout = 5m\nenv = PRD\ntopology = flex\nflex_primary = n2\n");
    assert_eq!(set.lock_timeout(), Duration::from_secs(300));
    assert_eq!((set.topology(), set.env()), (Topology::Flex, Some("PRD")));
    assert_eq!(set.flex_primary(), Some(&node("n2")));
}

#[test]
fn in_a_flex_topology_only_the_primary_sends() {
    let service = service("topology = flex\n[sync#1]\nsrc = tank/a\ntarget = nodes drpnodes\n");
    assert_eq!(sends(&service, "n1").targets.len(), 2);
    let why = WhyReceiver::NotFlexPrimary {
        primary: node("n1"),
    };
    assert_eq!(only(&service, "n2").role, Role::ReceiverOnly(why));
    assert_eq!(service.receives_for(&node("n1")).unwrap(), []);
}

#[test]
fn a_disabled_sender_sends_nothing_to_anybody() {
    let service = service_with("src@nodes = tank/a\ntarget = nodes\ndisable@n1 = true\n");
    assert!(only(&service, "n1").disabled && !only(&service, "n2").disabled);
    assert_eq!(service.receives_for(&node("n2")).unwrap(), []);
    assert_eq!(service.receives_for(&node("n1")).unwrap()[0].from.len(), 1);
}

#[test]
fn every_documented_keyword_of_a_resource_arrives() {
    let service = service_with(
        "type = zfs\nsrc = tank/a\ntarget = nodes\nrecursive = no\nintermediary = 0\n\
         optional = t\nhold_base = yes\ntags = delay_snap  nightly\ncomment = {not a reference\n\
         schedule = 03:59-05:59@121 mon-fri\nmax_delay = 90\nnaming = rid\n\
         bandwidth_limit = 10M@08:00-18:00 mon-fri,100M\n",
    );
    let resource = only(&service, "n1");
    assert!(!resource.recursive && !resource.intermediary && resource.optional);
    assert!(resource.hold_base);
    let limit = resource.bandwidth_limit.as_ref().unwrap();
    assert_eq!(limit.as_str(), "10M@08:00-18:00 mon-fri,100M");
    let tags: Vec<_> = resource.tags.iter().map(String::as_str).collect();
    assert_eq!(tags, ["delay_snap", "nightly"]);
    assert_eq!(resource.schedule.as_str(), "03:59-05:59@121 mon-fri");
    assert_eq!(resource.comment.as_deref(), Some("{not a reference"));
    assert_eq!(resource.sync_max_delay, Duration::from_secs(90 * 60));
    assert_eq!(resource.names.sent.as_str(), "sync.1.sent");
    assert_eq!(resource.names.tosend.as_str(), "sync.1.tosend");
}

#[test]
fn keywords_that_have_no_effect_are_noticed_and_not_ignored() {
    let service = service(
        "id = 0f\norchestrate = ha\n[sync#1]\nsrc = a/b\ntarget = nodes\n\
         pre_start = {rm}\nrollback = false\nsync_resync_requires = x\n[fs#1]\ntype = zfs\nanything = 1\n\
         [sync#i0]\ntype = rsync\nsrc = /etc\ndstfs = 1\n[env]\na.b = 1\n",
    );
    let notices: Vec<_> = service.notices().iter().map(ToString::to_string).collect();
    assert_eq!(notices.len(), 7, "{notices:#?}");
    assert!(
        notices[3].contains("rollback: true and false are of the cluster agent"),
        "{notices:#?}"
    );
    assert!(
        notices[6].contains("type rsync are not handled"),
        "{notices:#?}"
    );
    assert_eq!(service.rids().count(), 1);
}

#[test]
fn what_a_run_does_beside_sending_is_read_with_its_defaults() {
    let plain = only(&service_with("src@n1 = a/b\ntarget = nodes\n"), "n1");
    assert_eq!(plain.schedule.as_str(), "04:00-06:00");
    assert_eq!((plain.timeout, &plain.subset), (None, &None));
    assert!(!plain.hold_base);
    assert_eq!(plain.bandwidth_limit, None);
    assert_eq!(
        (plain.keep_old, plain.on_modified),
        (KeepOld::Confirm, OnModified::Never)
    );
    assert_eq!(
        (plain.triggers.iter().count(), plain.requires.len()),
        (0, 0)
    );
    let set = service(
        "presnap_trigger = /bin/freeze {name}\nkeep_old = next\nlegacy_state = /run/{name}_{rid}\n\
         alert_command = /bin/page\nactive_check@n1 = /bin/is up\nsync_timeout = 90\n\
         [sync#1]\nsrc@n1 = a/b\ntarget = nodes\nsubset = x\nrollback = modified\n\
         pre_sync_nodes = /bin/a\nblocking_pre_sync_nodes = /bin/b 'c d'\npost_sync_all = /bin/e\n\
         sync_all_requires = sync#2(up|warn)\n[sync#2]\nsrc@n1 = a/c\ntarget = nodes\n",
    );
    let resources = set.resolve(&node("n1")).unwrap();
    let one = &resources[0];
    assert_eq!(
        one.presnap_trigger.as_ref().unwrap().join(" "),
        "/bin/freeze svc"
    );
    assert_eq!(
        one.legacy_state.as_deref(),
        Some(Path::new("/run/svc_sync#1"))
    );
    assert_eq!(one.active_check.as_ref().unwrap().join(" "), "/bin/is up");
    assert_eq!(one.alert_command.as_ref().unwrap().join(" "), "/bin/page");
    assert_eq!(
        (one.timeout, one.subset.as_deref()),
        (Some(Duration::from_secs(90)), Some("x"))
    );
    assert_eq!(
        (one.keep_old, one.on_modified),
        (KeepOld::Next, OnModified::RollBack)
    );
    let pre: Vec<_> = one.triggers.get(SyncAction::Nodes, When::Pre).collect();
    assert_eq!(pre.len(), 2);
    assert!(pre[0].blocking && !pre[1].blocking);
    assert_eq!(pre[0].argv, ["/bin/b", "c d"]);
    assert_eq!(one.triggers.get(SyncAction::All, When::Post).count(), 1);
    assert_eq!(one.triggers.get(SyncAction::All, When::Pre).count(), 0);
    assert_eq!(one.requires[0].to_string(), "sync#2(up|warn)");
    // A check of n1 is none of n2's.
    assert_eq!(set.resolve(&node("n2")).unwrap()[0].active_check, None);
}

#[test]
fn each_node_has_an_env_of_its_own() {
    let service = service("env = PRD\nnode_env = TST\nnode_env@nodes = PRD\nnode_env@n2 =\n");
    assert_eq!(service.node_env(&node("n1")), Some("PRD"));
    assert_eq!(service.node_env(&node("n2")), None);
    assert_eq!(service.node_env(&node("d1")), Some("TST"));
}

#[test]
fn a_scope_that_names_a_former_node_is_a_notice() {
    let service = service_with("src = a/b\nsrc@n3 = a/c\ntarget = nodes\n");
    assert_eq!(service.notices().len(), 1);
    let notice = service.notices()[0].to_string();
    assert!(
        notice.contains("line 6 [sync#1] src@n3: no node"),
        "{notice}"
    );
}

#[test]
fn a_resource_that_goes_nowhere_is_noticed() {
    let service = parse("[DEFAULT]\nnodes = n1\n[sync#1]\nsrc = a/b\ntarget = nodes drpnodes\n");
    let service = service.unwrap();
    assert_eq!(sends(&service, "n1").targets, []);
    assert!(service.notices()[0].to_string().contains("goes nowhere"));
}

#[test]
fn a_node_that_alone_goes_nowhere_is_named() {
    let text = "[DEFAULT]\nnodes = n1\ndrpnodes = d1\n[sync#1]\nsrc = a/b\ntarget = nodes\n";
    let service = parse(text).unwrap();
    assert_eq!(service.notices().len(), 1);
    let notice = service.notices()[0].to_string();
    assert!(
        notice.starts_with("line 6 [sync#1] target: what n1 has goes nowhere"),
        "{notice}"
    );
}

#[test]
fn in_production_a_node_whose_env_is_not_said_is_noticed() {
    let notices = |text| {
        let service = service(&format!("{text}[sync#1]\nsrc = a/b\ntarget = nodes\n"));
        let all = service.notices().iter().map(ToString::to_string);
        all.collect::<Vec<String>>()
    };
    let found = notices("env = PRD\nnode_env@nodes = PRD\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("none is refused: d1;"), "{found:?}");
    let found = notices("env = PRD\nnode_env = PRD\nnode_env@d1 = TST\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("nothing is sent on or to these nodes"),
        "{found:?}"
    );
    assert!(found[0].ends_with(": d1"), "{found:?}");
    assert!(notices("env = PRD\nnode_env = PRD\n").is_empty());
    assert!(notices("env = TST\n").is_empty());
}

#[test]
fn files_are_found_read_and_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let name = ServiceName::parse("svc").unwrap();
    let missing = Service::load(dir.path(), &name).unwrap_err();
    assert!(missing.to_string().ends_with("svc.conf"), "{missing}");
    std::fs::write(dir.path().join("svc.conf"), PAGE).unwrap();
    std::fs::write(dir.path().join("b.conf"), " ").unwrap();
    for ignored in [".hidden.conf", "a b.conf", "svc.conf.bak"] {
        std::fs::write(dir.path().join(ignored), "").unwrap();
    }
    assert_eq!(Service::load(dir.path(), &name).unwrap().rids().count(), 1);
    let listed = Service::list(dir.path()).unwrap();
    let listed: Vec<_> = listed.iter().map(ServiceName::as_str).collect();
    assert_eq!(listed, ["b", "svc"]);
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_parsed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("svc.conf"), "#\n".repeat(200 << 10)).unwrap();
    let error = Service::load(dir.path(), &ServiceName::parse("svc").unwrap()).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
}

#[test]
fn images_are_those_of_the_node_they_are_scoped_with() {
    let service = service(
        "image@n1 = tank=/i/tank.img\n\
         [sync#1]\nsrc@n1 = tank/a\ndst = backup/a\ntarget = nodes\n\
         image@n2 = backup=/i/a.img more=/i/more.img\n\
         [sync#2]\nsrc@n1 = tank/b\ndst = backup/b\ntarget = nodes\nimage@n2 = backup=/i/a.img\n",
    );
    let shown = |images: &[crate::image::Image]| -> Vec<String> {
        images.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(&service.images(&node("n1"))), ["tank=/i/tank.img"]);
    let both = ["backup=/i/a.img", "more=/i/more.img"];
    assert_eq!(shown(&service.images(&node("n2"))), both);
    assert_eq!(service.images(&node("d1")), []);
    let resources = service.resolve(&node("n1")).unwrap();
    let there = |at: usize| {
        let target = &resources[at].sends().unwrap().targets[0];
        shown(&target.connection.as_ref().unwrap().images)
    };
    assert_eq!(there(0), both);
    assert_eq!(there(1), both[..1]);
}
