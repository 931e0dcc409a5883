//! These need libnvpair, but no kernel module; without the library they have
//! nothing to say and pass.

use super::*;

/// A list, or `None` on a machine without ZFS.
fn list() -> Option<NvList> {
    match NvList::new() {
        Ok(list) => Some(list),
        Err(missing) => {
            println!("not tested: {missing}");
            None
        }
    }
}

fn all_types() -> NvPairs {
    let inner = vec![("k".to_owned(), NvValue::Uint64(7))];
    [
        ("flag", NvValue::Flag),
        ("true", NvValue::Bool(true)),
        ("false", NvValue::Bool(false)),
        ("byte", NvValue::Byte(0xff)),
        ("i8", NvValue::Int8(-8)),
        ("u8", NvValue::Uint8(8)),
        ("i16", NvValue::Int16(-16)),
        ("u16", NvValue::Uint16(16)),
        ("i32", NvValue::Int32(i32::MIN)),
        ("u32", NvValue::Uint32(u32::MAX)),
        ("i64", NvValue::Int64(i64::MIN)),
        ("u64", NvValue::Uint64(u64::MAX)),
        ("text", NvValue::Text("größer".to_owned())),
        ("bytes of a text", NvValue::TextBytes(vec![0xff, 0xfe])),
        ("list", NvValue::List(inner.clone())),
        ("empty list", NvValue::List(Vec::new())),
        ("bytes", NvValue::Bytes(vec![0, 1, 2])),
        ("u64s", NvValue::Uint64Array(vec![1, u64::MAX])),
        (
            "texts",
            NvValue::TextArray(vec!["a".to_owned(), String::new()]),
        ),
        ("lists", NvValue::ListArray(vec![inner, Vec::new()])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[test]
fn every_type_is_read_as_it_was_added() {
    let Some(mut list) = list() else { return };
    for (name, value) in all_types() {
        list.add(&name, &value).unwrap();
    }
    assert_eq!(list.to_pairs().unwrap(), all_types());
    for (name, value) in all_types() {
        assert_eq!(list.get(&name).unwrap(), Some(value), "{name}");
    }
    assert_eq!(list.get("absent").unwrap(), None);
}

#[test]
fn clone_is_independent() {
    let Some(mut list) = list() else { return };
    list.add("a", &NvValue::Uint64(1)).unwrap();
    let copy = list.clone();
    list.add("a", &NvValue::Uint64(2)).unwrap();
    list.remove("absent").unwrap();
    assert_eq!(copy.get("a").unwrap(), Some(NvValue::Uint64(1)));
    drop(list);
    assert_eq!(copy.get("a").unwrap(), Some(NvValue::Uint64(1)));
}

#[test]
fn name_is_unique_even_if_the_type_changes() {
    let Some(mut list) = list() else { return };
    list.add("a", &NvValue::Uint64(1)).unwrap();
    list.add("a", &NvValue::Text("x".to_owned())).unwrap();
    assert_eq!(list.iter().count(), 1);
    list.remove("a").unwrap();
    assert_eq!(list.iter().count(), 0);
}

#[test]
fn zero_byte_is_refused_instead_of_cutting_the_text() {
    let Some(mut list) = list() else { return };
    let zero = NvError::ZeroByte("a\0b".to_owned());
    assert_eq!(list.add("a\0b", &NvValue::Flag), Err(zero.clone()));
    assert_eq!(
        list.add("a", &NvValue::Text("a\0b".to_owned())),
        Err(zero.clone())
    );
    assert_eq!(
        list.add("a", &NvValue::TextBytes(b"a\0b".to_vec())),
        Err(zero)
    );
    assert_eq!(list.iter().count(), 0);
}

#[test]
fn nesting_is_bounded_in_both_directions() {
    let Some(mut list) = list() else { return };
    let nest = |levels: usize| {
        (0..levels).fold(NvValue::Flag, |inner, _| {
            NvValue::List(vec![("n".to_owned(), inner)])
        })
    };
    list.add("deepest", &nest(DEPTH_MAX)).unwrap();
    assert!(list.to_pairs().is_ok());
    assert_eq!(
        list.add("deeper", &nest(DEPTH_MAX + 1)),
        Err(NvError::TooDeep)
    );

    // One more level around it can only be made by hand.
    let outer = NvList::empty(list.nvpair);
    // SAFETY: both are lists, the name ends with a zero byte.
    let rc =
        unsafe { (list.nvpair.nvlist_add_nvlist)(outer.as_ptr(), c"n".as_ptr(), list.as_ptr()) };
    assert_eq!(rc, 0);
    assert_eq!(outer.to_pairs(), Err(NvError::TooDeep));
}

#[cfg(target_os = "linux")]
#[test]
fn lists_are_freed() {
    /// Rounds; without a free each leaves well over a kilobyte behind.
    const ROUNDS: usize = 50_000;
    /// Far more than the other tests need meanwhile, far less than the leak.
    const GROWTH_BYTES_MAX: u64 = 16 * 1024 * 1024;
    let Some(_) = list() else { return };
    let resident_bytes = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    let before = resident_bytes();
    for _ in 0..ROUNDS {
        let mut list = NvList::new().unwrap();
        for (name, value) in all_types() {
            list.add(&name, &value).unwrap();
        }
        assert_eq!(list.clone().iter().count(), all_types().len());
    }
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more");
}

#[test]
fn debug_shows_names_and_values() {
    let Some(mut list) = list() else { return };
    list.add("a", &NvValue::Uint64(1)).unwrap();
    assert_eq!(format!("{list:?}"), r#"{"a": Ok(Uint64(1))}"#);
}

#[test]
fn error_list_gives_names_errnos_and_the_count_of_the_rest() {
    let Some(mut list) = list() else { return };
    list.add("tank/a@s", &NvValue::Int32(libc::EBUSY)).unwrap();
    list.add("N_MORE_ERRORS", &NvValue::Int32(3)).unwrap();
    let errors = crate::error::ErrorList::read(list.as_ref());
    assert_eq!(errors.items.len(), 1);
    assert_eq!(errors.items[0].name, "tank/a@s");
    assert_eq!(errors.omitted, 3);

    // A call that returns 0 with such a list has failed all the same.
    let error = errors
        .outcome(0, crate::Operation::Hold, "tank/a@s")
        .unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Busy);
    let text = error.to_string();
    assert!(
        text.starts_with("cannot hold tank/a@s: is busy (EBUSY)"),
        "{text}"
    );
    assert!(text.ends_with("; and 3 more"), "{text}");
}
