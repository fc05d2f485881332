//! The machine id: machine-id(5) and D-Bus's own, and what is named after it.
//!
//! Two files, either of which may be a link to the other, be empty, say `uninitialized`, or be missing. A new id goes
//! into `/etc/machine-id`, and D-Bus's becomes a link to it: where it was a file of its own, that file is what must
//! be deleted, or D-Bus would go on with the old id. A template's `/etc/machine-id` is empty and not missing, since
//! systemd takes a machine without one for one at its very first boot and enables services anew.
//!
//! Named after the id: the journal's directory, boot loader entries, `systemd.machine_id=` on the kernel's command
//! line (which would outdo the file).

use lodge_model::guest_disk::{FileNode, FilePath, Owner};

use super::{
    Identity, Item, Kind, Purpose, State, Wish,
    draft::Draft,
    seen::{self, Seen, Sight},
    text,
};

const ETC: &str = "/etc/machine-id";
const DBUS: &str = "/var/lib/dbus/machine-id";
const JOURNAL: &str = "/var/log/journal/*";
const ENTRIES: &[&str] =
    &["/boot/loader/entries/*.conf", "/boot/efi/loader/entries/*.conf", "/efi/loader/entries/*.conf"];
/// Kernels in directories of their own, in the order in which their entries are [`ENTRIES`].
const KERNELS: &[&str] = &["/boot/*/*", "/boot/efi/*/*", "/efi/*/*"];
/// Texts with a kernel command line, or with the name of a boot entry.
const COMMAND_LINES: &[&str] = &[
    "/etc/kernel/cmdline",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub/grubenv",
    "/boot/grub2/grubenv",
    "/boot/loader/loader.conf",
    "/boot/efi/loader/loader.conf",
    "/efi/loader/loader.conf",
];
const ENTRY_TOKEN: &str = "/etc/kernel/entry-token";
const PARAMETER: &str = "systemd.machine_id=";

pub(crate) const WANTED: &[&str] = &[ETC, DBUS, ENTRIES[0], ENTRIES[1], ENTRIES[2], ENTRY_TOKEN];

/// Of these only the names count.
pub(crate) const NAMES: &[&str] = &[JOURNAL, KERNELS[0], KERNELS[1], KERNELS[2]];

/// What the guest's own `dbus-uuidgen --get` answers, or would: D-Bus's file first, then systemd's.
pub fn machine_id(identity: &Identity) -> Option<&str> {
    [DBUS, ETC].iter().find_map(|place| identity.at(&Kind::MACHINE_ID, place)?.value.as_deref())
}

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    let etc = look(seen, ETC);
    // D-Bus needs none of its own where there is systemd's; without it, it is missed.
    let is_needed = etc.state != State::Present;
    found.push(etc);
    let dbus = look(seen, DBUS);
    if dbus.state != State::Missing || is_needed {
        found.push(dbus);
    }
}

/// What one of the two files says.
fn look(seen: &Seen<'_>, place: &str) -> Item {
    let item = |state| Item::absent(Kind::MACHINE_ID, place, state);
    match seen.sight(place) {
        Sight::Missing => item(State::Missing),
        Sight::Unknown(why) => item(State::Unknown).noting(why),
        Sight::Thing => item(State::Unreadable).noting("it is neither a file nor a link"),
        Sight::File { bytes, .. } => judge(place, bytes),
        Sight::Link(to) => {
            let to = to.escape_ascii().to_string();
            let end = FilePath::new(place).ok().map(|path| seen.settle(&path));
            let end = end.as_ref().and_then(|end| seen.files.nodes.get(end));
            match end {
                Some(FileNode::File { bytes, .. }) => judge(place, bytes).noting(format!("a link to {to}")),
                _ => item(State::Unreadable).noting(format!("a link to {to}, which leads nowhere")),
            }
        }
    }
}

fn judge(place: &str, bytes: &[u8]) -> Item {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Item::absent(Kind::MACHINE_ID, place, State::Empty);
    }
    if text == b"uninitialized" {
        return Item::absent(Kind::MACHINE_ID, place, State::Empty).noting("`uninitialized`");
    }
    let is_id =
        text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(|digit| *digit != b'0');
    match std::str::from_utf8(text) {
        Ok(id) if is_id => Item::present(Kind::MACHINE_ID, place, id.to_ascii_lowercase()),
        _ => Item::absent(Kind::MACHINE_ID, place, State::Unreadable)
            .noting("it does not hold 32 hexadecimal digits, not all of them 0"),
    }
}

pub(crate) fn plan(seen: &Seen<'_>, before: &Identity, wish: &Wish, draft: &mut Draft<'_>) {
    if !wish.does("machine-id") {
        return;
    }
    let fresh =
        (wish.purpose != Purpose::Generalise).then(|| wish.fresh.uuid("machine-id").simple().to_string());
    write(seen, before, fresh.as_deref(), draft);
    let mut olds: Vec<&str> = before.of(&Kind::MACHINE_ID).filter_map(|item| item.value.as_deref()).collect();
    olds.dedup();
    for old in olds {
        journal(seen, old, draft);
        match fresh.as_deref() {
            Some(new) => rename_entries(seen, old, new, draft),
            None => forget_parameter(seen, old, draft),
        }
    }
}

fn write(seen: &Seen<'_>, before: &Identity, new: Option<&str>, draft: &mut Draft<'_>) {
    let (Ok(etc), Ok(dbus)) = (FilePath::new(ETC), FilePath::new(DBUS)) else { return };
    let kind = Kind::MACHINE_ID;
    let etc_item = before.at(&kind, ETC);
    let old = etc_item.and_then(|item| item.value.as_deref());
    let is_clean = etc_item.is_some_and(|item| item.state == State::Empty)
        && matches!(seen.files.nodes.get(&etc), Some(FileNode::File { .. }));
    if new.is_some() || !is_clean {
        let text = new.map(|id| format!("{id}\n")).unwrap_or_default();
        if !draft.write(etc, text.into_bytes(), Some(Owner { uid: 0, gid: 0, mode: 0o444 })) {
            // Nothing may be made a link to it.
            draft.flag(&kind, ETC, "it was not changed: it is neither a file nor a link");
            return;
        }
        let reason = match new {
            Some(_) => "no two machines may have one id",
            None => "each machine made of the template gets its own",
        };
        draft.change(&kind, ETC, old, new, reason);
    }
    let Some(item) = before.at(&kind, DBUS).filter(|item| item.state != State::Missing) else { return };
    let is_link = matches!(seen.files.nodes.get(&dbus), Some(FileNode::Link(to))
        if seen::join(&dbus, to).is_some_and(|end| end.as_bytes() == ETC.as_bytes()));
    if new.is_some() || !is_link {
        draft.link(dbus, ETC);
        let reason = if is_link {
            "it is a link to systemd's"
        } else {
            "D-Bus's own copy is deleted and a link put in its place"
        };
        draft.change(&kind, DBUS, item.value.as_deref(), new, reason);
    }
}

/// The journal of the machine that was.
fn journal(seen: &Seen<'_>, old: &str, draft: &mut Draft<'_>) {
    let names = seen.matching_any(&[JOURNAL]);
    let theirs = names.keys().filter(|path| path.name().eq_ignore_ascii_case(old.as_bytes()));
    for path in theirs {
        draft.remove((*path).clone());
        let reason = "the journal of the machine with the old id";
        draft.change(&Kind::known("journal"), path.to_string(), Some(old), None, reason);
    }
}

/// Boot entries are named after the id, so that the next kernel's installer finds its own.
fn rename_entries(seen: &Seen<'_>, old: &str, new: &str, draft: &mut Draft<'_>) {
    let kind = Kind::known("boot-entry");
    for (entries, kernels) in ENTRIES.iter().zip(KERNELS) {
        let has_directory = seen
            .matching_any(&[kernels])
            .keys()
            .any(|path| path.parts().any(|part| part.eq_ignore_ascii_case(old.as_bytes())));
        for path in seen.matching_any(&[entries]).into_keys() {
            let Ok(text) = draft.text(path) else { continue };
            let changed = change_entry(&text, old, Some(new));
            let Some(name) = path.as_str().filter(|name| name.contains(old)).filter(|_| !has_directory)
            else {
                draft.set_text(path, changed);
                continue;
            };
            let Ok(renamed) = FilePath::new(name.replace(old, new)) else { continue };
            draft.change(&kind, path.to_string(), Some(old), None, "entries are named after the machine id");
            draft.remove(path.clone());
            draft.write(renamed, changed.into_bytes(), None);
        }
        if has_directory {
            keep_token(old, draft);
        }
    }
    for path in seen.matching_any(COMMAND_LINES).into_keys() {
        if let Ok(text) = draft.text(path) {
            draft.set_text(path, change_line_by_line(&text, old, Some(new)));
        }
    }
}

/// The kernels lie in a directory with the old id's name, which may be too large to move. kernel-install(8) keeps
/// that name for entries where it is written down.
fn keep_token(old: &str, draft: &mut Draft<'_>) {
    let Ok(token) = FilePath::new(ENTRY_TOKEN) else { return };
    if !draft.has(&token) {
        draft.write(token, format!("{old}\n").into_bytes(), None);
    }
    let why = "the kernels' directory on the boot partition has the old machine id as its name and keeps it";
    draft.flag(&Kind::known("boot-entry"), ENTRY_TOKEN, why);
}

fn forget_parameter(seen: &Seen<'_>, old: &str, draft: &mut Draft<'_>) {
    for path in seen.matching_any(ENTRIES).into_keys() {
        if let Ok(text) = draft.text(path) {
            draft.set_text(path, change_entry(&text, old, None));
        }
    }
    for path in seen.matching_any(COMMAND_LINES).into_keys() {
        if let Ok(text) = draft.text(path) {
            draft.set_text(path, change_line_by_line(&text, old, None));
        }
    }
}

/// An entry's own words for the id. Paths of kernels that have it in their names are left: the files keep them.
fn change_entry(entry: &str, old: &str, new: Option<&str>) -> String {
    text::map_lines(entry, |line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        match (word, new) {
            ("machine-id", Some(new)) => text::Line::Set(line.replace(old, new)),
            ("machine-id", None) if line.contains(old) => text::Line::Drop,
            ("options", _) => text::Line::Set(change_parameter(line, old, new)),
            _ => text::Line::Keep,
        }
    })
}

/// Command lines, and the entry that is the default (`saved_entry=ID-VERSION`, `default ID-*`).
fn change_line_by_line(whole: &str, old: &str, new: Option<&str>) -> String {
    text::map_lines(whole, |line| {
        let changed = change_parameter(line, old, new);
        let word = changed.split(['=', ' ', '\t']).next().unwrap_or_default();
        match new {
            Some(new) if matches!(word, "saved_entry" | "default") => {
                text::Line::Set(changed.replacen(old, new, 1))
            }
            _ if changed == line => text::Line::Keep,
            _ => text::Line::Set(changed),
        }
    })
}

fn change_parameter(line: &str, old: &str, new: Option<&str>) -> String {
    let parameter = format!("{PARAMETER}{old}");
    match new {
        Some(new) => line.replace(&parameter, &format!("{PARAMETER}{new}")),
        None => line.replace(&format!(" {parameter}"), "").replace(&parameter, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "17f2e0698e844e31b12ccd3f9aa4d94a";

    #[test]
    fn only_an_id_is_an_id() {
        let table: [(&[u8], State); 8] = [
            (b"17f2e0698e844e31b12ccd3f9aa4d94a\n", State::Present),
            (b"17F2E0698E844E31B12CCD3F9AA4D94A", State::Present),
            (b"", State::Empty),
            (b"\n", State::Empty),
            (b"uninitialized\n", State::Empty),
            (b"00000000000000000000000000000000\n", State::Unreadable),
            (b"17f2e0698e844e31b12ccd3f9aa4d94\n", State::Unreadable),
            (b"\xff\xff", State::Unreadable),
        ];
        for (bytes, state) in table {
            let item = judge(ETC, bytes);
            assert_eq!(item.state, state, "{bytes:?}");
            assert_eq!(item.value.is_some(), state == State::Present);
        }
    }

    #[test]
    fn an_entry_gets_the_new_id_where_it_means_the_machine() {
        let entry = format!(
            "title Fedora\nmachine-id {ID}\nlinux /vmlinuz-0-rescue-{ID}\noptions root=/dev/vda1 {PARAMETER}{ID} ro\n"
        );
        let new = "0".repeat(31) + "1";
        let want = format!(
            "title Fedora\nmachine-id {new}\nlinux /vmlinuz-0-rescue-{ID}\noptions root=/dev/vda1 {PARAMETER}{new} ro\n"
        );
        assert_eq!(change_entry(&entry, ID, Some(&new)), want);
        let want = format!("title Fedora\nlinux /vmlinuz-0-rescue-{ID}\noptions root=/dev/vda1 ro\n");
        assert_eq!(change_entry(&entry, ID, None), want);
    }

    #[test]
    fn the_default_entry_follows() {
        let env = format!("# GRUB Environment Block\nsaved_entry={ID}-6.1\nkernelopts=root=/dev/vda1\n");
        let new = "a".repeat(32);
        assert_eq!(change_line_by_line(&env, ID, Some(&new)), env.replace(ID, &new));
        assert_eq!(change_line_by_line(&env, ID, None), env);
    }
}
