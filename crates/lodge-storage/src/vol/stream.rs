//! A volume's bytes coming and going piece by piece, holes as holes.
//!
//! Whoever reads or writes sets the pace: a piece is read when it is asked for and written before the next is taken.
//! A stream holds no volume: clients vanish, and some never end theirs. Buffers come from the caller and go back to it:
//! a fresh one costs a page fault per page, as much again as the copying.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lodge_sys::fs::{Begun, apart, begin_writeback};
use rustix::{
    fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek},
    io::{Errno, ReadWriteFlags, preadv2},
};

use super::create::write_zeros;
use crate::{
    file::FileId,
    graph::{need::Harm, observe::id_of},
    limits,
    pool::{Pools, error::PoolError, table::PoolHandle},
};

/// Which bytes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// From here on.
    pub offset: u64,
    /// So many; 0: to the end.
    pub length: u64,
}

/// A piece of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes, behind those that the caller's buffer keeps.
    Data(Vec<u8>),
    /// So many zeros.
    Hole(u64),
}

/// A volume being read.
#[derive(Debug)]
pub struct Download {
    file: Arc<File>,
    path: PathBuf,
    at: u64,
    end: u64,
    /// Where the data ends that `at` is in.
    data_end: u64,
    sparse: bool,
    /// The file system tells what it has in memory.
    tells_cached: bool,
}

/// A volume being written.
#[derive(Debug)]
pub struct Upload {
    /// None only while it is dropped.
    file: Option<Arc<File>>,
    /// Which file it is. Asked at every piece: a guest that started meanwhile has it, not the stream.
    id: Option<FileId>,
    path: PathBuf,
    at: u64,
    begun: Begun,
    /// No byte from here on.
    end: Option<u64>,
    pools: Pools,
    pool: PoolHandle,
}

impl Pools {
    /// Opens a volume for reading. `sparse`: holes are told as holes.
    pub async fn download(
        &self,
        pool: &PoolHandle,
        name: &str,
        span: Span,
        sparse: bool,
    ) -> Result<Download, PoolError> {
        let path = self.volume(pool, name)?.path.clone();
        let Opened { file, length, .. } = self.open_stream(pool, &path, false).await?;
        let wanted = if span.length == 0 { length } else { span.offset.saturating_add(span.length) };
        let (at, end) = (span.offset, wanted.min(length));
        Ok(Download { file: Arc::new(file), path, at, end, data_end: at, sparse, tells_cached: true })
    }

    /// Opens a volume for writing. Not one that a guest uses or another volume stands on.
    pub async fn upload(&self, pool: &PoolHandle, name: &str, span: Span) -> Result<Upload, PoolError> {
        let volume = self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            let volume = Arc::clone(slot.volume(name)?);
            slot.unused(name)?;
            Ok::<_, PoolError>(volume)
        })??;
        let working = self.refuse_used(pool, &volume, Harm::Change).await?;
        let Opened { file, id, .. } = self.open_stream(pool, &volume.path, true).await?;
        let end = (span.length > 0).then(|| span.offset.saturating_add(span.length));
        let (pools, pool) = (self.clone(), pool.clone());
        drop(working);
        let (path, at) = (volume.path.clone(), span.offset);
        Ok(Upload { file: Some(Arc::new(file)), id, path, at, begun: Begun::at(at), end, pools, pool })
    }

    async fn open_stream(&self, pool: &PoolHandle, path: &Path, write: bool) -> Result<Opened, PoolError> {
        let path = path.to_owned();
        let permit = self.permit(pool).await?;
        let open = move || -> Result<Opened, PoolError> {
            let failed =
                |source| PoolError::system(format!("Unable to open stream for '{}'", path.display()), source);
            let file = File::options().read(!write).write(write).open(&path).map_err(failed)?;
            let file = if write { apart(file) } else { file };
            if !write {
                // A hint: the kernel reads further ahead.
                let _ = fadvise(&file, 0, None, Advice::Sequential);
            }
            let length = end_of(&file).map_err(|source| unreadable(&path, source))?;
            let id = file.metadata().ok().map(|metadata| id_of(&metadata));
            Ok(Opened { file, length, id })
        };
        self.blocking(pool, limits::LOOK, permit, open).await.map(|(opened, _)| opened)
    }
}

/// A volume's file, and what was asked of it where it may last.
struct Opened {
    file: File,
    length: u64,
    id: Option<FileId>,
}

impl Download {
    /// The next piece, of at most `most` bytes of data; `None` at the end. Data comes in `buffer`, behind its first
    /// `kept` bytes.
    pub async fn next(
        &mut self,
        mut buffer: Vec<u8>,
        kept: usize,
        most: usize,
    ) -> Result<Option<Piece>, PoolError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (at, end) = (self.at, self.end);
        let known = Some(self.data_end).filter(|data_end| !self.sparse || *data_end > at);
        let data_end = if self.sparse { known } else { Some(end) };
        let mut read = Read { at, end, data_end, most, kept, filled: 0 };
        let mut hole = 0;
        if !self.fill_cached(&mut read, &mut buffer) {
            let file = Arc::clone(&self.file);
            let reading = tokio::task::spawn_blocking(move || {
                let hole = read.go_on(&file, &mut buffer)?;
                Ok::<_, io::Error>((buffer, read, hole))
            });
            let done = in_time(&self.path, limits::PIECE, reading).await?;
            (buffer, read, hole) = done.map_err(|source| unreadable(&self.path, source))?;
        }
        self.data_end = read.data_end.unwrap_or(at);
        self.at += hole + read.filled as u64;
        if hole > 0 {
            return Ok(Some(Piece::Hole(hole)));
        }
        Ok((read.filled > 0).then_some(Piece::Data(buffer)))
    }

    /// Takes what the kernel has in memory, which needs no thread that could wait for a disk; says whether that is all.
    fn fill_cached(&mut self, read: &mut Read, buffer: &mut Vec<u8>) -> bool {
        let Some(count) = read.count().filter(|_| self.tells_cached) else { return false };
        buffer.resize(read.kept + count, 0);
        let into = &mut [IoSliceMut::new(&mut buffer[read.kept..])];
        match preadv2(&*self.file, into, read.at, ReadWriteFlags::NOWAIT) {
            Ok(filled) => read.filled = filled,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Not every file system tells.
            Err(_) => self.tells_cached = false,
        }
        read.filled == count
    }
}

impl Upload {
    /// Writes the bytes behind the first `kept` of `buffer`; gives the buffer back.
    pub async fn write(&mut self, buffer: Vec<u8>, kept: usize) -> Result<Vec<u8>, PoolError> {
        let at = self.advance((buffer.len() - kept) as u64)?;
        let window = self.begun.next(self.at);
        self.on_file(limits::PIECE, move |file| {
            file.write_all_at(&buffer[kept..], at)?;
            window.map_or(Ok(()), |(start, length)| begin_writeback(file, start, length))?;
            Ok(buffer)
        })
        .await
    }

    /// The next so many bytes are zeros.
    pub async fn hole(&mut self, length: u64) -> Result<(), PoolError> {
        let at = self.advance(length)?;
        self.on_file(limits::PIECE, move |file| dig(file, at, length)).await
    }

    /// Ends the upload: all of it is on disk. The pool is looked at anew after that.
    pub async fn finish(&mut self) -> Result<(), PoolError> {
        self.on_file(limits::SETTLE, File::sync_all).await
    }

    fn advance(&mut self, count: u64) -> Result<u64, PoolError> {
        let at = self.at;
        let full = || PoolError::system("cannot write to stream", Errno::NOSPC);
        let next = at.checked_add(count).filter(|next| i64::try_from(*next).is_ok()).ok_or_else(full)?;
        if self.end.is_some_and(|end| next > end) {
            return Err(full());
        }
        self.at = next;
        Ok(at)
    }

    async fn on_file<T: Send + 'static>(
        &self,
        limit: Duration,
        act: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PoolError> {
        if let Some(holder) =
            self.id.and_then(|id| self.pools.storage().claims().holder(id).map(str::to_owned))
        {
            let why = format!("domain '{holder}' uses it");
            let next = format!("stop it first: lodge shutdown {holder}");
            return Err(PoolError::InUse { name: self.path.display().to_string(), why, next });
        }
        let file = self.file.clone().expect("it is open until it is dropped");
        let done = in_time(&self.path, limit, tokio::task::spawn_blocking(move || act(&file))).await?;
        done.map_err(|source| PoolError::system("cannot write to stream", source))
    }
}

/// Waits for a piece, but not for ever: a server that went away holds the thread, not the client.
async fn in_time<T>(path: &Path, limit: Duration, work: tokio::task::JoinHandle<T>) -> Result<T, PoolError> {
    let Ok(done) = tokio::time::timeout(limit, work).await else {
        let text = format!("'{}' did not answer in {} s", path.display(), limit.as_secs());
        return Err(PoolError::system(text, io::Error::from(io::ErrorKind::TimedOut)));
    };
    done.map_err(|_| PoolError::Panicked { name: path.display().to_string() })
}

/// However an upload ends, the pool is looked at anew, as libvirt does.
impl Drop for Upload {
    fn drop(&mut self) {
        let (pools, pool, file) = (self.pools.clone(), self.pool.clone(), self.file.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Closing a server's file writes back what is cached of it: not on a thread that others need.
        let closed = runtime.spawn_blocking(move || drop(file));
        runtime.spawn(async move {
            if closed.await.is_err() {
                return;
            }
            if let Err(error) = pools.refresh(&pool).await {
                tracing::debug!(pool = %pool.name, %error, "pool not refreshed after an upload");
            }
        });
    }
}

/// A piece being read.
#[derive(Debug)]
struct Read {
    at: u64,
    end: u64,
    /// Up to there is data; none: it is not known.
    data_end: Option<u64>,
    most: usize,
    /// The buffer's first bytes are not the piece's.
    kept: usize,
    filled: usize,
}

impl Read {
    /// How many bytes it has, if that is known.
    fn count(&self) -> Option<usize> {
        let left = self.data_end?.min(self.end) - self.at;
        Some(usize::try_from(left).unwrap_or(self.most).min(self.most))
    }

    /// Reads what is missing. Says how long a hole is that it begins with.
    fn go_on(&mut self, file: &File, buffer: &mut Vec<u8>) -> io::Result<u64> {
        if self.data_end.is_none() {
            let (start, data_end) = next_data(file, self.at, self.end)?;
            if start > self.at {
                self.data_end = Some(start);
                return Ok(start - self.at);
            }
            self.data_end = Some(data_end);
        }
        let count = self.count().unwrap_or_default();
        buffer.resize(self.kept + count, 0);
        while self.filled < count {
            match file.read_at(&mut buffer[self.kept + self.filled..], self.at + self.filled as u64) {
                // It became shorter.
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(self.kept + self.filled);
        Ok(0)
    }
}

/// Where the next data begins and ends.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<(u64, u64)> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(end),
        Err(Errno::NXIO) => return Ok((end, end)),
        // A device knows no holes.
        Err(Errno::INVAL) => return Ok((at, end)),
        Err(error) => return Err(error.into()),
    };
    match seek(file, SeekFrom::Hole(start)) {
        Ok(hole) => Ok((start, hole.min(end))),
        Err(Errno::NXIO | Errno::INVAL) => Ok((start, end)),
        Err(error) => Err(error.into()),
    }
}

/// Makes a range zeros: what was there goes, and the file is at least as long.
fn dig(file: &File, at: u64, length: u64) -> io::Result<()> {
    let (has, end) = (end_of(file)?, at + length);
    let old_end = has.min(end);
    if at < old_end {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(file, flags, at, old_end - at) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, at, old_end)?,
            result => result?,
        }
    }
    if has < end { file.set_len(end) } else { Ok(()) }
}

fn end_of(file: &File) -> io::Result<u64> {
    Ok(seek(file, SeekFrom::End(0))?)
}

fn unreadable(path: &Path, source: io::Error) -> PoolError {
    PoolError::system(format!("Unable to read {}", path.display()), source)
}
