//! What people and their programs do to a node, on its pool and in memory.

use engine::zfs::Zfs;

use super::{CHANGE_BYTES_MIN, CONTENT_BYTES, SNAPSHOTS_MAX, VOLUMES_MAX, Volume, World};

impl World<'_> {
    pub(super) fn write(&mut self, node: usize) {
        // A copy is written to now and then; who writes most is the source.
        let Some(volume) = self.any_volume(node) else {
            return;
        };
        let mut state = self.fresh_state();
        // The volume keeps the size it was made with, which is more.
        let length = CHANGE_BYTES_MIN + self.random.below(CONTENT_BYTES - CHANGE_BYTES_MIN);
        state.content.truncate(length);
        self.nodes.put(node, &volume, &state.content);
        self.volume(node, &volume).head = state;
    }

    pub(super) fn add_volume(&mut self, node: usize) {
        let count = self.volumes[node].len();
        // Before the first run the other node has no tree, and must not get one.
        let first = self.counter == 0;
        if count >= VOLUMES_MAX || (count == 0 && !first) {
            return;
        }
        let name = format!("v{}", self.fresh());
        let head = self.fresh_state();
        self.nodes.put(node, &name, &head.content);
        let volume = Volume {
            head,
            snapshots: Vec::new(),
            marked: false,
        };
        self.volumes[node].insert(name, volume);
    }

    /// On both nodes, as after a decision; one alone would come back.
    pub(super) fn destroy_volume(&mut self, node: usize) {
        if self.volumes[node].len() < 2 {
            return;
        }
        let Some(volume) = self.any_volume(node) else {
            return;
        };
        for node in [0, 1] {
            let Some(gone) = self.volumes[node].remove(&volume) else {
                continue;
            };
            let names: Vec<_> = gone
                .snapshots
                .iter()
                .map(|(short, _)| self.nodes.snapshot(node, &volume, short))
                .collect();
            self.nodes.zfs(node).destroy_snapshots(&names).unwrap();
            self.nodes.destroy(node, &volume);
        }
    }

    /// Snapshots of some volumes at once.
    pub(super) fn take(&mut self, node: usize) {
        let short = format!("u{}", self.fresh());
        let mut names = Vec::new();
        for (volume, model) in &mut self.volumes[node] {
            if self.random.below(2) == 0 && model.own().len() < SNAPSHOTS_MAX {
                names.push(self.nodes.snapshot(node, volume, &short));
                model.snapshots.push((short.clone(), model.head.clone()));
            }
        }
        self.nodes.zfs(node).snapshot(&names).unwrap();
    }

    fn any_own(&mut self, node: usize) -> Option<(String, String)> {
        let volume = self.any_volume(node)?;
        let own = self.volumes[node][&volume].own();
        let short = self.random.pick(&own)?.clone();
        Some((volume, short))
    }

    pub(super) fn drop_own(&mut self, node: usize) {
        let Some((volume, short)) = self.any_own(node) else {
            return;
        };
        let name = self.nodes.snapshot(node, &volume, &short);
        self.nodes.zfs(node).destroy_snapshots(&[name]).unwrap();
        self.volume(node, &volume).remove(&short);
    }

    pub(super) fn rename_own(&mut self, node: usize) {
        let Some((volume, short)) = self.any_own(node) else {
            return;
        };
        let new = format!("u{}", self.fresh());
        let (from, to) = (
            self.nodes.snapshot(node, &volume, &short),
            self.nodes.snapshot(node, &volume, &new),
        );
        let zfs = self.nodes.zfs(node);
        zfs.rename_snapshot(&from, &to.short, engine::zfs::Scope::One)
            .unwrap();
        let model = self.volume(node, &volume);
        for (name, _) in &mut model.snapshots {
            if *name == short {
                name.clone_from(&new);
            }
        }
    }

    /// What an operator does about a copy that was changed.
    pub(super) fn roll_back(&mut self, node: usize) {
        let mut left = Vec::new();
        if std::mem::take(&mut self.left[node]) {
            left.push(self.nodes.root_snapshot(node, "tosend"));
        }
        for (volume, model) in &mut self.volumes[node] {
            if model.find("tosend").is_some() {
                left.push(self.nodes.snapshot(node, volume, "tosend"));
                model.remove("tosend");
            }
        }
        self.nodes.zfs(node).destroy_snapshots(&left).unwrap();
        for (volume, model) in &mut self.volumes[node] {
            // What was taken since, which holds the change.
            let sent = model.find("sent").map(|sent| sent.number);
            let Some(sent) = sent else { continue };
            while let Some((short, state)) = model.snapshots.last() {
                if state.number == sent {
                    break;
                }
                let name = self.nodes.snapshot(node, volume, short);
                self.nodes.zfs(node).destroy_snapshots(&[name]).unwrap();
                model.snapshots.pop();
            }
            let (short, state) = model.snapshots.last().expect("sent is among them");
            let to = self.nodes.snapshot(node, volume, short);
            self.nodes.zfs(node).rollback(&to).unwrap();
            model.head = state.clone();
        }
    }

    /// Somebody destroys the source's `@sent`. Its bookmark takes its place.
    pub(super) fn lose_sent(&mut self, node: usize) {
        let Some(volume) = self.any_volume(node) else {
            return;
        };
        let model = self.volume(node, &volume);
        if !model.marked || model.find("sent").is_none() {
            return;
        }
        model.remove("sent");
        let name = self.nodes.snapshot(node, &volume, "sent");
        self.nodes.zfs(node).destroy_snapshots(&[name]).unwrap();
    }
}
