//! `zferry sync` before it needs ZFS: which services, which resources, and who
//! may start them.

use crate::program::Place;

/// A service that `n1` may send, with `more` in the resource.
fn service(defaults: &str, more: &str) -> String {
    format!(
        "[DEFAULT]\nnodes = n1 n2\n{defaults}\n\
         [sync#1]\nsrc = tank/a\ndst = backup/a\ntarget = nodes\n{more}\n"
    )
}

/// Nothing was written down.
fn ensure_untouched(place: &Place) {
    let entries: Vec<_> = std::fs::read_dir(place.path("state")).unwrap().collect();
    assert!(entries.is_empty(), "{entries:?}");
}

#[test]
fn a_refusal_is_no_failure_and_has_a_code_of_its_own() {
    let other = "[sync#2]\nsrc = tank/b\ntarget = nodes\ndisable = true";
    let requires = format!("sync_update_requires = sync#2(up)\n{other}");
    for (defaults, more, why) in [
        ("active_check = /bin/false", "", "not up on this node"),
        ("topology = flex\nflex_primary = n2", "", "flex_primary"),
        ("env = PRD\nnode_env@n1 = TST", "", "env = PRD"),
        ("", requires.as_str(), "requires sync#2(up)"),
    ] {
        let place = Place::new();
        place.configure("web", &service(defaults, more));
        for words in [
            &["sync", "update", "web"][..],
            &["sync", "update", "web", "-n"],
        ] {
            let ran = place.run(words);
            assert_eq!(ran.code, Some(10), "{defaults}{more}: {ran:?}");
            assert!(ran.out.contains("refused, "), "{defaults}{more}: {ran:?}");
            assert!(ran.out.contains(why), "{defaults}{more}: {ran:?}");
        }
        ensure_untouched(&place);
    }
}

#[test]
fn a_refusal_is_a_field_of_its_own_for_programs() {
    let place = Place::new();
    place.configure("web", &service("active_check = /bin/false", ""));
    let ran = place.run(&["sync", "nodes", "web", "--json"]);
    let last = ran.last_json();
    assert_eq!(last["exit_code"], 10, "{last:#}");
    let resource = &last["result"]["resources"][0];
    assert!(resource["refused"].as_str().unwrap().contains("/bin/false"));
    assert!(resource["skipped"].is_null() && resource["error"].is_null());
}

#[test]
fn force_overrides_the_activity_check_and_no_other_rule() {
    let place = Place::new();
    place.configure("web", &service("env = PRD\nnode_env@n1 = TST", ""));
    let ran = place.run(&["sync", "update", "web", "--force"]);
    assert_eq!(ran.code, Some(10), "{ran:?}");
}

#[test]
fn a_word_that_no_resource_has_is_a_mistake() {
    let place = Place::new();
    place.configure("web", &service("", "tags = db"));
    for (option, word) in [
        ("--rid", "sync#2"),
        ("--tags", "dbb"),
        ("--subsets", "s1"),
        ("--rid", "sync#1,sync#7"),
    ] {
        let ran = place.run(&["sync", "update", "web", option, word]);
        ran.fails(2, &["no resource fits", option, "next: "]);
    }
    let ran = place.run(&["sync", "update", "web", "--target", "drp"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    ensure_untouched(&place);
}

#[test]
fn which_service_is_meant_has_to_be_said_unless_the_schedule_says_what_is_due() {
    let place = Place::new();
    let ran = place.run(&["sync", "update"]);
    ran.fails(2, &["which service", "--all"]);
    let ran = place.run(&["sync", "update", "--all", "web"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = place.run(&["sync", "all"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("no service is configured"), "{ran:?}");
}

#[test]
fn a_scheduler_is_told_what_is_not_due_and_leaves_other_peoples_services_alone() {
    let place = Place::new();
    place.configure("web", &service("schedule =", ""));
    place.configure(
        "mail",
        "[DEFAULT]\nnodes = n7 n8\n[sync#1]\nsrc = t/a\ntarget = nodes\n",
    );
    let ran = place.run(&["sync", "all"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out
            .contains("web sync#1: skipped, its schedule is empty"),
        "{ran:?}"
    );
    assert!(!ran.out.contains("mail"), "{ran:?}");
    ensure_untouched(&place);
}

#[test]
fn a_service_with_mistakes_does_not_keep_the_others_from_their_turn() {
    let place = Place::new();
    place.configure("mail", "[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrcc = t/a\n");
    place.configure("web", &service("active_check = /bin/false", ""));
    let ran = place.run(&["sync", "update", "--all"]);
    ran.fails(2, &["mail: ", "srcc"]);
    assert!(ran.out.contains("web sync#1: refused"), "{ran:?}");
}

#[test]
fn a_lock_of_the_pair_that_a_replication_has_is_waited_for_as_long_as_said() {
    let place = Place::new();
    let local = "[DEFAULT]\nnodes = n1\n[sync#1]\nsrc = tank/a\ndst = backup/a\ntarget = local\n";
    place.configure("web", local);
    // The lock that `zferry replicate tank/a backup/a` takes.
    let identity = "@n1:tank/a\0@n1:backup/a";
    let hash = blake3::hash(identity.as_bytes()).to_hex();
    let dir = place.path("state").join("lock");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join(format!("replicate-{}.lock", &hash[..32]));
    let held = std::fs::File::create(file).unwrap();
    held.lock().unwrap();
    let ran = place.run(&["sync", "update", "web", "--waitlock", "1s"]);
    ran.fails(5, &["another run of tank/a to backup/a"]);
    // A scheduler leaves it to the other run.
    place.configure("web", &format!("{local}schedule = *@1\n"));
    let ran = place.run(&["sync", "all"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("skipped, another run"), "{ran:?}");
}
