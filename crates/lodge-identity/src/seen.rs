//! What was read of a guest, asked the catalogue's way: with gaps honoured and links told apart.

use std::collections::BTreeMap;

use lodge_model::guest_disk::{Device, FileNode, FilePath, Files, Layout, Pattern};
use ring::digest;

use super::{HostFacts, State, System, text};

/// The documents of one guest.
pub(crate) struct Seen<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) files: &'a Files,
    pub(crate) host: &'a HostFacts,
    pub(crate) system: System,
    /// Below these places nothing can be said to be missing, and why.
    blind: BTreeMap<FilePath, String>,
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sight<'a> {
    /// A file; `is_whole` tells whether these are all its bytes.
    File { bytes: &'a [u8], is_whole: bool },
    /// A link, to here.
    Link(&'a [u8]),
    /// A directory, a device or the like.
    Thing,
    /// Nothing.
    Missing,
    /// Nobody could look.
    Unknown(&'a str),
}

impl<'a> Seen<'a> {
    pub(crate) fn new(layout: &'a Layout, files: &'a Files, host: &'a HostFacts) -> Self {
        let system = System::of(files);
        let mut blind = BTreeMap::new();
        for gap in &files.gaps {
            for place in places_of(layout, &gap.place, system.family.is_some()) {
                blind.entry(place).or_insert_with(|| gap.why.clone());
            }
        }
        Self { layout, files, host, system, blind }
    }

    /// Why nothing can be said of what is not seen at this path. None: it can.
    pub(crate) fn blind_at(&self, path: &FilePath) -> Option<&str> {
        self.blind.iter().find(|(place, _)| path.is_within(place)).map(|(_, why)| why.as_str())
    }

    /// Why nothing can be said of some path that a pattern fits. None: it can.
    pub(crate) fn blind_for(&self, pattern: &Pattern) -> Option<&str> {
        let fixed = fixed_part(pattern);
        let above = FilePath::new(fixed.as_str()).ok();
        let is_touched = |place: &FilePath| {
            above.as_ref().is_some_and(|above| above.is_within(place) || place.is_within(above))
        };
        self.blind.iter().find(|(place, _)| is_touched(place)).map(|(_, why)| why.as_str())
    }

    pub(crate) fn sight(&self, path: &str) -> Sight<'_> {
        let Ok(path) = FilePath::new(path) else { return Sight::Missing };
        self.sight_at(&path)
    }

    pub(crate) fn sight_at(&self, path: &FilePath) -> Sight<'_> {
        match self.files.nodes.get(path) {
            Some(node) => of_node(node),
            None => self.blind_at(path).map_or(Sight::Missing, Sight::Unknown),
        }
    }

    /// The text of a file, through one link of the guest's.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let path = self.settle(&FilePath::new(path).ok()?);
        self.files.text(path.as_str()?)
    }

    /// Where a path ends when the links in its last part are followed as far as they are seen: a link to what was
    /// not asked for stays.
    pub(crate) fn settle(&self, path: &FilePath) -> FilePath {
        settle(self.files, path)
    }

    /// The state of a path as such, and why where it is unknown.
    pub(crate) fn state(&self, path: &str) -> (State, Option<&str>) {
        match self.sight(path) {
            Sight::File { bytes, .. } if bytes.iter().all(u8::is_ascii_whitespace) => (State::Empty, None),
            Sight::File { .. } | Sight::Link(_) | Sight::Thing => (State::Present, None),
            Sight::Missing => (State::Missing, None),
            Sight::Unknown(why) => (State::Unknown, Some(why)),
        }
    }

    /// Everything seen that a pattern fits.
    pub(crate) fn matching<'s>(
        &'s self,
        pattern: &'s Pattern,
    ) -> impl Iterator<Item = (&'a FilePath, &'a FileNode)> + 's {
        matching(self.files, pattern)
    }

    /// Everything seen that one of these patterns fits, each once.
    pub(crate) fn matching_any(&self, patterns: &[&str]) -> BTreeMap<&'a FilePath, &'a FileNode> {
        let mut all = BTreeMap::new();
        for pattern in patterns.iter().filter_map(|text| Pattern::new(text).ok()) {
            all.extend(matching(self.files, &pattern));
        }
        all
    }
}

/// What a node shows.
pub(crate) fn of_node(node: &FileNode) -> Sight<'_> {
    match node {
        FileNode::File { bytes, size, .. } => Sight::File { bytes, is_whole: bytes.len() as u64 == *size },
        FileNode::Link(to) => Sight::Link(to),
        FileNode::Directory(_) | FileNode::Other => Sight::Thing,
    }
}

pub(crate) fn matching<'f, 'p>(
    files: &'f Files,
    pattern: &'p Pattern,
) -> impl Iterator<Item = (&'f FilePath, &'f FileNode)> + use<'f, 'p> {
    let fixed = fixed_part(pattern);
    let start = FilePath::new(fixed.as_str()).ok();
    start
        .into_iter()
        .flat_map(|start| files.nodes.range(start..))
        .take_while(move |(path, _)| path.as_bytes().starts_with(fixed.as_bytes()))
        .filter(|(path, _)| pattern.matches(path))
}

/// What all paths of a pattern begin with; a path itself.
fn fixed_part(pattern: &Pattern) -> String {
    let text = pattern.to_string();
    let fixed = text.split('*').next().unwrap_or_default();
    let fixed = fixed.strip_suffix('/').unwrap_or(fixed);
    // With `/*` first there is nothing to begin with, and `/` is before every path.
    if fixed.is_empty() { "/".to_owned() } else { fixed.to_owned() }
}

/// A path with the links in its last part followed.
pub(crate) fn settle(files: &Files, path: &FilePath) -> FilePath {
    let mut here = path.clone();
    // As many as Linux follows would only be a way to waste time.
    for _ in 0..8 {
        let Some(FileNode::Link(to)) = files.nodes.get(&here) else { return here };
        match join(&here, to) {
            Some(next) if files.nodes.contains_key(&next) => here = next,
            _ => return here,
        }
    }
    path.clone()
}

/// Where a link at `from` points, by name alone: `..` takes away what was said before.
pub(crate) fn join(from: &FilePath, to: &[u8]) -> Option<FilePath> {
    let mut parts: Vec<&[u8]> = Vec::new();
    if !to.starts_with(b"/") {
        parts.extend(from.parts());
        parts.pop();
    }
    for part in to.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let mut bytes = Vec::new();
    for part in parts {
        bytes.push(b'/');
        bytes.extend_from_slice(part);
    }
    FilePath::new(bytes).ok()
}

/// A short fingerprint of what must not be shown.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let sum = digest::digest(&digest::SHA256, bytes);
    format!("sha256:{}", text::hex(&sum.as_ref()[..16]))
}

/// The paths that a gap hides: itself, or where the devices it names are mounted.
fn places_of(layout: &Layout, place: &str, has_system: bool) -> Vec<FilePath> {
    if place.starts_with('/') {
        // A place that is no clean path says too little: all is hidden.
        return vec![FilePath::new(place).unwrap_or_else(|_| root())];
    }
    let mut hidden = Vec::new();
    for device in layout.devices().into_iter().filter(|device| device.name == place) {
        let mut rest: Vec<&Device> = vec![device];
        while let Some(device) = rest.pop() {
            hidden.extend(device.mount_point.as_deref().and_then(|path| FilePath::new(path).ok()));
            rest.extend(&device.children);
        }
    }
    // A device that the guest mounts nowhere hides nothing, if the guest's own tree was found at all.
    if hidden.is_empty() && !has_system {
        hidden.push(root());
    }
    hidden
}

fn root() -> FilePath {
    FilePath::new("/").expect("`/` is a path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_joined_by_name() {
        let from = FilePath::new("/var/lib/dbus/machine-id").unwrap();
        let join = |to: &str| join(&from, to.as_bytes()).map(|path| path.to_string());
        assert_eq!(join("/etc/machine-id").as_deref(), Some("/etc/machine-id"));
        assert_eq!(join("../../../etc/./machine-id").as_deref(), Some("/etc/machine-id"));
        assert_eq!(join("../../../../../../etc/machine-id").as_deref(), Some("/etc/machine-id"));
        assert_eq!(join("x").as_deref(), Some("/var/lib/dbus/x"));
        assert_eq!(join("/"), None);
    }

    #[test]
    fn a_ring_of_links_ends() {
        let mut files = Files::default();
        let path = |text: &str| FilePath::new(text).unwrap();
        files.nodes.insert(path("/a"), FileNode::Link(b"/b".to_vec()));
        files.nodes.insert(path("/b"), FileNode::Link(b"/a".to_vec()));
        files.nodes.insert(path("/c"), FileNode::Link(b"/nowhere".to_vec()));
        assert_eq!(settle(&files, &path("/a")), path("/a"));
        assert_eq!(settle(&files, &path("/c")), path("/c"));
    }
}
