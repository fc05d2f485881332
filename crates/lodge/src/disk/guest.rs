//! `disk ls cat tree lsblk`: what lies on the disks of a guest that is off, read without starting anything.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use lodge_client::api::{GuestDevice, GuestDevices, GuestDiskQuery, GuestFile};
use tokio::io::AsyncWriteExt as _;

use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

/// Verbs on what a guest's disks hold.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// List a directory
    Ls(Ls),
    /// Print a file
    Cat(Cat),
    /// List a directory and what is below it
    Tree(Tree),
    /// List partitions, volumes and arrays, and what lies in each
    Lsblk(Lsblk),
}

/// An image's format; it is never guessed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ImageFormat {
    /// QEMU's own
    Qcow2,
    /// The bare bytes
    Raw,
}

#[derive(Debug, Args)]
pub struct Of {
    /// A domain, or an image's absolute path; a device of its alone: DOMAIN:vda2, DOMAIN:rhel-root
    #[arg(value_name = "GUEST[:DEVICE]")]
    guest: String,
    /// Of an image: its format [default: by its name's ending]
    #[arg(long, value_enum)]
    format: Option<ImageFormat>,
    /// The file tree of this device alone
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Read the disks of a running guest as well: what is read may be old, and torn
    #[arg(long)]
    live: bool,
}

#[derive(Debug, Args)]
pub struct Ls {
    #[command(flatten)]
    of: Of,
    /// The path in the guest
    #[arg(value_name = "PATH", default_value = "/")]
    path: String,
    /// Permissions, owner, size, time and where links point
    #[arg(short, long)]
    long: bool,
}

#[derive(Debug, Args)]
pub struct Cat {
    #[command(flatten)]
    of: Of,
    /// The path in the guest
    #[arg(value_name = "PATH")]
    path: String,
}

#[derive(Debug, Args)]
pub struct Tree {
    #[command(flatten)]
    of: Of,
    /// The path in the guest
    #[arg(value_name = "PATH", default_value = "/")]
    path: String,
    /// How many directories deep
    #[arg(short = 'L', long, value_name = "LEVEL", default_value_t = 64)]
    level: u32,
}

#[derive(Debug, Args)]
pub struct Lsblk {
    #[command(flatten)]
    of: Of,
    /// File systems, labels and UUIDs
    #[arg(short, long)]
    fs: bool,
}

impl Of {
    fn query(&self, path: Option<&str>) -> GuestDiskQuery {
        let (of, device) = match self.guest.split_once(':') {
            Some((guest, device)) if !self.guest.starts_with('/') => (guest, Some(device.to_owned())),
            _ => (self.guest.as_str(), None),
        };
        GuestDiskQuery {
            of: of.to_owned(),
            format: self.format.map(|format| match format {
                ImageFormat::Qcow2 => "qcow2".to_owned(),
                ImageFormat::Raw => "raw".to_owned(),
            }),
            device: self.device.clone().or(device),
            path: path.map(str::to_owned),
            depth: None,
            live: self.live,
        }
    }

    fn what(&self, act: &str) -> String {
        format!("cannot {act} of '{}'", self.guest)
    }
}

impl Noun {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        match self {
            Self::Ls(Ls { of, path, long }) => {
                let files = client.guest_tree(&of.query(Some(&path))).await.what(|| of.what("list files"))?;
                session.show(&files, |files| {
                    if long { listing(files) } else { output::lines(files.iter().map(name)) }
                });
            }
            Self::Cat(Cat { of, path }) => {
                let what = || of.what("read a file");
                let mut content = client.guest_content(&of.query(Some(&path))).await.what(what)?;
                let mut out = tokio::io::stdout();
                while let Some(bytes) = content.next().await.what(what)? {
                    out.write_all(&bytes).await.map_err(|error| unwritten(&error))?;
                }
                out.flush().await.map_err(|error| unwritten(&error))?;
            }
            Self::Tree(Tree { of, path, level }) => {
                let query = GuestDiskQuery { depth: Some(level), ..of.query(Some(&path)) };
                let files = client.guest_tree(&query).await.what(|| of.what("list files"))?;
                session.show(&files, |files| tree(&path, files));
            }
            Self::Lsblk(Lsblk { of, fs }) => {
                let devices =
                    client.guest_devices(&of.query(None)).await.what(|| of.what("see the devices"))?;
                let only = of.query(None).device;
                session.show(&devices, |devices| block_devices(devices, fs, only.as_deref()));
                session.warn(&gaps(&devices));
            }
        }
        Ok(())
    }
}

fn unwritten(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        // Whoever reads has enough: `lodge disk cat … | head`. As a program that SIGPIPE ends.
        return Failure::silent(128 + 13);
    }
    Failure::new(lodge_client::api::ErrorKind::Internal, "cannot write to the standard output").because(error)
}

fn gaps(devices: &GuestDevices) -> Vec<String> {
    devices.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.why)).collect()
}

fn name(file: &GuestFile) -> &str {
    file.path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/")
}

/// As `ls -l`, with numbers for owners: the guest's names are not this host's.
fn listing(files: &[GuestFile]) -> String {
    let width = files.iter().map(|file| file.bytes.to_string().len()).max().unwrap_or(1);
    let owner = files.iter().map(|file| file.uid.to_string().len().max(file.gid.to_string().len())).max();
    let owner = owner.unwrap_or(1);
    let mut text = String::new();
    for file in files {
        let time = jiff::Timestamp::from_second(file.modified).unwrap_or_default();
        let link = file.link.as_deref().map(|to| format!(" -> {to}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} {:>owner$} {:>owner$} {:>width$} {} {}{link}",
            permissions(file),
            file.uid,
            file.gid,
            file.bytes,
            time.strftime("%Y-%m-%d %H:%M"),
            name(file),
        );
    }
    text
}

/// `drwxr-xr-x`, with the bits of set-user-id and its kin where `ls` shows them.
fn permissions(file: &GuestFile) -> String {
    let kind = match file.kind.as_str() {
        "directory" => 'd',
        "link" => 'l',
        "file" => '-',
        _ => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, mark) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = file.mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (file.mode & special != 0, bits & 1 != 0) {
            (true, true) => mark,
            (true, false) => mark.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// As `tree`: each path below the one before it that is its directory.
fn tree(top: &str, files: &[GuestFile]) -> String {
    let depth = |file: &GuestFile| file.path.matches('/').count();
    let mut text = format!("{top}\n");
    for (at, file) in files.iter().enumerate() {
        let own = depth(file);
        // A level goes on if a later entry of it comes before a shallower one.
        let goes_on = |level: usize| {
            files[at + 1..].iter().map(&depth).take_while(|other| *other >= level).any(|other| other == level)
        };
        let base = files.first().map_or(own, depth);
        for level in base..own {
            text.push_str(if goes_on(level) { "│   " } else { "    " });
        }
        text.push_str(if goes_on(own) { "├── " } else { "└── " });
        let link = file.link.as_deref().map(|to| format!(" -> {to}")).unwrap_or_default();
        let _ = writeln!(text, "{}{link}", name(file));
    }
    text
}

/// As lsblk: 512M, 9.5G.
fn size(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit < 5 {
        size /= 1024.0;
        unit += 1;
    }
    let text = format!("{size:.1}");
    format!("{}{}", text.strip_suffix(".0").unwrap_or(&text), ["B", "K", "M", "G", "T", "P"][unit])
}

fn block_devices(devices: &GuestDevices, fs: bool, only: Option<&str>) -> String {
    let mut rows = Vec::new();
    let last = devices.disks.len();
    for (index, disk) in devices.disks.iter().enumerate() {
        rows_of(disk, "", index + 1 == last, true, fs, only, &mut rows);
    }
    let heading: &[&str] = if fs {
        &["NAME", "SIZE", "TYPE", "FSTYPE", "LABEL", "UUID", "MOUNTPOINTS"]
    } else {
        &["NAME", "SIZE", "TYPE", "MOUNTPOINTS"]
    };
    let mut rows: Vec<Vec<String>> = rows;
    rows.insert(0, heading.iter().map(|word| (*word).to_owned()).collect());
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let fill = " ".repeat(width - cell.chars().count());
            // Sizes stand to the right.
            let (before, after) = if column == 1 { (fill.as_str(), "") } else { ("", fill.as_str()) };
            let _ = write!(line, "{before}{cell}{after} ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn rows_of(
    device: &GuestDevice,
    indent: &str,
    is_last: bool,
    is_disk: bool,
    fs: bool,
    only: Option<&str>,
    rows: &mut Vec<Vec<String>>,
) {
    let is_wanted = only.is_none_or(|only| only == device.name);
    let branch = match (is_disk || only.is_some(), is_last) {
        (true, _) => "",
        (false, true) => "└─",
        (false, false) => "├─",
    };
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut row = vec![format!("{indent}{branch}{}", device.name), size(device.bytes), device.kind.clone()];
    if fs {
        row.extend([&device.fstype, &device.label, &device.uuid].map(or_empty));
    }
    row.push(or_empty(&device.mount_point));
    if is_wanted {
        rows.push(row);
    }
    let indent = match (is_disk || only.is_some(), is_last) {
        (true, _) => indent.to_owned(),
        (false, true) => format!("{indent}  "),
        (false, false) => format!("{indent}│ "),
    };
    let only = only.filter(|_| !is_wanted);
    for (index, child) in device.children.iter().enumerate() {
        rows_of(child, &indent, index + 1 == device.children.len(), false, fs, only, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, kind: &str, mode: u16) -> GuestFile {
        let (path, kind) = (path.to_owned(), kind.to_owned());
        GuestFile { path, kind, bytes: 5, uid: 0, gid: 1000, mode, modified: 0, link: None }
    }

    #[test]
    fn a_listing_is_as_ls_prints_it() {
        let mut link = file("/bin", "link", 0o777);
        link.link = Some("usr/bin".to_owned());
        let files = [file("/tmp", "directory", 0o1777), file("/su", "file", 0o4755), link];
        let wanted = "drwxrwxrwt    0 1000 5 1970-01-01 00:00 tmp\n\
                      -rwsr-xr-x    0 1000 5 1970-01-01 00:00 su\n\
                      lrwxrwxrwx    0 1000 5 1970-01-01 00:00 bin -> usr/bin\n";
        assert_eq!(listing(&files), wanted);
    }

    #[test]
    fn a_tree_has_branches() {
        let files =
            ["/etc/a", "/etc/a/b", "/etc/a/b/c", "/etc/a/d", "/etc/e"].map(|path| file(path, "file", 0));
        assert_eq!(tree("/etc", &files), "/etc\n├── a\n│   ├── b\n│   │   └── c\n│   └── d\n└── e\n");
    }

    #[test]
    fn devices_are_as_lsblk_prints_them() {
        let device = |name: &str, kind: &str, bytes, mount: Option<&str>, children| GuestDevice {
            name: name.to_owned(),
            kind: kind.to_owned(),
            bytes,
            mount_point: mount.map(str::to_owned),
            children,
            ..GuestDevice::default()
        };
        let root = device("vg-root", "lvm", 9_663_676_416, Some("/"), Vec::new());
        let swap = device("vg-swap", "lvm", 1 << 20, Some("[SWAP]"), Vec::new());
        let parts = vec![
            device("vda1", "part", 512 << 20, Some("/boot"), Vec::new()),
            device("vda2", "part", 10_200_547_328, None, vec![root, swap]),
        ];
        let disks = vec![device("vda", "disk", 10 << 30, None, parts)];
        let devices = GuestDevices { disks, gaps: Vec::new() };
        let wanted = "NAME        SIZE TYPE MOUNTPOINTS\n\
                      vda          10G disk\n\
                      ├─vda1      512M part /boot\n\
                      └─vda2      9.5G part\n  \
                        ├─vg-root   9G lvm  /\n  \
                        └─vg-swap   1M lvm  [SWAP]\n";
        assert_eq!(block_devices(&devices, false, None), wanted);
        let only = block_devices(&devices, false, Some("vda2"));
        assert!(only.contains("\nvda2") && !only.contains("vda1"), "{only}");
    }
}
