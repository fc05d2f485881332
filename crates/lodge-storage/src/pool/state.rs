//! What is on disk about pools: definitions, and which of them run.
//!
//! `run/libvirt/storage/NAME.xml` is libvirt's `<poolstate>`, so that pools that run, transient ones too, are taken
//! up by the next daemon, ours or libvirtd.

use std::{fs, io, path::PathBuf};

use lodge_model::storage::Pool;
use lodge_store::{Collection, definitions::header};
use tokio::time::Instant;

use super::{Pools, document, error::PoolError, id_of, table::Slot};
use crate::limits;

impl Pools {
    /// Reads definitions and states into the tables, and looks into the pools that run, by the host's word where it
    /// has one: a crash may lie between a mount and its note.
    pub(crate) async fn load(&self) -> Result<(), PoolError> {
        let pools = self.clone();
        let read = tokio::task::spawn_blocking(move || pools.read_files());
        let running = read.await.map_err(|_| PoolError::Panicked { name: String::new() })??;
        let mut looks = tokio::task::JoinSet::new();
        let noted: Vec<_> = running.iter().map(|pool| pool.id).collect();
        let all: Vec<_> = self.tables().slots().map(Slot::handle).collect();
        for handle in all {
            let (pools, was_noted) = (self.clone(), noted.contains(&handle.id));
            looks.spawn(async move {
                if let Err(error) = pools.take_up(&handle, was_noted).await {
                    tracing::error!(pool = %handle.name, %error, "pool that ran is not usable");
                }
            });
        }
        // One that does not answer keeps nobody else: what is in it is seen when it does.
        let until = Instant::now() + limits::TAKE_UP;
        while let Ok(Some(_)) = tokio::time::timeout_at(until, looks.join_next()).await {}
        if !looks.is_empty() {
            tracing::warn!(pools = looks.len(), "pools that do not answer are looked into later");
        }
        looks.detach_all();
        Ok(())
    }

    fn read_files(&self) -> Result<Vec<super::PoolHandle>, PoolError> {
        let loaded = self.inner().definitions.load_all().map_err(PoolError::Definition)?;
        for fault in &loaded.faults {
            tracing::error!(error = fault as &dyn std::error::Error, "pool definition not read");
        }
        let mut tables = self.tables();
        for entry in loaded.entries {
            // Not judged as a new one is: other types were libvirtd's, and stay listed.
            match Pool::parse(&entry.text) {
                Ok(mut pool) if pool.name == entry.name => {
                    pool.complete();
                    let slot = Slot { is_persistent: true, autostart: entry.autostart, ..Slot::new(pool) };
                    tables.insert(slot);
                }
                Ok(_) => tracing::error!(pool = %entry.name, "definition is another pool's, left out"),
                Err(error) => tracing::error!(pool = %entry.name, %error, "definition not understood"),
            }
        }
        let mut running = Vec::new();
        for pool in self.read_states() {
            let id = id_of(&pool);
            match tables.get_mut(id) {
                Some(slot)
                    if document::write(&slot.def) == document::write(&as_defined(&pool, &slot.def)) =>
                {
                    slot.def = pool;
                }
                Some(slot) => slot.new_def = Some(std::mem::replace(&mut slot.def, pool)),
                None => tables.insert(Slot::new(pool)),
            }
            running.extend(tables.get(id).map(Slot::handle));
        }
        Ok(running)
    }

    fn read_states(&self) -> Vec<Pool> {
        let Ok(entries) = fs::read_dir(&self.inner().running) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "xml"));
        files
            .filter_map(|path| {
                let text = fs::read_to_string(&path).ok()?;
                let pool = state_of(&text);
                if pool.is_none() {
                    tracing::warn!(path = %path.display(), "state of a pool not understood");
                }
                pool
            })
            .collect()
    }

    /// Notes that a pool runs. Blocks.
    pub(crate) fn note_running(&self, pool: &Pool) -> Result<(), PoolError> {
        let inner: String =
            document::write(pool).lines().fold(String::new(), |text, line| text + "  " + line + "\n");
        let text = header::add(Collection::Pools, &pool.name, &format!("<poolstate>\n{inner}</poolstate>\n"));
        let path = self.state_file(&pool.name);
        let written = lodge_sys::fs::create_dirs_durable(&self.inner().running, 0o755)
            .and_then(|()| lodge_sys::fs::write_durable(&path, text.as_bytes(), 0o600));
        written.map_err(|source| PoolError::Note { path, source })
    }

    /// Notes that a pool runs no more. Blocks.
    pub(crate) fn note_stopped(&self, name: &str) {
        let path = self.state_file(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "state of a pool not removed"),
        }
    }

    fn state_file(&self, name: &str) -> PathBuf {
        self.inner().running.join(format!("{name}.xml"))
    }
}

/// What runs, with what only a running pool has taken from the definition.
fn as_defined(running: &Pool, defined: &Pool) -> Pool {
    let mut pool = running.clone();
    (pool.capacity, pool.allocation, pool.available) =
        (defined.capacity, defined.allocation, defined.available);
    if let (Some(target), Some(defined)) = (&mut pool.target, &defined.target) {
        target.permissions.clone_from(&defined.permissions);
    }
    pool
}

/// The pool of a `<poolstate>`.
fn state_of(text: &str) -> Option<Pool> {
    let start = text.find("<poolstate>")? + "<poolstate>".len();
    let end = text.rfind("</poolstate>")?;
    let mut pool = Pool::parse(text.get(start..end)?.trim()).ok()?;
    pool.uuid?;
    pool.complete_kept();
    Some(pool)
}

/// Completion that keeps the sizes a state has.
trait CompleteKept {
    fn complete_kept(&mut self);
}

impl CompleteKept for Pool {
    fn complete_kept(&mut self) {
        let room = document::Room::of(self);
        self.complete();
        room.note_in(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libvirtds_state_is_read() {
        let text = "<!--\nWARNING\n-->\n\n<poolstate>\n  <pool type='dir'>\n    <name>p</name>\n    \
                    <uuid>fa23c2dd-80d2-45cb-8bc7-590562011583</uuid>\n    \
                    <capacity unit='bytes'>2705</capacity>\n    <source>\n    </source>\n    <target>\n      \
                    <path>/tmp/p</path>\n    </target>\n  </pool>\n</poolstate>\n";
        let pool = state_of(text).unwrap();
        assert_eq!((pool.name.as_str(), document::Room::of(&pool).capacity), ("p", 2705));
        assert!(state_of("<poolstate><pool type='dir'><name>p</name></pool></poolstate>").is_none());
    }
}
