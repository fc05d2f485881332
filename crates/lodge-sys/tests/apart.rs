//! No program that is started waits for a file server that is gone.
//!
//! The server is this test: a FUSE file system whose one file opens, and whose close is never answered, as that of a
//! network file system with bytes that the server is yet to take. In a program of its own: until the test ends, whoever
//! gives a process copies of all descriptors hangs.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_sys::fs::apart;
use lodge_sys::spawn::Command;
use lodge_sys::tool::Tool;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::pipe::{PipeFlags, pipe_with};

/// Of linux/fuse.h.
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const ENOSYS: i32 = 38;

/// A file whose closing lasts until this is dropped.
struct Hanging {
    place: PathBuf,
    file: Option<File>,
}

impl Hanging {
    fn over(place: &Path) -> io::Result<Self> {
        let connection = File::options().read(true).write(true).open("/dev/fuse")?;
        // Its root is the file.
        let options = format!("fd={},rootmode=100644,user_id=0,group_id=0", connection.as_raw_fd());
        let options = std::ffi::CString::new(options)?;
        mount("lodge-hanging", place, "fuse", MountFlags::NODEV, options.as_c_str())?;
        let mut hanging = Self { place: place.to_owned(), file: None };
        std::thread::spawn(move || serve(connection));
        hanging.file = Some(apart(File::options().write(true).open(place)?));
        Ok(hanging)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Whoever hangs is let go: this ends the connection.
        let _ = unmount(&self.place, UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

/// Answers all but the close, until the file system is gone.
fn serve(mut connection: File) {
    let (mut request, mut flushes) = (vec![0; 1 << 20], 0);
    while let Ok(size) = connection.read(&mut request) {
        assert!(size >= 40, "{size}");
        let opcode = u32::from_ne_bytes(request[4..8].try_into().unwrap());
        let body = match opcode {
            // Version 7.31; a longest write that the buffer has room for.
            INIT => {
                let mut body = vec![0; 64];
                for (at, number) in [(0, 7_u32), (4, 31), (20, 1 << 16)] {
                    body[at..at + 4].copy_from_slice(&number.to_ne_bytes());
                }
                Ok(body)
            }
            GETATTR => {
                let mut body = vec![0; 104];
                // The inode's number, its mode and its links.
                body[16..24].copy_from_slice(&1_u64.to_ne_bytes());
                for (at, number) in [(16 + 60, 0o100_644_u32), (16 + 64, 1)] {
                    body[at..at + 4].copy_from_slice(&number.to_ne_bytes());
                }
                Ok(body)
            }
            OPEN => Ok(vec![0; 16]),
            // The number it had before it lay apart.
            FLUSH if flushes == 0 => {
                flushes = 1;
                Ok(Vec::new())
            }
            FLUSH => continue,
            _ => Err(-ENOSYS),
        };
        let (error, body) = body.map_or_else(|error| (error, Vec::new()), |body| (0, body));
        let length = u32::try_from(16 + body.len()).unwrap();
        let answer = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &request[8..16], &body].concat();
        // In one write, as fuse(4) wants it. Who asked may be gone.
        let _ = rustix::io::write(&connection, &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_program_waits_for_a_file_server_that_is_gone() {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        return eprintln!("skipped: needs root and /dev/fuse");
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("file");
    File::create(&place).unwrap();
    let hanging = match Hanging::over(&place) {
        Ok(hanging) => hanging,
        Err(error) => return eprintln!("skipped: may not mount a FUSE file system here: {error}"),
    };
    let soon = Duration::from_secs(10);
    // Its close does hang.
    let copy = hanging.file.as_ref().unwrap().try_clone().unwrap();
    let closing = tokio::task::spawn_blocking(move || drop(copy));
    assert!(tokio::time::timeout(Duration::from_millis(300), closing).await.is_err());
    let tool = Tool::new("cat", soon).input(b"a".to_vec()).run();
    let tool = tokio::time::timeout(soon, tokio::spawn(tool)).await;
    assert_eq!(tool.expect("a tool hangs").unwrap().unwrap(), b"a");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut command = Command::new("/bin/echo");
    command.arg("b").output(write);
    let process = tokio::time::timeout(soon, tokio::task::spawn_blocking(|| command.spawn())).await;
    process.expect("a process hangs").unwrap().unwrap().ended().await.unwrap();
    assert_eq!(io::read_to_string(File::from(read)).unwrap(), "b\n");
}
