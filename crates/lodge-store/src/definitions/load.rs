//! Reading definitions: one, or all of a directory with as many threads as there are processors.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{DefinitionError, Definitions, Entry, FILE_MAX_BYTES, Loaded, Stamp, header, name};

impl Definitions {
    /// Reads all definitions.
    pub fn load_all(&self) -> Result<Loaded, DefinitionError> {
        let mut loaded = Loaded::default();
        for outcome in self.load_all_with(|entry| entry)? {
            match outcome {
                Ok(entry) => loaded.entries.push(entry),
                Err(fault) => loaded.faults.push(fault),
            }
        }
        Ok(loaded)
    }

    /// Reads all definitions and hands each to `parse` in the thread that read it. The outcomes are in
    /// the order of the names; a file that cannot be read is an error among them and is left as it is.
    pub fn load_all_with<T: Send>(
        &self,
        parse: impl Fn(Entry) -> T + Sync,
    ) -> Result<Vec<Result<T, DefinitionError>>, DefinitionError> {
        let names = self.names()?;
        let marked: HashSet<OsString> = list(self.0.autostart.path())?.into_iter().collect();
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(names.len() / 16 + 1);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut mine = Vec::with_capacity(names.len() / threads + 1);
            while let Some((at, name)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, names.get(at)?)))
            {
                let marked = marked.contains(std::ffi::OsStr::new(&super::file_name(name)));
                let entry = self.read_with(name, || marked && self.autostart(name));
                let stamp = entry.as_ref().ok().map(|entry| entry.stamp);
                mine.push((at, stamp, entry.map(&parse)));
            }
            mine
        };
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(join).collect()
        });
        all.sort_unstable_by_key(|(at, ..)| *at);
        let mut known = self.known();
        known.clear();
        let known_of =
            |at: usize, stamp: &Option<Stamp>| stamp.map(|stamp| (names[at].as_str().into(), stamp));
        known.extend(all.iter().filter_map(|(at, stamp, _)| known_of(*at, stamp)));
        Ok(all.into_iter().map(|(_, _, outcome)| outcome).collect())
    }

    /// The names of the definitions there are now, sorted. Files that are none are passed over.
    pub fn names(&self) -> Result<Vec<String>, DefinitionError> {
        let mut names = Vec::new();
        for file in list(self.0.dir.path())? {
            let Some(file) = file.to_str() else { continue };
            let Some(name) = file.strip_suffix(".xml") else { continue };
            if name::check(name).is_ok() {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn read(&self, name: &str) -> Result<Entry, DefinitionError> {
        self.read_with(name, || self.autostart(name))
    }

    fn read_with(&self, name: &str, autostart: impl FnOnce() -> bool) -> Result<Entry, DefinitionError> {
        let path = self.path(name);
        let (text, stamp) = read_file(&path).map_err(|source| DefinitionError::Read {
            noun: self.0.collection.noun(),
            path,
            source,
        })?;
        let (document, header_lines) = header::strip(&text);
        let text = if header_lines == 0 { text } else { document.to_owned() };
        Ok(Entry { name: name.to_owned(), text, header_lines, stamp, autostart: autostart() })
    }

    /// Removes temporary files that a crash left, ours and libvirt's, and finishes a rename it cut short.
    pub(super) fn clear_leftovers(&self) -> Result<(), DefinitionError> {
        self.finish_renames()?;
        for dir in [&self.0.dir, &self.0.autostart] {
            for file in list(dir.path())? {
                let Some(file) = file.to_str() else { continue };
                if !file.starts_with(lodge_sys::fs::TEMP_PREFIX) {
                    continue;
                }
                let path = dir.path().join(file);
                dir.remove(file).map_err(|source| DefinitionError::Remove {
                    noun: self.0.collection.noun(),
                    path: path.clone(),
                    source,
                })?;
                tracing::info!(path = %path.display(), "leftover of a crash removed");
            }
        }
        Ok(())
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub(super) fn list(path: &Path) -> Result<Vec<OsString>, DefinitionError> {
    let names = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect());
    names.map_err(|source| DefinitionError::List { path: path.to_owned(), source })
}

fn read_file(path: &Path) -> io::Result<(String, Stamp)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
    }
    if metadata.len() > FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 16 MiB"));
    }
    let mut text = String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
    (&mut file).take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok((text, Stamp::of(&metadata)))
}
