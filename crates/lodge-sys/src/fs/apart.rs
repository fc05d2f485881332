//! Files that no program we start gets a copy of, not even for the moment before its exec.
//!
//! Closing a copy of a descriptor that a network file system's file is written by waits until the server has all that is
//! cached of it. A new process closes its copies at exec: while one such server is gone, no program would start. So what
//! is written on behalf of pools lies apart, above the numbers that [`crate::spawn`] lets a child have.

use std::fs::File;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

/// The table of descriptors grows to the highest number; this is half a MiB of it.
const MOST: u64 = 1 << 16;
/// Where nothing is known of a limit.
const LEAST: RawFd = 512;
/// The kernel copies descriptors by words of its bit map.
const WORD: u64 = 64;

/// The first number of those that lie apart.
pub fn apart_from() -> RawFd {
    static FROM: OnceLock<RawFd> = OnceLock::new();
    *FROM.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(2 * MOST);
        RawFd::try_from((limit / 2).min(MOST) / WORD * WORD).unwrap_or(LEAST)
    })
}

/// The same file under a number that lies apart; as it is where there are none left.
pub fn apart(file: File) -> File {
    rustix::io::fcntl_dupfd_cloexec(&file, apart_from()).map_or(file, File::from)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_file_that_lies_apart_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = apart(File::create(&path).unwrap());
        assert!(file.as_raw_fd() >= apart_from());
        std::io::Write::write_all(&mut &file, b"x").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
