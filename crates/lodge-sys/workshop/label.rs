//! Extended attributes: SELinux' label of what is new, and all that a replaced file had. What a file system or a
//! kernel does not take is left out: a policy that wants it labels anew.

use crate::{
    call::{AT_FDCWD, Fd, O_PATH, Text, call, open},
    number::{FCHDIR, FGETXATTR, FLISTXATTR, FSETXATTR, LSETXATTR, O_DIRECTORY},
};

const LABEL: &[u8] = b"security.selinux\0";
const ACL: &[u8] = b"system.posix_acl_access\0";
/// What is only true of the old bytes.
const OF_THE_BYTES: [&[u8]; 3] = [b"security.capability\0", b"security.ima\0", b"security.evm\0"];

/// Gives a file the SELinux label of a directory's entry, where there is one.
pub fn label(directory: &Fd, name: Text<'_>, to: &Fd) {
    if let Ok(from) = open("label", directory.0 as isize, name, O_DIRECTORY, 0) {
        copy_label(&from, to);
    }
}

/// Gives a link the label of the directory that it is in. It stands in that directory meanwhile, and nowhere in the mount
/// afterwards, which could not be unmounted then.
pub fn label_link(directory: &Fd, link: Text<'_>) {
    let mut buffer = [0_u8; 256];
    if let Some(length) = read_label(directory, &mut buffer)
        && let Ok(outside) = open("label", AT_FDCWD, Text(b"/\0"), O_PATH | O_DIRECTORY, 0)
        && call(FCHDIR, [directory.0, 0, 0, 0, 0, 0]) == 0
    {
        call(LSETXATTR, [link.at(), Text(LABEL).at(), buffer.as_ptr() as usize, length, 0, 0]);
        call(FCHDIR, [outside.0, 0, 0, 0, 0, 0]);
    }
}

fn read_label(of: &Fd, buffer: &mut [u8; 256]) -> Option<usize> {
    // A directory on the way is open only as a place; its label wants it open for reading.
    let file = open("label", of.0 as isize, Text(b".\0"), O_DIRECTORY, 0).ok()?;
    let (name, at) = (Text(LABEL).at(), buffer.as_mut_ptr() as usize);
    usize::try_from(call(FGETXATTR, [file.0, name, at, 256, 0, 0])).ok()
}

fn copy_label(from: &Fd, to: &Fd) {
    let mut buffer = [0_u8; 256];
    let (name, at) = (Text(LABEL).at(), buffer.as_mut_ptr() as usize);
    if let Ok(length) = usize::try_from(call(FGETXATTR, [from.0, name, at, 256, 0, 0])) {
        call(FSETXATTR, [to.0, name, at, length, 0, 0]);
    }
}

/// Gives a file all that another one has beside its bytes. `with_acl`: the mode stays, so what says more than it does too.
pub fn copy_all(from: &Fd, to: &Fd, with_acl: bool) {
    let (mut names, mut value) = ([0_u8; 4096], [0_u8; 4096]);
    let at = names.as_mut_ptr() as usize;
    let length = usize::try_from(call(FLISTXATTR, [from.0, at, names.len(), 0, 0, 0])).unwrap_or(0);
    for name in names.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0) {
        if OF_THE_BYTES.contains(&name) || (name == ACL && !with_acl) {
            continue;
        }
        let (name, at) = (Text(name).at(), value.as_mut_ptr() as usize);
        if let Ok(length) = usize::try_from(call(FGETXATTR, [from.0, name, at, value.len(), 0, 0])) {
            call(FSETXATTR, [to.0, name, at, length, 0, 0]);
        }
    }
}
