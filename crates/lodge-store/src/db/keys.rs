//! SSH keys by name. Private halves are files (0600); here is only where they are.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Db, DbError};

/// A key's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Its name.
    pub name: String,
    /// The public half, as in `authorized_keys`.
    pub public: String,
    /// The private half's file, if it is ours.
    pub private_path: Option<PathBuf>,
    /// When it was noted, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Db {
    /// Notes a key, new or replaced.
    pub async fn put_key(&self, key: KeyRow) -> Result<(), DbError> {
        self.write("note the key", move |db| {
            let private = key.private_path.map(|path| path.to_string_lossy().into_owned());
            db.prepare_cached(
                "INSERT OR REPLACE INTO keys (name, public, private_path, created_ms) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![key.name, key.public, private, key.created_ms])
            .map(|_| ())
        })
        .await
    }

    /// Forgets a key; its file is the caller's. `Ok(false)`: there was none.
    pub async fn remove_key(&self, name: &str) -> Result<bool, DbError> {
        let name = name.to_owned();
        self.write("forget the key", move |db| {
            db.prepare_cached("DELETE FROM keys WHERE name = ?1")?.execute([name]).map(|count| count > 0)
        })
        .await
    }

    /// One key.
    pub async fn key(&self, name: &str) -> Result<Option<KeyRow>, DbError> {
        let name = name.to_owned();
        self.read("read the key", move |db| {
            db.prepare_cached("SELECT name, public, private_path, created_ms FROM keys WHERE name = ?1")?
                .query_row([name], key)
                .optional()
        })
        .await
    }

    /// All keys by name.
    pub async fn keys(&self) -> Result<Vec<KeyRow>, DbError> {
        self.read("list the keys", |db| {
            let mut query =
                db.prepare_cached("SELECT name, public, private_path, created_ms FROM keys ORDER BY name")?;
            query.query_map([], key)?.collect()
        })
        .await
    }
}

fn key(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        name: row.get(0)?,
        public: row.get(1)?,
        private_path: row.get::<_, Option<String>>(2)?.map(PathBuf::from),
        created_ms: row.get(3)?,
    })
}
