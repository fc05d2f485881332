//! Randomness that is given in: one seed, from which every new value has its own bytes.
//!
//! A value's bytes depend on the seed and on what they are for, not on the order of asking. So whoever noted the seed
//! before a change makes the same change again after a crash, and two clones with two seeds share nothing.
//! The seed is a secret as long as the keys made of it are in use: it must be forgotten when the change is done.

use std::fmt;

use ring::hmac;
use uuid::Uuid;

use super::text;

/// A seed of new identities.
#[derive(Clone)]
pub struct Fresh {
    key: hmac::Key,
}

impl Fresh {
    /// From 32 bytes of the kernel's randomness.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seed) }
    }

    /// `N` bytes for one purpose.
    pub fn bytes<const N: usize>(&self, purpose: &str) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(purpose, &mut bytes);
        bytes
    }

    /// As many bytes for one purpose as there is room.
    pub fn fill(&self, purpose: &str, bytes: &mut [u8]) {
        for (number, chunk) in bytes.chunks_mut(32).enumerate() {
            let mut context = hmac::Context::with_key(&self.key);
            context.update(&(number as u64).to_le_bytes());
            context.update(purpose.as_bytes());
            chunk.copy_from_slice(&context.sign().as_ref()[..chunk.len()]);
        }
    }

    /// A random UUID (RFC 9562, version 4).
    pub fn uuid(&self, purpose: &str) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes(purpose)).into_uuid()
    }

    /// So many hexadecimal digits.
    pub fn hex(&self, purpose: &str, digits: usize) -> String {
        let mut bytes = vec![0; digits.div_ceil(2)];
        self.fill(purpose, &mut bytes);
        let mut text = text::hex(&bytes);
        text.truncate(digits);
        text
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_seed_and_purpose_alone() {
        let (one, two) = (Fresh::new([1; 32]), Fresh::new([2; 32]));
        assert_eq!(one.bytes::<40>("a"), one.bytes::<40>("a"));
        assert_ne!(one.bytes::<16>("a"), one.bytes::<16>("b"));
        assert_ne!(one.bytes::<16>("a"), two.bytes::<16>("a"));
        assert_eq!(one.uuid("x").get_version_num(), 4);
        assert_eq!(one.hex("x", 7).len(), 7);
        assert_ne!(one.bytes::<64>("a")[..32], one.bytes::<64>("a")[32..]);
    }
}
