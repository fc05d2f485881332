//! The directories on the way to a path, which are resolved inside the mount and made where they are missing.

use crate::{
    call::{
        EINVAL, ENOENT, Failure, Fd, O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, Result, Text, call,
        check, open,
    },
    label::label,
    number::{FCHMOD, MKDIRAT, O_DIRECTORY, O_NOFOLLOW, OPENAT2},
};

/// A directory on the way, resolved inside the mount.
pub fn enter(root: &Fd, path: Text<'_>) -> core::result::Result<Fd, isize> {
    let how: [u64; 3] = [(O_PATH | O_DIRECTORY) as u64, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS];
    let result = call(OPENAT2, [root.0, path.at(), how.as_ptr() as usize, 24, 0, 0]);
    usize::try_from(result).map(Fd).map_err(|_| result)
}

/// The directory in which a path's last part is, and that part. `make`: directories that are missing are made.
pub fn parent<'a>(root: &Fd, path: Text<'a>, make: bool) -> Result<Option<(Fd, Text<'a>)>> {
    let mut way = [0; 4097];
    let bytes = path.0;
    let last = bytes.iter().rposition(|byte| *byte == b'/').ok_or(Failure("path", EINVAL))?;
    if bytes.len() > 4096 || bytes.len() < last + 3 {
        return Err(Failure("path", EINVAL));
    }
    let name = Text(&bytes[last + 1..]);
    way[..last].copy_from_slice(&bytes[..last]);
    way[last] = b'/';
    let whole = Text(&way[..last + 2]);
    match enter(root, whole) {
        Ok(directory) => return Ok(Some((directory, name))),
        Err(ENOENT) if make => {}
        Err(ENOENT) => return Ok(None),
        Err(error) => return Err(Failure("parent", error)),
    }
    // One directory after the other: each is resolved anew from the root, so links on the way are minded.
    for end in 1..=last {
        if way[end] != b'/' {
            continue;
        }
        let mut part = [0; 4097];
        part[..end].copy_from_slice(&way[..end]);
        match enter(root, Text(&part[..=end])) {
            Ok(_) => {}
            Err(ENOENT) => {
                let part = Text(&part[..=end]);
                let (above, name) = parent_of(root, part)?;
                check("mkdir", call(MKDIRAT, [above.0, name.at(), 0o755, 0, 0, 0]))?;
                let made = open("mkdir", above.0 as isize, name, O_DIRECTORY | O_NOFOLLOW, 0)?;
                check("mkdir", call(FCHMOD, [made.0, 0o755, 0, 0, 0, 0]))?;
                label(&above, Text(b".\0"), &made);
            }
            Err(error) => return Err(Failure("parent", error)),
        }
    }
    enter(root, whole).map(|directory| Some((directory, name))).map_err(|error| Failure("parent", error))
}

/// As [`parent`], of a path whose directory is there.
pub fn parent_of<'a>(root: &Fd, path: Text<'a>) -> Result<(Fd, Text<'a>)> {
    let mut way = [0; 4097];
    let last = path.0.iter().rposition(|byte| *byte == b'/').ok_or(Failure("path", EINVAL))?;
    way[..last].copy_from_slice(&path.0[..last]);
    way[last] = b'/';
    let above = enter(root, Text(&way[..last + 2])).map_err(|error| Failure("parent", error))?;
    Ok((above, Text(&path.0[last + 1..])))
}
