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
//!  A path at bytes                   a file that is so long gets more bytes
//!  R path                            remove, with all below
//!  L path target                     a symbolic link
//!  D path uid gid mode               a directory, if there is none
//!  O path uid gid mode               whose a file or a directory is
//! ```
//! Paths are resolved inside the mount only (openat2(2), RESOLVE_IN_ROOT), their last part never.
//! On the console: `lodge-workshop: done` or `lodge-workshop: failed RECORD STEP ERRNO`.
//!
//! - [`call`], [`number`]: system calls. [`memory`]: what a compiler wants of a library.
//! - [`job`]: the records. [`way`]: directories. [`write`], [`remove`], [`label`]: what a record asks for.

#![no_std]
#![no_main]

mod call;
mod job;
mod label;
mod memory;
mod number;
mod remove;
mod way;
mod write;

use call::{
    AT_FDCWD, EEXIST, EINVAL, ENOENT, Failure, Fd, MS_NOSUID_NODEV_NOEXEC, O_PATH, Result, Text, call, check,
    open,
};
use job::{Job, map};
use number::{FINIT_MODULE, MOUNT, NANOSLEEP, O_DIRECTORY, REBOOT, SYNC, UMOUNT, WRITE};
use remove::remove;
use write::{append, directory, link, own, write};

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "bl {main}", main = sym main);

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
            (b'A', Some(root)) => append(root, &mut job)?,
            (b'R', Some(root)) => remove(root, job.text()?)?,
            (b'L', Some(root)) => link(root, job.text()?, job.text()?)?,
            (b'D', Some(root)) => directory(root, job.text()?, job.owner()?)?,
            (b'O', Some(root)) => own(root, job.text()?, job.owner()?)?,
            _ => return Err(Failure("job", EINVAL)),
        }
    }
    drop(root);
    call(SYNC, [0; 6]);
    check("unmount", call(UMOUNT, [c"/mnt".as_ptr() as usize, 0, 0, 0, 0, 0])).map(|_| ())
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
