//! A volume's bytes coming and going piece by piece, holes as holes.
//!
//! Whoever reads or writes sets the pace: a piece is read when it is asked for and written before the next is taken.
//! A stream holds no volume: clients vanish, and some never end theirs.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_sys::fs::begin_writeback;
use rustix::{
    fs::{FallocateFlags, SeekFrom, fallocate, seek},
    io::Errno,
};

use super::create::write_zeros;
use crate::{
    file::FileId,
    graph::{need::Harm, observe::id_of},
    pool::{Pools, error::PoolError, table::PoolHandle},
};

/// So many bytes are written before the disk is told to begin with them.
const WINDOW_BYTES: u64 = 8 << 20;

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
    /// Bytes.
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
}

/// A volume being written.
#[derive(Debug)]
pub struct Upload {
    file: Arc<File>,
    /// Which file it is. Asked at every piece: a guest that started meanwhile has it, not the stream.
    id: Option<FileId>,
    path: PathBuf,
    at: u64,
    /// Up to here the disk was told to begin.
    begun: u64,
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
        let file = self.open_stream(pool, &path, false).await?;
        let length = end_of(&file).map_err(|source| unreadable(&path, source))?;
        let wanted = if span.length == 0 { length } else { span.offset.saturating_add(span.length) };
        let (at, end) = (span.offset, wanted.min(length));
        Ok(Download { file: Arc::new(file), path, at, end, data_end: at, sparse })
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
        let file = self.open_stream(pool, &volume.path, true).await?;
        let end = (span.length > 0).then(|| span.offset.saturating_add(span.length));
        let (pools, pool) = (self.clone(), pool.clone());
        drop(working);
        let id = file.metadata().ok().map(|metadata| id_of(&metadata));
        let (path, at) = (volume.path.clone(), span.offset);
        Ok(Upload { file: Arc::new(file), id, path, at, begun: at, end, pools, pool })
    }

    async fn open_stream(&self, pool: &PoolHandle, path: &Path, write: bool) -> Result<File, PoolError> {
        let path = path.to_owned();
        let permit = self.permit(pool).await?;
        let open = move || {
            let failed =
                |source| PoolError::system(format!("Unable to open stream for '{}'", path.display()), source);
            File::options().read(!write).write(write).open(&path).map_err(failed)
        };
        self.blocking(pool, crate::limits::LOOK, permit, open).await.map(|(file, _)| file)
    }
}

impl Download {
    /// The next piece, of at most `most` bytes of data; `None` at the end.
    pub async fn next(&mut self, most: usize) -> Result<Option<Piece>, PoolError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (file, at, end) = (Arc::clone(&self.file), self.at, self.end);
        let known = Some(self.data_end).filter(|data_end| !self.sparse || *data_end > at);
        let known = if self.sparse { known } else { Some(end) };
        let read = tokio::task::spawn_blocking(move || read_piece(&file, at, end, known, most));
        let read = read.await.map_err(|_| PoolError::Panicked { name: self.path.display().to_string() })?;
        let (piece, data_end) = read.map_err(|source| unreadable(&self.path, source))?;
        self.data_end = data_end;
        match &piece {
            Piece::Data(bytes) if bytes.is_empty() => return Ok(None),
            Piece::Data(bytes) => self.at += bytes.len() as u64,
            Piece::Hole(length) => self.at += length,
        }
        Ok(Some(piece))
    }
}

impl Upload {
    /// Writes the next bytes.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), PoolError> {
        let at = self.advance(bytes.len() as u64)?;
        let window = (self.at - self.begun >= WINDOW_BYTES).then_some((self.begun, self.at - self.begun));
        if window.is_some() {
            self.begun = self.at;
        }
        self.on_file(move |file| {
            file.write_all_at(&bytes, at)?;
            window.map_or(Ok(()), |(start, length)| begin_writeback(file, start, length))
        })
        .await
    }

    /// The next so many bytes are zeros.
    pub async fn hole(&mut self, length: u64) -> Result<(), PoolError> {
        let at = self.advance(length)?;
        self.on_file(move |file| dig(file, at, length)).await
    }

    /// Ends the upload: all of it is on disk. The pool is looked at anew after that.
    pub async fn finish(&mut self) -> Result<(), PoolError> {
        self.on_file(File::sync_all).await
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

    async fn on_file(
        &self,
        act: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
    ) -> Result<(), PoolError> {
        if let Some(holder) =
            self.id.and_then(|id| self.pools.storage().claims().holder(id).map(str::to_owned))
        {
            let why = format!("domain '{holder}' uses it");
            let next = format!("stop it first: lodge shutdown {holder}");
            return Err(PoolError::InUse { name: self.path.display().to_string(), why, next });
        }
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || act(&file)).await;
        let done = done.map_err(|_| PoolError::Panicked { name: self.path.display().to_string() })?;
        done.map_err(|source| PoolError::system("cannot write to stream", source))
    }
}

/// However an upload ends, the pool is looked at anew, as libvirt does.
impl Drop for Upload {
    fn drop(&mut self) {
        let (pools, pool) = (self.pools.clone(), self.pool.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = pools.refresh(&pool).await {
                tracing::debug!(pool = %pool.name, %error, "pool not refreshed after an upload");
            }
        });
    }
}

/// Reads a piece at `at`. `data_end`: up to there is data; none: it is not known.
fn read_piece(
    file: &File,
    at: u64,
    end: u64,
    data_end: Option<u64>,
    most: usize,
) -> io::Result<(Piece, u64)> {
    let data_end = match data_end {
        Some(data_end) => data_end,
        None => match next_data(file, at, end)? {
            (start, data_end) if start == at => data_end,
            (start, _) => return Ok((Piece::Hole(start - at), start)),
        },
    };
    let count = usize::try_from(data_end.min(end) - at).unwrap_or(most).min(most);
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            // It became shorter.
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok((Piece::Data(bytes), data_end))
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
