//! Loop devices and mounts of a test's own: a thread has a mount namespace for itself, and what it starts is in it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::world::text;

/// Whether this machine lets us; says so if not. The calling thread's mounts are its own from then on: a test with
/// one thread (tokio's default) starts its threads and programs from there.
pub fn can_mount(programs: &[&str]) -> bool {
    for program in programs.iter().chain(&["losetup", "mount"]) {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: {program} is not installed");
            return false;
        }
    }
    let private = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).and_then(|()| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    });
    match private {
        Ok(()) => true,
        Err(error) => {
            eprintln!("skipped: no mount namespace of its own ({error}): needs root");
            false
        }
    }
}

/// A file as a block device; gone when dropped.
pub struct Loop {
    pub path: PathBuf,
}

impl Loop {
    /// None, with a word, where there are no loop devices.
    pub fn of(dir: &Path, name: &str, bytes: u64) -> Option<Self> {
        let file = dir.join(name);
        File::create(&file).unwrap().set_len(bytes).unwrap();
        let made =
            Command::new("losetup").args(["--find", "--show", "--partscan", text(&file)]).output().unwrap();
        if !made.status.success() {
            eprintln!("skipped: no loop device: {}", String::from_utf8_lossy(&made.stderr));
            return None;
        }
        let path = String::from_utf8(made.stdout).unwrap().trim().into();
        Some(Self { path })
    }

    pub fn shown(&self) -> &str {
        text(&self.path)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", text(&self.path)]).status();
    }
}
