//! What can go wrong with the database, and what to do about it.

use std::path::PathBuf;

use lodge_model::Kind;
use rusqlite::ErrorCode;

/// A failed act on the database.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they are")]
pub enum DbError {
    /// The file could not be opened or made.
    #[error("cannot open the database `{}`", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    /// A later program has been here.
    #[error("the database `{}` has schema {found}, this program knows up to {known}", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// It is somebody else's database.
    #[error("`{}` is a database of another program (application id {found:#x})", path.display())]
    Foreign { path: PathBuf, found: i64 },
    /// It is damaged, or no database at all.
    #[error("the database `{}` is damaged: {detail}", path.display())]
    Corrupt { path: PathBuf, detail: String },
    /// It could not be brought to this program's schema; it is as before.
    #[error("cannot bring the database `{}` from schema {from} to {to}", path.display())]
    Migrate { path: PathBuf, from: i64, to: i64, source: rusqlite::Error },
    /// A change did not happen.
    #[error("cannot {what}")]
    Write { what: &'static str, source: rusqlite::Error },
    /// The transaction that held the change did not commit.
    #[error("cannot {what}: the transaction failed: {detail}")]
    Commit { what: &'static str, detail: String, full: bool },
    /// A query failed.
    #[error("cannot {what}")]
    Read { what: &'static str, source: rusqlite::Error },
    /// A row holds what this program did not write.
    #[error("cannot {what}: the row of {subject} is damaged: {detail}")]
    Row { what: &'static str, subject: String, detail: String },
    /// The writer or the runtime is gone: the daemon is ending.
    #[error("cannot {what}: the database is closed")]
    Stopped { what: &'static str },
}

impl DbError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Newer { .. } => Kind::Unsupported,
            Self::Foreign { .. } => Kind::Conflict,
            Self::Corrupt { .. } | Self::Row { .. } => Kind::Corrupt,
            Self::Commit { full: true, .. } => Kind::Exhausted,
            Self::Commit { full: false, .. } => Kind::Internal,
            Self::Stopped { .. } => Kind::Unavailable,
            Self::Open { source, .. }
            | Self::Migrate { source, .. }
            | Self::Write { source, .. }
            | Self::Read { source, .. } => sqlite_kind(source),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Newer { .. } => Some("run the version of lodge that wrote it, or a later one".to_owned()),
            Self::Foreign { path, .. } => {
                Some(format!("move `{}` out of the way, or choose another --root", path.display()))
            }
            Self::Corrupt { path, .. } => Some(format!(
                "nothing was changed. Keep a copy of `{0}` with its -wal and -shm files; then restore it from a \
                 backup, or try `sqlite3 {0} .recover`. Domains' and networks' definitions are XML files and not in it",
                path.display()
            )),
            _ if self.kind() == Kind::Exhausted => {
                Some("free some space on the file system of the database, then try again".to_owned())
            }
            _ if self.kind() == Kind::Denied => {
                Some("check the owner and mode of the database's file and directory".to_owned())
            }
            _ => None,
        }
    }
}

fn sqlite_kind(error: &rusqlite::Error) -> Kind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Kind::Exhausted,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Kind::Denied,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Corrupt,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        Some(ErrorCode::ConstraintViolation) => Kind::Conflict,
        _ => Kind::Internal,
    }
}
