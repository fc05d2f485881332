//! Whether a file system shares blocks among files. It is tried, since an XFS may be made either way; with files
//! that have no name, so that a crash leaves nothing.

use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use rustix::fs::{OFlags, ioctl_ficlone};
use rustix::io::Errno;

/// One block, more than any file system's smallest.
const BLOCK_BYTES: usize = 64 << 10;

/// Whether copies of files in `dir` share blocks; none: it cannot be tried there.
pub(crate) fn works(dir: &Path) -> Option<bool> {
    let nameless = || {
        let flags = OFlags::TMPFILE;
        File::options().read(true).write(true).custom_flags(flags.bits().cast_signed()).mode(0o600).open(dir)
    };
    let (mut from, to) = (nameless().ok()?, nameless().ok()?);
    from.write_all(&vec![7; BLOCK_BYTES]).ok()?;
    match ioctl_ficlone(&to, &from) {
        Ok(()) => Some(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => Some(false),
        Err(_) => None,
    }
}
