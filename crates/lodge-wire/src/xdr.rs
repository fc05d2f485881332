//! XDR (RFC 4506) as far as libvirt uses it.
//!
//! Decoding is bounded twice: by the maximum that the table gives each list and by what is left of the packet, so a
//! count word cannot make us allocate more than the packet's own size. Encoding checks the same maxima, since a client
//! takes a reply over them for a broken connection.
//!
//! libvirt's dialect: narrow integers and `char`s are a word each, any non-zero presence word means present, strings
//! end at their first NUL, bytes after the last field are ignored.

use crate::Text;

/// The longest string.
pub const TEXT_MAX: usize = 4 * 1024 * 1024;

/// Why bytes are no value, or a value fits no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XdrError {
    /// The packet ends inside the value.
    #[error("the packet ends {missing} bytes early")]
    Short {
        /// At least so many bytes are missing.
        missing: usize,
    },
    /// More elements or bytes than the field may have.
    #[error("{count} elements where at most {max} are allowed")]
    TooMany {
        /// So many there are.
        count: usize,
        /// So many there may be.
        max: usize,
    },
    /// A union's discriminant without an arm.
    #[error("the union has no arm {0}")]
    NoSuchArm(i32),
}

/// A value that XDR can carry.
pub trait Xdr: Sized {
    /// Appends it.
    fn encode(&self, out: &mut Encoder) -> Result<(), XdrError>;
    /// Reads one.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError>;
}

/// A value's bytes.
pub fn to_bytes<T: Xdr>(value: &T) -> Result<Vec<u8>, XdrError> {
    let mut out = Encoder::default();
    value.encode(&mut out)?;
    Ok(out.into_bytes())
}

/// The value that these bytes begin with; what follows it is ignored, as libvirt does.
pub fn from_bytes<T: Xdr>(bytes: &[u8]) -> Result<T, XdrError> {
    T::decode(&mut Decoder::new(bytes))
}

/// Reads a value and writes it again.
pub fn recode<T: Xdr>(bytes: &[u8]) -> Result<Vec<u8>, XdrError> {
    to_bytes(&from_bytes::<T>(bytes)?)
}

/// Where values are written to.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// Goes on behind `out`.
    pub fn after(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// All that was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes, filled up to a whole word.
    fn padded(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        self.raw(&[0; 3][..padding(bytes.len())]);
    }

    fn count(&mut self, count: usize, max: usize) -> Result<(), XdrError> {
        let word = u32::try_from(count).ok().filter(|_| count <= max);
        word.ok_or(XdrError::TooMany { count, max })?.encode(self)
    }

    /// A list with its length before it.
    pub fn list<T: Xdr>(&mut self, list: &[T], max: usize) -> Result<(), XdrError> {
        self.count(list.len(), max)?;
        list.iter().try_for_each(|element| element.encode(self))
    }

    /// Packed bytes with their length before them.
    pub fn opaque(&mut self, bytes: &[u8], max: usize) -> Result<(), XdrError> {
        self.count(bytes.len(), max)?;
        self.padded(bytes);
        Ok(())
    }

    /// Packed bytes whose number both sides know.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.padded(bytes);
    }

    /// A C `char` array: a length, then a word for each byte.
    pub fn chars(&mut self, bytes: &[u8], max: usize) -> Result<(), XdrError> {
        self.count(bytes.len(), max)?;
        self.fixed_chars(bytes);
        Ok(())
    }

    /// A C `char` array whose length both sides know.
    pub fn fixed_chars(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // A `char` is signed where libvirt runs.
            self.raw(&i32::from(byte.cast_signed()).to_be_bytes());
        }
    }
}

/// Where values are read from.
#[derive(Debug)]
pub struct Decoder<'a> {
    left: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.left
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], XdrError> {
        let (taken, left) = self
            .left
            .split_at_checked(count)
            .ok_or_else(|| XdrError::Short { missing: count - self.left.len() })?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("`take` gives what it was asked for"))
    }

    fn padded(&mut self, count: usize) -> Result<&'a [u8], XdrError> {
        let taken = self.take(count)?;
        self.take(padding(count))?;
        Ok(taken)
    }

    fn count(&mut self, max: usize) -> Result<usize, XdrError> {
        let count = u32::decode(self)? as usize;
        if count > max { Err(XdrError::TooMany { count, max }) } else { Ok(count) }
    }

    /// A list with its length before it.
    pub fn list<T: Xdr>(&mut self, max: usize) -> Result<Vec<T>, XdrError> {
        let count = self.count(max)?;
        // No element is shorter than a word: a false count allocates no more than the packet has.
        let mut list = Vec::with_capacity(count.min(self.left.len() / 4));
        for _ in 0..count {
            list.push(T::decode(self)?);
        }
        Ok(list)
    }

    /// Packed bytes with their length before them.
    pub fn opaque(&mut self, max: usize) -> Result<Vec<u8>, XdrError> {
        let count = self.count(max)?;
        Ok(self.padded(count)?.to_owned())
    }

    /// Packed bytes whose number both sides know.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let taken = self.padded(N)?;
        Ok(taken.try_into().expect("`padded` gives what it was asked for"))
    }

    /// A C `char` array: a length, then a word for each byte.
    pub fn chars(&mut self, max: usize) -> Result<Vec<u8>, XdrError> {
        let count = self.count(max)?;
        let words = self.take(count.saturating_mul(4))?;
        Ok(words.chunks_exact(4).map(|word| word[3]).collect())
    }

    /// A C `char` array whose length both sides know.
    pub fn fixed_chars<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let mut chars = [0; N];
        for char in &mut chars {
            *char = self.array::<4>()?[3];
        }
        Ok(chars)
    }
}

fn padding(count: usize) -> usize {
    count.wrapping_neg() % 4
}

impl Xdr for () {
    fn encode(&self, _: &mut Encoder) -> Result<(), XdrError> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(())
    }
}

/// Integers by their own width, the narrow ones in a word.
macro_rules! integers {
    ($($integer:ty as $carrier:ty),* $(,)?) => {$(
        impl Xdr for $integer {
            fn encode(&self, out: &mut Encoder) -> Result<(), XdrError> {
                out.raw(&<$carrier>::from(*self).to_be_bytes());
                Ok(())
            }

            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the wire's word holds a narrow integer")]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
                Ok(<$carrier>::from_be_bytes(input.array()?) as $integer)
            }
        }
    )*};
}

integers!(i8 as i32, u8 as u32, i16 as i32, u16 as u32, i32 as i32, u32 as u32, i64 as i64, u64 as u64);

impl Xdr for f64 {
    fn encode(&self, out: &mut Encoder) -> Result<(), XdrError> {
        self.to_bits().encode(out)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        u64::decode(input).map(Self::from_bits)
    }
}

impl<T: Xdr> Xdr for Option<T> {
    fn encode(&self, out: &mut Encoder) -> Result<(), XdrError> {
        u32::from(self.is_some()).encode(out)?;
        self.as_ref().map_or(Ok(()), |value| value.encode(out))
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        // Some clients write a presence word in their own byte order: any bit means present.
        if u32::decode(input)? == 0 { Ok(None) } else { T::decode(input).map(Some) }
    }
}

impl Xdr for Text {
    fn encode(&self, out: &mut Encoder) -> Result<(), XdrError> {
        out.opaque(self.as_bytes(), TEXT_MAX)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        let count = input.count(TEXT_MAX)?;
        let bytes = input.padded(count)?;
        Ok(bytes.split(|byte| *byte == 0).next().unwrap_or_default().into())
    }
}
