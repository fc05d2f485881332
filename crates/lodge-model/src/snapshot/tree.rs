//! The tree of a domain's snapshots: who came from whom, and which is the current one.
//!
//! ```text
//!  s1 ─┬─ s2 ── s4 (current)
//!      └─ s3
//! ```
//!
//! Names are unique; a parent that is not there makes a root; there are no circles, since nothing lets one in.
//! Deliberately absent: files, and what reverting or deleting does to disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DomainSnapshot, SnapshotFault, SnapshotSort, SnapshotState};

/// All snapshots of one domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotTree {
    by_name: BTreeMap<String, Arc<DomainSnapshot>>,
    current: Option<String>,
}

/// Which snapshots are wanted. None of a group means all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// From the top: only those without a parent. From a snapshot: all below it instead of its children.
    pub roots: bool,
    /// Without children.
    pub leaves: bool,
    /// With children.
    pub no_leaves: bool,
    /// Of a guest that was off.
    pub inactive: bool,
    /// Of a guest that was on.
    pub active: bool,
    /// Of the disks of a guest that was on.
    pub disk_only: bool,
    /// Wholly inside the disks' images.
    pub internal: bool,
    /// With files of its own.
    pub external: bool,
    /// Parents before their children.
    pub topological: bool,
}

impl SnapshotTree {
    /// The tree of what was read, with what is odd about it.
    pub fn of(read: impl IntoIterator<Item = (DomainSnapshot, bool)>) -> (Self, Vec<String>) {
        let (mut tree, mut odd) = (Self::default(), Vec::new());
        for (snapshot, is_current) in read {
            let name = snapshot.name().to_owned();
            if is_current {
                if let Some(other) = &tree.current {
                    odd.push(format!("`{other}` and `{name}` both claim to be the current one"));
                } else {
                    tree.current = Some(name.clone());
                }
            }
            tree.by_name.insert(name, Arc::new(snapshot));
        }
        let lost: Vec<_> = tree.names().filter(|name| tree.is_lost(name)).map(str::to_owned).collect();
        for name in lost {
            odd.push(format!("the parents of `{name}` make a circle or are not there"));
            if let Some(snapshot) = tree.by_name.get_mut(&name) {
                Arc::make_mut(snapshot).set_parent(None);
            }
        }
        (tree, odd)
    }

    /// Its parent is not there, or it stands above itself.
    fn is_lost(&self, name: &str) -> bool {
        let parent_of = |name: &str| self.by_name.get(name).and_then(|snapshot| snapshot.parent());
        let Some(mut above) = parent_of(name) else { return false };
        if !self.by_name.contains_key(above) {
            return true;
        }
        for _ in 0..self.by_name.len() {
            if above == name {
                return true;
            }
            let Some(next) = parent_of(above) else { return false };
            above = next;
        }
        false
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// All snapshots, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<DomainSnapshot>> {
        self.by_name.values()
    }

    /// One by name.
    pub fn get(&self, name: &str) -> Option<&Arc<DomainSnapshot>> {
        self.by_name.get(name)
    }

    /// The current one.
    pub fn current(&self) -> Option<&Arc<DomainSnapshot>> {
        self.by_name.get(self.current.as_deref()?)
    }

    /// Whether `name` is the current one.
    pub fn is_current(&self, name: &str) -> bool {
        self.current.as_deref() == Some(name)
    }

    /// Makes another one the current one, or none.
    pub fn set_current(&mut self, name: Option<&str>) {
        self.current = name.filter(|name| self.by_name.contains_key(*name)).map(str::to_owned);
    }

    /// The parent of a snapshot, if it has one.
    pub fn parent(&self, name: &str) -> Option<&Arc<DomainSnapshot>> {
        self.by_name.get(self.by_name.get(name)?.parent()?)
    }

    /// Those whose parent is `name`; none: the roots.
    pub fn children(&self, name: Option<&str>) -> Vec<&Arc<DomainSnapshot>> {
        self.by_name.values().filter(|snapshot| snapshot.parent() == name).collect()
    }

    /// All below `name` (none: all), parents before their children.
    pub fn descendants(&self, name: Option<&str>) -> Vec<&Arc<DomainSnapshot>> {
        let mut found = self.children(name);
        let mut at = 0;
        while at < found.len() {
            found.extend(self.children(Some(found[at].name())));
            at += 1;
        }
        found
    }

    /// Whether `above` is on the way up from `name`.
    pub fn is_ancestor(&self, above: &str, name: &str) -> bool {
        std::iter::successors(self.parent(name), |snapshot| self.parent(snapshot.name()))
            .any(|snapshot| snapshot.name() == above)
    }

    /// Whether a snapshot can be put in with the parent it names.
    pub fn check_parent(&self, snapshot: &DomainSnapshot) -> Result<(), SnapshotFault> {
        let (name, Some(parent)) = (snapshot.name(), snapshot.parent()) else { return Ok(()) };
        let refuse = |text: String| Err(SnapshotFault::new(SnapshotSort::InvalidArg, text));
        if name == parent {
            return refuse(format!("cannot set moment {name} as its own parent"));
        }
        if !self.by_name.contains_key(parent) {
            return refuse(format!("parent {parent} for moment {name} not found"));
        }
        if self.is_ancestor(name, parent) {
            return refuse(format!("parent {parent} would create cycle to {name}"));
        }
        Ok(())
    }

    /// Puts a snapshot in, or in the place of the one with its name.
    pub fn insert(&mut self, snapshot: DomainSnapshot) {
        self.by_name.insert(snapshot.name().to_owned(), Arc::new(snapshot));
    }

    /// Takes a snapshot out; its children become its parent's. If it was the current one, its parent is.
    /// Says whose file is another now.
    pub fn remove(&mut self, name: &str) -> Vec<String> {
        let Some(gone) = self.by_name.remove(name) else { return Vec::new() };
        let mut changed = Vec::new();
        for (child, snapshot) in &mut self.by_name {
            if snapshot.parent() == Some(name) {
                Arc::make_mut(snapshot).set_parent(gone.parent());
                changed.push(child.clone());
            }
        }
        if self.is_current(name) {
            self.set_current(gone.parent());
            changed.extend(self.current.clone().filter(|current| !changed.contains(current)));
        }
        changed
    }

    /// The names that `filter` wants, from the top or from a snapshot.
    pub fn select(&self, from: Option<&str>, filter: SnapshotFilter) -> Vec<String> {
        let below = if from.is_some() == filter.roots { self.descendants(from) } else { self.children(from) };
        let mut names: Vec<String> = below
            .into_iter()
            .filter(|snapshot| self.passes(snapshot, filter))
            .map(|snapshot| snapshot.name().to_owned())
            .collect();
        if !filter.topological {
            names.sort();
        }
        names
    }

    fn passes(&self, snapshot: &DomainSnapshot, filter: SnapshotFilter) -> bool {
        let is_leaf = self.children(Some(snapshot.name())).is_empty();
        let state = snapshot.state();
        let (off, disks) = (state == SnapshotState::Shutoff, state == SnapshotState::DiskSnapshot);
        let states = [(filter.inactive, off), (filter.disk_only, disks), (filter.active, !off && !disks)];
        let places = [(filter.internal, !snapshot.is_external()), (filter.external, snapshot.is_external())];
        let ends = [(filter.leaves, is_leaf), (filter.no_leaves, !is_leaf)];
        [states.as_slice(), &places, &ends].into_iter().all(|group| {
            group.iter().all(|(wanted, _)| !wanted) || group.iter().any(|(wanted, is)| *wanted && *is)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, parent: Option<&str>) -> DomainSnapshot {
        let mut snapshot = DomainSnapshot { name: Some(name.to_owned()), ..DomainSnapshot::default() };
        snapshot.set_parent(parent);
        snapshot.state = Some(SnapshotState::Shutoff);
        snapshot
    }

    fn tree() -> SnapshotTree {
        let all = [("s1", None), ("s2", Some("s1")), ("s3", Some("s1")), ("a4", Some("s2"))];
        let read = all.map(|(name, parent)| (snapshot(name, parent), name == "a4"));
        let (tree, odd) = SnapshotTree::of(read);
        assert!(odd.is_empty(), "{odd:?}");
        tree
    }

    #[test]
    fn lists_are_by_name_or_from_the_root_on() {
        let tree = tree();
        let all = SnapshotFilter::default();
        let select = |from, filter| tree.select(from, filter).join(" ");
        assert_eq!(select(None, all), "a4 s1 s2 s3");
        assert_eq!(select(None, SnapshotFilter { topological: true, ..all }), "s1 s2 s3 a4");
        assert_eq!(select(None, SnapshotFilter { roots: true, ..all }), "s1");
        assert_eq!(select(Some("s1"), all), "s2 s3");
        assert_eq!(select(Some("s1"), SnapshotFilter { roots: true, ..all }), "a4 s2 s3");
        assert_eq!(select(None, SnapshotFilter { leaves: true, ..all }), "a4 s3");
        assert_eq!(select(None, SnapshotFilter { no_leaves: true, ..all }), "s1 s2");
        assert_eq!(select(None, SnapshotFilter { leaves: true, no_leaves: true, ..all }), "a4 s1 s2 s3");
        assert_eq!(select(None, SnapshotFilter { active: true, ..all }), "");
        assert_eq!(select(None, SnapshotFilter { external: true, ..all }), "");
    }

    #[test]
    fn what_is_taken_out_leaves_its_children_to_its_parent() {
        let mut tree = tree();
        assert_eq!(tree.remove("s2"), ["a4"]);
        assert_eq!(tree.parent("a4").unwrap().name(), "s1");
        assert!(tree.is_current("a4"));
        assert_eq!(tree.remove("a4"), ["s1"]);
        assert!(tree.is_current("s1"));
        assert_eq!(tree.remove("s1"), ["s3"]);
        assert!(tree.current().is_none());
        assert!(tree.parent("s3").is_none());
    }

    #[test]
    fn no_circle_is_let_in() {
        let tree = tree();
        let refused =
            |name, parent| tree.check_parent(&snapshot(name, Some(parent))).unwrap_err().to_string();
        assert_eq!(refused("s1", "a4"), "parent a4 would create cycle to s1");
        assert_eq!(refused("s1", "s1"), "cannot set moment s1 as its own parent");
        assert_eq!(refused("s9", "s8"), "parent s8 for moment s9 not found");
        let circle = [("a", Some("b")), ("b", Some("a")), ("c", Some("a")), ("d", Some("gone"))];
        let (tree, odd) = SnapshotTree::of(circle.map(|(name, parent)| (snapshot(name, parent), true)));
        assert!(odd.len() >= 3, "{odd:?}");
        assert_eq!(tree.descendants(None).len(), 4, "each can be reached: {tree:?}");
    }
}
