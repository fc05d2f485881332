//! Buffers for bodies that are no documents, the bytes of volumes and images: they go round, on either side of the wire. A
//! fresh one costs a page fault per page, as much again as the copying.

use std::sync::mpsc::{Receiver, Sender, channel};

/// The buffers of one body.
#[derive(Debug)]
pub struct Buffers {
    back: Sender<Vec<u8>>,
    spares: Receiver<Vec<u8>>,
}

impl Buffers {
    /// None yet.
    pub fn new() -> Self {
        let (back, spares) = channel();
        Self { back, spares }
    }

    /// One that has come back, with what was in it; else a new one.
    pub fn spare(&self) -> Vec<u8> {
        self.spares.try_recv().unwrap_or_default()
    }

    /// Lends one to whoever sends what is in it.
    pub fn lend(&self, bytes: Vec<u8>) -> Lent {
        Lent { bytes, back: self.back.clone() }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// A buffer that goes back when what was in it is sent.
#[derive(Debug)]
pub struct Lent {
    bytes: Vec<u8>,
    back: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // All may have been read already.
        let _ = self.back.send(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_it_was_sent() {
        let buffers = Buffers::new();
        let first = buffers.spare();
        assert_eq!(first.capacity(), 0);
        let lent = buffers.lend(vec![7; 100]);
        assert_eq!(buffers.spare().capacity(), 0, "it is under way");
        assert_eq!(lent.as_ref(), [7; 100]);
        drop(lent);
        assert_eq!(buffers.spare(), [7; 100]);
        let late = buffers.lend(first);
        drop(buffers);
        drop(late);
    }
}
