//! What changed, in the order it changed. A reader that was away asks for what came after the last number it
//! saw; numbers are never used twice, and the oldest events go when there are too many.

use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Db, DbError, now_ms};

/// An event's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its place in the order.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// What happened, such as `domain.started`.
    pub kind: String,
    /// To what: an id.
    pub subject: String,
    /// The particulars.
    pub data: Value,
}

/// Events after a number.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// In order.
    pub events: Vec<EventRow>,
    /// The oldest number that is still kept; asked for earlier ones, a reader has missed some.
    pub oldest: Option<u64>,
}

/// Events that are kept.
pub const EVENTS_KEPT: i64 = 20_000;

/// So many at least come between two trims.
const TRIM_EVERY: i64 = 256;

impl Db {
    /// Appends an event and gives it its number, in the order of the calls' commits.
    pub async fn append_event(&self, kind: &str, subject: &str, data: Value) -> Result<EventRow, DbError> {
        let (kind, subject) = (kind.to_owned(), subject.to_owned());
        self.write("note the event", move |db| {
            let time_ms = now_ms();
            db.prepare_cached("INSERT INTO events (time_ms, kind, subject, data) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![time_ms, kind, subject, data.to_string()])?;
            let seq = db.last_insert_rowid();
            if seq % TRIM_EVERY == 0 {
                db.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([seq - EVENTS_KEPT])?;
            }
            Ok(EventRow { seq: seq.cast_unsigned(), time_ms, kind, subject, data })
        })
        .await
    }

    /// Up to `limit` events with numbers above `after`.
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<EventPage, DbError> {
        self.read("read the events", move |db| {
            let oldest: Option<i64> =
                db.prepare_cached("SELECT min(seq) FROM events")?.query_row([], |row| row.get(0))?;
            let mut query = db.prepare_cached(
                "SELECT seq, time_ms, kind, subject, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let events = query.query_map(params![after, limit], |row| {
                Ok(EventRow {
                    seq: row.get::<_, i64>(0)?.cast_unsigned(),
                    time_ms: row.get(1)?,
                    kind: row.get(2)?,
                    subject: row.get(3)?,
                    data: super::jobs::json(row, 4)?.unwrap_or(Value::Null),
                })
            })?;
            Ok(EventPage {
                events: events.collect::<rusqlite::Result<_>>()?,
                oldest: oldest.map(i64::cast_unsigned),
            })
        })
        .await
    }

    /// The latest event's number; 0 before the first.
    pub async fn last_event(&self) -> Result<u64, DbError> {
        self.read("read the latest event's number", |db| {
            let seq: Option<i64> =
                db.prepare_cached("SELECT max(seq) FROM events")?.query_row([], |row| row.get(0))?;
            Ok(seq.unwrap_or(0).cast_unsigned())
        })
        .await
    }
}
