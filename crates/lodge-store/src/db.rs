//! The database: everything durable that is not a libvirt document.
//!
//! ```text
//!  callers ──▶ bounded queue ──▶ writer thread: BEGIN · savepoint per request · COMMIT (one fsync) ──▶ answers
//!  callers ──▶ readers' pool (WAL: readers never wait for the writer)
//! ```
//!
//! SQLite in WAL mode with `synchronous=FULL`: an answered write survives the host's crash. Requests that
//! wait at the same moment share one transaction, and each is told after the commit. A request that fails
//! takes back its own changes only.
//!
//! A table has one file here with its rows as types; nothing outside sees SQL. A database of a newer schema,
//! of another program, or broken, is refused with its reason and never changed or deleted.

pub mod disks;
mod error;
pub mod events;
pub mod identities;
pub mod images;
pub mod jobs;
pub mod kv;
mod pool;
pub mod sagas;
mod schema;
pub mod templates;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use error::DbError;
use rusqlite::Connection;

/// The open database. Cheap to clone; the writer ends with the last clone.
#[derive(Debug, Clone)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: writer::Writer,
    readers: pool::Readers,
}

impl Db {
    /// Opens the file, makes it if it is missing (0600), and brings it to this program's schema.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let connection = schema::open(path)?;
        let writer = writer::Writer::start(path, connection)?;
        let readers = pool::Readers::new(path);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), writer, readers })))
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Runs `act` in the writer's next transaction and returns after its commit. `what` names the act in
    /// errors: "note the saga".
    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        self.0.writer.write(what, act).await
    }

    /// Runs `query` on one of the readers.
    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        let inner = Arc::clone(&self.0);
        let outcome = tokio::task::spawn_blocking(move || inner.readers.with(what, query)).await;
        outcome.unwrap_or_else(|_| Err(DbError::Stopped { what }))
    }
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
