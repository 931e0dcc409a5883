//! `zferry config`: files checked, and what a node would do.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::sync::attempts::{AttemptStore, Attempts};
use engine::sync::config::{Rid, ServiceName};
use engine::sync::moment::UtcSeconds;

use crate::program::Place;

const SERVICE: &str = "[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1\nenv = PRD\nnode_env = PRD\n\
    ssh_user = zferry\naddress@n2 = 10.0.0.2\nssh_port@n2 = 2222\ndscp = le\n\
    [sync#1]\ntype = zfs\nsrc@n1 = tank/a\nsrc@n2 = pool/a\ndst@n1 = pool/a\ndst@n2 = tank/a\n\
    target = nodes drpnodes\nbandwidth_limit = 10M@08:00-18:00,100M\nschedule = 22:00-02:00@121 mon-fri\nrollback = modified\n\
    pre_sync_nodes = /bin/echo 'a b'\nsync_all_requires = sync#2(up|warn)\n\
    [sync#2]\nsrc@n1 = /no/such/mount\ndst = pool/b\ntarget = nodes\nnaming = rid\n";

#[test]
fn a_folder_without_mistakes_is_ok_and_says_what_has_no_effect() {
    let place = Place::new();
    place.configure("web", SERVICE);
    place.configure(
        "db",
        "[DEFAULT]\nnodes = n3 n4\nid = 7\n[sync#1]\nsrc@n3 = tank/db\ntarget = nodes\n",
    );
    let ran = place.run(&["config", "check"]);
    ran.fails(0, &[]);
    let expected = format!(
        "db: ok\n  note: {0}: line 3 [DEFAULT] id: a keyword of the cluster agent; \
         it has no effect here\n  note: {0}: node n1 is not listed in service db (nodes and \
         drpnodes name n3 n4; names compare exactly)\nweb: ok\n",
        place.path("config/db.conf").display()
    );
    assert_eq!(ran.out, expected);
}

#[test]
fn every_mistake_of_every_file_is_told_at_once_with_line_and_remedy() {
    let place = Place::new();
    place.configure("good", SERVICE);
    place.configure(
        "bad",
        "[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrc = tank//a\ntimeout = soon\ntarget = node\nbandwidth_limit = 20Mb\ndscp = low\n",
    );
    place.configure(
        "other",
        "[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrc@n1 = tank/a/b\ndst = x/y\ntarget = nodes\n",
    );
    let ran = place.run(&["config", "check"]);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    for text in [
        "bad: 5 mistakes\n",
        "bad.conf: line 4 [sync#1] src: ",
        "bad.conf: line 5 [sync#1] timeout: `soon` is no duration",
        "bad.conf: line 6 [sync#1] target: `node` is not known; did you mean `nodes`?",
        "bad.conf: line 7 [sync#1] bandwidth_limit: `20Mb` is no rate; write for example `20M`",
        "bad.conf: line 8 [sync#1] dscp: `low` is no code point",
        "good: ok\n",
        "other: 1 mistake\n",
        "other.conf: line 4 [sync#1] src@n1: its snapshots would be those of another service",
        "tank/a and tank/a/b on n1 (good sync#1); write `naming = rid`",
    ] {
        assert!(ran.out.contains(text), "{text:?} is not in\n{}", ran.out);
    }
    let ran = place.run(&["config", "check", "bad", "--json"]);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    let services = &ran.last_json()["result"]["services"];
    let mistakes = services[0]["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 5);
    assert_eq!(mistakes[2]["line"], 6);
    assert_eq!(mistakes[2]["kind"], "bad_value");
    assert_eq!(mistakes[2]["remedy"], "did you mean `nodes`?");
    // Only what is named is looked at.
    place.run(&["config", "check", "good"]).fails(0, &[]);
    let ran = place.run(&["config", "check", "god"]);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(
        ran.out.contains("there is no configuration file"),
        "{ran:#?}"
    );
}

#[test]
fn what_a_node_would_do_is_shown_with_everything_resolved() {
    let place = Place::new();
    place.configure("web", SERVICE);
    let ran = place.run(&["config", "show", "web"]);
    ran.fails(0, &["note: mount points are not looked up"]);
    for text in [
        "web on n1 (",
        "  nodes: n1 n2\n  drpnodes: d1\n  topology: failover\n  env: PRD (this node: PRD)\n",
        "sync#1\n  src: tank/a\n  dst: pool/a\n",
        "  target: pool/a on n2 (nodes), reached at zferry@10.0.0.2:2222, dscp le\n",
        "  target: pool/a on d1 (drpnodes), reached at zferry@d1, dscp le\n",
        "  snapshots: @sent @tosend @sent.old\n",
        "  sync_max_delay: 1d\n",
        "  bandwidth_limit: 10M@08:00-18:00,100M\n  keep_old: confirm\n  rollback: modified\n  schedule: 22:00-02:00@121 mon-fri\n",
        "  pre_sync_nodes: /bin/echo 'a b'\n  sync_all_requires: sync#2(up|warn)\n  due: ",
        "  receives: tank/a from n2 (nodes), where it is pool/a\n",
        "sync#2\n  src: what is mounted at /no/such/mount\n  dst: pool/b\n",
        "  snapshots: @sync.2.sent @sync.2.tosend @sync.2.sent.old\n",
    ] {
        assert!(ran.out.contains(text), "{text:?} is not in\n{}", ran.out);
    }
}

#[test]
fn whom_the_rule_of_production_keeps_out_is_shown() {
    let place = Place::new();
    place.configure(
        "web",
        &SERVICE.replace("node_env = PRD", "node_env = PRD\nnode_env@n2 = TST"),
    );
    let ran = place.run(&["config", "show", "web"]);
    ran.fails(0, &["nothing is sent on or to these nodes"]);
    let text = "reached at zferry@10.0.0.2:2222, dscp le, not sent there: its env is TST\n";
    assert!(ran.out.contains(text), "{}", ran.out);
    let ran = place.run(&["config", "show", "web", "--node", "n2"]);
    let text = "env: PRD (this node: TST: it sends nothing)\n";
    assert!(ran.out.contains(text), "{}", ran.out);
}

#[test]
fn what_another_node_would_do_is_shown_too_and_in_json() {
    let place = Place::new();
    place.configure("web", SERVICE);
    let ran = place.run(&["config", "show", "web", "--node", "n2", "--json"]);
    ran.fails(0, &[]);
    let result = &ran.last_json()["result"];
    let resource = &result["resources"][0];
    assert_eq!(
        (&resource["src"], &resource["dst"]),
        (&"pool/a".into(), &"tank/a".into())
    );
    assert_eq!(resource["targets"][0]["node"], "n1");
    assert_eq!(resource["targets"][0]["connection"]["user"], "zferry");
    assert_eq!(resource["schedule"], "22:00-02:00@121 mon-fri");
    assert_eq!(resource["bandwidth_limit"], "10M@08:00-18:00,100M");
    assert_eq!(resource["receives"][0]["dst"], "pool/a");
    assert_eq!(resource["pre_sync_nodes"][1], "a b");
    let why = result["resources"][1]["sends_nothing"].as_str().unwrap();
    assert!(why.contains("no `src` applies"), "{why}");
    assert_eq!(
        result["resources"][1]["receives"][0]["src"],
        serde_json::Value::Null
    );

    let ran = place.run(&["config", "show", "web", "--node", "n9"]);
    ran.fails(6, &["n9", "not listed"]);
    // Nothing is made by looking.
    assert_eq!(std::fs::read_dir(place.path("state")).unwrap().count(), 0);
}

#[test]
fn when_a_resource_is_due_is_told_from_what_was_tried() {
    let place = Place::new();
    let text =
        "[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrc@n1 = tank/a\ntarget = nodes\nschedule = @1h\n";
    place.configure("web", text);
    let due = || {
        let ran = place.run(&["config", "show", "web", "--json"]);
        ran.fails(0, &[]);
        let resource = ran.last_json()["result"]["resources"][0].clone();
        (resource["due_now"].clone(), resource["due_local"].clone())
    };
    assert_eq!(due(), (true.into(), serde_json::Value::Null));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let tried = Attempts::default().begun(UtcSeconds(now.as_secs()));
    let (service, rid) = (
        ServiceName::parse("web").unwrap(),
        Rid::parse("sync#1").unwrap(),
    );
    let store = AttemptStore::new(&place.path("state"));
    store.write(&service, &rid, &tried.succeeded()).unwrap();
    let (now, next) = due();
    assert_eq!(now, false);
    assert!(
        next.as_str().is_some_and(|next| next.contains('T')),
        "{next}"
    );
}
