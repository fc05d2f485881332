//! The job: a row of records in a file, mapped and read in order.

use crate::{
    call::{AT_FDCWD, EINVAL, Failure, Result, Stat, Text, call, check, open},
    number::MMAP,
};

/// The job, mapped for good.
pub fn map() -> Result<&'static [u8]> {
    let job = open("job", AT_FDCWD, Text(b"/job\0"), 0, 0)?;
    let length = Stat::of(job.0, Text(b"\0"), 0x1000)?.size();
    let at = check("job", call(MMAP, [0, length, 1, 2, job.0, 0]))?;
    // SAFETY: the kernel has mapped so many bytes there, readable, private, and nobody unmaps them.
    Ok(unsafe { core::slice::from_raw_parts(at as *const u8, length) })
}

pub struct Job {
    pub rest: &'static [u8],
}

impl Job {
    pub fn take(&mut self, length: usize) -> Result<&'static [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Failure("job", EINVAL))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).ok().and_then(|bytes| bytes.first().copied())
    }

    pub fn number(&mut self) -> Result<usize> {
        let bytes = self.take(4)?.try_into().map_err(|_| Failure("job", EINVAL))?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    /// User, group and permissions.
    pub fn owner(&mut self) -> Result<[usize; 3]> {
        Ok([self.number()?, self.number()?, self.number()?])
    }

    pub fn text(&mut self) -> Result<Text<'static>> {
        let length = self.number()?;
        self.take(length.saturating_add(1)).map(Text)
    }
}
