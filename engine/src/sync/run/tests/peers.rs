//! Claims about targets that answer for something else than they are asked.

use std::sync::{Arc, Mutex};

use super::super::Action;
use super::world::{Liar, World, all_well};
use crate::event::Event;
use crate::sync::config::{NodeName, Rid, ServiceName};
use crate::sync::state::{ResourceState, StateStore};

/// What `a` records of `b` after a run in which `b` tells this state, what it
/// says about `b`, and the states that `b` is given.
fn run_with_a_liar(change: impl Fn(&str) -> String) -> (ResourceState, String, usize) {
    let world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    let store = StateStore::new(world.states.path().join("a"));
    let (service, rid) = (
        ServiceName::parse("svc").unwrap(),
        Rid::parse("sync#1").unwrap(),
    );
    let known = store.read(&service, &rid).unwrap().unwrap();
    let text = String::from_utf8(known.to_json()).unwrap();
    // Newer than everything that is known, so that it would win.
    let newer = text.replace("\"sequence\": ", "\"sequence\": 99");
    assert_ne!(newer, text);
    let liar = Arc::new(Liar {
        told: change(&newer),
        given: Mutex::default(),
    });
    world
        .liars
        .lock()
        .unwrap()
        .insert("b".to_owned(), Arc::clone(&liar));
    world.write("a", 2);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.ensure_in_step("a", "b", "after the run");
    let state = store.read(&service, &rid).unwrap().unwrap();
    let events = world.seen.0.lock().unwrap();
    let said = events.iter().filter_map(|event| match event {
        Event::Notice { peer, text } if peer == "b" => Some(text.as_str()),
        _ => None,
    });
    let given = liar.given.lock().unwrap().len();
    (state, said.collect::<Vec<_>>().join("; "), given)
}

fn sequence(state: &ResourceState, node: &str) -> u64 {
    state
        .target(&NodeName::parse(node).unwrap())
        .unwrap()
        .sequence
}

#[test]
fn the_newer_state_of_a_target_is_taken_over() {
    let (state, said, given) = run_with_a_liar(str::to_owned);
    assert!(sequence(&state, "b") > 990, "{state:?}");
    assert_eq!((said.as_str(), given), ("", 1));
}

#[test]
fn a_target_that_answers_for_another_service_is_told_of_and_nothing_is_taken_over() {
    for (from, to) in [("\"svc\"", "\"other\""), ("\"sync#1\"", "\"sync#2\"")] {
        let (state, said, given) = run_with_a_liar(|text| text.replace(from, to));
        for node in ["b", "c"] {
            assert!(sequence(&state, node) < 990, "{state:?}");
        }
        assert!(said.contains("not taken over: it is about"), "{said}");
        assert_eq!(given, 0, "it gets no state either");
    }
}

#[test]
fn rubbish_from_a_target_is_told_of_and_replaced() {
    let (state, said, given) = run_with_a_liar(|text| text[..text.len() / 2].to_owned());
    assert!(sequence(&state, "b") < 990, "{state:?}");
    assert!(said.contains("cut off or damaged"), "{said}");
    assert_eq!(given, 1);
}
