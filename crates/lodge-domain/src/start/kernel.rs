//! What a guest boots directly: kernel, initial disk, device tree, shim.
//!
//! QEMU opens these by name only, and runs as a user who may not: virt-install writes them with mode 0600, as
//! root. libvirt gives such files to QEMU's user and takes them back when the guest has ended. Here every guest has a
//! user of its own and two guests may share a kernel, so there is nobody to give them to. QEMU gets a descriptor, and
//! `/proc/self/fd/N` as the name: opening that asks for rights on the file itself and for none on the way to it. A
//! file that only its owner may read is copied into one without a name that belongs to the guest's user: it lives as
//! long as a descriptor of it does, so it survives the daemon, leaves nothing behind, and needs no undo.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use lodge_model::Kind;
use lodge_model::domain::os::Os;
use lodge_qemu::{Claims, Credentials, Descriptors};
use lodge_store::saga::Failure;

use super::file_failure;

/// Everybody may read it.
const READABLE: u32 = 0o004;

/// Opens what the document names. `user`: whom QEMU runs as, if not as the daemon; `room`: a directory for copies.
pub(super) fn pass(
    os: &Os,
    user: Option<&Credentials>,
    room: &Path,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    let boot = &mut claims.boot;
    for (path, claim) in [
        (&os.kernel, &mut boot.kernel),
        (&os.initrd, &mut boot.initrd),
        (&os.dtb, &mut boot.dtb),
        (&os.shim, &mut boot.shim),
    ] {
        let Some(path) = path.as_deref().map(Path::new) else { continue };
        *claim = Some(descriptors.pass(readable(path, user, room)?));
    }
    Ok(())
}

fn readable(path: &Path, user: Option<&Credentials>, room: &Path) -> Result<File, Failure> {
    // A pipe would let us wait for its other end.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(nonblock).open(path);
    let file = opened.map_err(|error| file_failure("open", path, &error))?;
    let of_file = file.metadata().map_err(|error| file_failure("open", path, &error))?;
    if !of_file.is_file() {
        return Err(Failure::new(Kind::InvalidInput, format!("`{}` is not a file", path.display())));
    }
    let Some(user) = user.filter(|user| of_file.mode() & READABLE == 0 && of_file.uid() != user.uid) else {
        return Ok(file);
    };
    copy(file, user, room).map_err(|error| file_failure("copy for the guest", path, &error))
}

fn copy(mut from: File, user: &Credentials, room: &Path) -> io::Result<File> {
    let mut to = lodge_sys::fs::nameless(room)?;
    io::copy(&mut from, &mut to)?;
    std::os::unix::fs::fchown(&to, Some(user.uid), Some(user.gid))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_private_file_becomes_the_guests_own_and_stays_as_it_is() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root to give a file away");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("initrd");
        lodge_sys::fs::write_durable(&path, b"content", 0o600).unwrap();
        let user = Credentials { uid: 4242, gid: 4242, groups: Vec::new() };
        let file = readable(&path, Some(&user), dir.path()).unwrap();
        assert_eq!((file.metadata().unwrap().uid(), file.metadata().unwrap().mode() & 0o777), (4242, 0o400));
        let mut text = String::new();
        let by_name = format!("/proc/self/fd/{}", file.as_raw_fd());
        File::open(by_name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!((path.metadata().unwrap().uid(), path.metadata().unwrap().mode() & 0o777), (0, 0o600));
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(readable(dir.path(), Some(&user), dir.path()).unwrap_err().message.contains("is not a file"));
    }

    #[test]
    fn a_file_for_all_is_passed_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinuz");
        lodge_sys::fs::write_durable(&path, b"content", 0o644).unwrap();
        let user = Credentials { uid: 4242, gid: 4242, groups: Vec::new() };
        let file = readable(&path, Some(&user), Path::new("/nonexistent")).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), path.metadata().unwrap().ino());
    }
}
