//! Claims about files that nobody would write.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Lines that are nearly right, so that random files get past the parser.
fn line() -> impl Strategy<Value = String> {
    let words = |list: &'static [&'static str]| proptest::sample::select(list);
    let section = words(&[
        "[DEFAULT]",
        "[sync#1]",
        "[sync#2]",
        "[env]",
        "[sync#",
        "[fs#1]",
        "[snyc#1] ; x",
    ]);
    let keyword = words(&[
        "nodes",
        "drpnode",
        "src",
        "dst",
        "target",
        "type",
        "topology",
        "flex_primary",
        "naming",
        "recursive",
        "max_delay",
        "address",
        "ssh_port",
        "disable",
        "tags",
        "schedule",
        "timeout",
        "rollback",
        "keep_old",
        "hold_base",
        "node_env",
        "legacy_state",
        "blocking_pre_sync_all",
        "sync_nodes_requires",
        "quux",
        "x",
    ]);
    let scope = words(&[
        "",
        "",
        "",
        "@n1",
        "@n2",
        "@nodes",
        "@drpnodes",
        "@N1",
        "@",
        "@é",
    ]);
    let value = words(&[
        "n1 n2",
        "n1",
        "d1",
        "tank/a",
        "tank/a/b",
        "back/a",
        "nodes",
        "local drpnodes",
        "/srv/a",
        "/bin/a 'b c'",
        "04:00-06:00@1h mon-fri",
        "sync#2(up|warn)",
        "modified",
        "PRD",
        "flex",
        "true",
        "rid",
        "1d3h",
        "{src}",
        "{dst}/x",
        "{env.x}{env.x}",
        "{nodename}",
        "{",
        "}",
        "",
        "{sync#2.src}",
        "zfs",
        "; x",
        "\u{1}",
    ]);
    prop_oneof![
        1 => section.prop_map(str::to_owned),
        6 => (keyword, scope, value).prop_map(|(k, s, v)| format!("{k}{s} = {v}")),
        1 => "\\PC{0,20}",
        1 => Just("  more".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let name = ServiceName::parse("svc").unwrap();
        let _ = Service::parse(&name, Path::new("f"), &text);
    }

    #[test]
    fn a_file_of_nearly_right_lines_is_either_refused_with_mistakes_or_resolves_everywhere(
        lines in proptest::collection::vec(line(), 0..24)
    ) {
        let text = format!("[DEFAULT]\nnodes = n1 n2\n[sync#1]\n{}", lines.join("\n"));
        match parse(&text) {
            Ok(service) => {
                let rids: Vec<_> = service.rids().cloned().collect();
                for on in service.nodes().iter().chain(service.drpnodes()) {
                    let resources = service.resolve(on).unwrap();
                    prop_assert_eq!(resources.len(), rids.len());
                    for resource in &resources {
                        let targets = resource.sends().map_or(&[][..], |sends| &sends.targets);
                        let distinct: BTreeSet<_> = targets.iter().map(|t| &t.node).collect();
                        prop_assert_eq!(distinct.len(), targets.len());
                    }
                    for reception in service.receives_for(on).unwrap() {
                        prop_assert!(!reception.from.is_empty());
                    }
                }
            }
            Err(ConfigError::Mistakes { mistakes, .. }) => prop_assert!(!mistakes.is_empty()),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
