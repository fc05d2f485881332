//! dracut's initramfs, where it was made for one machine: what in it names devices, and how that is put right.
//!
//! ```text
//!  members that name an old id ──┬── text ──▶ the same text with the new id ──────────────┐
//!                                ├── name ──▶ the same under the new name,                ├─▶ a small archive behind it
//!                                │            and a link to /dev/null under the old one ──┘
//!                                └── neither (no text, too long) ──▶ the id stays, and why
//! ```
//! The kernel unpacks archives that stand one behind the other in their order, and a later member replaces an earlier one.
//! Nothing in what was packed changes, so its checksums and its form stay as they are.
//! An archive cannot take away what one before it has. But for systemd a unit, a drop-in or a wish (`….wants/…`) that is a
//! link to `/dev/null` is none (systemd.unit(5), `unit_file_find_dropin_paths`), and dracut sources such a hook as a script
//! that does nothing and ends well: so nobody waits for a device that is not there.
//! The initramfs of kdump is left alone: it is made anew at the next start when its target has another name.

use std::collections::BTreeSet;

use lodge_model::guest_disk::{
    Archive, Device, Edit, FileEdit, FileNode, FilePath, Files, Layout, Newc, Owner, Tail, stored_as_lz4,
};

use super::{references, renamed, targets};
use crate::{Catalogue, HostFacts, Kind, Plan, Verdict, draft::Draft, seen::Seen, text};

/// Where images are.
pub(crate) const IMAGES: &[&str] = &[
    "/boot/initramfs*",
    "/boot/initrd*",
    "/boot/*/*/initramfs*",
    "/boot/*/*/initrd*",
    "/boot/efi/*/*/initramfs*",
    "/boot/efi/*/*/initrd*",
    "/efi/*/*/initramfs*",
    "/efi/*/*/initrd*",
];
/// File systems in an initramfs (dracut's modules `squash`, `squash-squashfs`, `squash-erofs`), into which nobody looks.
const INNER: &[&str] = &["squash-root.img", "erofs-root.img"];
const NOTHING: &[u8] = b"/dev/null";
const ROOTS_DIRECTORY: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };
/// What a file system must have left for what is added.
const ROOM_BYTES: u64 = 1 << 20;
/// Where nothing is added in its place (ext, FAT), the images are written anew: so much together.
const ANEW_BYTES_MAX: u64 = 256 << 20;
/// The ids that an initramfs may name.
const KINDS: [Kind; 6] = [
    Kind::DISK_ID,
    Kind::PARTITION_ID,
    Kind::CONTENT_UUID,
    Kind::GROUP_UUID,
    Kind::VOLUME_UUID,
    Kind::MACHINE_ID,
];

/// Old ids and the new ones.
type Pairs = [(String, String)];

impl Catalogue {
    /// The initramfs images that a plan must know, and the words that it looks for in them. None: nobody needs to look.
    pub fn archives(&self, layout: &Layout, files: &Files) -> Option<(Vec<FilePath>, Vec<String>)> {
        let host = HostFacts::default();
        let seen = Seen::new(layout, files, &host);
        if !has_dracut(&seen) {
            return None;
        }
        let mut words: BTreeSet<String> = INNER.iter().map(|name| (*name).to_owned()).collect();
        for target in targets(&seen) {
            words.extend(renamed(&seen, &target, "").iter().flat_map(|(old, _)| forms(old)));
        }
        let machine_ids = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
        let machine_ids = machine_ids.iter().filter_map(|path| seen.text(path));
        words.extend(machine_ids.map(|id| id.trim().to_owned()).filter(|id| id.len() == 32));
        Some((images(&seen), words.into_iter().collect()))
    }

    /// The same of what was to be changed in them, for the proof.
    pub fn archives_of(&self, plan: &Plan) -> Option<(Vec<FilePath>, Vec<String>)> {
        let words: BTreeSet<String> = changed(plan).iter().flat_map(|(old, _)| forms(old)).collect();
        let images: Vec<FilePath> = appended(plan).cloned().collect();
        (!images.is_empty()).then(|| (images, words.into_iter().collect()))
    }
}

/// The proof that no initramfs that was to be put right names an old id. `after` is what was read again.
pub fn verify_archives(after: &Files, plan: &Plan) -> Vec<Verdict> {
    let pairs = changed(plan);
    let judge = |image: &FilePath| {
        let bad = |found: String| Verdict {
            kind: Kind::CONTENT_UUID,
            place: image.to_string(),
            is_good: false,
            found,
        };
        match after.archives.get(image) {
            None => Some(bad("it was not read again".to_owned())),
            Some(Archive { fault: Some(fault), .. }) => Some(bad(format!("it was not read again: {fault}"))),
            Some(archive) => {
                let left = archive.members.iter().find(|(path, node)| is_stale(path, node, &pairs));
                left.map(|(path, _)| bad(format!("{path} in it names what has another id now")))
            }
        }
    };
    appended(plan).filter_map(judge).collect()
}

fn appended(plan: &Plan) -> impl Iterator<Item = &FilePath> {
    plan.edits.iter().filter_map(|edit| match edit {
        Edit::File(FileEdit::Append { path, .. }) => Some(path),
        _ => None,
    })
}

/// What became another, and is nowhere as it was.
fn changed(plan: &Plan) -> Vec<(String, String)> {
    let kept: BTreeSet<&str> = plan.kept.iter().filter_map(|kept| kept.value.as_deref()).collect();
    let changes =
        plan.changes.iter().filter(|change| KINDS.contains(&change.kind) && change.old != change.new);
    let pairs = changes.filter_map(|change| change.old.clone().zip(change.new.clone()));
    // A DOS disk's signature is looked for with its partitions' numbers.
    pairs.filter(|(old, _)| old.len() > 8 && !kept.contains(old.as_str())).collect()
}

/// Whether a member that is there in the end names an old id.
fn is_stale(path: &FilePath, node: &FileNode, pairs: &Pairs) -> bool {
    let has = |bytes: &[u8]| pairs.iter().any(|(old, _)| names(bytes, old));
    let content: &[u8] = match node {
        // Nothing is there any more, whatever it is called.
        FileNode::Link(to) if to == NOTHING => return false,
        FileNode::Directory(_) => return false,
        FileNode::Link(bytes) | FileNode::File { bytes, .. } => bytes,
        FileNode::Other => b"",
    };
    has(content) || has(path.as_bytes())
}

pub(super) fn has_dracut(seen: &Seen<'_>) -> bool {
    ["/usr/bin/dracut", "/usr/sbin/dracut"].iter().any(|path| seen.files.node(path).is_some())
}

/// The images that are there.
fn images(seen: &Seen<'_>) -> Vec<FilePath> {
    let is_image = |(path, node): &(&FilePath, &FileNode)| {
        let is_kdumps = references::contains(path.name(), b"kdump");
        matches!(node, FileNode::File { size, .. } if *size > 0) && !is_kdumps
    };
    seen.matching_any(IMAGES).into_iter().filter(is_image).map(|(path, _)| path.clone()).collect()
}

/// Why it is not known what the images of this machine name. None: it is.
pub(super) fn unknown(seen: &Seen<'_>) -> Option<String> {
    let images = images(seen);
    if images.is_empty() {
        return Some("it was not found".to_owned());
    }
    images.iter().find_map(|image| match seen.files.archives.get(image) {
        None => Some(format!("{image} was not looked into")),
        Some(archive) => {
            let inner = archive.members.keys().find(|path| is_inner(path));
            let inner = inner.map(|inner| format!("{image} has a file system of its own, {inner}"));
            archive.fault.as_ref().map(|fault| format!("{image}: {fault}")).or(inner)
        }
    })
}

fn is_inner(path: &FilePath) -> bool {
    INNER.iter().any(|name| path.name() == name.as_bytes())
}

/// What in the images names an id and cannot be put right: a reason each.
pub(super) fn unrepairable(seen: &Seen<'_>, old: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    let named = seen.files.archives.iter().filter(|(_, archive)| !archive.members.is_empty());
    let anew = named.filter(|(image, _)| !is_added_to(seen, image)).map(|(_, archive)| archive.bytes);
    let is_too_much = anew.fold(0, u64::saturating_add) > ANEW_BYTES_MAX;
    for (image, archive) in &seen.files.archives {
        let mut is_named = false;
        for (path, node) in archive.members.iter().filter(|(path, _)| !is_inner(path)) {
            let is_in_name = names(path.as_bytes(), old);
            let (is_inside, why) = match node {
                FileNode::File { bytes, size, .. } if (bytes.len() as u64) < *size => {
                    // Where in it the word is that it was found by is not known.
                    (names(bytes, old) || !is_in_name, Some("is too long"))
                }
                FileNode::File { bytes, .. } | FileNode::Link(bytes) => {
                    let is_text = std::str::from_utf8(bytes).is_ok();
                    (names(bytes, old), (!is_text).then_some("is not text in UTF-8"))
                }
                FileNode::Directory(_) => (false, None),
                FileNode::Other => (false, Some("is neither a file nor a link")),
            };
            let why = if path.as_str().is_none() { Some("has a name that is not text") } else { why };
            is_named |= is_in_name || is_inside;
            if let Some(why) = why.filter(|_| is_in_name || is_inside) {
                reasons.push(format!("{path} in the initramfs {image} names it, and {why}"));
            }
        }
        if is_named && !has_room(seen, image) {
            reasons.push(format!("the initramfs {image} names it, and its file system has no room for more"));
        } else if is_named && is_too_much && !is_added_to(seen, image) {
            reasons.push(format!(
                "the initramfs {image} names it, and would have to be written anew, as too many others"
            ));
        }
    }
    reasons
}

/// Whether its file system is one that a kernel writes.
fn is_added_to(seen: &Seen<'_>, image: &FilePath) -> bool {
    let content = device_of(seen, image).and_then(|device| device.content.as_ref());
    content.is_some_and(|content| matches!(content.kind.as_str(), "xfs" | "btrfs"))
}

fn has_room(seen: &Seen<'_>, image: &FilePath) -> bool {
    let used = device_of(seen, image).and_then(|device| Some((device.bytes, device.content.as_ref()?.used?)));
    used.is_none_or(|(bytes, used)| bytes.0.saturating_sub(used.0) >= ROOM_BYTES)
}

/// What a path lies on.
fn device_of<'a>(seen: &Seen<'a>, image: &FilePath) -> Option<&'a Device> {
    let mut best: Option<(usize, &Device)> = None;
    for device in seen.layout.devices() {
        for point in device.mount_point.iter().flat_map(|points| points.split(' ')) {
            let is_on = FilePath::new(point).is_ok_and(|point| image.is_within(&point));
            if is_on && best.is_none_or(|(length, _)| point.len() > length) {
                best = Some((point.len(), device));
            }
        }
    }
    best.map(|(_, device)| device)
}

/// Puts right what the images name.
pub(super) fn repair(seen: &Seen<'_>, pairs: &[(String, String)], draft: &mut Draft<'_>) {
    let machine_id = draft.changed(&Kind::MACHINE_ID);
    let pairs: Vec<(String, String)> =
        pairs.iter().cloned().chain(machine_id).filter(|(old, new)| old != new && !new.is_empty()).collect();
    for (image, archive) in &seen.files.archives {
        if archive.fault.is_some() || draft.is_gone(image) {
            continue;
        }
        if let Some(more) = overlay(archive, &pairs) {
            draft.append(image.clone(), archive.bytes, more);
        }
    }
}

/// What stands behind an image so that it names the new ids. None: it names none of the old ones.
fn overlay(archive: &Archive, pairs: &Pairs) -> Option<Vec<u8>> {
    let mut more = Newc::default();
    let empty = more.clone();
    let mut made: BTreeSet<String> = BTreeSet::new();
    for (path, node) in &archive.members {
        let Some(place) = path.as_str() else { continue };
        let new_place = replaced(place, pairs);
        let is_renamed = new_place != place;
        let name = if is_renamed {
            // Directories on the way that are called after the old id too.
            let same = place.split('/').zip(new_place.split('/')).take_while(|(old, new)| old == new).count();
            let parts: Vec<&str> = new_place.split('/').collect();
            for end in same + 1..parts.len() {
                directory(&mut more, &mut made, &parts[..end].join("/"), ROOTS_DIRECTORY);
            }
            new_place.as_str()
        } else {
            place
        };
        let name_bytes = name.trim_start_matches('/').as_bytes();
        match node {
            FileNode::Directory(owner) if is_renamed => directory(&mut more, &mut made, name, *owner),
            FileNode::File { bytes, size, owner } if bytes.len() as u64 == *size => {
                let Ok(text) = std::str::from_utf8(bytes) else { continue };
                let new = replaced(text, pairs);
                if is_renamed || new != text {
                    more.file(name_bytes, *owner, new.as_bytes());
                }
            }
            FileNode::Link(to) => {
                let Ok(text) = std::str::from_utf8(to) else { continue };
                let new = replaced(text, pairs);
                if is_renamed || new != text {
                    more.link(name_bytes, new.as_bytes());
                }
            }
            FileNode::Directory(_) | FileNode::File { .. } | FileNode::Other => continue,
        }
        if is_renamed && !matches!(node, FileNode::Directory(_)) {
            // As a link, which takes the place of the old file instead of being written into it: that may have other
            // names.
            more.link(place.trim_start_matches('/').as_bytes(), NOTHING);
        }
    }
    if more == empty {
        return None;
    }
    // Archives begin at a multiple of four bytes: of the file, or of what it unpacks to.
    let (before, is_lz4) = match archive.tail {
        Tail::Open => (archive.bytes, false),
        Tail::Lz4 { unpacked } => (unpacked, true),
    };
    let padding = before.checked_next_multiple_of(4).map_or(0, |next| next - before);
    let more = [vec![0; usize::try_from(padding).unwrap_or_default()], more.end()].concat();
    Some(if is_lz4 { stored_as_lz4(&more) } else { more })
}

fn directory(more: &mut Newc, made: &mut BTreeSet<String>, place: &str, owner: Owner) {
    if made.insert(place.to_owned()) {
        more.directory(place.trim_start_matches('/').as_bytes(), owner);
    }
}

/// The forms in which an initramfs may have an id, each with the new id in it: also as systemd has it in names of units.
fn spelled(old: &str, new: &str) -> Vec<(String, String)> {
    let mut forms = vec![(old.to_owned(), new.to_owned())];
    if old.contains('-') {
        forms.push((old.replace('-', "\\x2d"), new.replace('-', "\\x2d")));
    }
    // Short ids without dashes are any number.
    if old.len() >= 36 {
        forms.push((old.replace('-', ""), new.replace('-', "")));
    }
    forms
}

fn forms(id: &str) -> Vec<String> {
    spelled(id, "").into_iter().map(|(old, _)| old).collect()
}

fn names(bytes: &[u8], old: &str) -> bool {
    let pair = [(old.to_owned(), String::new())];
    match std::str::from_utf8(bytes) {
        Ok(text) => replaced(text, &pair) != text,
        Err(_) => forms(old).iter().any(|form| {
            let lower = form.to_lowercase();
            references::contains(&bytes.to_ascii_lowercase(), lower.as_bytes())
        }),
    }
}

/// The text with the new ids.
fn replaced(whole: &str, pairs: &Pairs) -> String {
    let mut whole = whole.to_owned();
    for (old, new) in pairs {
        for (old, new) in &spelled(old, new) {
            // What is so long stands in no other word by chance.
            let is_long = old.len() >= 32;
            whole = text::replace_word(&whole, old, new, |letter| !is_long && text::is_id_char(letter));
            // `/` and `-` as dracut and systemd have them in names: letters stand before the id then.
            for before in ["\\x2f", "\\x2d"].iter().filter(|_| !is_long) {
                let (old, new) = (format!("{before}{old}"), format!("{before}{new}"));
                whole = text::replace_word(&whole, &old, &new, |_| false);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const OLD: &str = "31938919-8d22-4c54-817f-679cfd936f0e";
    const NEW: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const ROOTS: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

    fn escaped(id: &str) -> String {
        id.replace('-', "\\x2d")
    }

    fn archive(members: &[(String, FileNode)]) -> Archive {
        let members: BTreeMap<FilePath, FileNode> = members
            .iter()
            .map(|(path, node)| (FilePath::new(path.as_str()).unwrap(), node.clone()))
            .collect();
        Archive { members, bytes: 1001, ..Archive::default() }
    }

    fn file(text: &str) -> FileNode {
        FileNode::File { bytes: text.into(), size: text.len() as u64, owner: ROOTS }
    }

    /// What dracut 059 made on Debian 12.
    fn dracut(id: &str) -> Vec<(String, FileNode)> {
        let unit = format!("dev-disk-by\\x2duuid-{}.device", escaped(id));
        vec![
            (
                "/etc/cmdline.d/95root-dev.conf".to_owned(),
                file(&format!(" root=UUID={id} rootfstype=ext4\n")),
            ),
            (format!("/etc/systemd/system/{unit}.d"), FileNode::Directory(ROOTS_DIRECTORY)),
            (format!("/etc/systemd/system/{unit}.d/timeout.conf"), file("[Unit]\nJobTimeoutSec=0\n")),
            (
                format!("/etc/systemd/system/initrd.target.wants/{unit}"),
                FileNode::Link(format!("../{unit}").into_bytes()),
            ),
            (
                format!(
                    "/usr/lib/dracut/hooks/initqueue/finished/devexists-\\x2fdev\\x2fdisk\\x2fby-uuid\\x2f{id}.sh"
                ),
                file(&format!("[ -e \"/dev/disk/by-uuid/{id}\" ]\n")),
            ),
        ]
    }

    #[test]
    fn what_is_called_after_the_old_id_is_nothing_and_stands_beside_it_anew() {
        let pairs = [(OLD.to_owned(), NEW.to_owned())];
        let more = overlay(&archive(&dracut(OLD)), &pairs).unwrap();
        // 1001 bytes were before.
        assert!(more.starts_with(b"\0\0\x00070701"), "{}", more.escape_ascii());
        let mut wanted = Newc::default();
        let (old_unit, unit) = (
            format!("dev-disk-by\\x2duuid-{}.device", escaped(OLD)),
            format!("dev-disk-by\\x2duuid-{}.device", escaped(NEW)),
        );
        let hook = |id: &str| {
            format!(
                "usr/lib/dracut/hooks/initqueue/finished/devexists-\\x2fdev\\x2fdisk\\x2fby-uuid\\x2f{id}.sh"
            )
        };
        wanted
            .file(
                b"etc/cmdline.d/95root-dev.conf",
                ROOTS,
                format!(" root=UUID={NEW} rootfstype=ext4\n").as_bytes(),
            )
            .directory(format!("etc/systemd/system/{unit}.d").as_bytes(), ROOTS_DIRECTORY)
            .file(
                format!("etc/systemd/system/{unit}.d/timeout.conf").as_bytes(),
                ROOTS,
                b"[Unit]\nJobTimeoutSec=0\n",
            )
            .link(format!("etc/systemd/system/{old_unit}.d/timeout.conf").as_bytes(), NOTHING)
            .link(
                format!("etc/systemd/system/initrd.target.wants/{unit}").as_bytes(),
                format!("../{unit}").as_bytes(),
            )
            .link(format!("etc/systemd/system/initrd.target.wants/{old_unit}").as_bytes(), NOTHING)
            .file(hook(NEW).as_bytes(), ROOTS, format!("[ -e \"/dev/disk/by-uuid/{NEW}\" ]\n").as_bytes())
            .link(hook(OLD).as_bytes(), NOTHING);
        assert_eq!(more[3..].escape_ascii().to_string(), wanted.end().escape_ascii().to_string());
        assert_eq!(overlay(&archive(&dracut(OLD)), &[(NEW.to_owned(), OLD.to_owned())]), None);
        // Behind lz4 the same as lz4, padded by what is unpacked before it.
        let tail = Tail::Lz4 { unpacked: 4002 };
        let packed = overlay(&Archive { tail, ..archive(&dracut(OLD)) }, &pairs).unwrap();
        assert_eq!(packed, stored_as_lz4(&[b"\0\0", &more[3..]].concat()));
    }

    #[test]
    fn short_ids_are_words_of_their_own() {
        let pairs = [("1A2B-3C4D".to_owned(), "FFFF-0001".to_owned())];
        for (old, new) in [
            ("UUID=1A2B-3C4D /boot/efi", "UUID=FFFF-0001 /boot/efi"),
            ("by\\x2duuid-1A2B\\x2d3C4D.device", "by\\x2duuid-FFFF\\x2d0001.device"),
            ("by-uuid\\x2f1A2B-3C4D.sh", "by-uuid\\x2fFFFF-0001.sh"),
            ("x1A2B-3C4D 1A2B-3C4D5", "x1A2B-3C4D 1A2B-3C4D5"),
        ] {
            assert_eq!(replaced(old, &pairs), new);
        }
    }

    #[test]
    fn what_is_there_in_the_end_names_nothing_old() {
        let pairs = [(OLD.to_owned(), NEW.to_owned())];
        let at = |text: &str| FilePath::new(text).unwrap();
        for (path, node, is_left) in [
            (format!("/{OLD}"), FileNode::Link(NOTHING.to_vec()), false),
            (format!("/{OLD}.d"), FileNode::Directory(ROOTS), false),
            (format!("/{OLD}.d/x"), file(""), true),
            ("/x".to_owned(), file(OLD), true),
            ("/x".to_owned(), FileNode::Link(escaped(OLD).into_bytes()), true),
            ("/x".to_owned(), file(NEW), false),
        ] {
            assert_eq!(is_stale(&at(&path), &node, &pairs), is_left, "{path}");
        }
    }
}
