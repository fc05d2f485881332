//! The workshop's only process: loads modules, mounts a device, carries a job out, says how it went, turns off.
//!
//! It is the whole user space of a guest with a foreign kernel and a foreign file system. No library, no allocation, no
//! recursion: a job is mapped, what is needed beside it lies on the stack. Whoever reads its word does not believe it.
//!
//! `/job` is a row of records, each a letter and its fields; a text is its length in four bytes (little endian), its
//! bytes and a NUL.
//! ```text
//!  M path                            a module to be loaded
//!  m path                            the same, and no harm where it does not load
//!  T device type options             mount
//!  W path keep uid gid mode bytes    a file; keep 1: owner and mode as it was, if it was
//!  R path                            remove, with all below
//!  L path target                     a symbolic link
//! ```
//! Paths are resolved inside the mount only (openat2(2), RESOLVE_IN_ROOT), their last part never.
//! On the console: `lodge-workshop: done` or `lodge-workshop: failed RECORD STEP ERRNO`.

#![no_std]
#![no_main]

use core::arch::asm;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const FSYNC: usize = 74;
    pub const FCHDIR: usize = 81;
    pub const FCHMOD: usize = 91;
    pub const FCHOWN: usize = 93;
    pub const MOUNT: usize = 165;
    pub const UMOUNT: usize = 166;
    pub const REBOOT: usize = 169;
    pub const SYNC: usize = 162;
    pub const FSETXATTR: usize = 190;
    pub const LSETXATTR: usize = 189;
    pub const FGETXATTR: usize = 193;
    pub const GETDENTS64: usize = 217;
    pub const NANOSLEEP: usize = 35;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const UNLINKAT: usize = 263;
    pub const RENAMEAT2: usize = 316;
    pub const SYMLINKAT: usize = 266;
    pub const FINIT_MODULE: usize = 313;
    pub const STATX: usize = 332;
    pub const OPENAT2: usize = 437;
    pub const O_DIRECTORY: usize = 0o200_000;
    pub const O_NOFOLLOW: usize = 0o400_000;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const WRITE: usize = 64;
    pub const CLOSE: usize = 57;
    pub const MMAP: usize = 222;
    pub const FSYNC: usize = 82;
    pub const FCHDIR: usize = 50;
    pub const FCHMOD: usize = 52;
    pub const FCHOWN: usize = 55;
    pub const MOUNT: usize = 40;
    pub const UMOUNT: usize = 39;
    pub const REBOOT: usize = 142;
    pub const SYNC: usize = 81;
    pub const FSETXATTR: usize = 7;
    pub const LSETXATTR: usize = 6;
    pub const FGETXATTR: usize = 10;
    pub const GETDENTS64: usize = 61;
    pub const NANOSLEEP: usize = 101;
    pub const OPENAT: usize = 56;
    pub const MKDIRAT: usize = 34;
    pub const UNLINKAT: usize = 35;
    pub const RENAMEAT2: usize = 276;
    pub const SYMLINKAT: usize = 36;
    pub const FINIT_MODULE: usize = 273;
    pub const STATX: usize = 291;
    pub const OPENAT2: usize = 437;
    pub const O_DIRECTORY: usize = 0o40_000;
    pub const O_NOFOLLOW: usize = 0o100_000;
}

use number::*;

const O_WRONLY: usize = 1;
const O_CREAT: usize = 0o100;
const O_EXCL: usize = 0o200;
const O_NONBLOCK: usize = 0o4000;
const O_PATH: usize = 0o10_000_000;
const AT_FDCWD: isize = -100;
const AT_SYMLINK_NOFOLLOW: usize = 0x100;
const AT_REMOVEDIR: usize = 0x200;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_IN_ROOT: u64 = 0x10;
const MS_NOSUID_NODEV_NOEXEC: usize = 2 | 4 | 8;
const ENOENT: isize = -2;
const EEXIST: isize = -17;
const EISDIR: isize = -21;
const EINVAL: isize = -22;
const ENOTEMPTY: isize = -39;
const ELOOP: isize = -40;
/// Directories in directories that are removed.
const DEPTH_MOST: usize = 200;
const TEMPORARY: &[u8] = b".lodge-workshop\0";
const LABEL: &[u8] = b"security.selinux\0";

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "bl {main}", main = sym main);

/// One system call.
fn call(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: what each call reads and writes is laid out by the functions below, which own it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a[0] => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5]);
    }
    result
}

type Result<T> = core::result::Result<T, Failure>;

/// Which step, and the kernel's reason.
struct Failure(&'static str, isize);

fn check(step: &'static str, result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Failure(step, result))
}

/// An open file.
struct Fd(usize);

impl Drop for Fd {
    fn drop(&mut self) {
        call(CLOSE, [self.0, 0, 0, 0, 0, 0]);
    }
}

/// Bytes that end with a NUL.
#[derive(Clone, Copy)]
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn at(self) -> usize {
        if self.0.last() == Some(&0) { self.0.as_ptr() as usize } else { c"".as_ptr() as usize }
    }
}

fn open(step: &'static str, directory: isize, path: Text<'_>, flags: usize, mode: usize) -> Result<Fd> {
    check(step, call(OPENAT, [directory as usize, path.at(), flags, mode, 0, 0])).map(Fd)
}

extern "C" fn main() -> ! {
    let mut record = 0;
    match work(&mut record) {
        Ok(()) => say(&[b"\nlodge-workshop: done\n"]),
        Err(Failure(step, error)) => {
            let (mut one, mut two) = ([0; 20], [0; 20]);
            let (record, error) = (digits(record, &mut one), digits(error.unsigned_abs(), &mut two));
            say(&[b"\nlodge-workshop: failed ", record, b" ", step.as_bytes(), b" ", error, b"\n"]);
        }
    }
    // What failed is thrown away with the device; still nothing is left under way.
    call(SYNC, [0; 6]);
    call(UMOUNT, [c"/mnt".as_ptr() as usize, 0, 0, 0, 0, 0]);
    for command in [0x4321_fedc, 0x0123_4567] {
        call(REBOOT, [0xfee1_dead, 0x2812_1969, command, 0, 0, 0]);
    }
    loop {
        wait();
    }
}

fn work(record: &mut usize) -> Result<()> {
    let none = c"".as_ptr() as usize;
    let dev = c"/dev".as_ptr() as usize;
    let devtmpfs = c"devtmpfs".as_ptr() as usize;
    check("mount-dev", call(MOUNT, [devtmpfs, dev, devtmpfs, 0, none, 0]))?;
    let mut job = Job { rest: map()? };
    let mut root = None;
    while let Some(kind) = job.byte() {
        *record += 1;
        match (kind, &root) {
            (b'M', None) => load(job.text()?)?,
            (b'm', None) => drop(load(job.text()?)),
            (b'T', None) => root = Some(mount(job.text()?, job.text()?, job.text()?)?),
            (b'W', Some(root)) => write(root, &mut job)?,
            (b'R', Some(root)) => remove(root, job.text()?)?,
            (b'L', Some(root)) => link(root, job.text()?, job.text()?)?,
            _ => return Err(Failure("job", EINVAL)),
        }
    }
    drop(root);
    call(SYNC, [0; 6]);
    check("unmount", call(UMOUNT, [c"/mnt".as_ptr() as usize, 0, 0, 0, 0, 0])).map(|_| ())
}

/// The job, mapped for good.
fn map() -> Result<&'static [u8]> {
    let job = open("job", AT_FDCWD, Text(b"/job\0"), 0, 0)?;
    let length = Stat::of(job.0, Text(b"\0"), 0x1000)?.size();
    let at = check("job", call(MMAP, [0, length, 1, 2, job.0, 0]))?;
    // SAFETY: the kernel has mapped so many bytes there, readable, private, and nobody unmaps them.
    Ok(unsafe { core::slice::from_raw_parts(at as *const u8, length) })
}

struct Job {
    rest: &'static [u8],
}

impl Job {
    fn take(&mut self, length: usize) -> Result<&'static [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Failure("job", EINVAL))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).ok().and_then(|bytes| bytes.first().copied())
    }

    fn number(&mut self) -> Result<usize> {
        let bytes = self.take(4)?.try_into().map_err(|_| Failure("job", EINVAL))?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self) -> Result<Text<'static>> {
        let length = self.number()?;
        self.take(length.saturating_add(1)).map(Text)
    }
}

fn load(path: Text<'_>) -> Result<()> {
    let module = open("module", AT_FDCWD, path, 0, 0)?;
    match call(FINIT_MODULE, [module.0, c"".as_ptr() as usize, 0, 0, 0, 0]) {
        EEXIST => Ok(()),
        result => check("module", result).map(|_| ()),
    }
}

fn mount(device: Text<'_>, kind: Text<'_>, options: Text<'_>) -> Result<Fd> {
    let (device, place) = (device.at(), c"/mnt".as_ptr() as usize);
    let mut result = ENOENT;
    // The device appears a moment after its driver.
    for _ in 0..500 {
        result = call(MOUNT, [device, place, kind.at(), MS_NOSUID_NODEV_NOEXEC, options.at(), 0]);
        if result != ENOENT {
            break;
        }
        wait();
    }
    check("mount", result)?;
    open("mount", AT_FDCWD, Text(b"/mnt\0"), O_PATH | O_DIRECTORY, 0)
}

/// A directory on the way, resolved inside the mount.
fn enter(root: &Fd, path: Text<'_>) -> core::result::Result<Fd, isize> {
    let how: [u64; 3] = [(O_PATH | O_DIRECTORY) as u64, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS];
    let result = call(OPENAT2, [root.0, path.at(), how.as_ptr() as usize, 24, 0, 0]);
    usize::try_from(result).map(Fd).map_err(|_| result)
}

/// The directory in which a path's last part is, and that part. `make`: directories that are missing are made.
fn parent<'a>(root: &Fd, path: Text<'a>, make: bool) -> Result<Option<(Fd, Text<'a>)>> {
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
fn parent_of<'a>(root: &Fd, path: Text<'a>) -> Result<(Fd, Text<'a>)> {
    let mut way = [0; 4097];
    let last = path.0.iter().rposition(|byte| *byte == b'/').ok_or(Failure("path", EINVAL))?;
    way[..last].copy_from_slice(&path.0[..last]);
    way[last] = b'/';
    let above = enter(root, Text(&way[..last + 2])).map_err(|error| Failure("parent", error))?;
    Ok((above, Text(&path.0[last + 1..])))
}

/// statx(2)'s answer: the same on all machines.
struct Stat([u32; 64]);

impl Stat {
    fn of(directory: usize, name: Text<'_>, flags: usize) -> Result<Self> {
        let mut stat = Self([0; 64]);
        let flags = flags | AT_SYMLINK_NOFOLLOW;
        let at = stat.0.as_mut_ptr() as usize;
        check("stat", call(STATX, [directory, name.at(), flags, 0x7ff, at, 0])).map(|_| stat)
    }

    fn mode(&self) -> u32 {
        self.0[7] & 0xffff
    }

    fn is(&self, kind: u32) -> bool {
        self.mode() & 0o170_000 == kind
    }

    fn size(&self) -> usize {
        self.0[10] as usize
    }
}

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

fn write(root: &Fd, job: &mut Job) -> Result<()> {
    let path = job.text()?;
    let keep = job.byte() == Some(1);
    let mut owner = [job.number()?, job.number()?, job.number()?];
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
            old = Some(open("write", directory.0 as isize, name, O_NOFOLLOW | O_NONBLOCK, 0)?);
        }
        Ok(_) | Err(Failure(_, ENOENT)) => {}
        Err(failure) => return Err(failure),
    }
    clear(&directory)?;
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let file = open("write", directory.0 as isize, Text(TEMPORARY), flags, 0o600)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let wrote = check("write", call(WRITE, [file.0, rest.as_ptr() as usize, rest.len(), 0, 0, 0]))?;
        rest = rest.get(wrote..).unwrap_or_default();
    }
    // The label of what is replaced, else of the directory, as a policy would mostly have it.
    match old {
        Some(old) => copy_label(&old, &file),
        None => label(&directory, Text(b".\0"), &file),
    }
    check("chown", call(FCHOWN, [file.0, owner[0], owner[1], 0, 0, 0]))?;
    check("chmod", call(FCHMOD, [file.0, owner[2], 0, 0, 0, 0]))?;
    check("sync", call(FSYNC, [file.0, 0, 0, 0, 0, 0]))?;
    rename(&directory, name)
}

fn link(root: &Fd, path: Text<'_>, target: Text<'_>) -> Result<()> {
    let Some((directory, name)) = parent(root, path, true)? else { return Err(Failure("parent", ENOENT)) };
    if Stat::of(directory.0, name, 0).is_ok_and(|stat| stat.is(DIRECTORY)) {
        return Err(Failure("link", EISDIR));
    }
    clear(&directory)?;
    let (to, at) = (target.at(), Text(TEMPORARY).at());
    check("link", call(SYMLINKAT, [to, directory.0, at, 0, 0, 0]))?;
    let mut buffer = [0_u8; 256];
    if let Some(length) = read_label(&directory, &mut buffer)
        && call(FCHDIR, [directory.0, 0, 0, 0, 0, 0]) == 0
    {
        let text = Text(LABEL).at();
        call(LSETXATTR, [at, text, buffer.as_ptr() as usize, length, 0, 0]);
        call(FCHDIR, [root.0, 0, 0, 0, 0, 0]);
    }
    rename(&directory, name)
}

/// Nothing is left of an attempt that was broken off.
fn clear(directory: &Fd) -> Result<()> {
    match call(UNLINKAT, [directory.0, Text(TEMPORARY).at(), 0, 0, 0, 0]) {
        0 | ENOENT => Ok(()),
        error => Err(Failure("clear", error)),
    }
}

fn rename(directory: &Fd, name: Text<'_>) -> Result<()> {
    let from = Text(TEMPORARY).at();
    check("rename", call(RENAMEAT2, [directory.0, from, directory.0, name.at(), 0, 0])).map(|_| ())
}

/// Gives a file the SELinux label of a directory's entry, where there is one.
fn label(directory: &Fd, name: Text<'_>, to: &Fd) {
    if let Ok(from) = open("label", directory.0 as isize, name, O_DIRECTORY, 0) {
        copy_label(&from, to);
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

fn remove(root: &Fd, path: Text<'_>) -> Result<()> {
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

fn say(words: &[&[u8]]) {
    for word in words {
        call(WRITE, [1, word.as_ptr() as usize, word.len(), 0, 0, 0]);
    }
}

fn digits(mut number: usize, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            return &buffer[at..];
        }
    }
}

/// Ten milliseconds.
fn wait() {
    let time: [u64; 2] = [0, 10_000_000];
    call(NANOSLEEP, [time.as_ptr() as usize, 0, 0, 0, 0, 0]);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    say(&[b"\nlodge-workshop: failed 0 panic 0\n"]);
    call(REBOOT, [0xfee1_dead, 0x2812_1969, 0x0123_4567, 0, 0, 0]);
    loop {
        wait();
    }
}

/// Named by the unwinding tables of `core`, which nothing here reads: a panic turns the machine off.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// What the compiler calls for copies and comparisons, with nothing in it that it would turn into a call of itself.

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    for at in 0..count {
        // SAFETY: the caller's promise.
        unsafe { to.add(at).write_volatile(from.add(at).read()) };
    }
    to
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    for at in 0..count {
        // SAFETY: the caller's promise.
        unsafe { to.add(at).write_volatile(byte as u8) };
    }
    to
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: the caller's promise.
        let (one, other) = unsafe { (one.add(at).read_volatile(), other.add(at).read()) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
    }
    0
}

/// As in C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(one, other, count) }
}
