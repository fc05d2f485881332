//! The disk begins before the last byte has come.
//!
//! The kernel keeps what is written until somebody syncs or seconds pass. A long write that is synced at its end then
//! waits for the disk at its end, though the disk was idle all the while.

#![expect(unsafe_code, reason = "UNSAFETY: sync_file_range(2) has no safe binding")]

use std::{fs::File, io, os::fd::AsRawFd as _};

/// Has the kernel begin to write these bytes to the disk. Nothing is durable by it: `sync_all` at the end stays, and
/// has little left to do.
pub fn begin_writeback(file: &File, start: u64, length: u64) -> io::Result<()> {
    let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let (start, length) = (i64::try_from(start).map_err(too_far)?, i64::try_from(length).map_err(too_far)?);
    // SAFETY: takes an open descriptor and numbers; no memory is touched.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE) };
    match (done == 0).then_some(()).ok_or_else(io::Error::last_os_error) {
        // Not a file on a disk, or a file system without it: then it is the sync's alone.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ESPIPE | libc::ENOSYS | libc::EOPNOTSUPP)) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// So many bytes are written before the disk is told to begin with them.
const WINDOW_BYTES: u64 = 8 << 20;

/// How far the disk was told to begin with a file that is written from front to back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun(u64);

impl Begun {
    /// Nothing before `at` is this writer's.
    pub const fn at(at: u64) -> Self {
        Self(at)
    }

    /// All before `end` is written, or is about to be: where the disk is to begin now and with how many bytes, if they
    /// are worth it.
    pub fn next(&mut self, end: u64) -> Option<(u64, u64)> {
        let (start, length) = (self.0, end.saturating_sub(self.0));
        (length >= WINDOW_BYTES).then(|| {
            self.0 = end;
            (start, length)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_begins_with_every_window_once() {
        let mut begun = Begun::at(100);
        assert_eq!(begun.next(99), None);
        assert_eq!(begun.next(100 + WINDOW_BYTES - 1), None);
        assert_eq!(begun.next(100 + WINDOW_BYTES), Some((100, WINDOW_BYTES)));
        assert_eq!(begun.next(100 + WINDOW_BYTES), None);
        assert_eq!(begun.next(101 + 3 * WINDOW_BYTES), Some((100 + WINDOW_BYTES, 2 * WINDOW_BYTES + 1)));
    }

    #[test]
    fn writeback_begins_on_files_and_is_no_error_elsewhere() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        begin_writeback(&file, 4096, 1 << 19).unwrap();
        begin_writeback(&File::open("/dev/null").unwrap(), 0, 10).unwrap();
        assert!(begin_writeback(&file, u64::MAX, 1).is_err());
    }
}
