//! The QEMUs for other architectures than the host's: asked what they can do when the first document or question is
//! about one, and not before. Most hosts have such programs and no guest of theirs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Handle, RuntimeFlavor};

use super::{Capabilities, ProbeError, arch_of};

/// The architectures beside x86-64 that guests run on here, as the programs of their QEMUs are named.
const PROGRAMS: [&str; 4] = ["i386", "aarch64", "arm", "riscv64"];

/// All of them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Others(Arc<Vec<Other>>);

#[derive(Debug)]
struct Other {
    binary: PathBuf,
    cache: Option<PathBuf>,
    /// `None` inside: it was asked, and is no good.
    known: OnceLock<Option<Arc<Capabilities>>>,
}

impl Others {
    /// Those that Debian's packages install; `cache`: where answers are kept.
    pub fn usual(cache: &Path) -> Self {
        let binary = |arch| PathBuf::from(format!("/usr/bin/qemu-system-{arch}"));
        Self::at(PROGRAMS.map(binary), Some(cache))
    }

    /// Programs by their paths, which need not be there (yet).
    pub fn at(binaries: impl IntoIterator<Item = PathBuf>, cache: Option<&Path>) -> Self {
        let other = |binary| Other { binary, cache: cache.map(Path::to_owned), known: OnceLock::new() };
        Self(Arc::new(binaries.into_iter().map(other).collect()))
    }

    /// The architectures that there may be programs for, in libvirt's words.
    pub fn possible(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|other| arch_of(&other.binary))
    }

    /// The one for an architecture, asked if it was not.
    pub fn of(&self, arch: &str) -> Option<&Arc<Capabilities>> {
        self.0.iter().find(|other| arch_of(&other.binary) == arch)?.capabilities()
    }

    /// The one whose program it is, asked if it was not.
    pub fn by_program(&self, is_it: impl Fn(&Path) -> bool) -> Option<&Arc<Capabilities>> {
        self.0.iter().find(|other| other.binary.exists() && is_it(&other.binary))?.capabilities()
    }

    /// All that are any good; those that were not asked are, at once.
    pub fn all(&self) -> Vec<Arc<Capabilities>> {
        let unasked = self.0.iter().filter(|other| other.known.get().is_none());
        let unasked: Vec<_> = unasked.collect();
        if unasked.len() > 1 {
            stepping_aside(|| {
                std::thread::scope(|scope| {
                    for other in &unasked {
                        scope.spawn(move || other.capabilities().is_some());
                    }
                });
            });
        }
        self.0.iter().filter_map(|other| other.capabilities().cloned()).collect()
    }
}

impl Other {
    fn capabilities(&self) -> Option<&Arc<Capabilities>> {
        if self.known.get().is_none() && !self.binary.exists() {
            return None;
        }
        self.known.get_or_init(|| stepping_aside(|| self.ask())).as_ref()
    }

    fn ask(&self) -> Option<Arc<Capabilities>> {
        // On a thread of its own: whoever asks may be within a runtime, which can wait for no other.
        let probe = || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime =
                runtime.map_err(|source| ProbeError::Channel { binary: self.binary.clone(), source })?;
            runtime.block_on(Capabilities::probe(&self.binary, self.cache.as_deref()))
        };
        match std::thread::scope(|scope| scope.spawn(probe).join()) {
            Ok(Ok(capabilities)) => Some(Arc::new(capabilities)),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(binary = %self.binary.display(), error, "no usable QEMU for this architecture");
                None
            }
            Err(_) => None,
        }
    }
}

/// Waits for `act` without keeping a runtime's other tasks waiting, where the runtime can do that.
fn stepping_aside<T>(act: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(act),
        _ => act(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_asked_nothing_and_one_that_comes_is() {
        let dir = tempfile::tempdir().unwrap();
        let others = Others::at([dir.path().join("qemu-system-arm")], None);
        assert_eq!(others.possible().collect::<Vec<_>>(), ["armv7l"]);
        assert!(others.of("armv7l").is_none() && others.all().is_empty());
        std::fs::write(dir.path().join("qemu-system-arm"), "no program").unwrap();
        assert!(others.0[0].known.get().is_none(), "nobody has asked");
        assert!(others.of("riscv64").is_none() && others.0[0].known.get().is_none());
        assert!(others.of("armv7l").is_none() && others.0[0].known.get().is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_asked_within_a_runtime_too() {
        let binary = PathBuf::from("/usr/bin/qemu-system-i386");
        if !binary.exists() {
            return eprintln!("skipped: there is no QEMU for i386");
        }
        let cache = tempfile::tempdir().unwrap();
        let others = Others::at([binary], Some(cache.path()));
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "nobody has asked");
        assert_eq!(others.of("i686").unwrap().arch(), "i686");
        assert_eq!(others.all().len(), 1);
        assert!(std::fs::read_dir(cache.path()).unwrap().count() > 0);
    }
}
