//! A guest's fstab: which of its devices is mounted where. Pure.
//!
//! fstab(5): fields between blanks, `\040` and its kin for blanks in them, `#` for remarks. Devices are named by
//! UUID, label, partition, path; a path that the guest's kernel gave (`sda1`, `hda1`) is taken by letter and number,
//! since the disk may have another name today.

use lodge_model::guest_disk::{Device, FilePath, Layout};

const LINES_MAX: usize = 1000;

/// One mount, or swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub what: String,
    /// None where it is swap.
    pub at: Option<FilePath>,
    /// The btrfs options that choose a subvolume.
    pub subvolume: Option<String>,
}

impl Line {
    /// As lsblk shows it.
    pub fn shown_at(&self) -> String {
        self.at.as_ref().map_or_else(|| "[SWAP]".to_owned(), ToString::to_string)
    }

    /// Whether it names a device at all: `tmpfs` and `server:/x` do not.
    pub fn is_on_disk(&self) -> bool {
        let names = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "/dev/"];
        let is_other = ["/dev/sr", "/dev/cdrom", "/dev/fd"].iter().any(|name| self.what.starts_with(name));
        !is_other && self.at.is_some() && names.iter().any(|name| self.what.starts_with(name))
    }
}

/// The lines that mount something, what is mounted over others last.
pub(super) fn lines(text: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<Line> = text.lines().take(LINES_MAX).filter_map(line).collect();
    lines.sort_by_key(|line| line.at.as_ref().map(|at| at.parts().count()));
    lines
}

fn line(text: &str) -> Option<Line> {
    let mut fields = text.split_ascii_whitespace();
    let what = unescape(fields.next()?);
    if what.starts_with('#') {
        return None;
    }
    let (at, kind, options) = (unescape(fields.next()?), fields.next()?, fields.next().unwrap_or_default());
    let option = |name: &str| options.split(',').any(|option| option == name);
    if matches!(kind, "ignore" | "none") || option("bind") || option("rbind") {
        return None;
    }
    let at = if kind == "swap" {
        None
    } else {
        Some(FilePath::new(at.trim_end_matches('/')).or_else(|_| FilePath::new(at)).ok()?)
    };
    let subvolume = options
        .split(',')
        .find(|option| option.strip_prefix("subvol=").or_else(|| option.strip_prefix("subvolid=")).is_some());
    Some(Line { what: what.replace('"', ""), at, subvolume: subvolume.map(str::to_owned) })
}

fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, byte)| text.replace(escape, byte))
}

/// How a device is found by its name of some kind.
type Find<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The device that a line means.
pub(super) fn device(layout: &Layout, what: &str) -> Option<String> {
    let devices = layout.devices();
    let find = |is_it: &dyn Fn(&Device) -> bool| {
        devices.iter().find(|device| is_it(device)).map(|device| device.name.clone())
    };
    let uuid = |wanted: &str| {
        // A member of an array has the array's UUID, and a PV's is no file system's.
        find(&|device| {
            device.content.as_ref().is_some_and(|content| {
                !content.kind.ends_with("_member")
                    && content.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted))
            })
        })
    };
    let label = |wanted: &str| {
        find(&|device| {
            device.content.as_ref().is_some_and(|content| content.label.as_deref() == Some(wanted))
        })
    };
    let part_uuid = |wanted: &str| {
        find(&|device| device.partition.as_ref().is_some_and(|part| part.uuid.eq_ignore_ascii_case(wanted)))
    };
    let part_label =
        |wanted: &str| find(&|device| device.partition.as_ref().is_some_and(|part| part.label == wanted));
    let named = |wanted: &str| find(&|device| device.name == wanted);
    let by: [(&str, Find<'_>); 9] = [
        ("UUID=", &uuid),
        ("LABEL=", &label),
        ("PARTUUID=", &part_uuid),
        ("PARTLABEL=", &part_label),
        ("/dev/disk/by-uuid/", &uuid),
        ("/dev/disk/by-label/", &label),
        ("/dev/disk/by-partuuid/", &part_uuid),
        ("/dev/disk/by-partlabel/", &part_label),
        ("/dev/mapper/", &named),
    ];
    for (prefix, find) in by {
        if let Some(rest) = what.strip_prefix(prefix) {
            return find(rest);
        }
    }
    let path = what.strip_prefix("/dev/")?;
    if let Some(array) = path.strip_prefix("md/") {
        let is_of = |device: &Device| {
            let group = device.content.as_ref().and_then(|content| content.group.as_ref());
            group.is_some_and(|(name, _)| name.rsplit(':').next() == Some(array))
        };
        return devices
            .iter()
            .find(|device| is_of(device))
            .and_then(|device| Some(device.children.first()?.name.clone()));
    }
    if let Some((group, volume)) = path.split_once('/') {
        return named(&format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--")));
    }
    named(path).or_else(|| by_letter(layout, path).and_then(|name| named(&name)))
}

/// `sda1`, `xvda1`, `hda1`, `nvme0n1p1`: the partition of that number on the disk of that letter.
fn by_letter(layout: &Layout, path: &str) -> Option<String> {
    let (disk, part) = if let Some(rest) = path.strip_prefix("nvme") {
        let (number, rest) = rest.split_once("n1")?;
        (number.parse().ok()?, rest.strip_prefix('p').unwrap_or(rest))
    } else {
        let rest = ["xvd", "sd", "vd", "hd"].iter().find_map(|prefix| path.strip_prefix(prefix))?;
        let letter = rest.bytes().next().filter(u8::is_ascii_lowercase)?;
        (usize::from(letter - b'a'), &rest[1..])
    };
    let name = &layout.disks.get(disk)?.name;
    let joint = if !part.is_empty() && name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    Some(format!("{name}{joint}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_is_mounted_where() {
        let text = b"# remark\nUUID=A / ext4 defaults 0 1\n\n/dev/sda3 /var/log\\040x xfs rw\n/dev/mapper/vg-home /home/ btrfs subvol=@home,rw\n/a /b none bind\ntmpfs /tmp tmpfs\nLABEL=sw none swap sw\nshort\n";
        let lines = lines(text);
        let shown: Vec<_> =
            lines.iter().map(|line| (line.what.as_str(), line.shown_at(), line.is_on_disk())).collect();
        let wanted = [
            ("LABEL=sw", "[SWAP]", false),
            ("UUID=A", "/", true),
            ("/dev/mapper/vg-home", "/home", true),
            ("tmpfs", "/tmp", false),
            ("/dev/sda3", "/var/log x", true),
        ];
        assert_eq!(shown, wanted.map(|(what, at, on)| (what, at.to_owned(), on)));
        assert_eq!(lines[2].subvolume.as_deref(), Some("subvol=@home"));
    }
}
