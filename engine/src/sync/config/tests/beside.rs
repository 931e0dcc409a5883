//! Claims about several services of one folder.

use super::*;

fn named(name: &str, text: &str) -> Service {
    let name = ServiceName::parse(name).unwrap();
    let file = format!("/etc/{name}.conf");
    Service::parse(&name, Path::new(&file), with_nodes(text).as_bytes()).unwrap()
}

#[test]
fn two_services_in_each_others_way_are_told_with_the_line_of_one_and_the_name_of_the_other() {
    let data = named("one", "[sync#1]\nsrc@n1 = tank/a\ntarget = nodes\n");
    for (text, part) in [
        (
            "[sync#2]\nsrc@n1 = tank/a/b\ndst = x/y\ntarget = nodes\n",
            "snapshots would be those of",
        ),
        (
            "[sync#2]\nsrc@n2 = tank/a\ndst = x/y\ntarget = drpnodes\n",
            "snapshots would be those of",
        ),
        (
            "[sync#2]\nsrc@n1 = x/y\ndst = tank/a\ntarget = nodes\n",
            "receives into the same place",
        ),
    ] {
        let found = crossings(&[data.clone(), named("two", text)]);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let crossing = &found[0];
        assert_eq!(
            (crossing.service.as_str(), crossing.with.as_str()),
            ("two", "one")
        );
        let said = crossing.mistake.to_string();
        assert!(said.starts_with("line ") && said.contains(part), "{said}");
        assert!(said.contains("(one sync#1)"), "{said}");
    }
    for text in [
        "[sync#2]\nsrc@n1 = tank/c\ntarget = nodes\n",
        "[sync#2]\nnaming = rid\nsrc@n1 = tank/a\ndst = x/y\ntarget = nodes\n",
        "[sync#2]\nsrc@n1 = tank/a\ndst = x/y\ntarget = nodes\nimage@n1 = tank=/i/other.img\n",
        "[sync#2]\nsrc@n1 = tank/a\ndst = x/y\ntarget = nodes\ndisable = true\n",
    ] {
        assert_eq!(crossings(&[data.clone(), named("two", text)]), [], "{text}");
    }
}
