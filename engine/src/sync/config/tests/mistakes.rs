//! Claims about files that are refused, and how.

use super::*;

fn mistakes(text: &str) -> Vec<Mistake> {
    match parse(text) {
        Err(ConfigError::Mistakes { mistakes, .. }) => mistakes,
        other => panic!("no mistakes: {other:?}"),
    }
}

/// The only mistake, as text.
fn mistake(more: &str) -> String {
    let mistakes = mistakes(&with_nodes(more));
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    mistakes[0].to_string()
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_in_the_order_of_lines() {
    let found = mistakes(
        "[DEFAULT]\nnodes = n1 n2\nlock_timeout = soon\nsyn_max_delay = 1d\n\
         [sync#1]\nsrc = tank//a\ntarget = node\nrecursive = maybe\nssh_port = 0\n\
         nodes = n3\n[sync#2]\nsrc = {env.missing}\ntarget = nodes\n[snyc#3]\n",
    );
    let lines: Vec<_> = found
        .iter()
        .map(|mistake| mistake.place.line.unwrap())
        .collect();
    // Line 12 is wrong on n1 and on n2: a value may be set for one of them.
    assert_eq!(lines, [3, 4, 6, 7, 8, 9, 10, 12, 12, 14], "{found:#?}");
    for mistake in &found {
        assert!(!mistake.problem.is_empty() && !mistake.remedy.is_empty());
    }
}

#[test]
fn a_mistake_names_file_line_section_keyword_problem_and_remedy() {
    let error =
        parse("[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrc = a/b\ntarget = nodes\nrecursiv = 1\n");
    assert_eq!(
        error.unwrap_err().to_string(),
        "/etc/svc.conf: line 6 [sync#1] recursiv: the keyword `recursiv` is not known; \
         did you mean `recursive`?"
    );
}

#[test]
fn a_tab_in_the_name_of_a_section_is_shown_as_one() {
    let error = mistake("[sync\t#1]\nsrc = a/b\ntarget = nodes\n");
    assert!(!error.contains(char::is_control), "{error:?}");
    assert!(error.contains("[sync\\t#1]"), "{error}");
}

#[test]
fn a_mistake_that_only_a_peer_would_meet_is_found_here() {
    let text = "[sync#1]\nsrc = tank/a\nsrc@d1 = tank/a@b\ntarget = nodes drpnodes\n";
    assert!(
        mistake(text).starts_with("line 6 [sync#1] src@d1: "),
        "{}",
        mistake(text)
    );
}

#[test]
fn duplicates_are_reported_with_the_line_of_the_first() {
    let text = "[sync#1]\nsrc = a/b\ntarget = nodes\nsync_max_delay = 1d\nmax_delay = 2d\n";
    let found = mistake(text);
    assert!(
        found.contains("line 8 [sync#1] max_delay: it is already set on line 7"),
        "{found}"
    );
    let found = mistake("[sync#1]\nsrc = a/b\ntarget = nodes\n[sync#1]\n");
    assert!(
        found.contains("line 7 [sync#1]: the section was already opened on line 4"),
        "{found}"
    );
}

#[test]
fn scopes_that_cannot_apply_are_mistakes() {
    for (line, part) in [
        ("src@N1 = a/c", "did you mean `src@n1`"),
        ("src@n1.example.com = a/c", "did you mean `src@n1`"),
        ("src@drpnode = a/c", "did you mean `src@drpnodes`"),
        ("naming@n1 = rid", "takes no scope"),
        ("sync_max_delay@n1 = 1d", "takes no scope"),
    ] {
        let found = mistake(&format!("[sync#1]\nsrc = a/b\ntarget = nodes\n{line}\n"));
        assert!(found.contains(part), "{found}");
    }
    let found = mistakes("[DEFAULT]\nnodes@n1 = n1 n2\n");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn what_a_run_does_beside_sending_is_checked_with_a_remedy() {
    for (line, problem, remedy) in [
        (
            "pre_sync_nodes = touch /x",
            "no absolute path",
            "/bin/sh -c",
        ),
        ("post_sync_full = /bin/a 'b", "never closed", "script"),
        (
            "sync_nodes_requires = fs#1(up)",
            "cluster agent",
            "active_check",
        ),
        (
            "sync_all_requires = sync#2(on)",
            "`on` is not known",
            "up, warn",
        ),
        (
            "sync_all_requires = sync#2(up)",
            "no resource sync#2",
            "of this file",
        ),
        ("sync_all_requires = sync#1", "itself", "another"),
        ("schedule = 04:00-25:00", "no range of times", "04:00-06:00"),
        ("schedule = * *:30 * feb", "never comes", "leave out"),
        ("timeout = 0", "no time", "4h"),
        ("timeout = 1x", "no duration", "units"),
        ("keep_old = nxt", "not known", "did you mean `next`"),
        ("rollback = modifed", "not known", "did you mean `modified`"),
        ("legacy_state = var/x", "no absolute path", "`/`"),
        ("subset = a b", "more than one word", "one subset"),
        (
            "pre_sync_nodse = /bin/a",
            "not known",
            "did you mean `pre_sync_nodes`",
        ),
        ("node_env = PRD", "whole service", "[DEFAULT]"),
    ] {
        let found = mistake(&format!("[sync#1]\nsrc = a/b\ntarget = nodes\n{line}\n"));
        let (said, told) = found.split_once("; ").unwrap_or_default();
        assert!(
            said.contains(problem) && told.contains(remedy),
            "{line}: {found}"
        );
    }
}

#[test]
fn lists_of_nodes_are_names_that_occur_once() {
    for (text, part) in [
        ("nodes = n1,n2", "no node name"),
        ("nodes = *", "no node name"),
        ("nodes = n1 n1", "n1 twice"),
        ("nodes = nodes", "means a group of nodes"),
        ("nodes = n1\ndrpnodes = n1", "also in nodes"),
        ("nodes = n1\nflex_primary = n2", "not in the list"),
        ("nodes = {nodename}", "has no value here"),
        ("lock_timeout = 1m", "not named"),
    ] {
        let found = mistakes(&format!("[DEFAULT]\n{text}\n"));
        assert!(found[0].to_string().contains(part), "{text}: {found:#?}");
    }
}

#[test]
fn values_of_the_wrong_kind_say_what_would_be_right() {
    for (line, part) in [
        ("src = /data", "a receiver cannot know what is mounted"),
        (
            "src = /data/\ndst = a/b",
            "is no mount point as the system writes it",
        ),
        (
            "src = /data/../x\ndst = a/b",
            "is no mount point as the system writes it",
        ),
        (
            "src = a/b\ndst = /data",
            "is a path, and a copy is a dataset",
        ),
        ("dst = 1pool/x", "pool name"),
        ("naming = Rid", "did you mean `rid`"),
        ("sync_max_delay = 0", "never up to date"),
        ("sync_max_delay = 1d3", "no unit"),
        ("optional =", "no boolean"),
        ("address = -oProxyCommand=x", "no host name"),
        ("ssh_user = -l", "no user name"),
        ("ssh_port = 65536", "no port"),
        ("ssh_identity = ~/.ssh/id", "no absolute path"),
    ] {
        let base = if line.starts_with("src") {
            ""
        } else {
            "src = a/b\n"
        };
        let found = mistakes(&with_nodes(&format!(
            "[sync#1]\n{base}target = nodes\n{line}\n"
        )));
        let text = found[0].to_string();
        let part = if part == "never up to date" {
            "no copy is ever up to date"
        } else {
            part
        };
        assert!(text.contains(part), "{line}: {text}");
    }
}

#[test]
fn a_resource_without_source_or_target_is_a_mistake() {
    assert!(mistake("[sync#1]\ntarget = nodes\n").contains("no node has a source"));
    assert!(mistake("[sync#1]\nsrc@n1 = a/b\n").contains("where the data goes"));
}

#[test]
fn circular_references_are_reported_once_for_all_nodes() {
    let found = mistake("[sync#1]\nsrc = {dst}\ndst = {src}\ntarget = nodes\n");
    assert!(found.contains("src → dst → src"), "{found}");
}

#[test]
fn two_resources_with_one_source_are_refused_unless_their_names_differ() {
    let two = |more: &str| {
        with_nodes(&format!(
            "{more}[sync#1]\nsrc@n1 = tank/a\ndst = back/one\ntarget = nodes\n\
             [sync#2]\nsrc@n1 = tank/a/b\ndst = back/two\ntarget = drpnodes\n"
        ))
    };
    let found = mistakes(&two(""));
    assert_eq!(found.len(), 1, "{found:#?}");
    let text = found[0].to_string();
    assert!(
        text.contains("@sent") && text.contains("`naming = rid`"),
        "{text}"
    );
    assert_eq!(found[0].kind, MistakeKind::Collision);
    assert!(parse(&two("naming = rid\n")).is_ok());
    // Not the same tree: the first one alone is sent.
    assert!(parse(&two("recursive = false\n")).is_ok());
}

#[test]
fn two_resources_may_not_receive_into_one_place_whoever_sends() {
    let found = mistake(
        "naming = rid\n[sync#1]\nsrc@n1 = tank/a\ndst = back/a\ntarget = drpnodes\n\
         [sync#2]\nsrc@n2 = tank/b\ndst = back/a/b\ntarget = drpnodes\n",
    );
    assert!(
        found.contains("sync#1 receives into the same place"),
        "{found}"
    );
    assert!(found.contains("dst of its own"), "{found}");
}

#[test]
fn a_disabled_resource_is_in_nobodys_way() {
    let service = service(
        "[sync#1]\nsrc = tank/a\ntarget = nodes\n\
         [sync#2]\nsrc = tank/a\ntarget = nodes\ndisable = true\n",
    );
    assert_eq!(service.rids().count(), 2);
}

#[test]
fn sending_on_what_was_received_needs_names_of_its_own() {
    let cascade = |naming: &str| {
        with_nodes(&format!(
            "{naming}[sync#1]\nsrc@n1 = tank/a\ndst = back/a\ntarget = nodes\n\
             [sync#2]\nsrc@n2 = back/a\ndst = far/a\ntarget = drpnodes\n"
        ))
    };
    assert_eq!(mistakes(&cascade("")).len(), 1);
    assert!(parse(&cascade("naming = rid\n")).is_ok());
}

#[test]
fn source_and_copy_on_one_machine_must_be_in_two_pools() {
    let local =
        |dst: &str| with_nodes(&format!("[sync#1]\nsrc@n1 = tank/a\n{dst}target = local\n"));
    for dst in ["", "dst = tank/a\n", "dst = tank/b\n"] {
        let found = mistakes(&local(dst));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].to_string().contains("another pool"), "{found:#?}");
    }
    assert!(parse(&local("dst = back/a\n")).is_ok());
}

#[test]
fn a_copy_inside_the_source_of_the_same_resource_is_refused() {
    let found = mistakes(&with_nodes(
        "[sync#1]\nsrc = tank/a\ndst@n1 = tank/a/copy\ndst@n2 = tank/a\ntarget = nodes\n",
    ));
    assert!(
        found[0].to_string().contains("inside each other"),
        "{found:#?}"
    );
}

#[test]
fn an_image_is_an_absolute_path_and_one_pool_has_one_place() {
    let resource = "src = tank/a\ndst = backup/a\ntarget = nodes\n";
    for (value, says) in [
        ("tank", "POOL=FILE"),
        ("tank/a=/x", "whole pool"),
        ("tank=x.img", "no absolute path"),
        ("tank=/x tank=/y", "/x and in /y"),
        ("tank=/x backup=/x", "holds one"),
    ] {
        let text = mistake(&format!("image@n1 = {value}\n[sync#1]\n{resource}"));
        assert!(text.starts_with("line 4 [DEFAULT] image@n1: "), "{text}");
        assert!(text.contains(says), "{value}: {text}");
    }
    let text = mistake(&format!(
        "[sync#1]\n{resource}image@n2 = tank=/x\n\
         [sync#2]\nsrc = tank/b\ndst = backup/b\ntarget = nodes\nnaming = rid\nimage@n2 = tank=/y\n"
    ));
    assert!(
        text.contains("on n2, pool tank") && text.contains("[DEFAULT]"),
        "{text}"
    );
}
