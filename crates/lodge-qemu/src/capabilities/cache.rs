//! A binary's answers on disk: small JSON files, good while binary, modules and what else decides are the same.
//!
//! A file appears whole or not at all. Any fault of one (torn, another binary's, another shape's) means "not known": it
//! is asked again, and written anew.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// To be raised whenever the questions or the shape of the answers change.
const FORMAT: u32 = 5;

/// Which question to which binary, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    format: u32,
    question: String,
    binary: PathBuf,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    /// A packager sets the time of modification as it likes; this one is the kernel's.
    changed: (i64, i64),
    /// A package of modules (SPICE) can come and go without the binary changing.
    modules_changed: Option<(i64, i64)>,
    /// What of the host decides beside the binary: for KVM its kernel and its processor.
    host: Option<String>,
}

#[derive(Serialize)]
struct Kept<'a, T> {
    key: &'a Key,
    answers: &'a T,
}

#[derive(Deserialize)]
struct Found<T> {
    key: Key,
    answers: T,
}

impl Key {
    pub(super) fn of(binary: &Path, question: &str, host: Option<String>) -> io::Result<Self> {
        let meta = std::fs::metadata(binary)?;
        let modules =
            ["/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib/aarch64-linux-gnu/qemu", "/usr/lib64/qemu-kvm"];
        let modules_changed = modules.iter().find_map(|dir| std::fs::metadata(dir).ok());
        Ok(Self {
            format: FORMAT,
            question: question.to_owned(),
            binary: binary.to_owned(),
            inode: meta.ino(),
            size_bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            modules_changed: modules_changed.map(|meta| (meta.mtime(), meta.mtime_nsec())),
            host,
        })
    }

    /// One file per binary and question: a changed binary's answers take the place of the old ones.
    fn file(&self, dir: &Path) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        self.binary.hash(&mut hasher);
        dir.join(format!("qemu-{:016x}-{}.json", hasher.finish(), self.question))
    }
}

pub(super) fn load<T: DeserializeOwned>(dir: &Path, key: &Key) -> Option<T> {
    let text = std::fs::read(key.file(dir)).ok()?;
    let found: Found<T> = serde_json::from_slice(&text).ok()?;
    (found.key == *key).then_some(found.answers)
}

/// Keeps the answers; a fault is told and costs no more than another question next time.
pub(super) fn keep<T: Serialize>(dir: Option<&Path>, key: &Key, answers: &T) {
    let Some(dir) = dir else { return };
    let kept = serde_json::to_vec(&Kept { key, answers }).map_err(io::Error::from).and_then(|text| {
        lodge_sys::fs::create_dirs_durable(dir, 0o755)?;
        lodge_sys::fs::write_durable(&key.file(dir), &text, 0o644)
    });
    if let Err(error) = kept {
        tracing::warn!(dir = %dir.display(), %error, "QEMU's capabilities not kept");
    }
}

/// What decides beside the binary what KVM gives a guest of the processor: the kernel, the module's setting of nested
/// guests, and the processor with its microcode.
pub(super) fn host() -> String {
    let uname = rustix::system::uname();
    let mut told = format!("{} {}", uname.release().to_string_lossy(), uname.version().to_string_lossy());
    for module in ["kvm_intel", "kvm_amd"] {
        let nested = std::fs::read_to_string(format!("/sys/module/{module}/parameters/nested"));
        told += &nested.map(|nested| format!(" {module} nested {}", nested.trim())).unwrap_or_default();
    }
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let decides = ["vendor_id", "cpu family", "model", "stepping", "microcode", "flags"];
    let first = processors.lines().take_while(|line| !line.is_empty());
    let mut hasher = DefaultHasher::new();
    for line in first.filter(|line| decides.iter().any(|name| line.starts_with(name))) {
        line.hash(&mut hasher);
    }
    format!("{told} processor {:016x}", hasher.finish())
}
