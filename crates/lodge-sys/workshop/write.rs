//! Files and links, each written beside its place and renamed over it; directories, and whose things are.

use crate::{
    call::{
        DIRECTORY, EEXIST, EINVAL, EISDIR, ENOENT, FILE, Failure, Fd, O_APPEND, O_CREAT, O_EXCL, O_NONBLOCK, O_WRONLY,
        Result, Stat, Text, call, check, open,
    },
    job::Job,
    label::{copy_all, label, label_link},
    number::{
        FCHMOD, FCHOWN, FSYNC, MKDIRAT, O_DIRECTORY, O_NOFOLLOW, RENAMEAT2, SYMLINKAT, UNLINKAT, WRITE,
    },
    way::parent,
};

pub const TEMPORARY: &[u8] = b".lodge-workshop\0";

pub fn write(root: &Fd, job: &mut Job) -> Result<()> {
    let path = job.text()?;
    let keep = job.byte() == Some(1);
    let mut owner = job.owner()?;
    let Text(bytes) = job.text()?;
    let bytes = &bytes[..bytes.len() - 1];
    let Some((directory, name)) = parent(root, path, true)? else { return Err(Failure("parent", ENOENT)) };
    let mut old = None;
    match Stat::of(directory.0, name, 0) {
        Ok(stat) if stat.is(DIRECTORY) => return Err(Failure("write", EISDIR)),
        Ok(stat) if stat.is(FILE) => {
            if keep {
                owner = [stat.0[5] as usize, stat.0[6] as usize, (stat.mode() & 0o7777) as usize];
            }
            let file = open("write", directory.0 as isize, name, O_NOFOLLOW | O_NONBLOCK, 0)?;
            old = Some((file, (stat.mode() & 0o7777) as usize));
        }
        Ok(_) | Err(Failure(_, ENOENT)) => {}
        Err(failure) => return Err(failure),
    }
    clear(&directory)?;
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let file = open("write", directory.0 as isize, Text(TEMPORARY), flags, 0o600)?;
    write_all(&file, bytes)?;
    // The attributes of what is replaced, else the directory's label, as a policy would mostly have it.
    match old {
        Some((old, mode)) => copy_all(&old, &file, mode == owner[2]),
        None => label(&directory, Text(b".\0"), &file),
    }
    give(&file, owner)?;
    check("sync", call(FSYNC, [file.0, 0, 0, 0, 0, 0]))?;
    rename(&directory, name)
}

/// In its place: it is not torn for long, and what is torn is thrown away with the device.
pub fn append(root: &Fd, job: &mut Job) -> Result<()> {
    let path = job.text()?;
    let at = job.number()?;
    let Text(bytes) = job.text()?;
    let bytes = &bytes[..bytes.len() - 1];
    let Some((directory, name)) = parent(root, path, false)? else { return Err(Failure("append", ENOENT)) };
    let stat = Stat::of(directory.0, name, 0)?;
    if !stat.is(FILE) || stat.size() != at {
        return Err(Failure("append", EINVAL));
    }
    let flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK;
    let file = open("append", directory.0 as isize, name, flags, 0)?;
    write_all(&file, bytes)?;
    check("sync", call(FSYNC, [file.0, 0, 0, 0, 0, 0])).map(|_| ())
}

fn write_all(file: &Fd, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        let wrote = check("write", call(WRITE, [file.0, rest.as_ptr() as usize, rest.len(), 0, 0, 0]))?;
        rest = rest.get(wrote..).unwrap_or_default();
    }
    Ok(())
}

pub fn directory(root: &Fd, path: Text<'_>, owner: [usize; 3]) -> Result<()> {
    let Some((above, name)) = parent(root, path, true)? else { return Err(Failure("parent", ENOENT)) };
    match Stat::of(above.0, name, 0) {
        Ok(stat) if stat.is(DIRECTORY) => return Ok(()),
        Ok(_) => return Err(Failure("mkdir", EEXIST)),
        Err(Failure(_, ENOENT)) => {}
        Err(failure) => return Err(failure),
    }
    check("mkdir", call(MKDIRAT, [above.0, name.at(), 0o700, 0, 0, 0]))?;
    let made = open("mkdir", above.0 as isize, name, O_DIRECTORY | O_NOFOLLOW, 0)?;
    label(&above, Text(b".\0"), &made);
    give(&made, owner)
}

pub fn own(root: &Fd, path: Text<'_>, owner: [usize; 3]) -> Result<()> {
    let Some((above, name)) = parent(root, path, false)? else { return Err(Failure("own", ENOENT)) };
    let there = Stat::of(above.0, name, 0)?;
    if !there.is(DIRECTORY) && !there.is(FILE) {
        return Err(Failure("own", EINVAL));
    }
    give(&open("own", above.0 as isize, name, O_NOFOLLOW | O_NONBLOCK, 0)?, owner)
}

fn give(file: &Fd, owner: [usize; 3]) -> Result<()> {
    check("chown", call(FCHOWN, [file.0, owner[0], owner[1], 0, 0, 0]))?;
    check("chmod", call(FCHMOD, [file.0, owner[2], 0, 0, 0, 0])).map(|_| ())
}

pub fn link(root: &Fd, path: Text<'_>, target: Text<'_>) -> Result<()> {
    let Some((directory, name)) = parent(root, path, true)? else { return Err(Failure("parent", ENOENT)) };
    if Stat::of(directory.0, name, 0).is_ok_and(|stat| stat.is(DIRECTORY)) {
        return Err(Failure("link", EISDIR));
    }
    clear(&directory)?;
    let (to, at) = (target.at(), Text(TEMPORARY).at());
    check("link", call(SYMLINKAT, [to, directory.0, at, 0, 0, 0]))?;
    label_link(&directory, Text(TEMPORARY));
    rename(&directory, name)
}

/// Nothing is left of an attempt that was broken off.
pub fn clear(directory: &Fd) -> Result<()> {
    match call(UNLINKAT, [directory.0, Text(TEMPORARY).at(), 0, 0, 0, 0]) {
        0 | ENOENT => Ok(()),
        error => Err(Failure("clear", error)),
    }
}

pub fn rename(directory: &Fd, name: Text<'_>) -> Result<()> {
    let from = Text(TEMPORARY).at();
    check("rename", call(RENAMEAT2, [directory.0, from, directory.0, name.at(), 0, 0])).map(|_| ())
}
