//! Properties.

use rustix::io::Errno;
use userland::protocol::{Call, Property};

use super::{BAD_PROPERTY, MIB, claims, noise, number, words};

fn set(dataset: &str, properties: Vec<Property>) -> Call {
    Call::SetProperties {
        dataset: dataset.to_owned(),
        properties,
    }
}

claims! {
    fn properties_of_all_kinds_are_set_and_listed_by_name(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        let all = vec![
            number("checksum", 7),
            number("compression", 15),
            number("copies", 2),
            words("org.zferry:a", "text with ä"),
            number("readonly", 1),
            number("refreservation", 2 * MIB),
            number("reservation", 3 * MIB),
            number("snapshot_limit", 10),
        ];
        pool.call(set("tank/v", all.clone()));
        assert_eq!(pool.dataset("tank/v").properties, all);
        // Nothing is inherited into the list.
        pool.volume("tank/w", MIB);
        assert_eq!(pool.dataset("tank/w").properties, Vec::new());
    }

    fn values_that_do_not_fit_are_refused_one_by_one(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        let invalid = Errno::INVAL.raw_os_error();
        let long = words("org.zferry:long", &"x".repeat(9000));
        for (property, errno) in [
            (number("readonly", 7), BAD_PROPERTY),
            (words("readonly", "on"), invalid),
            (number("mountpoint", 1), invalid),
            (number("used", 1), invalid),
            (number("guid", 1), invalid),
            (number("utf8only", 1), invalid),
            (number("unheardof", 1), invalid),
            (number("org.zferry:number", 1), invalid),
            (words("Org:Upper", "x"), invalid),
            (long, Errno::TOOBIG.raw_os_error()),
            (words(&format!("a:{}", "x".repeat(300)), "x"), Errno::NAMETOOLONG.raw_os_error()),
            (number("recordsize", 1 << 30), Errno::RANGE.raw_os_error()),
            (number("version", 5), Errno::NOTSUP.raw_os_error()),
            (number("userquota@1000", 1), Errno::NOTSUP.raw_os_error()),
            (number("quota", 1), Errno::NOSPC.raw_os_error()),
        ] {
            let name = property.name.clone();
            let fault = pool.fault(set("tank/a", vec![property, number("atime", 0)]));
            if name.len() < 250 {
                assert_eq!(fault.items, vec![(name.clone(), errno)], "{name}");
            }
            assert_eq!(fault.errno, errno, "{name}");
        }
        // The others of the same call were set.
        let found = pool.dataset("tank/a").properties;
        assert_eq!(found, vec![number("atime", 0)]);
        let missing = pool.fault(set("tank/none", vec![number("atime", 0)]));
        assert_eq!((missing.errno, missing.items.len()), (Errno::NOENT.raw_os_error(), 0));
    }

    fn a_volume_changes_its_size(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 2 * MIB);
        pool.write("tank/v", 0, noise(1, 2 << 20));
        pool.call(set("tank/v", vec![number("volsize", MIB)]));
        assert_eq!(pool.read("tank/v"), noise(1, 2 << 20)[..MIB as usize]);
        pool.call(set("tank/v", vec![number("volsize", 2 * MIB)]));
        assert_eq!(pool.read("tank/v")[MIB as usize..], vec![0; MIB as usize]);
        let fault = pool.fault(set("tank/v", vec![number("volsize", MIB + 1)]));
        assert_eq!(fault.errno, Errno::INVAL.raw_os_error());
        pool.filesystem("tank/a");
        let fault = pool.fault(set("tank/a", vec![number("volsize", MIB)]));
        assert_eq!(fault.errno, Errno::INVAL.raw_os_error());
    }

    fn a_quota_keeps_data_out(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/a");
        pool.volume("tank/a/v", 64 * MIB);
        pool.call(set("tank/a", vec![number("quota", 4 * MIB)]));
        let fault = pool.try_write("tank/a/v", 0, noise(1, 48 << 20)).unwrap_err();
        assert_eq!(fault.errno, Errno::DQUOT.raw_os_error());
    }
}
