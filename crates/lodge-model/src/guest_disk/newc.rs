//! An initramfs: the "new ASCII" form of cpio, as the kernel's documentation describes it (`buffer-format.rst`).
//!
//! Each member is a header of hexadecimal digits, its name and its bytes, each padded to four bytes.

use std::fmt::Write as _;

use super::Owner;

/// An archive in the making. Names have no leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Newc {
    bytes: Vec<u8>,
    members: u32,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTERS: u32 = 0o020_000;

impl Newc {
    /// A directory.
    pub fn directory(&mut self, name: &[u8], owner: Owner) -> &mut Self {
        self.member(name, DIRECTORY, owner, (0, 0), &[])
    }

    /// A plain file.
    pub fn file(&mut self, name: &[u8], owner: Owner, bytes: &[u8]) -> &mut Self {
        self.member(name, FILE, owner, (0, 0), bytes)
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &[u8], to: &[u8]) -> &mut Self {
        self.member(name, LINK, Owner { uid: 0, gid: 0, mode: 0o777 }, (0, 0), to)
    }

    /// A device of characters, by its numbers.
    pub fn characters(&mut self, name: &[u8], owner: Owner, device: (u32, u32)) -> &mut Self {
        self.member(name, CHARACTERS, owner, device, &[])
    }

    /// The archive.
    pub fn end(mut self) -> Vec<u8> {
        self.member(b"TRAILER!!!", 0, Owner { uid: 0, gid: 0, mode: 0 }, (0, 0), &[]);
        self.bytes
    }

    fn member(
        &mut self,
        name: &[u8],
        kind: u32,
        owner: Owner,
        device: (u32, u32),
        bytes: &[u8],
    ) -> &mut Self {
        self.members += 1;
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut header = "070701".to_owned();
        let (size, name_size) = (length(bytes.len()), length(name.len() + 1));
        let mode = kind | u32::from(owner.mode & 0o7777);
        let (uid, gid) = (owner.uid, owner.gid);
        for field in [self.members, mode, uid, gid, 1, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            write!(header, "{field:08X}").expect("a string takes all that is written");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_padded_to_four_bytes() {
        let mut archive = Newc::default();
        archive.file(b"ab", Owner { uid: 1, gid: 2, mode: 0o644 }, b"12345").link(b"l", b"ab");
        let bytes = archive.end();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"07070100000001000081A40000000100000002"), "{}", bytes.escape_ascii());
        // 110 bytes of header and 3 of name are 116, 5 of content are 8.
        assert_eq!(&bytes[110..121], b"ab\0\0\0\x0012345");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"), "{}", bytes.escape_ascii());
    }
}
