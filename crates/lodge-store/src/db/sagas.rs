//! Open sagas: how far each is. A saga that ended has no row. See [`crate::saga`].

use rusqlite::{Row, params};
use serde_json::Value;

use super::{Db, DbError, now_ms};

/// An open saga's row.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaRow {
    /// Its number; never used twice.
    pub id: u64,
    /// Which saga it is, such as `domain-start`.
    pub kind: String,
    /// To what it is done: an id.
    pub subject: String,
    /// The job that follows it.
    pub job: Option<u64>,
    /// How far it is: [`crate::saga::Position`] as JSON.
    pub position: Value,
    /// What its steps have found and made, as JSON.
    pub state: Value,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
}

impl Db {
    pub(crate) async fn begin_saga(
        &self,
        kind: &str,
        subject: &str,
        job: Option<u64>,
        position: Value,
        state: Value,
    ) -> Result<u64, DbError> {
        let (kind, subject, job) = (kind.to_owned(), subject.to_owned(), job.map(u64::cast_signed));
        self.write("note the saga", move |db| {
            db.prepare_cached(
                "INSERT INTO sagas (kind, subject, job, position, state, started_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                kind,
                subject,
                job,
                position.to_string(),
                state.to_string(),
                now_ms()
            ])?;
            Ok(db.last_insert_rowid().cast_unsigned())
        })
        .await
    }

    pub(crate) async fn note_saga(&self, id: u64, position: Value, state: Value) -> Result<(), DbError> {
        self.write("note the saga's step", move |db| {
            let count = db
                .prepare_cached("UPDATE sagas SET position = ?2, state = ?3 WHERE id = ?1")?
                .execute(params![id.cast_signed(), position.to_string(), state.to_string()])?;
            if count == 1 { Ok(()) } else { Err(rusqlite::Error::QueryReturnedNoRows) }
        })
        .await
    }

    pub(crate) async fn end_saga(&self, id: u64) -> Result<(), DbError> {
        self.write("note the saga's end", move |db| {
            db.prepare_cached("DELETE FROM sagas WHERE id = ?1")?.execute([id.cast_signed()]).map(|_| ())
        })
        .await
    }

    /// All open sagas, oldest first: what a new daemon has to finish or take back.
    pub async fn saga_rows(&self) -> Result<Vec<SagaRow>, DbError> {
        self.read("list the open sagas", |db| {
            let mut query = db.prepare_cached(
                "SELECT id, kind, subject, job, position, state, started_ms FROM sagas ORDER BY id",
            )?;
            query.query_map([], saga)?.collect()
        })
        .await
    }
}

fn saga(row: &Row<'_>) -> rusqlite::Result<SagaRow> {
    Ok(SagaRow {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        kind: row.get(1)?,
        subject: row.get(2)?,
        job: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        position: super::jobs::json(row, 4)?.unwrap_or(Value::Null),
        state: super::jobs::json(row, 5)?.unwrap_or(Value::Null),
        started_ms: row.get(6)?,
    })
}
