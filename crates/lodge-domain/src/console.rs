//! Keeps what guests print bounded: a guest that prints for ever must not fill the host's disk.
//!
//! QEMU appends to the log (`logappend=on`), so the file may be cut under it: its next write lands at the new
//! end. What was there goes to `NAME.1`, of which there is one. Deliberately absent: escaping (readers' matter).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A log longer than this is cut.
pub(crate) const LOG_MAX_BYTES: u64 = 2 << 20;
/// This much of its end is kept.
const KEPT_BYTES: u64 = 1 << 20;

/// Cuts the log at `path` if it is too long. `Ok(false)`: it was not.
pub(crate) fn bound(path: &Path) -> io::Result<bool> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    if length <= LOG_MAX_BYTES {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(length.saturating_sub(KEPT_BYTES)))?;
    let mut kept = Vec::new();
    Read::by_ref(&mut file).take(KEPT_BYTES).read_to_end(&mut kept)?;
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    File::create(old)?.write_all(&kept)?;
    file.set_len(0)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_cut_and_its_end_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        assert!(!bound(&path).unwrap());
        let mut appender = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        appender.write_all(&vec![b'a'; 3 << 20]).unwrap();
        appender.write_all(b"the end").unwrap();
        assert!(bound(&path).unwrap());
        appender.write_all(b"next").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"next");
        let kept = std::fs::read(dir.path().join("console.log.1")).unwrap();
        assert!(kept.ends_with(b"the end") && kept.len() as u64 == KEPT_BYTES);
        assert!(!bound(&path).unwrap());
    }
}
