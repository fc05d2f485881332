//! What is around every payload: the length word, the header, libvirt's error, a stream's hole.
//!
//! A message on the wire is the length word (which counts itself), the header, for messages with descriptors their
//! count, then the payload.

use crate::{
    Text, keepalive,
    xdr::{Decoder, Encoder, Xdr, XdrError},
};

/// The length word's own size.
pub const LENGTH: usize = 4;
/// The header's size.
pub const HEADER: usize = 24;
/// What stands before a stream's bytes.
pub const STREAM_HEAD: usize = LENGTH + HEADER;
/// The longest message without its length word.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// The longest payload.
pub const MAX_PAYLOAD: usize = MAX_MESSAGE - HEADER;
/// The longest payload that clients of any age take; what a stream's packets to the client are cut to.
pub const LEGACY_PAYLOAD: usize = 262_120;
/// The most descriptors of one message.
pub const MAX_FDS: u32 = 32;

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    /// A client asks.
    Call = 0,
    /// The server answers.
    Reply = 1,
    /// Unasked: an event, keepalive.
    Message = 2,
    /// A stream's data, end or abort.
    Stream = 3,
    /// A call with descriptors.
    CallWithFds = 4,
    /// A reply with descriptors.
    ReplyWithFds = 5,
    /// A stream's run of zeroes.
    StreamHole = 6,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Call,
            1 => Self::Reply,
            2 => Self::Message,
            3 => Self::Stream,
            4 => Self::CallWithFds,
            5 => Self::ReplyWithFds,
            6 => Self::StreamHole,
            _ => return None,
        })
    }

    /// Whether a count of descriptors stands before the payload.
    pub const fn has_fds(self) -> bool {
        matches!(self, Self::CallWithFds | Self::ReplyWithFds)
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Well; in a stream: its end.
    Ok = 0,
    /// Not; the payload says why.
    Error = 1,
    /// More of a stream.
    Continue = 2,
}

impl Status {
    /// The status with this number.
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Ok,
            1 => Self::Error,
            2 => Self::Continue,
            _ => return None,
        })
    }
}

/// What every message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The program.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// The procedure in it. Any number: whether there is such a one is the program's matter.
    pub procedure: i32,
    /// What kind of message.
    pub kind: Kind,
    /// The caller's number of the call; a stream's packets carry it too.
    pub serial: u32,
    /// How it went.
    pub status: Status,
}

impl Header {
    /// A message of the keepalive program.
    pub const fn keepalive(procedure: i32) -> Self {
        Self {
            program: keepalive::PROGRAM,
            version: keepalive::VERSION,
            procedure,
            kind: Kind::Message,
            serial: 0,
            status: Status::Ok,
        }
    }
}

impl Xdr for Header {
    fn encode(&self, out: &mut Encoder) -> Result<(), XdrError> {
        self.program.encode(out)?;
        self.version.encode(out)?;
        self.procedure.encode(out)?;
        (self.kind as i32).encode(out)?;
        self.serial.encode(out)?;
        (self.status as i32).encode(out)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        let (program, version, procedure) = (get!(input), get!(input), get!(input));
        let kind: i32 = get!(input);
        let serial = get!(input);
        let status: i32 = get!(input);
        Ok(Self {
            program,
            version,
            procedure,
            kind: Kind::from_number(kind).ok_or(XdrError::NoSuchArm(kind))?,
            serial,
            status: Status::from_number(status).ok_or(XdrError::NoSuchArm(status))?,
        })
    }
}

/// A whole message without descriptors, its length word included.
pub fn message(header: &Header, payload: &impl Xdr) -> Result<Vec<u8>, XdrError> {
    message_with_fds(header, None, payload)
}

/// A whole message; `fds` says how many descriptors follow it.
pub fn message_with_fds(header: &Header, fds: Option<u32>, payload: &impl Xdr) -> Result<Vec<u8>, XdrError> {
    let mut out = Encoder::after(Vec::with_capacity(128));
    0_u32.encode(&mut out)?;
    header.encode(&mut out)?;
    fds.map_or(Ok(()), |count| count.encode(&mut out))?;
    payload.encode(&mut out)?;
    finish(out.into_bytes())
}

/// A whole message of a stream: bytes as they are, neither counted nor filled up.
pub fn stream_message(header: &Header, data: &[u8]) -> Result<Vec<u8>, XdrError> {
    let mut message = Vec::with_capacity(STREAM_HEAD + data.len());
    message.resize(STREAM_HEAD, 0);
    message.extend_from_slice(data);
    begin_stream_message(header, &mut message)?;
    Ok(message)
}

/// Makes a whole message of a stream's bytes where they are: they stand behind [`STREAM_HEAD`] bytes, which are
/// overwritten.
pub fn begin_stream_message(header: &Header, message: &mut [u8]) -> Result<(), XdrError> {
    let word = length_word(message.len())?;
    let short = XdrError::Short { missing: STREAM_HEAD.saturating_sub(message.len()) };
    let mut head = Encoder::after(Vec::with_capacity(STREAM_HEAD));
    word.encode(&mut head)?;
    header.encode(&mut head)?;
    message.get_mut(..STREAM_HEAD).ok_or(short)?.copy_from_slice(&head.into_bytes());
    Ok(())
}

/// Puts the length word in front.
fn finish(mut bytes: Vec<u8>) -> Result<Vec<u8>, XdrError> {
    let word = length_word(bytes.len())?;
    bytes[..LENGTH].copy_from_slice(&word.to_be_bytes());
    Ok(bytes)
}

/// The length word of a message of so many bytes, itself included.
fn length_word(bytes: usize) -> Result<u32, XdrError> {
    let count = bytes.saturating_sub(LENGTH);
    let word = u32::try_from(bytes).ok().filter(|_| count <= MAX_MESSAGE);
    word.ok_or(XdrError::TooMany { count, max: MAX_MESSAGE })
}

/// How long a message is beyond its length word, if there is such a message.
pub const fn length(word: u32) -> Option<usize> {
    let length = word as usize;
    if length < LENGTH + HEADER || length - LENGTH > MAX_MESSAGE { None } else { Some(length - LENGTH) }
}

structs! {
    ErrorDomain { name: Text, uuid: [u8; 16] [fixed], id: i32, }
    ErrorNetwork { name: Text, uuid: [u8; 16] [fixed], }
    ErrorBody {
        code: i32, domain: i32, message: Option<Text>, level: i32, dom: Option<ErrorDomain>, str1: Option<Text>,
        str2: Option<Text>, str3: Option<Text>, int1: i32, int2: i32, net: Option<ErrorNetwork>,
    }
    StreamHole { length: i64, flags: u32, }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_message_is_made_where_its_bytes_are() {
        let header = Header { kind: Kind::Stream, serial: 7, ..Header::keepalive(1) };
        let mut message = [&[0xff; STREAM_HEAD][..], b"bytes"].concat();
        begin_stream_message(&header, &mut message).unwrap();
        assert_eq!(message, stream_message(&header, b"bytes").unwrap());
        let too_short = begin_stream_message(&header, &mut [0; STREAM_HEAD - 1]);
        assert_eq!(too_short, Err(XdrError::Short { missing: 1 }));
        let too_long = vec![0; LENGTH + MAX_MESSAGE + 1];
        assert!(stream_message(&header, &too_long[STREAM_HEAD..]).is_err());
        assert!(stream_message(&header, &too_long[STREAM_HEAD + 1..]).is_ok());
    }
}
