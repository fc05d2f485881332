//! Long acts as their callers see them. What they do lives elsewhere; a job that is still `running` when the
//! daemon starts was cut short, and is ended by [`Db::end_cut_jobs`] unless its saga goes on.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Db, DbError, now_ms};

/// A job's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its number; never used twice.
    pub id: u64,
    /// What is done, such as `image-build`.
    pub kind: String,
    /// What it is done to: a name or an id.
    pub subject: String,
    /// Who asked for it.
    pub caller: String,
    /// Where it stands.
    pub state: JobState,
    /// What it is at now, in a word or two.
    pub phase: String,
    /// How far it is: 0 to 1.
    pub progress: f64,
    /// What to tell a person now.
    pub message: String,
    /// What came of it.
    pub result: Option<Value>,
    /// Why it failed: an error document.
    pub error: Option<Value>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It goes on.
    Running,
    /// It came to its end.
    Done,
    /// It failed; the error says why.
    Failed,
    /// It was cancelled and taken back.
    Cancelled,
}

impl JobState {
    fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.text() == text)
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEnd {
    /// With this result.
    Done(Option<Value>),
    /// With this error document.
    Failed(Value),
    /// It was cancelled.
    Cancelled,
}

/// Ended jobs that are kept; the oldest go.
pub const JOBS_KEPT: i64 = 1000;

const COLUMNS: &str =
    "id, kind, subject, caller, state, phase, progress, message, result, error, started_ms, ended_ms";

impl Db {
    /// Notes a new job as running and gives it its number.
    pub async fn begin_job(&self, kind: &str, subject: &str, caller: &str) -> Result<u64, DbError> {
        let (kind, subject, caller) = (kind.to_owned(), subject.to_owned(), caller.to_owned());
        self.write("note the job", move |db| {
            db.prepare_cached(
                "INSERT INTO jobs (kind, subject, caller, state, phase, progress, message, started_ms)
                 VALUES (?1, ?2, ?3, 'running', '', 0, '', ?4)",
            )?
            .execute(params![kind, subject, caller, now_ms()])?;
            Ok(db.last_insert_rowid().cast_unsigned())
        })
        .await
    }

    /// Notes how far a running job is. Without effect on one that ended.
    pub async fn note_job(&self, id: u64, phase: &str, progress: f64, message: &str) -> Result<(), DbError> {
        let (phase, message) = (phase.to_owned(), message.to_owned());
        self.write("note the job's progress", move |db| {
            db.prepare_cached(
                "UPDATE jobs SET phase = ?2, progress = ?3, message = ?4 WHERE id = ?1 AND state = 'running'",
            )?
            .execute(params![id.cast_signed(), phase, progress.clamp(0.0, 1.0), message])
            .map(|_| ())
        })
        .await
    }

    /// Ends a running job. `Ok(false)`: it had ended, or there is none.
    pub async fn end_job(&self, id: u64, end: JobEnd) -> Result<bool, DbError> {
        self.write("note the job's end", move |db| {
            let (state, result, error) = match end {
                JobEnd::Done(result) => (JobState::Done, result, None),
                JobEnd::Failed(error) => (JobState::Failed, None, Some(error)),
                JobEnd::Cancelled => (JobState::Cancelled, None, None),
            };
            let (result, error) =
                (result.map(|value| value.to_string()), error.map(|value| value.to_string()));
            let count = db
                .prepare_cached(
                    "UPDATE jobs SET state = ?2, result = ?3, error = ?4, ended_ms = ?5,
                     progress = CASE ?2 WHEN 'done' THEN 1.0 ELSE progress END
                     WHERE id = ?1 AND state = 'running'",
                )?
                .execute(params![id.cast_signed(), state.text(), result, error, now_ms()])?;
            trim(db)?;
            Ok(count > 0)
        })
        .await
    }

    /// One job.
    pub async fn job(&self, id: u64) -> Result<Option<JobRow>, DbError> {
        self.read("read the job", move |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?
                .query_row([id.cast_signed()], job)
                .optional()
        })
        .await
    }

    /// The latest jobs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobRow>, DbError> {
        self.read("list the jobs", move |db| {
            let mut query =
                db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs ORDER BY id DESC LIMIT ?1"))?;
            query.query_map([limit], job)?.collect()
        })
        .await
    }

    /// Ends the jobs that an earlier daemon left running, but for those of open sagas, with `error`; tells
    /// which.
    pub async fn end_cut_jobs(&self, error: Value) -> Result<Vec<u64>, DbError> {
        self.write("end the jobs that were cut short", move |db| {
            let mut ended = db.prepare_cached(
                "UPDATE jobs SET state = 'failed', error = ?1, ended_ms = ?2
                 WHERE state = 'running' AND id NOT IN (SELECT job FROM sagas WHERE job IS NOT NULL)
                 RETURNING id",
            )?;
            ended
                .query_map(params![error.to_string(), now_ms()], |row| row.get::<_, i64>(0))?
                .map(|id| id.map(i64::cast_unsigned))
                .collect()
        })
        .await
    }
}

fn trim(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM jobs WHERE state <> 'running' AND id <= (SELECT max(id) FROM jobs) - ?1")?
        .execute([JOBS_KEPT])
        .map(|_| ())
}

fn job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let state: String = row.get(4)?;
    Ok(JobRow {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        kind: row.get(1)?,
        subject: row.get(2)?,
        caller: row.get(3)?,
        state: JobState::parse(&state).ok_or_else(|| damaged(4, &state))?,
        phase: row.get(5)?,
        progress: row.get(6)?,
        message: row.get(7)?,
        result: json(row, 8)?,
        error: json(row, 9)?,
        started_ms: row.get(10)?,
        ended_ms: row.get(11)?,
    })
}

/// A column of JSON that may be NULL.
pub(super) fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Value>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| damaged(column, &text))).transpose()
}

/// A column holds what this program did not write.
pub(super) fn damaged(column: usize, text: &str) -> rusqlite::Error {
    let text: String = text.chars().take(40).collect();
    let detail = format!("unexpected value {text:?}");
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, detail.into())
}
