//! Properties: what the library knows, and what a receive does with them.

use anyhow::{Context, Result, ensure};
use libzfs::{
    DatasetKind, ErrorKind, PropertyInfo, PropertySetting, PropertySource, PropertyValue,
    ReceiveRequest, SendRequest, ValueKind, with_handle,
};

use crate::pipes::{PLAIN, into, transfer};
use crate::{Probe, fails, get, zfs};

fn number(name: &str, value: u64) -> PropertySetting {
    PropertySetting {
        name: name.to_owned(),
        value: PropertyValue::Number(value),
    }
}

fn text(name: &str, value: &str) -> PropertySetting {
    PropertySetting {
        name: name.to_owned(),
        value: PropertyValue::Text(value.to_owned()),
    }
}

pub fn tables(_probe: &Probe) -> Result<()> {
    let info =
        |name: &str| with_handle(|handle| Ok::<_, libzfs::Error>(handle.property_info(name)));
    let native = |value, readonly, set_once, inheritable| PropertyInfo::Native {
        value,
        readonly,
        set_once,
        inheritable,
    };
    for (name, expected, settable) in [
        (
            "mountpoint",
            native(ValueKind::Text, false, false, true),
            true,
        ),
        (
            "readonly",
            native(ValueKind::Index, false, false, true),
            true,
        ),
        (
            "quota",
            native(ValueKind::Number, false, false, false),
            true,
        ),
        ("used", native(ValueKind::Number, true, false, false), false),
        ("guid", native(ValueKind::Number, true, false, false), false),
        (
            "volblocksize",
            native(ValueKind::Number, false, true, true),
            false,
        ),
        ("zferry:any", PropertyInfo::User, true),
        ("no-such-property", PropertyInfo::Unknown, false),
        ("zero\0byte", PropertyInfo::Unknown, false),
    ] {
        let found = info(name)?;
        ensure!(found == expected, "{name}: {found:?}, not {expected:?}");
        ensure!(found.is_settable() == settable, "{name}");
    }
    let once = info("encryption")?;
    ensure!(
        matches!(once, PropertyInfo::Native { set_once: true, .. }),
        "{once:?}"
    );

    let word = |name: &str, index| {
        with_handle(|handle| Ok::<_, libzfs::Error>(handle.index_word(name, index)))
    };
    ensure!(
        word("canmount", 2)?.as_deref() == Some("noauto"),
        "canmount"
    );
    ensure!(word("canmount", 99)?.is_none(), "no such word");
    ensure!(word("mountpoint", 0)?.is_none(), "no words");

    let parse = |settings: &[(&str, &str)]| {
        with_handle(|handle| handle.parse_properties(DatasetKind::Filesystem, settings))
    };
    let mut parsed = parse(&[
        ("readonly", "on"),
        ("canmount", "noauto"),
        ("quota", "10M"),
        ("mountpoint", "/mnt/x"),
        ("zferry:run", "17"),
    ])?;
    parsed.sort_by(|a, b| a.name.cmp(&b.name));
    let expected = [
        number("canmount", 2),
        text("mountpoint", "/mnt/x"),
        number("quota", 10 << 20),
        number("readonly", 1),
        text("zferry:run", "17"),
    ];
    ensure!(parsed == expected, "{parsed:?}");
    for (name, value) in [
        ("readonly", "perhaps"),
        ("used", "1"),
        ("volsize", "1M"),
        ("no-such-property", "1"),
        ("mountpoint", "relative"),
    ] {
        let error = fails(parse(&[(name, value)]), ErrorKind::Invalid)?;
        ensure!(error.to_string().contains(name), "{error}");
    }
    ensure!(parse(&[])?.is_empty(), "nothing to parse");
    Ok(())
}

pub fn of_a_receive(probe: &Probe) -> Result<()> {
    let source = probe.filesystem("p", 1)?;
    let snapshot = format!("{source}@one");
    probe.core.snapshot(&[&snapshot], &[])?;
    let target = probe.name("p2");
    let send = SendRequest {
        snapshot: &snapshot,
        from: None,
        flags: PLAIN,
    };
    let received = [
        text("mountpoint", "/mnt/of/the/source"),
        text("zferry:run", "17"),
        number("compression", 2),
        number("atime", 0),
        // The wrong form: refused, and the data is received all the same.
        text("snapdir", "visible"),
    ];
    let overrides = [number("readonly", 1), number("canmount", 2)];
    let outcome = transfer(
        probe.core,
        send,
        &ReceiveRequest {
            received: &received,
            overrides: &overrides,
            excluded: &["mountpoint"],
            ..into(&format!("{target}@one"))
        },
    )?;
    ensure!(outcome.bytes_read > 1024 * 1024, "{outcome:?}");
    let refused: Vec<&str> = outcome
        .property_errors
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    ensure!(refused == ["snapdir"], "{outcome:?}");
    ensure!(
        outcome.property_errors[0].errno.kind() == ErrorKind::Invalid,
        "{outcome:?}"
    );

    let dataset = with_handle(|handle| handle.dataset(&target))?;
    ensure!(!dataset.mounted, "a receive never mounts");
    for (name, value, source) in [
        ("readonly", PropertyValue::Number(1), PropertySource::Local),
        ("canmount", PropertyValue::Number(2), PropertySource::Local),
        ("atime", PropertyValue::Number(0), PropertySource::Received),
        (
            "zferry:run",
            PropertyValue::Text("17".to_owned()),
            PropertySource::Received,
        ),
    ] {
        let property = dataset.property(name).with_context(|| name.to_owned())?;
        ensure!(
            property.value == value && property.source == source,
            "{property:?}"
        );
    }
    ensure!(
        get("mountpoint", &target)? == format!("/{target}"),
        "excluded: not in effect"
    );
    ensure!(get("snapdir", &target)? == "hidden", "refused");
    let kept = with_handle(|handle| handle.received_properties(&target))?;
    let kept_mountpoint = kept.iter().find(|property| property.name == "mountpoint");
    ensure!(
        kept_mountpoint.is_some_and(
            |property| property.value == PropertyValue::Text("/mnt/of/the/source".to_owned())
        ),
        "excluded: kept as received value: {kept:?}"
    );
    ensure!(
        zfs(&["list", "-H", "-o", "name", &format!("{target}@one")]).is_ok(),
        "the data"
    );
    Ok(())
}
