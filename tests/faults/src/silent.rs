//! A directory that does not answer, as that of a file server which is gone: whoever asks for anything in it waits.
//!
//! It is a FUSE file system whose server never says a word. Speaking no more to its device ends it: those who wait are
//! told of an error then.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use crate::mount::Mount;

/// A directory in which nobody answers. What was in it is there again when this is dropped.
pub struct SilentDisk {
    // In this order: who waits is let go before it is unmounted.
    _device: File,
    _mount: Mount,
}

impl SilentDisk {
    /// Covers a directory that is there.
    pub fn over(place: &Path) -> Option<Self> {
        let not_here = |why: &dyn std::fmt::Display| {
            eprintln!("skipped: may not mount a FUSE file system here: {why}");
        };
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.inspect_err(|error| not_here(error)).ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).expect("there is no zero byte in it");
        let place = PathBuf::from(place);
        rustix::mount::mount("lodge-silent", &place, "fuse", MountFlags::NODEV, options.as_c_str())
            .inspect_err(|error| not_here(error))
            .ok()?;
        Some(Self { _device: device, _mount: Mount::of(&place) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_asks_waits_until_it_is_gone() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "a").unwrap();
        let Some(silent) = SilentDisk::over(dir.path()) else { return };
        let (tell, told) = mpsc::channel();
        let path = dir.path().join("a");
        let asks = std::thread::spawn(move || tell.send(std::fs::metadata(path).map(drop)));
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err());
        drop(silent);
        assert!(told.recv_timeout(Duration::from_secs(10)).unwrap().is_err());
        asks.join().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "a");
    }
}
