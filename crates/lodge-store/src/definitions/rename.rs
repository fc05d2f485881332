//! Giving a definition another name. The name is in the document too, so two files change; a note says which
//! while they do, and [`Definitions::open`] finishes what a crash cut short.

use std::path::Path;

use super::load::list;
use super::{DefinitionError, Definitions, name};

/// The note's file; it holds `OLD\nNEW\n`.
const NOTE: &str = ".lodge-rename";

impl Definitions {
    /// Replaces the definition `old` by `xml` under the name `new`; an autostart mark goes with it. After a
    /// crash it is the one or the other.
    pub fn rename(&self, old: &str, new: &str, xml: &str) -> Result<(), DefinitionError> {
        self.check(old)?;
        self.check(new)?;
        if old == new {
            return self.put(new, xml).map(|_| ());
        }
        let noun = self.0.collection.noun();
        if self.path(new).exists() {
            return Err(DefinitionError::Taken { noun, name: new.to_owned() });
        }
        let failed = |source| DefinitionError::Write { noun, path: self.path(new), source };
        // One note per pair: two renames may run at once.
        let note = format!("{NOTE}.{}", unique());
        let marked = self.autostart(old);
        let text = format!("{old}\n{new}\n{}\n", u8::from(marked));
        self.0.dir.write(&note, text.as_bytes(), 0o600).map_err(failed)?;
        let outcome = self.put(new, xml).map(|_| ()).and_then(|()| self.finish_rename(old, new, marked));
        self.0.dir.remove(&note).map_err(failed)?;
        outcome
    }

    fn finish_rename(&self, old: &str, new: &str, marked: bool) -> Result<(), DefinitionError> {
        if marked {
            self.set_autostart(new, true)?;
        }
        if self.autostart_once(old) {
            self.set_autostart_once(new, true)?;
        }
        self.remove(old).map(|_| ())
    }

    pub(super) fn finish_renames(&self) -> Result<(), DefinitionError> {
        for file in list(self.0.dir.path())? {
            let Some(note) = file.to_str().filter(|file| file.starts_with(NOTE)) else { continue };
            let path = self.0.dir.path().join(note);
            if let Some((old, new, marked)) = read_note(&path) {
                // Without the new file the old one was not touched.
                if self.path(&new).exists() {
                    self.finish_rename(&old, &new, marked)?;
                    tracing::info!(%old, %new, "rename finished after a crash");
                }
            }
            let noun = self.0.collection.noun();
            self.0.dir.remove(note).map_err(|source| DefinitionError::Remove { noun, path, source })?;
        }
        Ok(())
    }
}

fn read_note(path: &Path) -> Option<(String, String, bool)> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    let (old, new, marked) = (lines.next()?, lines.next()?, lines.next()?);
    (name::check(&old).is_ok() && name::check(&new).is_ok()).then_some((old, new, marked == "1"))
}

fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
