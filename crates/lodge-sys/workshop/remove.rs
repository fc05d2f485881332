//! Taking away what is at a path, with all below, without recursion.

use crate::{
    call::{
        AT_REMOVEDIR, DIRECTORY, EEXIST, ELOOP, ENOENT, ENOTEMPTY, Failure, Fd, Result, Stat, Text, call,
        check, open,
    },
    number::{GETDENTS64, O_DIRECTORY, O_NOFOLLOW, UNLINKAT},
    way::parent,
};

/// Directories in directories that are removed.
const DEPTH_MOST: usize = 200;

pub fn remove(root: &Fd, path: Text<'_>) -> Result<()> {
    let Some((directory, name)) = parent(root, path, false)? else { return Ok(()) };
    loop {
        // The first directory that has none in it goes, until the one that is meant has gone.
        let mut above = [const { None::<Fd> }; DEPTH_MOST];
        let mut names = [[0_u8; 256]; 2];
        let mut depth = 0;
        let mut this = name;
        loop {
            let at = above.get(depth).and_then(Option::as_ref).unwrap_or(&directory).0;
            match Stat::of(at, this, 0) {
                Err(Failure(_, ENOENT)) => return Ok(()),
                Err(failure) => return Err(failure),
                Ok(stat) if !stat.is(DIRECTORY) => {
                    check("remove", call(UNLINKAT, [at, this.at(), 0, 0, 0, 0]))?;
                    break;
                }
                Ok(_) => {}
            }
            match call(UNLINKAT, [at, this.at(), AT_REMOVEDIR, 0, 0, 0]) {
                0 => break,
                ENOTEMPTY | EEXIST => {}
                error => return Err(Failure("remove", error)),
            }
            let below = open("remove", at as isize, this, O_DIRECTORY | O_NOFOLLOW, 0)?;
            let mut next = [0; 256];
            if !empty(&below, &mut next)? {
                // It has no directory in it and is empty now.
                check("remove", call(UNLINKAT, [at, this.at(), AT_REMOVEDIR, 0, 0, 0]))?;
                break;
            }
            depth += 1;
            let slot = above.get_mut(depth).ok_or(Failure("remove", ELOOP))?;
            *slot = Some(below);
            names[depth % 2] = next;
            let name = &names[depth % 2];
            let length = name.iter().position(|byte| *byte == 0).unwrap_or(255);
            // SAFETY: `names` outlives this turn of the loop, and of its two names only the other one is changed next.
            this = Text(unsafe { core::slice::from_raw_parts(name.as_ptr(), length + 1) });
        }
        if depth == 0 {
            return Ok(());
        }
    }
}

/// Removes what is no directory; the answer is whether there is a directory, whose name is in `name` then.
fn empty(directory: &Fd, name: &mut [u8; 256]) -> Result<bool> {
    let mut buffer = [0_u64; 512];
    let mut found = false;
    loop {
        let at = buffer.as_mut_ptr() as usize;
        let length = check("list", call(GETDENTS64, [directory.0, at, 4096, 0, 0, 0]))?;
        if length == 0 {
            return Ok(found);
        }
        // SAFETY: the buffer is 4096 bytes long, and any byte is one.
        let bytes = unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), 4096) };
        let mut start = 0;
        while start + 19 < length {
            let size = usize::from(bytes[start + 16]) | usize::from(bytes[start + 17]) << 8;
            let entry = bytes.get(start + 19..start + size).unwrap_or_default();
            start += size.max(19);
            let Some(end) = entry.iter().position(|byte| *byte == 0) else { continue };
            let this = &entry[..=end];
            if matches!(this, b".\0" | b"..\0") || end > 254 {
                continue;
            }
            if Stat::of(directory.0, Text(this), 0)?.is(DIRECTORY) {
                name[..this.len()].copy_from_slice(this);
                found = true;
            } else {
                check("remove", call(UNLINKAT, [directory.0, Text(this).at(), 0, 0, 0, 0]))?;
            }
        }
    }
}
