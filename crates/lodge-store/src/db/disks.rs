//! What is remembered of disks: templates, samples of how they grow, and which file a guest's disk was when it was
//! last seen.

use std::path::{Path, PathBuf};

use rusqlite::{Row, params};

use super::{Db, DbError};

/// How many bytes something took at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// In milliseconds since 1970.
    pub time_ms: i64,
    /// Bytes.
    pub bytes: u64,
}

/// Which file a guest's disk was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskIdentity {
    /// The guest's UUID.
    pub guest: String,
    /// The disk's target.
    pub target: String,
    /// The file's path.
    pub path: PathBuf,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// What its bytes were, in short.
    pub content: String,
}

impl Db {
    /// Notes that a file is a template.
    pub async fn put_template(&self, path: &Path) -> Result<(), DbError> {
        let path = path.to_string_lossy().into_owned();
        self.write("note the template", move |db| {
            db.prepare_cached("INSERT OR IGNORE INTO templates (path) VALUES (?1)")?.execute([path]).map(drop)
        })
        .await
    }

    /// Forgets a template. `Ok(false)`: it was none.
    pub async fn remove_template(&self, path: &Path) -> Result<bool, DbError> {
        let path = path.to_string_lossy().into_owned();
        self.write("forget the template", move |db| {
            db.prepare_cached("DELETE FROM templates WHERE path = ?1")?.execute([path]).map(|count| count > 0)
        })
        .await
    }

    /// All templates.
    pub async fn templates(&self) -> Result<Vec<PathBuf>, DbError> {
        self.read("list the templates", |db| {
            let mut query = db.prepare_cached("SELECT path FROM templates ORDER BY path")?;
            query.query_map([], |row| Ok(PathBuf::from(row.get::<_, String>(0)?)))?.collect()
        })
        .await
    }

    /// Notes a sample each of many subjects in one go, and forgets those before `since_ms`.
    pub async fn put_samples(&self, samples: Vec<(String, Sample)>, since_ms: i64) -> Result<(), DbError> {
        self.write("note how disks grow", move |db| {
            db.prepare_cached("DELETE FROM samples WHERE time_ms < ?1")?.execute([since_ms])?;
            let mut put = db.prepare_cached(
                "INSERT OR REPLACE INTO samples (subject, time_ms, bytes) VALUES (?1, ?2, ?3)",
            )?;
            for (subject, sample) in samples {
                put.execute(params![subject, sample.time_ms, sample.bytes.cast_signed()])?;
            }
            Ok(())
        })
        .await
    }

    /// The samples of a subject, the oldest first.
    pub async fn samples(&self, subject: &str) -> Result<Vec<Sample>, DbError> {
        let subject = subject.to_owned();
        self.read("read how a disk grows", move |db| {
            let mut query =
                db.prepare_cached("SELECT time_ms, bytes FROM samples WHERE subject = ?1 ORDER BY time_ms")?;
            query.query_map([subject], sample)?.collect()
        })
        .await
    }

    /// Notes which files disks are.
    pub async fn put_disk_identities(&self, disks: Vec<DiskIdentity>) -> Result<(), DbError> {
        self.write("note which files disks are", move |db| {
            let mut put = db.prepare_cached(
                "INSERT OR REPLACE INTO disk_files (guest, target, path, device, inode, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for disk in disks {
                put.execute(params![
                    disk.guest,
                    disk.target,
                    disk.path.to_string_lossy(),
                    disk.device.cast_signed(),
                    disk.inode.cast_signed(),
                    disk.content,
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets which file lay at a path.
    pub async fn forget_disk_file(&self, path: &Path) -> Result<(), DbError> {
        let path = path.to_string_lossy().into_owned();
        self.write("forget which file a disk was", move |db| {
            db.prepare_cached("DELETE FROM disk_files WHERE path = ?1")?.execute([path]).map(drop)
        })
        .await
    }

    /// Forgets the disks of guests that are not among `guests`.
    pub async fn keep_disk_identities(&self, guests: Vec<String>) -> Result<(), DbError> {
        self.write("forget which files disks were", move |db| {
            let known: Vec<String> = {
                let mut query = db.prepare_cached("SELECT DISTINCT guest FROM disk_files")?;
                query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
            };
            let guests: std::collections::HashSet<_> = guests.into_iter().collect();
            let mut remove = db.prepare_cached("DELETE FROM disk_files WHERE guest = ?1")?;
            for guest in known.iter().filter(|guest| !guests.contains(*guest)) {
                remove.execute([guest])?;
            }
            Ok(())
        })
        .await
    }

    /// Which files the disks of all guests were.
    pub async fn disk_identities(&self) -> Result<Vec<DiskIdentity>, DbError> {
        self.read("read which files disks are", |db| {
            let mut query = db.prepare_cached(
                "SELECT guest, target, path, device, inode, content FROM disk_files ORDER BY guest, target",
            )?;
            query.query_map([], identity)?.collect()
        })
        .await
    }
}

fn sample(row: &Row<'_>) -> rusqlite::Result<Sample> {
    Ok(Sample { time_ms: row.get(0)?, bytes: row.get::<_, i64>(1)?.cast_unsigned() })
}

fn identity(row: &Row<'_>) -> rusqlite::Result<DiskIdentity> {
    Ok(DiskIdentity {
        guest: row.get(0)?,
        target: row.get(1)?,
        path: PathBuf::from(row.get::<_, String>(2)?),
        device: row.get::<_, i64>(3)?.cast_unsigned(),
        inode: row.get::<_, i64>(4)?.cast_unsigned(),
        content: row.get(5)?,
    })
}
