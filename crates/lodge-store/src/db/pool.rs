//! The readers' connections: opened when needed, kept for the next, at most a few idle.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::{DbError, schema};

/// How long a connection waits for another's lock. Only a checkpoint or an outside tool holds one.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(5);

const IDLE_MAX: usize = 4;

/// Read-only connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Runs `query` on a connection of its own. A connection whose query failed is not used again.
    pub(super) fn with<T>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        let failed = |source| DbError::Read { what, source };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| self.connect(), Ok).map_err(failed)?;
        let outcome = query(&connection).map_err(failed)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(outcome)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&self.path, schema::flags(false))?;
        connection.busy_timeout(BUSY_WAIT)?;
        // A small cache: memory at rest counts, and the rows are few.
        connection.pragma_update(None, "cache_size", -256)?;
        Ok(connection)
    }
}
