//! Which disks a change is of that are no guest's: no document names them when a crash cut it off.
//!
//! ```text
//!  ACT.disks (whole, on disk) ─▶ ACT.redo (by the editor) ─▶ the disks ─▶ ACT.redo goes ─▶ ACT.disks goes
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{GuestDisk, log_error, log_of};
use crate::error::{EngineError, Result};

const NAMES: &str = ".disks";

/// The note of one act. Dropping it takes it away, unless the change is still to be ended.
#[derive(Debug)]
pub(crate) struct ImagesLog {
    redo: PathBuf,
    names: PathBuf,
}

impl ImagesLog {
    pub(super) fn begin(logs: &Path, act: &str, disks: &[GuestDisk]) -> Result<Self> {
        let log = Self { redo: log_of(logs, act), names: names_of(logs, act) };
        let text = serde_json::to_vec(disks)
            .map_err(|error| EngineError::new(lodge_model::Kind::Internal, error.to_string()))?;
        fs::create_dir_all(logs)
            .and_then(|()| lodge_sys::fs::write_durable(&log.names, &text, 0o600))
            .map_err(|error| log_error("write", &log.names, &error))?;
        Ok(log)
    }

    pub fn path(&self) -> &Path {
        &self.redo
    }
}

impl Drop for ImagesLog {
    fn drop(&mut self) {
        // The log of a change that could not be ended says nothing without its disks.
        if self.redo.exists() {
            return;
        }
        if let Err(error) = lodge_sys::fs::remove_durable(&self.names) {
            tracing::warn!(path = %self.names.display(), %error, "the note of an act that is over stays");
        }
    }
}

/// The disks of an act, if it was one on image files.
pub(super) fn named(logs: &Path, act: &str) -> Result<Option<Vec<GuestDisk>>> {
    read(&names_of(logs, act))
}

/// The notes of acts that a crash cut off before they changed anything go.
pub(super) fn forget_unbegun(logs: &Path) {
    for act in acts(logs) {
        if !log_of(logs, &act).exists() {
            drop(lodge_sys::fs::remove_durable(&names_of(logs, &act)));
        }
    }
}

/// Whether a file is being changed by an act on image files, or such a change was cut off: the log of it.
pub(in crate::identity) fn is_in_change(logs: &Path, paths: &[PathBuf]) -> Option<PathBuf> {
    let acts = acts(logs);
    if acts.is_empty() {
        return None;
    }
    let paths: Vec<PathBuf> = paths.iter().map(|path| real(path)).collect();
    acts.into_iter().find_map(|act| {
        // What cannot be read may be about any of them.
        let hits = read(&names_of(logs, &act)).map_or(true, |disks| {
            disks.is_some_and(|disks| disks.iter().any(|disk| paths.contains(&real(&disk.path))))
        });
        hits.then(|| log_of(logs, &act))
    })
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn acts(logs: &Path) -> Vec<String> {
    let entries = fs::read_dir(logs).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(NAMES).map(str::to_owned)).collect()
}

fn names_of(logs: &Path, act: &str) -> PathBuf {
    logs.join(format!("{act}{NAMES}"))
}

fn read(path: &Path) -> Result<Option<Vec<GuestDisk>>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| log_error("read", path, &error))?,
    };
    let disks = serde_json::from_slice(&text).map_err(|error| {
        EngineError::new(lodge_model::Kind::Corrupt, format!("`{}` names no disks: {error}", path.display()))
    })?;
    Ok(Some(disks))
}
