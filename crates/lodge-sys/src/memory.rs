#![expect(
    unsafe_code,
    reason = "UNSAFETY: malloc_trim(3), mallinfo2(3) and madvise(2) have no safe bindings"
)]
//! What the process holds of the host's memory without using it.

use std::{fs, io};

/// Bytes that the allocator keeps for later; none known where it is not glibc's.
#[must_use]
pub fn spare_bytes() -> usize {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: reads the allocator's counters under its own locks.
        unsafe { libc::mallinfo2() }.fordblks
    }
    #[cfg(not(target_env = "gnu"))]
    0
}

/// Gives the host back what the allocator keeps in whole pages. Takes milliseconds, and the allocator's locks.
pub fn give_back_spare() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program's own code pages: those in use are mapped again from the page cache as they are needed,
/// each by a fault of about a microsecond. Start-up runs through most of the program once, and the kernel keeps mapped
/// code in memory longer than anything else.
pub fn let_go_of_code() -> io::Result<()> {
    let inside = let_go_of_code as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let code = maps.lines().find_map(|line| code_range(line).filter(|range| range.contains(&inside)));
    let code = code.ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: the range is a private mapping of the program's file that cannot be written to (`r-xp`), so that every
    // page of it reads the same after it was mapped anew; a running program's file cannot be written to either.
    let done = unsafe { libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The range of a line of `/proc/self/maps`, if it is unwritable, private code of a file.
fn code_range(line: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if rights != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn only_private_code_of_files_is_let_go_of() {
        let of = |line| code_range(line);
        assert_eq!(of("1000-3000 r-xp 00001000 fe:00 42   /usr/bin/lodge"), Some(0x1000..0x3000));
        assert_eq!(of("1000-3000 r-xp 00001000 fe:00 42   /usr/bin/lodge (deleted)"), Some(0x1000..0x3000));
        assert_eq!(of("1000-3000 rwxp 00001000 fe:00 42   /usr/bin/lodge"), None);
        assert_eq!(of("1000-3000 r--p 00001000 fe:00 42   /usr/bin/lodge"), None);
        assert_eq!(of("1000-3000 r-xp 00000000 00:00 0    [vdso]"), None);
        assert_eq!(of("1000-3000 r-xp 00000000 00:00 0"), None);
    }

    #[test]
    fn code_that_was_let_go_of_runs_on() {
        let_go_of_code().expect("the program has code");
        assert_eq!(code_range("1-2 r-xp 0 0 0 /a"), Some(1..2));
    }

    #[test]
    fn what_was_freed_is_spare_until_it_is_given_back() {
        // Small pieces: large ones the allocator maps and unmaps one by one. The last one stays, so that the rest is
        // no end of the heap that glibc would give back by itself.
        let mut pieces: Vec<Vec<u8>> = (0..20_000_usize).map(|number| vec![1; 900 + number % 7]).collect();
        let last = pieces.pop();
        let held = resident_kib();
        drop(pieces);
        assert!(spare_bytes() > 10_000_000, "{}", spare_bytes());
        give_back_spare();
        assert!(resident_kib() + 10_000 < held, "{} of {held} KiB", resident_kib());
        drop(last);
    }

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
        line.trim().trim_end_matches(" kB").parse().expect("in KiB")
    }
}
