//! A tree of datasets, looked at by one thread or by several.
//!
//! Listing is the kernel's work: it looks each object up by name, and of a
//! dataset that is not mounted, as copies are not, it reads the properties of all
//! ancestors again with each ioctl. It does so for several threads at a time.
//!
//! Every thread has a stack of its own and goes on with what it found last, so
//! that little is opened twice. One that has nothing left gets the oldest half of
//! another's stack, by name, since what libzfs has opened stays in its thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A thread's view of what it walks over.
pub(super) trait Ground {
    /// A dataset that is open in this thread.
    type Node;
    /// What is wanted of one.
    type Found;
    /// Why not.
    type Error;

    /// Opens what another thread has found; `None` if it is gone.
    fn open(&self, name: &str) -> Result<Option<Self::Node>, Self::Error>;
    /// Its full name.
    fn name(&self, node: &Self::Node) -> String;
    /// What is wanted of it; `None` if it is gone.
    fn look(&self, node: &Self::Node) -> Result<Option<Self::Found>, Self::Error>;
    /// What is right below it, in the order of names.
    fn children(&self, node: &Self::Node) -> Result<Vec<Self::Node>, Self::Error>;
}

/// So many datasets wait before another thread is worth its start.
const PENDING_MIN: usize = 16;

/// How a walk is shared among threads.
pub(super) struct Walk<T, E> {
    deep: bool,
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

struct State<T, E> {
    /// What was given away and nobody has taken yet.
    names: Vec<String>,
    found: Vec<(String, T)>,
    failed: Option<E>,
    /// Threads that take part, and those of them that wait for a name.
    threads: usize,
    waiting: usize,
}

/// A thread's part; the others wait for it as long as it lives.
struct Part<'w, T, E>(&'w Walk<T, E>);

impl<'w, T, E> Part<'w, T, E> {
    fn of(walk: &'w Walk<T, E>) -> Self {
        walk.lock().threads += 1;
        Self(walk)
    }
}

impl<T, E> Drop for Part<'_, T, E> {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
        self.0.changed.notify_all();
    }
}

impl<T: Send, E: Send> Walk<T, E> {
    /// What is found at `root` and, if `deep`, below it: parents before
    /// children, siblings in the order of names. `None` if `root` is not there.
    ///
    /// This thread walks over `ground`. Should it find much, up to `threads` take
    /// part, each of which calls `enter`, and that calls [`Self::go_on`]; if it
    /// does not, the others do its part.
    pub(super) fn run<G>(
        ground: &G,
        (root, deep): (&str, bool),
        threads: usize,
        enter: impl Fn(&Self) + Sync,
    ) -> Result<Option<Vec<T>>, E>
    where
        G: Ground<Found = T, Error = E>,
    {
        let Some(node) = ground.open(root)? else {
            return Ok(None);
        };
        let state = State {
            names: Vec::new(),
            found: Vec::new(),
            failed: None,
            threads: 0,
            waiting: 0,
        };
        let walk = Self {
            deep,
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        let mut pending = vec![node];
        while pending.len() < PENDING_MIN && walk.step(ground, &mut pending)? {}
        thread::scope(|scope| {
            let _part = Part::of(&walk);
            let others = if pending.is_empty() { 0 } else { threads - 1 };
            walk.give(ground, pending.drain(..pending.len() * others / threads));
            for _ in 0..others {
                let (part, enter) = (Part::of(&walk), &enter);
                let builder = thread::Builder::new().name("list".to_owned());
                let _ = builder.spawn_scoped(scope, move || {
                    let part = part;
                    enter(part.0);
                });
            }
            walk.follow(ground, pending);
        });
        let state = walk.state.into_inner();
        let State {
            mut found, failed, ..
        } = state.unwrap_or_else(PoisonError::into_inner);
        match failed {
            Some(error) => Err(error),
            None => {
                found.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
                Ok(Some(found.into_iter().map(|(_, found)| found).collect()))
            }
        }
    }

    /// Another thread's part, until nothing is left or somebody has failed.
    pub(super) fn go_on<G: Ground<Found = T, Error = E>>(&self, ground: &G) {
        self.follow(ground, Vec::new());
    }

    fn follow<G: Ground<Found = T, Error = E>>(&self, ground: &G, mut pending: Vec<G::Node>) {
        loop {
            let stepped = self.step(ground, &mut pending).and_then(|stepped| {
                if !stepped {
                    let Some(name) = self.take() else {
                        return Ok(false);
                    };
                    pending.extend(ground.open(&name)?);
                }
                Ok(true)
            });
            match stepped {
                Ok(true) if self.share(ground, &mut pending) => {}
                Ok(_) => return,
                Err(error) => {
                    self.lock().failed.get_or_insert(error);
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }

    /// Looks at the next one, if there is one.
    fn step<G: Ground<Found = T, Error = E>>(
        &self,
        ground: &G,
        pending: &mut Vec<G::Node>,
    ) -> Result<bool, E> {
        let Some(node) = pending.pop() else {
            return Ok(false);
        };
        if let Some(found) = ground.look(&node)? {
            self.lock().found.push((ground.name(&node), found));
            if self.deep {
                pending.extend(ground.children(&node)?.into_iter().rev());
            }
        }
        Ok(true)
    }

    /// Gives half of what is pending away if somebody waits for it. Whether to
    /// go on.
    fn share<G: Ground<Found = T, Error = E>>(
        &self,
        ground: &G,
        pending: &mut Vec<G::Node>,
    ) -> bool {
        let state = self.lock();
        let (go_on, wanted) = (
            state.failed.is_none(),
            state.waiting > 0 && state.names.is_empty(),
        );
        drop(state);
        if wanted {
            self.give(ground, pending.drain(..pending.len() / 2));
        }
        go_on
    }

    fn give<G: Ground<Found = T, Error = E>>(
        &self,
        ground: &G,
        nodes: impl Iterator<Item = G::Node>,
    ) {
        let names: Vec<String> = nodes.map(|node| ground.name(&node)).collect();
        self.lock().names.extend(names);
        self.changed.notify_all();
    }

    /// A name that was given away; `None` when there will be no more.
    fn take(&self) -> Option<String> {
        let mut state = self.lock();
        state.waiting += 1;
        while state.failed.is_none() {
            if let Some(name) = state.names.pop() {
                state.waiting -= 1;
                return Some(name);
            }
            // Those that have left since were waiting too.
            if state.waiting >= state.threads {
                break;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.changed.notify_all();
        None
    }
}

impl<T, E> Walk<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use super::*;

    /// Names with what lies below them, of which some cannot be looked at.
    #[derive(Default)]
    struct Tree {
        children: BTreeMap<String, Vec<String>>,
        gone: HashSet<String>,
        broken: HashSet<String>,
        /// Who has looked at something; each waits there once for the others.
        looked: Mutex<HashSet<ThreadId>>,
        meeting: Option<Barrier>,
    }

    impl Tree {
        fn add(&mut self, parent: &str, count: usize) -> Vec<String> {
            let names: Vec<String> = (0..count).map(|n| format!("{parent}/{n:03}")).collect();
            for name in &names {
                self.children.insert(name.clone(), Vec::new());
            }
            self.children.insert(parent.to_owned(), names.clone());
            names
        }

        fn walked(&self, threads: usize) -> Result<Option<Vec<String>>, String> {
            let enter = |walk: &Walk<String, String>| walk.go_on(&self);
            Walk::run(&self, ("pool", true), threads, enter)
        }
    }

    impl Ground for &Tree {
        type Node = String;
        type Found = String;
        type Error = String;

        fn open(&self, name: &str) -> Result<Option<String>, String> {
            Ok(self.children.contains_key(name).then(|| name.to_owned()))
        }

        fn name(&self, node: &String) -> String {
            node.clone()
        }

        fn look(&self, node: &String) -> Result<Option<String>, String> {
            let is_leaf = self.children[node].is_empty();
            let first = is_leaf && self.looked.lock().unwrap().insert(thread::current().id());
            if let (true, Some(meeting)) = (first, &self.meeting) {
                meeting.wait();
            }
            match self.broken.contains(node) {
                true => Err(node.clone()),
                false => Ok(Some(node.clone()).filter(|_| !self.gone.contains(node))),
            }
        }

        fn children(&self, node: &String) -> Result<Vec<String>, String> {
            Ok(self.children[node].clone())
        }
    }

    fn wide_and_deep() -> Tree {
        let mut tree = Tree::default();
        for name in tree.add("pool", 40) {
            // `pool/001 x` stands before `pool/001/…` if compared as a text.
            for below in tree.add(&name, 3) {
                tree.add(&below, 2);
            }
        }
        let beside = "pool/001 x".to_owned();
        tree.children.insert(beside.clone(), Vec::new());
        tree.children.get_mut("pool").unwrap().insert(2, beside);
        tree
    }

    fn in_order(tree: &Tree, name: &str, all: &mut Vec<String>) {
        all.push(name.to_owned());
        for child in &tree.children[name] {
            in_order(tree, child, all);
        }
    }

    #[test]
    fn any_number_of_threads_finds_the_same_in_the_same_order() {
        let tree = wide_and_deep();
        let mut expected = Vec::new();
        in_order(&tree, "pool", &mut expected);
        assert_eq!(expected.len(), 1 + 1 + 40 * 10);
        for threads in 1..6 {
            assert_eq!(tree.walked(threads).unwrap().unwrap(), expected);
        }
    }

    #[test]
    fn all_threads_look_at_the_same_time() {
        let mut tree = Tree::default();
        tree.add("pool", 40);
        tree.meeting = Some(Barrier::new(4));
        assert_eq!(tree.walked(4).unwrap().unwrap().len(), 41);
        assert_eq!(tree.looked.lock().unwrap().len(), 4);
    }

    #[test]
    fn few_datasets_are_left_to_one_thread() {
        let mut tree = Tree::default();
        tree.add("pool", PENDING_MIN - 1);
        tree.walked(4).unwrap();
        assert_eq!(tree.looked.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_thread_that_cannot_take_part_is_done_without() {
        let tree = wide_and_deep();
        let ground = &tree;
        let found = Walk::run(&ground, ("pool", true), 4, |_| {});
        assert_eq!(found.unwrap().unwrap().len(), 402);
    }

    #[test]
    fn what_is_gone_is_left_out_with_what_was_below() {
        let mut tree = wide_and_deep();
        tree.gone.insert("pool/007".to_owned());
        for threads in [1, 3] {
            let found = tree.walked(threads).unwrap().unwrap();
            assert_eq!(found.len(), 402 - 10);
            assert!(!found.iter().any(|name| name.starts_with("pool/007")));
        }
        let nothing = Tree::default();
        assert_eq!(nothing.walked(2), Ok(None));
    }

    #[test]
    fn what_fails_in_any_thread_fails_the_walk() {
        for broken in ["pool", "pool/000", "pool/031/002/001"] {
            let mut tree = wide_and_deep();
            tree.broken.insert(broken.to_owned());
            for threads in [1, 4] {
                assert_eq!(tree.walked(threads), Err(broken.to_owned()));
            }
        }
    }

    #[test]
    fn without_depth_nothing_below_is_looked_at() {
        let tree = wide_and_deep();
        let found = Walk::run(&&tree, ("pool/003", false), 4, |_| {});
        assert_eq!(found.unwrap().unwrap(), ["pool/003"]);
    }
}
