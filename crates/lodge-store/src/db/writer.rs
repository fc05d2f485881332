//! The one writer: a thread that gathers waiting requests into one transaction.
//!
//! Each request runs under a savepoint, so its failure takes back its own changes only. Nobody is answered
//! before the commit: an answer means *durable*.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::DbError;

/// Requests that may wait; more wait in their callers.
const QUEUE: usize = 1024;

/// Requests in one transaction.
const GROUP_MAX: usize = 256;

/// Does the request within the open transaction, or answers at once that none could be opened.
type Request = Box<dyn FnOnce(Result<&Connection, &rusqlite::Error>) -> Option<Done> + Send>;

/// Tells the caller, once it is known whether the transaction was committed.
type Answer = Box<dyn FnOnce(Result<(), &rusqlite::Error>) + Send>;

/// A request that was run: its answer, and the error that may have ended the whole transaction.
struct Done {
    answer: Answer,
    error: Option<rusqlite::ffi::Error>,
}

/// The way to the writer thread, which ends when this is dropped and the queue is empty.
#[derive(Debug)]
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(path: &Path, connection: Connection) -> Result<Self, DbError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("lodge-db".to_owned());
        let thread = thread.spawn(move || serve(&connection, receiver)).map_err(|error| DbError::Open {
            path: path.to_owned(),
            source: rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM),
                Some(format!("cannot start the writer thread: {error}")),
            ),
        })?;
        Ok(Self { requests: Some(sender), thread: Some(thread) })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        let (sender, receiver) = oneshot::channel();
        let request: Request = Box::new(move |connection| {
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    let _ = sender.send(Err(commit_failed(what, error)));
                    return None;
                }
            };
            let outcome = act(connection);
            let error = outcome.as_ref().err().and_then(rusqlite::Error::sqlite_error).copied();
            if outcome.is_err() {
                take_back(connection);
            }
            let answer: Answer = Box::new(move |commit| {
                // A caller that no longer waits does not unmake the change.
                let _ = sender.send(match (outcome, commit) {
                    (Err(source), _) => Err(DbError::Write { what, source }),
                    (Ok(_), Err(error)) => Err(commit_failed(what, error)),
                    (Ok(value), Ok(())) => Ok(value),
                });
            });
            Some(Done { answer, error })
        });
        let stopped = DbError::Stopped { what };
        let Some(requests) = &self.requests else { return Err(stopped) };
        if requests.send(request).await.is_err() {
            return Err(stopped);
        }
        receiver.await.unwrap_or(Err(stopped))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            tracing::error!(%error, "no transaction could be begun");
            first(Err(&error));
            continue;
        }
        serve_group(connection, first, &mut requests);
    }
    // The WAL goes back into the file, so that a copy of the file alone is whole after a clean stop.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Runs what waits in the transaction that is open, commits, answers.
fn serve_group(connection: &Connection, first: Request, requests: &mut mpsc::Receiver<Request>) {
    let mut answers = Vec::new();
    let mut lost = None;
    let mut next = Some(first);
    while let Some(request) = next {
        if let Some(done) = run(connection, request) {
            answers.push(done.answer);
            lost = done.error;
        }
        // A full disk and its like end the transaction with all that is in it (SQLite, "Response To Errors
        // Within A Transaction"): nothing more may run outside of one.
        let more = answers.len() < GROUP_MAX && !connection.is_autocommit();
        next = if more { requests.try_recv().ok() } else { None };
    }
    let commit = match lost.filter(|_| connection.is_autocommit()) {
        Some(error) => Err(rusqlite::Error::SqliteFailure(error, None)),
        None => connection.execute_batch("COMMIT"),
    };
    if let Err(error) = &commit {
        tracing::error!(%error, "a transaction failed");
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    for answer in answers {
        answer(commit.as_ref().copied());
    }
}

/// Runs one request under its savepoint. `None`: it was answered already, or it panicked, which its caller
/// learns from the dropped answer.
fn run(connection: &Connection, request: Request) -> Option<Done> {
    if let Err(error) = connection.execute_batch("SAVEPOINT request") {
        request(Err(&error));
        return None;
    }
    let done = catch_unwind(AssertUnwindSafe(|| request(Ok(connection))));
    if done.is_err() {
        take_back(connection);
        tracing::error!("a database request panicked");
    }
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("RELEASE request");
    }
    done.ok().flatten()
}

fn take_back(connection: &Connection) {
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK TO request");
    }
}

fn commit_failed(what: &'static str, error: &rusqlite::Error) -> DbError {
    let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    DbError::Commit { what, detail: error.to_string(), full }
}
