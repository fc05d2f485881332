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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writeback_begins_on_files_and_is_no_error_elsewhere() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        begin_writeback(&file, 4096, 1 << 19).unwrap();
        begin_writeback(&File::open("/dev/null").unwrap(), 0, 10).unwrap();
        assert!(begin_writeback(&file, u64::MAX, 1).is_err());
    }
}
