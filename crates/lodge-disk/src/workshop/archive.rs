//! The workshop's initramfs: root's alone.

use lodge_model::guest_disk::{Newc, Owner};

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive(Newc);

const fn roots(mode: u16) -> Owner {
    Owner { uid: 0, gid: 0, mode }
}

impl Archive {
    pub(super) fn directory(&mut self, name: &str) -> &mut Self {
        self.0.directory(name.as_bytes(), roots(0o755));
        self
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.0.file(name.as_bytes(), roots(0o600), bytes);
        self
    }

    pub(super) fn program(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.0.file(name.as_bytes(), roots(0o700), bytes);
        self
    }

    /// `/dev/console`, which the kernel opens for its first process.
    pub(super) fn console(&mut self) -> &mut Self {
        self.0.characters(b"dev/console", roots(0o600), (5, 1));
        self
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.0.end()
    }
}
