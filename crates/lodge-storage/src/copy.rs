//! Copies a disk's bytes, holes left as holes.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{SeekFrom, ioctl_ficlone, seek},
    io::Errno,
};

const BLOCK_BYTES: usize = 1 << 20;

/// Copies all of `from` into the empty file `to`. `tell` gets the bytes done. `Ok(false)`: `stop`
/// was set, `to` is incomplete.
pub(crate) fn copy_sparse(from: &File, to: &File, stop: &AtomicBool, tell: &dyn Fn(u64)) -> io::Result<bool> {
    // On the same btrfs or XFS the blocks are shared.
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(true);
    }
    let end = seek(from, SeekFrom::End(0))?;
    to.set_len(end)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < end {
        let start = match seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            start => start?,
        };
        let data_end = seek(from, SeekFrom::Hole(start))?;
        at = start;
        while at < data_end {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let left = usize::try_from(data_end - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            from.read_exact_at(&mut block[..left], at)?;
            to.write_all_at(&block[..left], at)?;
            at += left as u64;
            tell(at);
        }
    }
    Ok(true)
}
