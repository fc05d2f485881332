//! The schema, as the list of steps that made it. A step is never changed once it was released: a new one
//! is added, and its number is the file's `user_version`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::DbError;

/// `Lodg`: SQLite's application id of our files.
const APPLICATION_ID: i64 = 0x4c6f_6467;

/// Files up to this size are checked whole when they are opened.
const CHECK_MAX_BYTES: u64 = 64 << 20;

const MIGRATIONS: &[&str] = &[
    // 1: the first.
    "CREATE TABLE kv (
        key TEXT PRIMARY KEY, value BLOB NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, caller TEXT NOT NULL,
        state TEXT NOT NULL, phase TEXT NOT NULL, progress REAL NOT NULL, message TEXT NOT NULL,
        result TEXT, error TEXT, started_ms INTEGER NOT NULL, ended_ms INTEGER
     ) STRICT;
     CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
     CREATE TABLE sagas (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, job INTEGER,
        position TEXT NOT NULL, state TEXT NOT NULL, started_ms INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX sagas_subject ON sagas (subject);
     CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, kind TEXT NOT NULL,
        subject TEXT NOT NULL, data TEXT NOT NULL
     ) STRICT;
     CREATE TABLE leases (
        network TEXT NOT NULL, address TEXT NOT NULL, mac TEXT NOT NULL, hostname TEXT, client_id TEXT,
        expires_ms INTEGER NOT NULL, PRIMARY KEY (network, address)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX leases_mac ON leases (mac);
     CREATE TABLE images (
        name TEXT PRIMARY KEY, path TEXT NOT NULL, format TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        virtual_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, source TEXT NOT NULL, details TEXT NOT NULL,
        created_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE keys (
        name TEXT PRIMARY KEY, public TEXT NOT NULL, private_path TEXT, created_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;",
    // 2: leases are in netd's journals, and keys are the command line's; neither table ever had a writer.
    "DROP TABLE leases; DROP TABLE keys;",
    // 3: what is remembered of disks.
    "CREATE TABLE templates (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
     CREATE TABLE samples (
        subject TEXT NOT NULL, time_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (subject, time_ms)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX samples_time ON samples (time_ms);
     CREATE TABLE disk_files (
        guest TEXT NOT NULL, target TEXT NOT NULL, path TEXT NOT NULL, device INTEGER NOT NULL,
        inode INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (guest, target)
     ) STRICT, WITHOUT ROWID;",
    // 4: master copies of guests, what became of identities, and what was read of them.
    "CREATE TABLE guest_templates (
        name TEXT NOT NULL, version INTEGER NOT NULL, source TEXT NOT NULL, document TEXT NOT NULL,
        disks TEXT NOT NULL, nvram TEXT, details TEXT NOT NULL, created_ms INTEGER NOT NULL,
        PRIMARY KEY (name, version)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE identity_acts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time_ms INTEGER NOT NULL, act TEXT NOT NULL,
        guest TEXT NOT NULL, name TEXT NOT NULL, source TEXT NOT NULL, caller TEXT NOT NULL, items TEXT NOT NULL,
        warnings TEXT NOT NULL
     ) STRICT;
     CREATE INDEX identity_acts_guest ON identity_acts (guest);
     CREATE INDEX identity_acts_name ON identity_acts (name);
     CREATE TABLE identities (
        subject TEXT PRIMARY KEY, print TEXT NOT NULL, identity TEXT NOT NULL, time_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;",
];

/// The schema this program writes.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Opens the file for the writer, checks whose it is and that it is whole, and migrates it.
pub(super) fn open(path: &Path) -> Result<Connection, DbError> {
    let is_new = path.metadata().map_or(true, |metadata| metadata.len() == 0);
    let failed = |source: rusqlite::Error| classify(path, source);
    if is_new {
        private_file(path)?;
    }
    let mut connection = Connection::open_with_flags(path, flags(true)).map_err(failed)?;
    connection.busy_timeout(super::pool::BUSY_WAIT).map_err(failed)?;
    check_owner(&connection, path, is_new)?;
    if !is_new {
        check_whole(&connection, path)?;
    }
    // WAL is a lasting property of the file, so it is set only on a file known to be ours.
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        tracing::warn!(path = %path.display(), mode, "the file system does not allow SQLite's WAL");
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", 2000).map_err(failed)?;
    // A file that grew by a burst of events gives the space back at the next checkpoint.
    connection.pragma_update(None, "journal_size_limit", 16 << 20).map_err(failed)?;
    migrate(&mut connection, path)?;
    if is_new && let Some(dir) = path.parent() {
        // SQLite syncs what is in the file; that the file has a name is ours to sync.
        let _ = lodge_sys::fs::sync_dir(dir);
    }
    Ok(connection)
}

/// How connections are opened: one thread at a time each, no URI names.
pub(super) fn flags(writable: bool) -> OpenFlags {
    let mode = if writable {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Creates the file for its owner only, before SQLite would with the umask's mode.
fn private_file(path: &Path) -> Result<(), DbError> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let code = |error: &std::io::Error| match crate::store::io_kind(error) {
        lodge_model::Kind::Exhausted => rusqlite::ffi::SQLITE_FULL,
        lodge_model::Kind::Denied => rusqlite::ffi::SQLITE_PERM,
        _ => rusqlite::ffi::SQLITE_CANTOPEN,
    };
    file.map(|_| ()).map_err(|error| DbError::Open {
        path: path.to_owned(),
        source: rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(code(&error)),
            Some(error.to_string()),
        ),
    })
}

fn check_owner(connection: &Connection, path: &Path, is_new: bool) -> Result<(), DbError> {
    let failed = |source: rusqlite::Error| classify(path, source);
    let found: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    match found {
        APPLICATION_ID => Ok(()),
        // A crash before the first transaction leaves an empty database.
        0 if is_new || is_empty(connection).map_err(failed)? => Ok(()),
        found => Err(DbError::Foreign { path: path.to_owned(), found }),
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn check_whole(connection: &Connection, path: &Path) -> Result<(), DbError> {
    if path.metadata().map_or(0, |metadata| metadata.len()) > CHECK_MAX_BYTES {
        return Ok(());
    }
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| classify(path, source))?;
    if verdict == "ok" { Ok(()) } else { Err(DbError::Corrupt { path: path.to_owned(), detail: verdict }) }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), DbError> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|source| classify(path, source))?;
    if found > known() {
        return Err(DbError::Newer { path: path.to_owned(), found, known: known() });
    }
    let done = usize::try_from(found).unwrap_or(0);
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let steps = |connection: &mut Connection| -> rusqlite::Result<()> {
        // All steps or none: the schema is never between two versions.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in &MIGRATIONS[done..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", known())?;
        transaction.commit()
    };
    steps(connection).map_err(|source| DbError::Migrate {
        path: path.to_owned(),
        from: found,
        to: known(),
        source,
    })?;
    if found > 0 {
        tracing::info!(path = %path.display(), from = found, to = known(), "database migrated");
    }
    Ok(())
}

fn classify(path: &Path, source: rusqlite::Error) -> DbError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            DbError::Corrupt { path: path.to_owned(), detail: source.to_string() }
        }
        _ => DbError::Open { path: path.to_owned(), source },
    }
}
