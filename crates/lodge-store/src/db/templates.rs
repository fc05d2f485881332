//! Templates of guests: master copies, by name and version.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Db, DbError};

/// One version of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateRow {
    /// Its name.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// The guest it was made of.
    pub source: String,
    /// libvirt's document of a guest made of it.
    pub document: String,
    /// Its own disks, as JSON.
    pub disks: Value,
    /// Its UEFI variables.
    pub nvram: Option<PathBuf>,
    /// What was done inside, as JSON.
    pub details: Value,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

const COLUMNS: &str = "name, version, source, document, disks, nvram, details, created_ms";

impl Db {
    /// Notes a version, new or replaced.
    pub async fn put_guest_template(&self, row: TemplateRow) -> Result<(), DbError> {
        self.write("note the template", move |db| {
            db.prepare_cached(&format!(
                "INSERT OR REPLACE INTO guest_templates ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            ))?
            .execute(params![
                row.name,
                row.version,
                row.source,
                row.document,
                row.disks.to_string(),
                row.nvram.map(|path| path.to_string_lossy().into_owned()),
                row.details.to_string(),
                row.created_ms,
            ])
            .map(|_| ())
        })
        .await
    }

    /// Forgets a version. `Ok(false)`: there was none.
    pub async fn remove_guest_template(&self, name: &str, version: u32) -> Result<bool, DbError> {
        let name = name.to_owned();
        self.write("forget the template", move |db| {
            db.prepare_cached("DELETE FROM guest_templates WHERE name = ?1 AND version = ?2")?
                .execute(params![name, version])
                .map(|count| count > 0)
        })
        .await
    }

    /// A version of a template, or its newest.
    pub async fn guest_template(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<TemplateRow>, DbError> {
        let name = name.to_owned();
        self.read("read the template", move |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM guest_templates WHERE name = ?1 AND (?2 IS NULL OR version = ?2)
                 ORDER BY version DESC LIMIT 1"
            ))?
            .query_row(params![name, version], template)
            .optional()
        })
        .await
    }

    /// All versions of all templates, by name, the newest first.
    pub async fn guest_templates(&self) -> Result<Vec<TemplateRow>, DbError> {
        self.read("list the templates", |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM guest_templates ORDER BY name, version DESC"
            ))?;
            query.query_map([], template)?.collect()
        })
        .await
    }
}

fn template(row: &Row<'_>) -> rusqlite::Result<TemplateRow> {
    Ok(TemplateRow {
        name: row.get(0)?,
        version: row.get(1)?,
        source: row.get(2)?,
        document: row.get(3)?,
        disks: super::jobs::json(row, 4)?.unwrap_or(Value::Null),
        nvram: row.get::<_, Option<String>>(5)?.map(PathBuf::from),
        details: super::jobs::json(row, 6)?.unwrap_or(Value::Null),
        created_ms: row.get(7)?,
    })
}
