#![expect(unsafe_code, reason = "UNSAFETY: fcntl(2) with a lock as its argument")]
//! The lock that libvirt's daemons hold on their pid files: fcntl(2), the file's first byte.
//!
//! Taken here as an open file description lock, which conflicts with theirs and, unlike theirs, is not lost when some
//! other part of this process opens and closes the file. The kernel drops it with its holder.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Held until dropped; the file stays.
#[derive(Debug)]
pub struct RecordLock {
    file: File,
}

impl Drop for RecordLock {
    fn drop(&mut self) {
        // A child that another thread is starting has a copy of the descriptor until its exec; closing ours is not
        // enough.
        let mut lock = libc::flock { l_type: lock_type(libc::F_UNLCK), ..first_byte() };
        // SAFETY: the descriptor is open and the lock is valid for the call.
        let _ = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    }
}

/// What came of the wish for a lock.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(RecordLock),
    /// It is another process's: this one, as the file or the kernel says.
    Held(Option<u32>),
}

/// Takes the lock of `path`, making the file (0644) and writing our pid into it, or says who has it.
pub fn record_lock(path: &Path) -> io::Result<Taken> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?);
    let mut lock = first_byte();
    // SAFETY: the descriptor is open and the lock is valid for the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) } == 0 {
        file.set_len(0)?;
        file.rewind()?;
        // For people; the lock counts, not the number.
        let _ = writeln!(file, "{}", std::process::id());
        return Ok(Taken::Ours(RecordLock { file }));
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(Taken::Held(holder(&mut file)))
        }
        error => Err(error),
    }
}

/// Who holds the lock of `path`, without taking it. `Ok(None)`: nobody.
pub fn record_lock_holder(path: &Path) -> io::Result<Option<Option<u32>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let held = ask(&file)?.l_type != lock_type(libc::F_UNLCK);
    Ok(held.then(|| holder(&mut file)))
}

fn first_byte() -> libc::flock {
    libc::flock {
        l_type: lock_type(libc::F_WRLCK),
        l_whence: lock_type(libc::SEEK_SET),
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    }
}

fn lock_type(word: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(word).expect("the kernel's words for locks are small")
}

fn ask(file: &File) -> io::Result<libc::flock> {
    let mut lock = first_byte();
    // SAFETY: the descriptor is open and the lock is valid for the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } {
        0 => Ok(lock),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's answer; where it has none (another pid namespace, a lock like ours) the file's.
fn holder(file: &mut File) -> Option<u32> {
    let kernels = ask(file).ok().and_then(|lock| u32::try_from(lock.l_pid).ok()).filter(|pid| *pid > 0);
    kernels.or_else(|| {
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_the_other_is_told_who() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("driver.pid");
        assert!(record_lock_holder(&path).unwrap().is_none());
        let Taken::Ours(held) = record_lock(&path).unwrap() else { panic!("nobody else has it") };
        // Opening and closing the file elsewhere does not lose it.
        drop(File::open(&path).unwrap());
        let us = Some(std::process::id());
        assert!(matches!(record_lock(&path).unwrap(), Taken::Held(pid) if pid == us));
        assert_eq!(record_lock_holder(&path).unwrap(), Some(us));
        // What fork(2) makes of the descriptor, in a child that is being started.
        let childs = held.file.try_clone().unwrap();
        drop(held);
        assert!(record_lock_holder(&path).unwrap().is_none());
        assert!(matches!(record_lock(&path).unwrap(), Taken::Ours(_)));
        drop(childs);
    }

    #[test]
    fn a_lock_as_libvirts_daemons_take_it_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("driver.pid");
        std::fs::write(&path, "1\n").unwrap();
        let script = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX|fcntl.LOCK_NB, 1, 0); \
                      print('held', flush=True); sys.stdin.read()";
        let child = std::process::Command::new("/usr/bin/python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return eprintln!("skipped: no python3 to hold a lock") };
        let mut said = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert!(matches!(record_lock(&path).unwrap(), Taken::Held(Some(pid)) if pid == child.id()));
        assert_eq!(record_lock_holder(&path).unwrap(), Some(Some(child.id())));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(matches!(record_lock(&path).unwrap(), Taken::Ours(_)));
    }
}
