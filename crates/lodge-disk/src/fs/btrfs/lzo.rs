//! LZO1X, unpacking only: the stream as the kernel's documentation describes it (`lzo.rst`). There is no well-kept
//! crate for it under a licence that can be linked.
//!
//! A stream is a row of instructions: copy so many bytes of the stream itself, or so many from a distance back in
//! what came out, and after that up to three of the stream. What an instruction means depends on how many bytes of
//! the stream the one before it copied: none, one to three, or more.

/// Unpacks one stream and appends it, at most `most` bytes.
pub(super) fn unpack(stream: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let mut unpacking = Unpacking { stream, at: 0, base: out.len(), most, out };
    unpacking.run().map_err(|what| format!("lzo: {what}"))
}

struct Unpacking<'a> {
    stream: &'a [u8],
    at: usize,
    /// Where this stream's bytes begin in `out`: no distance goes beyond.
    base: usize,
    most: usize,
    out: &'a mut Vec<u8>,
}

/// More than three bytes of the stream were copied.
const MANY: usize = 4;

impl Unpacking<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        let mut copied = 0;
        if let Some(first) = self.stream.first().copied().filter(|first| *first > 17) {
            self.at = 1;
            let length = usize::from(first) - 17;
            self.literals(length)?;
            copied = length.min(MANY);
        }
        loop {
            let code = usize::from(self.byte()?);
            let (length, distance, after) = match code {
                0..16 if copied == 0 => {
                    let length = 3 + self.length(code, 15)?;
                    self.literals(length)?;
                    copied = MANY;
                    continue;
                }
                0..16 => {
                    let distance = (usize::from(self.byte()?) << 2) + (code >> 2);
                    if copied == MANY { (3, distance + 2049, code & 3) } else { (2, distance + 1, code & 3) }
                }
                16..32 => {
                    let length = 2 + self.length(code & 7, 7)?;
                    let word = self.word()?;
                    let distance = ((code & 8) << 11) + (word >> 2);
                    if distance == 0 {
                        return Ok(());
                    }
                    (length, distance + 16384, word & 3)
                }
                32..64 => {
                    let length = 2 + self.length(code & 31, 31)?;
                    let word = self.word()?;
                    (length, (word >> 2) + 1, word & 3)
                }
                64..128 => {
                    let distance = (usize::from(self.byte()?) << 3) + ((code >> 2) & 7) + 1;
                    (3 + ((code >> 5) & 1), distance, code & 3)
                }
                _ => {
                    let distance = (usize::from(self.byte()?) << 3) + ((code >> 2) & 7) + 1;
                    (5 + ((code >> 5) & 3), distance, code & 3)
                }
            };
            self.repeat(length, distance)?;
            self.literals(after)?;
            copied = after;
        }
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        let byte = self.stream.get(self.at).copied().ok_or("it ends too early")?;
        self.at += 1;
        Ok(byte)
    }

    fn word(&mut self) -> Result<usize, &'static str> {
        Ok(usize::from(self.byte()?) | usize::from(self.byte()?) << 8)
    }

    /// A length that fits its bits, or one in the bytes that follow: as many 255 as there are zeros, and the rest.
    fn length(&mut self, bits: usize, most: usize) -> Result<usize, &'static str> {
        if bits != 0 {
            return Ok(bits);
        }
        let mut length = most;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Ok(length + usize::from(last)),
            }
        }
    }

    fn room(&self, length: usize) -> Result<(), &'static str> {
        if self.out.len() - self.base + length > self.most {
            Err("it is longer than it may be")
        } else {
            Ok(())
        }
    }

    fn literals(&mut self, length: usize) -> Result<(), &'static str> {
        self.room(length)?;
        let bytes = self.stream.get(self.at..self.at + length).ok_or("it ends too early")?;
        self.out.extend_from_slice(bytes);
        self.at += length;
        Ok(())
    }

    fn repeat(&mut self, length: usize, distance: usize) -> Result<(), &'static str> {
        self.room(length)?;
        if distance > self.out.len() - self.base {
            return Err("it goes back beyond its beginning");
        }
        // Byte by byte: what is copied may overlap what is written, that is how runs are made.
        for _ in 0..length {
            let byte = self.out[self.out.len() - distance];
            self.out.push(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &[u8], expect: Result<&[u8], &str>) {
        let mut out = b"before".to_vec();
        let result = unpack(stream, 64, &mut out);
        match expect {
            Ok(bytes) => {
                result.unwrap();
                assert_eq!(&out[6..], bytes);
            }
            Err(text) => assert_eq!(result.unwrap_err(), text),
        }
    }

    #[test]
    fn literals_runs_and_the_end_are_understood() {
        // Four literals, a match of five a byte back with one literal after it, the end.
        check(&[21, b'a', b'b', b'c', b'd', 0x81, 0, b'x', 17, 0, 0], Ok(b"abcddddddx"));
    }

    #[test]
    fn no_distance_and_no_length_leaves_the_stream() {
        check(
            &[21, b'a', b'b', b'c', b'd', 0x80, 1, 17, 0, 0],
            Err("lzo: it goes back beyond its beginning"),
        );
        check(&[0, 0, 0, 0, 1], Err("lzo: it is longer than it may be"));
        check(&[21, b'a'], Err("lzo: it ends too early"));
        check(&[], Err("lzo: it ends too early"));
    }
}
