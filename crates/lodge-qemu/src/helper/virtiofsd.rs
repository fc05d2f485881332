//! What virtiofsd is told, and which one the host has.
//!
//! Two programs have that name: QEMU's own until 8.0 takes one list after `-o`, the later one an option each and says
//! so of itself (`separate-options`). Sources: both programs' `--help`, QEMU's docs/interop/vhost-user.json.
//! Deliberately absent: `-o` of the later one, whose list splits a directory's name at a comma.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use lodge_model::domain::filesystem::{CacheMode, Filesystem, IdRange};
use lodge_model::xml::OnOff;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::claims::FdNumber;

/// Where programs for vhost-user say what they are; a later directory stands for an earlier one.
const DIRECTORIES: [&str; 2] = ["/usr/share/qemu/vhost-user", "/etc/qemu/vhost-user"];
/// The longest file that is taken for a descriptor.
const LONGEST_BYTES: u64 = 64 << 10;
/// What a program says of itself if each option is a word.
const SEPARATE: &str = "separate-options";
/// `VHOST_USER_GET_FEATURES`, and the version that each message names.
const GET_FEATURES: [u32; 3] = [1, 1, 0];

/// How a virtiofsd is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A list after `-o`.
    List,
    /// An option each.
    Separate,
}

impl Dialect {
    /// That of the program which answered `--print-capabilities` so.
    pub fn of(capabilities: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            features: Vec<String>,
        }
        let said: Option<Said> = serde_json::from_slice(capabilities).ok();
        let is_separate = said.is_some_and(|said| said.features.iter().any(|feature| feature == SEPARATE));
        if is_separate { Self::Separate } else { Self::List }
    }
}

/// The arguments for one directory; the error names the child of `<filesystem>` that this program cannot do.
pub fn arguments(
    filesystem: &Filesystem,
    directory: &str,
    dialect: Dialect,
    socket: FdNumber,
) -> Result<Vec<String>, String> {
    let mut words = vec![format!("--fd={socket}")];
    match dialect {
        Dialect::List => list(&mut words, filesystem, directory)?,
        Dialect::Separate => separate(&mut words, filesystem, directory)?,
    }
    let binary = filesystem.binary.as_deref();
    if let Some(pool) = binary.and_then(|binary| binary.thread_pool.as_ref()) {
        words.push(format!("--thread-pool-size={}", pool.size));
    }
    if let Some(files) = binary.and_then(|binary| binary.open_files.as_ref()) {
        words.push(format!("--rlimit-nofile={}", files.max));
    }
    Ok(words)
}

fn list(words: &mut Vec<String>, filesystem: &Filesystem, directory: &str) -> Result<(), String> {
    if filesystem.read_only {
        return Err("readonly: this virtiofsd lets every guest write".to_owned());
    }
    if filesystem.idmap.is_some() {
        return Err("idmap: this virtiofsd maps no users".to_owned());
    }
    // fuse_opt's escape.
    let mut all = format!("source={}", directory.replace('\\', "\\\\").replace(',', "\\,"));
    let mut add = |word: &str| {
        all.push(',');
        all.push_str(word);
    };
    if let Some(binary) = filesystem.binary.as_deref() {
        if let Some(cache) = &binary.cache {
            add(&format!("cache={}", cache.mode));
        }
        if let Some(sandbox) = &binary.sandbox {
            add(&format!("sandbox={}", sandbox.mode));
        }
        let switches =
            [("xattr", binary.xattr), ("flock", binary.lock.flock), ("posix_lock", binary.lock.posix)];
        for (name, switch) in switches {
            match switch {
                Some(OnOff::On) => add(name),
                Some(OnOff::Off) => add(&format!("no_{name}")),
                None => {}
            }
        }
    }
    words.extend(["-o".to_owned(), all]);
    Ok(())
}

fn separate(words: &mut Vec<String>, filesystem: &Filesystem, directory: &str) -> Result<(), String> {
    words.push(format!("--shared-dir={directory}"));
    if let Some(binary) = filesystem.binary.as_deref() {
        if [binary.lock.flock, binary.lock.posix].contains(&Some(OnOff::On)) {
            return Err("binary/lock: this virtiofsd takes no locks on the host".to_owned());
        }
        if let Some(cache) = &binary.cache {
            let mode = match cache.mode {
                CacheMode::None => "never",
                CacheMode::Always => "always",
            };
            words.push(format!("--cache={mode}"));
        }
        if let Some(sandbox) = &binary.sandbox {
            words.push(format!("--sandbox={}", sandbox.mode));
        }
        if binary.xattr == Some(OnOff::On) {
            words.push("--xattr".to_owned());
        }
    }
    if filesystem.read_only {
        words.push("--readonly".to_owned());
    }
    let range = |IdRange { start, target, count, .. }: &IdRange| format!(":{start}:{target}:{count}:");
    if let Some(map) = filesystem.idmap.as_deref() {
        words.extend(map.users.iter().map(|users| format!("--uid-map={}", range(users))));
        words.extend(map.groups.iter().map(|groups| format!("--gid-map={}", range(groups))));
    }
    Ok(())
}

/// The first program that the host's descriptors name for file systems.
pub fn installed() -> Option<PathBuf> {
    first(&DIRECTORIES.map(Path::new))
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "type")]
    kind: String,
    binary: PathBuf,
}

fn first(directories: &[&Path]) -> Option<PathBuf> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                files.insert(entry.file_name(), entry.path());
            }
        }
    }
    let mut found = files.values().filter_map(|path| descriptor(path));
    found.find(|descriptor| descriptor.kind == "fs").map(|descriptor| descriptor.binary)
}

fn descriptor(path: &Path) -> Option<Descriptor> {
    let length = std::fs::metadata(path).ok()?.len();
    if length == 0 || length > LONGEST_BYTES {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "a vhost-user descriptor is not understood"),
        )
        .ok()
}

/// Asks a vhost-user program what it can do: it is up when it answers. QEMU asks again.
pub async fn greet(socket: &mut UnixStream) -> io::Result<u64> {
    let asked: Vec<u8> = GET_FEATURES.iter().flat_map(|word| word.to_ne_bytes()).collect();
    socket.write_all(&asked).await?;
    let (mut header, mut features) = ([0; 12], [0; 8]);
    socket.read_exact(&mut header).await?;
    socket.read_exact(&mut features).await?;
    Ok(u64::from_ne_bytes(features))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_model::domain::Domain;

    fn filesystem(rest: &str) -> Filesystem {
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>\
             <filesystem type='mount'><driver type='virtiofs'/><source dir='/a,b'/><target dir='t'/>{rest}\
             </filesystem></devices></domain>"
        );
        Domain::parse(&text).unwrap().devices.filesystems.remove(0)
    }

    fn told(rest: &str, dialect: Dialect) -> Result<String, String> {
        let words = arguments(&filesystem(rest), "/a,b", dialect, FdNumber::fixed(7));
        words.map(|words| words.join(" "))
    }

    const ALL: &str = "<binary path='/v' xattr='on'><cache mode='none'/><sandbox mode='chroot'/>\
        <thread_pool size='16'/><openfiles max='1000'/></binary>";

    #[test]
    fn each_program_is_told_in_its_own_way() {
        assert_eq!(told("", Dialect::List).unwrap(), "--fd=7 -o source=/a\\,b");
        assert_eq!(told("", Dialect::Separate).unwrap(), "--fd=7 --shared-dir=/a,b");
        assert_eq!(
            told(ALL, Dialect::List).unwrap(),
            "--fd=7 -o source=/a\\,b,cache=none,sandbox=chroot,xattr --thread-pool-size=16 --rlimit-nofile=1000"
        );
        assert_eq!(
            told(ALL, Dialect::Separate).unwrap(),
            "--fd=7 --shared-dir=/a,b --cache=never --sandbox=chroot --xattr --thread-pool-size=16 \
             --rlimit-nofile=1000"
        );
        let locks = "<binary><lock posix='on' flock='off'/></binary>";
        assert_eq!(told(locks, Dialect::List).unwrap(), "--fd=7 -o source=/a\\,b,no_flock,posix_lock");
        assert!(told(locks, Dialect::Separate).unwrap_err().starts_with("binary/lock: "));
        let map =
            "<idmap><uid start='0' target='1000' count='9'/><gid start='0' target='2000' count='8'/></idmap>";
        assert!(told(map, Dialect::List).unwrap_err().starts_with("idmap: "));
        assert_eq!(
            told(&format!("{map}<readonly/>"), Dialect::Separate).unwrap(),
            "--fd=7 --shared-dir=/a,b --readonly --uid-map=:0:1000:9: --gid-map=:0:2000:8:"
        );
        assert!(told("<readonly/>", Dialect::List).unwrap_err().starts_with("readonly: "));
    }

    #[test]
    fn a_program_says_which_way_is_its_own() {
        assert_eq!(Dialect::of(b"{ \"type\": \"fs\" }\n"), Dialect::List);
        assert_eq!(Dialect::of(b"{\"type\":\"fs\",\"features\":[\"separate-options\"]}"), Dialect::Separate);
        assert_eq!(Dialect::of(b"usage:"), Dialect::List);
    }

    #[test]
    fn the_first_descriptor_for_file_systems_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (usr, etc) = (dir.path().join("usr"), dir.path().join("etc"));
        let write = |dir: &Path, name: &str, kind: &str, binary: &str| {
            std::fs::create_dir_all(dir).unwrap();
            let text = format!(r#"{{"description": "", "type": "{kind}", "binary": "{binary}"}}"#);
            std::fs::write(dir.join(name), text).unwrap();
        };
        assert_eq!(first(&[&usr, &etc]), None);
        write(&usr, "10-gpu.json", "gpu", "/gpu");
        write(&usr, "50-fs.json", "fs", "/usr/fs");
        write(&usr, "60-fs.json", "fs", "/usr/other");
        assert_eq!(first(&[&usr, &etc]), Some("/usr/fs".into()));
        write(&etc, "50-fs.json", "fs", "/etc/fs");
        assert_eq!(first(&[&usr, &etc]), Some("/etc/fs".into()));
        std::fs::write(etc.join("50-fs.json"), "").unwrap();
        assert_eq!(first(&[&usr, &etc]), Some("/usr/other".into()));
    }
}
