//! The log of a saga: a row of the database, one durable transaction per note.

use std::fmt;

use serde_json::Value;

use super::{Context, Position};
use crate::{Db, DbError};

/// A saga's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SagaId(pub u64);

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where notes go. In the product it is [`DbLog`].
pub trait Log: Send {
    /// Makes it durable where the saga stands, with the context's saved part.
    fn note(
        &mut self,
        position: &Position,
        saved: &Value,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Closes the saga: nothing of it is to be done or taken back any more.
    fn end(&mut self) -> impl Future<Output = Result<(), DbError>> + Send;
}

/// A saga's row in the database.
#[derive(Debug)]
pub struct DbLog {
    db: Db,
    id: SagaId,
}

/// A saga that an earlier daemon left.
#[derive(Debug)]
pub struct OpenSaga {
    /// Which saga it is, such as `domain-start`.
    pub kind: String,
    /// To what it is done: an id.
    pub subject: String,
    /// The job that follows it.
    pub job: Option<u64>,
    /// Where it stands.
    pub position: Position,
    /// The context's saved part.
    pub saved: Value,
    /// Its log, to take it up with.
    pub log: DbLog,
}

/// Notes that a saga begins. Nothing of it may be done before this returns.
pub async fn begin<C: Context>(
    db: &Db,
    kind: &str,
    subject: &str,
    job: Option<u64>,
    context: &C,
) -> Result<DbLog, DbError> {
    let position = to_json(&Position::Forward { at: 0 });
    let id = db.begin_saga(kind, subject, job, position, context.saved()).await?;
    Ok(DbLog { db: db.clone(), id: SagaId(id) })
}

/// The sagas that an earlier daemon left, oldest first.
pub async fn open_sagas(db: &Db) -> Result<Vec<OpenSaga>, DbError> {
    let open = |row: crate::db::sagas::SagaRow| {
        let position = serde_json::from_value(row.position).map_err(|error| DbError::Row {
            what: "list the open sagas",
            subject: format!("saga {} ({} of {})", row.id, row.kind, row.subject),
            detail: error.to_string(),
        })?;
        let log = DbLog { db: db.clone(), id: SagaId(row.id) };
        Ok(OpenSaga { kind: row.kind, subject: row.subject, job: row.job, position, saved: row.state, log })
    };
    db.saga_rows().await?.into_iter().map(open).collect()
}

impl DbLog {
    /// The saga's number.
    pub fn id(&self) -> SagaId {
        self.id
    }
}

impl Log for DbLog {
    async fn note(&mut self, position: &Position, saved: &Value) -> Result<(), DbError> {
        self.db.note_saga(self.id.0, to_json(position), saved.clone()).await
    }

    async fn end(&mut self) -> Result<(), DbError> {
        self.db.end_saga(self.id.0).await
    }
}

fn to_json(position: &Position) -> Value {
    serde_json::to_value(position).expect("a position has string keys only")
}
