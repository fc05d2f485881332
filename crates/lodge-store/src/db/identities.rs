//! Identities: the book of what became of them, and what was read from disks that did not change since.

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Db, DbError};

/// Entries of the book that one look shows.
const SHOWN: u32 = 10_000;

/// One act on a machine's identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityActRow {
    /// The act's own id: written twice, it is there once.
    pub id: String,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// `clone`, `template`, `reset`, `sysprep`.
    pub act: String,
    /// The machine's UUID; of a template empty.
    pub guest: String,
    /// Its name then.
    pub name: String,
    /// What it was made of.
    pub source: String,
    /// Who asked.
    pub caller: String,
    /// Each item: old, new, how it was verified. As JSON.
    pub items: Value,
    /// What was not done, and what stays shared. As JSON.
    pub warnings: Value,
}

const COLUMNS: &str = "id, time_ms, act, guest, name, source, caller, items, warnings";

impl Db {
    /// Writes an entry into the book.
    pub async fn put_identity_act(&self, row: IdentityActRow) -> Result<(), DbError> {
        self.write("note what became of an identity", move |db| {
            db.prepare_cached(&format!(
                "INSERT OR REPLACE INTO identity_acts ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            ))?
            .execute(params![
                row.id,
                row.time_ms,
                row.act,
                row.guest,
                row.name,
                row.source,
                row.caller,
                row.items.to_string(),
                row.warnings.to_string(),
            ])
            .map(|_| ())
        })
        .await
    }

    /// Takes an entry back: of an act that did not come to its end.
    pub async fn remove_identity_act(&self, id: &str) -> Result<(), DbError> {
        let id = id.to_owned();
        self.write("take back what was noted of an identity", move |db| {
            db.prepare_cached("DELETE FROM identity_acts WHERE id = ?1")?.execute([id]).map(|_| ())
        })
        .await
    }

    /// The book: of one machine, by name or UUID, or of all; the newest first.
    pub async fn identity_acts(&self, machine: Option<&str>) -> Result<Vec<IdentityActRow>, DbError> {
        let machine = machine.map(str::to_owned);
        self.read("read what became of identities", move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM identity_acts WHERE ?1 IS NULL OR guest = ?1 OR name = ?1
                 ORDER BY seq DESC LIMIT {SHOWN}"
            ))?;
            query.query_map([machine], act)?.collect()
        })
        .await
    }

    /// Keeps what was read of a subject, for as long as its disks' print is this one.
    pub async fn put_identity(&self, subject: &str, print: &str, identity: Value) -> Result<(), DbError> {
        let (subject, print) = (subject.to_owned(), print.to_owned());
        self.write("keep what was read of a disk", move |db| {
            db.prepare_cached(
                "INSERT OR REPLACE INTO identities (subject, print, identity, time_ms) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![subject, print, identity.to_string(), super::now_ms()])
            .map(|_| ())
        })
        .await
    }

    /// What was read of a subject, with the print of its disks then.
    pub async fn identity(&self, subject: &str) -> Result<Option<(String, Value)>, DbError> {
        let subject = subject.to_owned();
        self.read("look up what was read of a disk", move |db| {
            db.prepare_cached("SELECT print, identity FROM identities WHERE subject = ?1")?
                .query_row([subject], |row| {
                    Ok((row.get(0)?, super::jobs::json(row, 1)?.unwrap_or(Value::Null)))
                })
                .optional()
        })
        .await
    }

    /// All of it: subject, print, what was read.
    pub async fn identities(&self) -> Result<Vec<(String, String, Value)>, DbError> {
        self.read("look up what was read of disks", |db| {
            let mut query = db.prepare_cached("SELECT subject, print, identity FROM identities")?;
            let row = |row: &Row<'_>| {
                Ok((row.get(0)?, row.get(1)?, super::jobs::json(row, 2)?.unwrap_or(Value::Null)))
            };
            query.query_map([], row)?.collect()
        })
        .await
    }

    /// Forgets what was read of these subjects.
    pub async fn forget_identities(&self, subjects: Vec<String>) -> Result<(), DbError> {
        self.write("forget what was read of disks", move |db| {
            let mut delete = db.prepare_cached("DELETE FROM identities WHERE subject = ?1")?;
            subjects.iter().try_for_each(|subject| delete.execute([subject]).map(|_| ()))
        })
        .await
    }
}

fn act(row: &Row<'_>) -> rusqlite::Result<IdentityActRow> {
    Ok(IdentityActRow {
        id: row.get(0)?,
        time_ms: row.get(1)?,
        act: row.get(2)?,
        guest: row.get(3)?,
        name: row.get(4)?,
        source: row.get(5)?,
        caller: row.get(6)?,
        items: super::jobs::json(row, 7)?.unwrap_or(Value::Null),
        warnings: super::jobs::json(row, 8)?.unwrap_or(Value::Null),
    })
}
