#![expect(unsafe_code, reason = "UNSAFETY: malloc_trim(3) and mallinfo2(3) have no safe bindings")]
//! What the process holds of the host's memory without using it.

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

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

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
