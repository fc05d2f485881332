//! Values made by chance, of every type of the tables, for the round-trip property.

use proptest::prelude::*;

use crate::{
    Text,
    xdr::{self, Xdr, XdrError},
};

/// A small generator: the same seed throws the same values.
pub struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // xorshift64*: good enough to reach every arm and edge.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % end
    }

    /// Mostly few, at times the most there may be (of a sensible size).
    fn count(&mut self, max: usize) -> usize {
        match self.below(8) {
            0 => max.min(64),
            1 => 0,
            _ => self.below(max.min(4) + 1),
        }
    }

    pub fn list<T: Thrown>(&mut self, max: usize) -> Vec<T> {
        let count = self.count(max).min(8.max(self.below(16)));
        (0..count).map(|_| T::throw(self)).collect()
    }

    pub fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.count(max)).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_be_bytes()[0])
    }
}

/// A type that dice can make.
pub trait Thrown {
    fn throw(dice: &mut Dice) -> Self;
}

macro_rules! thrown_integers {
    ($($integer:ty)*) => {$(
        impl Thrown for $integer {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any bits will do")]
            fn throw(dice: &mut Dice) -> Self {
                match dice.below(4) {
                    0 => <$integer>::MIN,
                    1 => <$integer>::MAX,
                    _ => dice.next() as $integer,
                }
            }
        }
    )*};
}

thrown_integers!(i8 u8 i16 u16 i32 u32 i64 u64);

impl Thrown for f64 {
    fn throw(dice: &mut Dice) -> Self {
        f64::from(i32::throw(dice)) / 3.0
    }
}

impl Thrown for Text {
    fn throw(dice: &mut Dice) -> Self {
        // No NUL: reading cuts there.
        dice.bytes(40).into_iter().map(|byte| byte | 1).collect::<Vec<u8>>().into()
    }
}

impl<T: Thrown> Thrown for Option<T> {
    fn throw(dice: &mut Dice) -> Self {
        (dice.below(3) > 0).then(|| T::throw(dice))
    }
}

/// It comes back as it was, from whole words; cut anywhere it is refused, not misread beyond its end.
pub fn round_trip<T: Thrown + Xdr + PartialEq + std::fmt::Debug>(dice: &mut Dice) {
    let value = T::throw(dice);
    let bytes = xdr::to_bytes(&value).expect("dice keep to the maxima");
    assert_eq!(bytes.len() % 4, 0);
    assert_eq!(xdr::from_bytes::<T>(&bytes).as_ref(), Ok(&value));
    if !bytes.is_empty() {
        let cut = dice.below(bytes.len());
        assert!(matches!(xdr::from_bytes::<T>(&bytes[..cut]), Err(XdrError::Short { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_type_comes_back_as_it_was(seed in 1_u64..) {
        let mut dice = Dice(seed);
        crate::remote::round_trip(&mut dice);
        crate::qemu::round_trip(&mut dice);
        crate::lxc::round_trip(&mut dice);
        crate::admin::round_trip(&mut dice);
        crate::packet::round_trip(&mut dice);
    }
}
