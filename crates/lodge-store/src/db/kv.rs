//! Small values by name: settings and marks that need no table.

use rusqlite::{OptionalExtension, params};

use super::{Db, DbError};

impl Db {
    /// Sets the value of `key`.
    pub async fn set_value(&self, key: &str, value: Vec<u8>) -> Result<(), DbError> {
        let key = key.to_owned();
        self.write("set a value", move |db| {
            db.prepare_cached("INSERT OR REPLACE INTO kv (key, value) VALUES (?1, ?2)")?
                .execute(params![key, value])
                .map(|_| ())
        })
        .await
    }

    /// The value of `key`.
    pub async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, DbError> {
        let key = key.to_owned();
        self.read("read a value", move |db| {
            db.prepare_cached("SELECT value FROM kv WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// The keys that begin so, with their values.
    pub async fn values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, DbError> {
        let prefix = prefix.to_owned();
        self.read("read values", move |db| {
            let mut query = db.prepare_cached(
                "SELECT key, value FROM kv WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
            )?;
            query.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await
    }

    /// Removes `key`. `Ok(false)`: there was none.
    pub async fn remove_value(&self, key: &str) -> Result<bool, DbError> {
        let key = key.to_owned();
        self.write("remove a value", move |db| {
            db.prepare_cached("DELETE FROM kv WHERE key = ?1")?.execute([key]).map(|count| count > 0)
        })
        .await
    }
}
