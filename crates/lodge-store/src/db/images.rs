//! Images that guests are cloned from: what is known of each file.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Db, DbError};

/// An image's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRow {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// `qcow2` or `raw`.
    pub format: String,
    /// What the file takes on disk.
    pub size_bytes: u64,
    /// How large the guest's disk is.
    pub virtual_bytes: u64,
    /// The file's SHA-256, hexadecimal.
    pub sha256: String,
    /// Where it is from: a recipe's name, a file.
    pub source: String,
    /// What else is known: packages, default user, …
    pub details: Value,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

const COLUMNS: &str = "name, path, format, size_bytes, virtual_bytes, sha256, source, details, created_ms";

impl Db {
    /// Notes an image, new or replaced.
    pub async fn put_image(&self, image: ImageRow) -> Result<(), DbError> {
        self.write("note the image", move |db| {
            db.prepare_cached(&format!(
                "INSERT OR REPLACE INTO images ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            ))?
            .execute(params![
                image.name,
                image.path.to_string_lossy(),
                image.format,
                image.size_bytes.cast_signed(),
                image.virtual_bytes.cast_signed(),
                image.sha256,
                image.source,
                image.details.to_string(),
                image.created_ms,
            ])
            .map(|_| ())
        })
        .await
    }

    /// Forgets an image. `Ok(false)`: there was none.
    pub async fn remove_image(&self, name: &str) -> Result<bool, DbError> {
        let name = name.to_owned();
        self.write("forget the image", move |db| {
            db.prepare_cached("DELETE FROM images WHERE name = ?1")?.execute([name]).map(|count| count > 0)
        })
        .await
    }

    /// One image.
    pub async fn image(&self, name: &str) -> Result<Option<ImageRow>, DbError> {
        let name = name.to_owned();
        self.read("read the image", move |db| row_of(db, &name)).await
    }

    /// One image, for a thread that may wait: it is read there, and no other thread is woken.
    pub fn image_here(&self, name: &str) -> Result<Option<ImageRow>, DbError> {
        self.0.readers.with("read the image", |db| row_of(db, name))
    }

    /// All images by name.
    pub async fn images(&self) -> Result<Vec<ImageRow>, DbError> {
        self.read("list the images", |db| {
            let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM images ORDER BY name"))?;
            query.query_map([], image)?.collect()
        })
        .await
    }
}

fn row_of(db: &Connection, name: &str) -> rusqlite::Result<Option<ImageRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE name = ?1"))?
        .query_row([name], image)
        .optional()
}

fn image(row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    Ok(ImageRow {
        name: row.get(0)?,
        path: PathBuf::from(row.get::<_, String>(1)?),
        format: row.get(2)?,
        size_bytes: row.get::<_, i64>(3)?.cast_unsigned(),
        virtual_bytes: row.get::<_, i64>(4)?.cast_unsigned(),
        sha256: row.get(5)?,
        source: row.get(6)?,
        details: super::jobs::json(row, 7)?.unwrap_or(Value::Null),
        created_ms: row.get(8)?,
    })
}
