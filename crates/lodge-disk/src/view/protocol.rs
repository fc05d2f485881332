//! What the kernel asks of a file system's server, and how it is answered: linux/fuse.h, version 7.
//!
//! Pure. Numbers are in the machine's own byte order. What is not in here is answered `ENOSYS`, which tells the kernel
//! not to ask again.

/// The largest request, with what is written and room for headers.
pub(super) const REQUEST_MAX_BYTES: usize = (256 << 10) + 8192;

const MAJOR: u32 = 7;
/// From here on the answers have the sizes they have in here; Linux 3.0.
const MINOR_MIN: u32 = 23;
/// What the answers are of.
const MINOR: u32 = 31;
const BIG_WRITES: u32 = 1 << 5;
const ASYNC_READ: u32 = 1;
const MAX_PAGES: u32 = 1 << 22;
const PAGE_BYTES: u32 = 4096;
/// How long the kernel may believe an answer, in seconds: nothing in a view changes but bytes.
const VALID_S: u64 = 3600;
/// `FATTR_SIZE` of a SETATTR.
const SETS_SIZE: u32 = 1 << 3;
/// `O_ACCMODE`.
const ACCESS_MODE: u32 = 3;

/// A request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// Its number, for the answer.
    pub unique: u64,
    pub body: Body<'a>,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    Init {
        minor: u32,
        readahead: u32,
    },
    Lookup {
        parent: u64,
        name: &'a [u8],
    },
    /// Also the answer to a change of attributes, which are not kept.
    Attributes {
        node: u64,
    },
    Open {
        node: u64,
        writes: bool,
    },
    Read {
        node: u64,
        offset: u64,
        size: u32,
    },
    Write {
        node: u64,
        offset: u64,
        bytes: &'a [u8],
    },
    Sync {
        node: u64,
    },
    /// Nothing to do: said so.
    Done,
    /// Not answered at all.
    Silent,
    /// Not offered.
    Other,
}

impl<'a> Request<'a> {
    /// Reads one; none: it is cut short.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(40)?;
        let operation = u32_at(head, 4)?;
        let node = u64_at(head, 16)?;
        let body = match operation {
            1 => Body::Lookup { parent: node, name: rest.split(|byte| *byte == 0).next()? },
            2 | 36 | 42 => Body::Silent, // FORGET, INTERRUPT, BATCH_FORGET
            4 if u32_at(rest, 0)? & SETS_SIZE != 0 => Body::Other,
            3 | 4 => Body::Attributes { node },
            14 => Body::Open { node, writes: u32_at(rest, 0)? & ACCESS_MODE != 0 },
            15 => Body::Read { node, offset: u64_at(rest, 8)?, size: u32_at(rest, 16)? },
            16 => {
                let (offset, size) = (u64_at(rest, 8)?, u32_at(rest, 16)?);
                let bytes = rest.get(40..)?.get(..usize::try_from(size).ok()?)?;
                Body::Write { node, offset, bytes }
            }
            18 | 25 | 38 => Body::Done, // RELEASE, FLUSH, DESTROY
            20 => Body::Sync { node },
            26 => Body::Init { minor: u32_at(rest, 4)?, readahead: u32_at(rest, 8)? },
            _ => Body::Other,
        };
        Some(Self { unique: u64_at(head, 8)?, body })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What is known of a node.
#[derive(Debug)]
pub(super) struct Attributes {
    pub number: u64,
    pub size: u64,
    pub mode: u32,
}

impl Attributes {
    fn put(&self, into: &mut Vec<u8>) {
        put_u64(into, &[self.number, self.size, self.size.div_ceil(512), 0, 0, 0]);
        let nobody = 0;
        put_u32(into, &[0, 0, 0, self.mode, 1, nobody, nobody, 0, PAGE_BYTES, 0]);
    }
}

/// A whole answer.
pub(super) fn answer(unique: u64, errno: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + payload.len());
    let size = u32::try_from(16 + payload.len()).unwrap_or(u32::MAX);
    put_u32(&mut bytes, &[size, errno.wrapping_neg().cast_unsigned()]);
    put_u64(&mut bytes, &[unique]);
    bytes.extend_from_slice(payload);
    bytes
}

/// To INIT: the version that is spoken, and how large a piece may be.
pub(super) fn init(minor: u32, readahead: u32, piece: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    let minor = minor.clamp(MINOR_MIN, MINOR);
    put_u32(&mut bytes, &[MAJOR, minor, readahead.min(piece), ASYNC_READ | BIG_WRITES | MAX_PAGES]);
    let (background, congestion): (u16, u16) = (16, 12);
    bytes.extend_from_slice(&background.to_ne_bytes());
    bytes.extend_from_slice(&congestion.to_ne_bytes());
    put_u32(&mut bytes, &[piece, 1]);
    let pages = u16::try_from(piece / PAGE_BYTES).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&pages.to_ne_bytes());
    bytes.resize(64, 0);
    bytes
}

/// To LOOKUP.
pub(super) fn entry(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    put_u64(&mut bytes, &[attributes.number, 0, VALID_S, VALID_S]);
    put_u32(&mut bytes, &[0, 0]);
    attributes.put(&mut bytes);
    bytes
}

/// To GETATTR and SETATTR.
pub(super) fn attributes(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(104);
    put_u64(&mut bytes, &[VALID_S]);
    put_u32(&mut bytes, &[0, 0]);
    attributes.put(&mut bytes);
    bytes
}

/// To OPEN: no handle of its own, the page cache as ever.
pub(super) fn opened() -> Vec<u8> {
    vec![0; 16]
}

/// To WRITE.
pub(super) fn written(size: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8);
    put_u32(&mut bytes, &[size, 0]);
    bytes
}

fn put_u32(into: &mut Vec<u8>, numbers: &[u32]) {
    for number in numbers {
        into.extend_from_slice(&number.to_ne_bytes());
    }
}

fn put_u64(into: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        into.extend_from_slice(&number.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_u32(&mut bytes, &[0, operation]);
        put_u64(&mut bytes, &[77, 2]);
        put_u32(&mut bytes, &[0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn what_is_cut_short_is_no_request() {
        let mut payload = Vec::new();
        put_u64(&mut payload, &[0, 8192]);
        put_u32(&mut payload, &[4, 0]);
        put_u64(&mut payload, &[0, 0]);
        payload.extend_from_slice(b"four");
        let whole = request(16, &payload);
        let Request { unique, body } = Request::of(&whole).expect("a request");
        assert_eq!((unique, body), (77, Body::Write { node: 2, offset: 8192, bytes: b"four" }));
        for cut in 0..whole.len() {
            assert!(Request::of(&whole[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn answers_have_the_sizes_that_the_kernel_checks() {
        let node = Attributes { number: 2, size: 1 << 40, mode: 0o100_444 };
        let sizes = [init(99, u32::MAX, 1 << 18).len(), entry(&node).len(), attributes(&node).len()];
        assert_eq!(sizes, [64, 128, 104]);
        assert_eq!((opened().len(), written(1).len()), (16, 8));
        let bytes = answer(9, 2, b"");
        assert_eq!(bytes[..8], [16, 0, 0, 0, 254, 255, 255, 255]);
    }
}
