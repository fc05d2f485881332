//! A binary's answers on disk: a small JSON file, good while binary and modules are the same.
//!
//! Losing or spoiling it costs a fifth of a second, so it is written without sync and any fault means "not known".

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Capabilities;

/// To be raised whenever the questions or the shape of the answers change.
const FORMAT: u32 = 1;

/// Which binary, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    format: u32,
    binary: PathBuf,
    size_bytes: u64,
    changed: (i64, i64),
    /// A package of modules (SPICE) can come and go without the binary changing.
    modules_changed: Option<(i64, i64)>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    key: Key,
    capabilities: Capabilities,
}

impl Key {
    pub(super) fn of(binary: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(binary)?;
        let modules =
            ["/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib/aarch64-linux-gnu/qemu", "/usr/lib64/qemu-kvm"];
        let modules_changed = modules.iter().find_map(|dir| std::fs::metadata(dir).ok());
        Ok(Self {
            format: FORMAT,
            binary: binary.to_owned(),
            size_bytes: meta.size(),
            changed: (meta.mtime(), meta.mtime_nsec()),
            modules_changed: modules_changed.map(|meta| (meta.mtime(), meta.mtime_nsec())),
        })
    }

    /// One file per binary: a changed binary's answers take the place of the old ones.
    fn file(&self, dir: &Path) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        self.binary.hash(&mut hasher);
        dir.join(format!("qemu-{:016x}.json", hasher.finish()))
    }
}

pub(super) fn load(dir: &Path, key: &Key) -> Option<Capabilities> {
    let text = std::fs::read(key.file(dir)).ok()?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    (kept.key == *key).then_some(kept.capabilities)
}

pub(super) fn store(dir: &Path, key: &Key, capabilities: &Capabilities) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let kept = Kept { key: key.clone(), capabilities: capabilities.clone() };
    let file = key.file(dir);
    let fresh = file.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&fresh, serde_json::to_vec(&kept)?)?;
    std::fs::rename(&fresh, &file)
}
