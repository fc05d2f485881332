//! Image files, and a kernel's mount of them in a mount namespace of its own, which ends with the test.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
};

use lodge_disk::blocks::Blocks;
use tempfile::TempDir;

/// A file as a device.
#[derive(Debug)]
pub struct Image(File);

impl Image {
    pub fn open(path: &Path) -> Arc<Self> {
        Arc::new(Self(File::open(path).unwrap()))
    }
}

impl Blocks for Image {
    fn bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a program; its output is shown where it fails.
pub fn run(program: &str, args: &[&str]) -> String {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A sparse file of so many MiB.
pub fn empty(folder: &TempDir, name: &str, mebibytes: u64) -> PathBuf {
    let path = folder.path().join(name);
    File::create(&path).unwrap().set_len(mebibytes << 20).unwrap();
    path
}

/// A mounted image. The namespace's one process waits for its standard input to end.
pub struct Mount {
    child: Child,
    stdin: Option<ChildStdin>,
    at: PathBuf,
}

impl Mount {
    /// None, and why, where this machine or its kernel cannot.
    pub fn new(image: &Path, options: &str) -> Option<Self> {
        let script =
            "mount -t tmpfs none /mnt && mkdir /mnt/it && mount -o \"loop,$2\" \"$1\" /mnt/it || exit 1
            echo ready; read -r line; umount /mnt/it && echo done";
        let mut child = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh", text(image), options])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let at = PathBuf::from(format!("/proc/{}/root/mnt/it", child.id()));
        let mut mount = Self { child, stdin, at };
        if mount.line() == "ready" {
            return Some(mount);
        }
        mount.child.wait().unwrap();
        eprintln!("skipped: {} cannot be mounted here with `{options}`", image.display());
        None
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounted, so all of it is in the image.
    pub fn end(mut self) {
        drop(self.stdin.take());
        assert_eq!(self.line(), "done");
        assert!(self.child.wait().unwrap().success());
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// Files beneath a folder, for the tools that fill an image from one.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
