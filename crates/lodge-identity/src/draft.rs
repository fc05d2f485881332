//! A plan in the making: files as they will be, and what is said of each change.
//!
//! Several items may change one file; each sees what the others made of it. In the end a file is written once, and
//! only where it is not as it was.

use std::collections::{BTreeMap, BTreeSet};

use lodge_model::guest_disk::{DeviceEdit, Edit, FileEdit, FileNode, FilePath, Files, Owner, Pattern};

use super::{Change, Flagged, Item, Kept, Kind, Plan, seen};

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Bytes(Vec<u8>, Option<Owner>),
    Link(Vec<u8>),
    /// None: root's. `is_anew`: what was there goes before.
    Directory {
        owner: Option<Owner>,
        is_anew: bool,
    },
    Gone,
}

/// Why a text cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoText {
    #[error("there is no such file")]
    Missing,
    #[error("it is not a plain file")]
    NotAFile,
    #[error("it is longer than what was read of it")]
    Cut,
    #[error("it is not text in UTF-8")]
    NotText,
}

/// What new files and directories are where nothing is said.
const ROOTS_FILE: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };
const ROOTS_DIRECTORY: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    File(Owner),
    Directory(Owner),
    Link(Vec<u8>),
    Other,
}

/// A plan in the making.
pub(crate) struct Draft<'a> {
    files: &'a Files,
    fates: BTreeMap<FilePath, Fate>,
    /// What is there and gets another owner.
    owned: BTreeMap<FilePath, Owner>,
    obstructed: BTreeSet<FilePath>,
    /// Files that get more bytes at their ends, with how long they are.
    appended: BTreeMap<FilePath, (u64, Vec<u8>)>,
    devices: Vec<DeviceEdit>,
    changes: Vec<Change>,
    kept: Vec<Kept>,
    flagged: Vec<Flagged>,
    /// What was asked for beside an identity.
    pub(crate) customized: Vec<Change>,
    /// Places of private keys that the policy refuses.
    pub(crate) refused: Vec<String>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(files: &'a Files) -> Self {
        Self {
            files,
            fates: BTreeMap::new(),
            owned: BTreeMap::new(),
            obstructed: BTreeSet::new(),
            appended: BTreeMap::new(),
            devices: Vec::new(),
            changes: Vec::new(),
            kept: Vec::new(),
            flagged: Vec::new(),
            customized: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Whether there is something at a path, as far as the plan goes.
    pub(crate) fn has(&self, path: &FilePath) -> bool {
        match self.fates.get(path) {
            Some(Fate::Gone) => false,
            Some(_) => true,
            None => self.files.nodes.contains_key(path) && !self.is_under_gone(path),
        }
    }

    /// A file's text as the plan has it, links in its last part followed. Only what may be written back.
    pub(crate) fn text(&self, path: &FilePath) -> Result<String, NoText> {
        String::from_utf8(self.bytes(path)?).map_err(|_| NoText::NotText)
    }

    /// The same of any bytes.
    pub(crate) fn bytes(&self, path: &FilePath) -> Result<Vec<u8>, NoText> {
        let path = seen::settle(self.files, path);
        let bytes = match (self.fates.get(&path), self.files.nodes.get(&path)) {
            (Some(Fate::Bytes(bytes, _)), _) => bytes,
            (Some(Fate::Gone), _) | (None, None) => return Err(NoText::Missing),
            (Some(Fate::Link(_) | Fate::Directory { .. }), _)
            | (None, Some(FileNode::Link(_) | FileNode::Directory(_) | FileNode::Other)) => {
                return Err(NoText::NotAFile);
            }
            (None, Some(FileNode::File { bytes, size, .. })) => {
                if (bytes.len() as u64) < *size {
                    return Err(NoText::Cut);
                }
                if self.is_under_gone(&path) {
                    return Err(NoText::Missing);
                }
                bytes
            }
        };
        Ok(bytes.clone())
    }

    /// What is at exactly this path, as the plan has it.
    pub(crate) fn there(&self, path: &FilePath) -> There {
        let given = self.owned.get(path).copied();
        let node = self.files.nodes.get(path);
        match self.fates.get(path) {
            Some(Fate::Bytes(_, owner)) => {
                let kept = match node {
                    Some(FileNode::File { owner, .. }) => *owner,
                    _ => ROOTS_FILE,
                };
                There::File(given.or(*owner).unwrap_or(kept))
            }
            Some(Fate::Link(to)) => There::Link(to.clone()),
            Some(Fate::Directory { owner, .. }) => There::Directory(owner.unwrap_or(ROOTS_DIRECTORY)),
            // Whatever lies in a directory that is not there makes it, root's.
            Some(Fate::Gone) | None if self.is_on_the_way(path) => There::Directory(ROOTS_DIRECTORY),
            Some(Fate::Gone) => There::Nothing,
            None => match node.filter(|_| !self.is_under_gone(path)) {
                None => There::Nothing,
                Some(FileNode::File { owner, .. }) => There::File(given.unwrap_or(*owner)),
                Some(FileNode::Directory(owner)) => There::Directory(given.unwrap_or(*owner)),
                Some(FileNode::Link(to)) => There::Link(to.clone()),
                Some(FileNode::Other) => There::Other,
            },
        }
    }

    /// Whether something is put below a path where no directory is.
    fn is_on_the_way(&self, path: &FilePath) -> bool {
        let is_there = self.files.nodes.contains_key(path) && !self.is_gone(path);
        let mut below =
            self.fates.range(path.clone()..).take_while(|(at, _)| at.as_bytes().starts_with(path.as_bytes()));
        !is_there && below.any(|(at, fate)| at != path && at.is_within(path) && *fate != Fate::Gone)
    }

    /// Other bytes at exactly this path, and this owner whoever had the file. False where something stands there that is no
    /// file.
    pub(crate) fn put(&mut self, path: FilePath, bytes: Vec<u8>, owner: Option<Owner>) -> bool {
        if self.is_obstructed(&path) || matches!(self.there(&path), There::Directory(_) | There::Other) {
            return false;
        }
        let owner = owner.or_else(|| self.owned.get(&path).copied());
        self.owned.remove(&path);
        self.fates.insert(path, Fate::Bytes(bytes, owner));
        true
    }

    /// A directory, where there is none.
    pub(crate) fn directory(&mut self, path: FilePath, owner: Option<Owner>) {
        if !matches!(self.there(&path), There::Directory(_)) {
            let is_anew = self.fates.get(&path) == Some(&Fate::Gone);
            self.fates.insert(path, Fate::Directory { owner, is_anew });
        }
    }

    /// Another owner of a file or a directory that is there, or will be.
    pub(crate) fn give(&mut self, path: FilePath, owner: Owner) {
        match self.fates.get_mut(&path) {
            Some(Fate::Bytes(_, now) | Fate::Directory { owner: now, .. }) => *now = Some(owner),
            Some(Fate::Link(_) | Fate::Gone) => {}
            None => drop(self.owned.insert(path, owner)),
        }
    }

    /// Everything that one of these patterns fits, as the plan has it: renamed files under their new names.
    pub(crate) fn matching_any(&self, patterns: &[&str]) -> BTreeSet<FilePath> {
        let mut all = BTreeSet::new();
        for pattern in patterns.iter().filter_map(|text| Pattern::new(text).ok()) {
            let seen = seen::matching(self.files, &pattern).map(|(path, _)| path);
            let planned = self.fates.keys().filter(|path| pattern.matches(path));
            all.extend(seen.chain(planned).filter(|path| self.has(path)).cloned());
        }
        all
    }

    /// Whether there was a link at exactly this path.
    pub(crate) fn is_link(&self, path: &FilePath) -> bool {
        matches!(self.files.nodes.get(path), Some(FileNode::Link(_)))
    }

    /// How long a file is, at most a mebibyte of it.
    pub(crate) fn size(&self, path: &FilePath) -> usize {
        match self.files.nodes.get(path) {
            Some(FileNode::File { size, .. }) => usize::try_from((*size).min(1 << 20)).unwrap_or_default(),
            _ => 0,
        }
    }

    /// Another text at a path, where the links in its last part lead. Its owner stays.
    pub(crate) fn set_text(&mut self, path: &FilePath, text: String) {
        let path = seen::settle(self.files, path);
        self.write(path, text.into_bytes(), None);
    }

    /// Other bytes at exactly this path. False where something stands there that is no file.
    pub(crate) fn write(&mut self, path: FilePath, bytes: Vec<u8>, owner: Option<Owner>) -> bool {
        if self.is_obstructed(&path) {
            return false;
        }
        // A plain file keeps its owner, whatever is said of new ones.
        let owner = match self.files.nodes.get(&path) {
            Some(FileNode::File { .. }) => None,
            _ => owner,
        };
        self.fates.insert(path, Fate::Bytes(bytes, owner));
        true
    }

    pub(crate) fn link(&mut self, path: FilePath, to: &str) {
        if self.is_obstructed(&path) {
            return;
        }
        self.fates.insert(path, Fate::Link(to.as_bytes().to_vec()));
    }

    pub(crate) fn remove(&mut self, path: FilePath) {
        self.fates.insert(path, Fate::Gone);
    }

    /// More bytes at the end of a file that is so long.
    pub(crate) fn append(&mut self, path: FilePath, at: u64, bytes: Vec<u8>) {
        self.appended.insert(path, (at, bytes));
    }

    /// The values of a kind that become others.
    pub(crate) fn changed(&self, kind: &Kind) -> Vec<(String, String)> {
        let changes = self.changes.iter().filter(|change| change.kind == *kind);
        changes.filter_map(|change| change.old.clone().zip(change.new.clone())).collect()
    }

    pub(crate) fn device(&mut self, edit: DeviceEdit) {
        self.devices.push(edit);
    }

    /// Notes that an item gets another value, or none.
    pub(crate) fn change(
        &mut self,
        kind: &Kind,
        place: impl Into<String>,
        old: Option<&str>,
        new: Option<&str>,
        reason: &str,
    ) {
        self.changes.push(Change {
            kind: kind.clone(),
            place: place.into(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            reason: reason.to_owned(),
        });
    }

    /// Takes back what was said to go from a path, which is to be something now. Refused, with its kind, where an item is to
    /// have a value of its own there.
    pub(crate) fn overrule(&mut self, path: &FilePath) -> Result<(), Kind> {
        let is_here = |change: &Change| path_of(&change.place).is_some_and(|place| path.is_within(&place));
        if let Some(change) = self.changes.iter().find(|change| is_here(change) && change.new.is_some()) {
            return Err(change.kind.clone());
        }
        self.changes.retain(|change| !is_here(change));
        Ok(())
    }

    /// Notes that an item stays as it is.
    pub(crate) fn keep(&mut self, item: &Item, reason: impl Into<String>) {
        self.kept.push(Kept {
            kind: item.kind.clone(),
            place: item.place.clone(),
            value: item.value.clone(),
            reason: reason.into(),
        });
    }

    /// Notes what somebody should look at.
    pub(crate) fn flag(&mut self, kind: &Kind, place: impl Into<String>, why: impl Into<String>) {
        let flagged = Flagged { kind: kind.clone(), place: place.into(), why: why.into() };
        if !self.flagged.contains(&flagged) {
            self.flagged.push(flagged);
        }
    }

    /// Whether the plan takes away what is at a path.
    pub(crate) fn is_gone(&self, path: &FilePath) -> bool {
        self.fates.get(path) == Some(&Fate::Gone) || self.is_under_gone(path)
    }

    fn is_under_gone(&self, path: &FilePath) -> bool {
        self.gone_above(path).is_some()
    }

    fn gone_above(&self, path: &FilePath) -> Option<&FilePath> {
        self.fates
            .range(..path.clone())
            .rev()
            .find(|(above, fate)| {
                matches!(fate, Fate::Gone | Fate::Directory { is_anew: true, .. }) && path.is_within(above)
            })
            .map(|(above, _)| above)
    }

    /// Whether a directory or a device stands where a file should: nothing is put there, and nothing said to be.
    fn is_obstructed(&mut self, path: &FilePath) -> bool {
        let is = matches!(self.files.nodes.get(path), Some(FileNode::Directory(_) | FileNode::Other))
            && !self.is_gone(path);
        if is {
            self.obstructed.insert(path.clone());
        }
        is
    }

    fn flag_obstructed(&mut self) {
        let (bad, good) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| path_of(&change.place).is_some_and(|path| self.obstructed.contains(&path)));
        self.changes = good;
        let bad: Vec<Change> = bad;
        for change in bad {
            self.flag(&change.kind, change.place, "it was not changed: it is neither a file nor a link");
        }
    }

    /// What one item wrote into a file that another took away is not there.
    fn forget_gone_values(&mut self) {
        let gone: Vec<bool> = self
            .changes
            .iter()
            .map(|change| path_of(&change.place).is_some_and(|path| self.is_gone(&path)))
            .collect();
        for (change, is_gone) in self.changes.iter_mut().zip(gone) {
            if is_gone {
                change.new = None;
            }
        }
    }

    /// The plan: file edits in the order of their paths, a directory's before what is in it; then devices.
    pub(crate) fn finish(mut self) -> Plan {
        self.forget_gone_values();
        self.flag_obstructed();
        // What one rule keeps and another takes away with its directory is not there to be looked at.
        let flagged = std::mem::take(&mut self.flagged);
        let is_gone = |flag: &Flagged| path_of(&flag.place).is_some_and(|path| self.is_gone(&path));
        self.flagged = flagged.into_iter().filter(|flag| !is_gone(flag)).collect();
        let mut edits = Vec::new();
        for (path, fate) in &self.fates {
            if matches!(fate, Fate::Gone) && self.is_under_gone(path) {
                continue;
            }
            let was = self.files.nodes.get(path).filter(|_| !self.is_under_gone(path));
            let edit = match (fate, was) {
                (Fate::Gone, None) => continue,
                (Fate::Gone, Some(_)) => FileEdit::Remove(path.clone()),
                (Fate::Link(to), Some(FileNode::Link(was))) if to == was => continue,
                (Fate::Link(to), _) => FileEdit::Link { path: path.clone(), to: to.clone() },
                (Fate::Directory { owner, is_anew }, was) => {
                    match was {
                        Some(_) if *is_anew => edits.push(Edit::File(FileEdit::Remove(path.clone()))),
                        Some(FileNode::Directory(_)) => continue,
                        _ => {}
                    }
                    FileEdit::Directory { path: path.clone(), owner: *owner }
                }
                (Fate::Bytes(bytes, owner), Some(FileNode::File { bytes: was, size, owner: whose }))
                    if bytes == was
                        && *size == bytes.len() as u64
                        && owner.is_none_or(|owner| owner == *whose) =>
                {
                    continue;
                }
                (Fate::Bytes(bytes, owner), _) => {
                    FileEdit::Write { path: path.clone(), bytes: bytes.clone(), owner: *owner }
                }
            };
            edits.push(Edit::File(edit));
        }
        for (path, owner) in &self.owned {
            let is_there = matches!(self.there(path), There::File(_) | There::Directory(_));
            if is_there && !self.fates.contains_key(path) {
                edits.push(Edit::File(FileEdit::Own { path: path.clone(), owner: *owner }));
            }
        }
        for (path, (at, bytes)) in std::mem::take(&mut self.appended) {
            edits.push(Edit::File(FileEdit::Append { path, at, bytes }));
        }
        edits.extend(self.devices.into_iter().map(Edit::Device));
        Plan {
            edits,
            changes: self.changes,
            kept: self.kept,
            flagged: self.flagged,
            asking_dhcp: Vec::new(),
            customized: self.customized,
        }
    }
}

/// The path that a place is at.
fn path_of(place: &str) -> Option<FilePath> {
    FilePath::new(place.split(": ").next()?).ok()
}
