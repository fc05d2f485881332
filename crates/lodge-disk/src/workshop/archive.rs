//! An initramfs: the "new ASCII" form of cpio, as the kernel's documentation describes it (`buffer-format.rst`).
//!
//! Each member is a header of hexadecimal digits, its name and its bytes, each padded to four bytes.

use std::fmt::Write as _;

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    members: u32,
}

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_600;
const PROGRAM: u32 = 0o100_700;
const CONSOLE: u32 = 0o020_600;

impl Archive {
    pub(super) fn directory(&mut self, name: &str) -> &mut Self {
        self.member(name, DIRECTORY, (0, 0), &[])
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.member(name, FILE, (0, 0), bytes)
    }

    pub(super) fn program(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.member(name, PROGRAM, (0, 0), bytes)
    }

    /// `/dev/console`, which the kernel opens for its first process.
    pub(super) fn console(&mut self) -> &mut Self {
        self.member("dev/console", CONSOLE, (5, 1), &[])
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.member("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn member(&mut self, name: &str, mode: u32, device: (u32, u32), bytes: &[u8]) -> &mut Self {
        self.members += 1;
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut header = "070701".to_owned();
        let size = length(bytes.len());
        let name_size = length(name.len() + 1);
        for field in [self.members, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            write!(header, "{field:08X}").expect("a string takes all that is written");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
