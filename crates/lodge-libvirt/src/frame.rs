//! Messages out of a stream of bytes, bounded: a length is believed only as far as the bytes have come.
//!
//! Descriptors come behind their message, each with one byte of its own. One that is not where a message announced it
//! is closed, as the kernel does for a reader that does not ask for descriptors.
//!
//! A stream's long packet is read to where it stays: its sink gets the buffer, and gives it back for the next.

use std::collections::VecDeque;
use std::ops::Deref;
use std::os::fd::OwnedFd;

use lodge_wire::packet::{self, Header, Kind, LENGTH, MAX_FDS, Status};
use lodge_wire::xdr::{self, Xdr};

use crate::limits::{BELIEVED_TIMES, LONG_PACKET_BYTES, SPARE_BYTES};

/// A client that is no libvirt client: the connection ends without a word, as libvirtd ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    /// No message is that long or that short.
    #[error("message of {0} bytes")]
    Length(u32),
    /// The header has no meaning.
    #[error("message with an unreadable header")]
    Header,
    /// More descriptors than a message may have.
    #[error("message with {0} descriptors")]
    Fds(u32),
    /// A descriptor's byte came without a descriptor.
    #[error("descriptor announced, none came")]
    NoFd,
}

/// One message, as it lies in the buffer.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub header: Header,
    /// The status as it came; the header has an error's for one that does not exist.
    pub status: i32,
    pub payload: Payload<'a>,
    pub fds: Vec<OwnedFd>,
}

/// What a message is about.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// As it lies in the buffer of all.
    Lying(&'a [u8]),
    /// With its own buffer.
    Own(Bytes),
}

/// Bytes, behind the first `kept` of their buffer.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub buffer: Vec<u8>,
    pub kept: usize,
}

impl Payload<'_> {
    pub fn into_own(self) -> Bytes {
        match self {
            Self::Lying(bytes) => Bytes { buffer: bytes.to_owned(), kept: 0 },
            Self::Own(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lying(bytes) => bytes,
            Self::Own(bytes) => &bytes.buffer[bytes.kept..],
        }
    }
}

/// How much of the buffer is a message.
#[derive(Clone, Copy, Debug)]
struct Extent {
    header: Header,
    status: i32,
    payload_at: usize,
    /// Where the message ends and the bytes of its descriptors begin.
    end: usize,
    fds: usize,
}

/// What was read and is no whole message yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    at: usize,
    /// The place of `bytes[at]` in the whole stream.
    offset: u64,
    /// Descriptors that came, by the place behind their byte.
    fds: VecDeque<(u64, OwnedFd)>,
    /// The message at hand, where it has a buffer of its own; `bytes` is empty then.
    long: Option<Long>,
}

/// A message that comes to where it stays.
#[derive(Debug)]
struct Long {
    /// As long as the message.
    message: Vec<u8>,
    filled: usize,
}

impl Inbox {
    /// Adds what one read brought; the descriptors belong to its last byte.
    pub fn add(&mut self, bytes: &[u8], fds: &mut Vec<OwnedFd>) {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        } else if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
        let end = self.offset + (self.bytes.len() - self.at) as u64;
        // libvirt sends one with each byte; others of the same byte are closed here.
        if let Some(fd) = fds.drain(..).next() {
            self.fds.push_back((end, fd));
        }
    }

    /// Where the next read may go instead of a place whose bytes are added here; [`Inbox::filled`] comes behind it.
    pub fn place(&mut self) -> Option<&mut [u8]> {
        self.long.as_mut().map(|long| &mut long.message[long.filled..])
    }

    /// So many bytes were read to [`Inbox::place`]; the descriptors belong to the last.
    pub fn filled(&mut self, count: usize, fds: &mut Vec<OwnedFd>) {
        let Some(long) = &mut self.long else { return };
        long.filled += count;
        if let Some(fd) = fds.drain(..).next() {
            self.fds.push_back((self.offset + long.filled as u64, fd));
        }
    }

    /// Makes room for what is missing of the message at hand, at once and not step by step; its length is believed as
    /// far as a multiple of what has come. A stream's long packet gets a buffer of its own: `spare` gives one that
    /// served before.
    pub fn make_room(&mut self, spare: impl FnOnce() -> Vec<u8>) {
        let come = &self.bytes[self.at..];
        let Some(word) = come.first_chunk::<LENGTH>() else { return };
        let total = u32::from_be_bytes(*word) as usize;
        let believed = total.min(come.len().saturating_mul(BELIEVED_TIMES));
        if total < LONG_PACKET_BYTES || believed < total || !is_stream(come) {
            self.bytes.reserve_exact(believed.saturating_sub(come.len()));
            return;
        }
        let mut message = spare();
        message.resize(total, 0);
        message[..come.len()].copy_from_slice(come);
        self.long = Some(Long { message, filled: come.len() });
        self.bytes.clear();
        self.at = 0;
    }

    /// Gives memory back while there is nothing to keep.
    pub fn rest(&mut self) {
        if self.at == self.bytes.len() && self.bytes.capacity() > SPARE_BYTES {
            self.bytes = Vec::new();
            self.at = 0;
        }
    }

    /// The next whole message; one longer than `most` is refused at its first word.
    pub fn next(&mut self, most: usize) -> Result<Option<Message<'_>>, BadFrame> {
        if self.long.is_some() {
            return self.next_long(most);
        }
        let Some(extent) = extent(&self.bytes[self.at..], most)? else { return Ok(None) };
        let total = extent.end + extent.fds;
        if self.bytes.len() - self.at < total {
            return Ok(None);
        }
        let fds = self.claim_fds(extent.end, extent.fds)?;
        let begin = self.at;
        self.at += total;
        self.offset += total as u64;
        Ok(Some(Message {
            header: extent.header,
            status: extent.status,
            payload: Payload::Lying(&self.bytes[begin + extent.payload_at..begin + extent.end]),
            fds,
        }))
    }

    fn next_long(&mut self, most: usize) -> Result<Option<Message<'_>>, BadFrame> {
        let Some(long) = self.long.take_if(|long| long.filled == long.message.len()) else { return Ok(None) };
        let Some(extent) = extent(&long.message, most)? else { return Ok(None) };
        let fds = self.claim_fds(extent.end, extent.fds)?;
        self.offset += extent.end as u64;
        let payload = Payload::Own(Bytes { buffer: long.message, kept: extent.payload_at });
        Ok(Some(Message { header: extent.header, status: extent.status, payload, fds }))
    }

    /// The descriptors of the next message, and an end to those that stand before them.
    fn claim_fds(&mut self, end: usize, count: usize) -> Result<Vec<OwnedFd>, BadFrame> {
        let first = self.offset + end as u64 + 1;
        let mut claimed = Vec::with_capacity(count);
        for place in first..first + count as u64 {
            while self.fds.front().is_some_and(|(at, _)| *at < place) {
                self.fds.pop_front();
            }
            let front = self.fds.front().is_some_and(|(at, _)| *at == place);
            let fd = if front { self.fds.pop_front() } else { None };
            claimed.push(fd.ok_or(BadFrame::NoFd)?.1);
        }
        let end = first - 1 + count as u64;
        while self.fds.front().is_some_and(|(at, _)| *at <= end) {
            self.fds.pop_front();
        }
        Ok(claimed)
    }
}

/// Whether a message that begins so is a stream's.
fn is_stream(come: &[u8]) -> bool {
    let header = header(&mut xdr::Decoder::new(&come[LENGTH..]));
    header.is_ok_and(|(header, _)| header.kind == Kind::Stream)
}

/// Where the message at the head of `bytes` lies; `None` until enough of it is there to tell.
fn extent(bytes: &[u8], most: usize) -> Result<Option<Extent>, BadFrame> {
    let Some(word) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
    let word = u32::from_be_bytes(*word);
    let length = packet::length(word).filter(|length| *length <= most).ok_or(BadFrame::Length(word))?;
    let Some(message) = bytes.get(LENGTH..LENGTH + length) else { return Ok(None) };
    let mut input = xdr::Decoder::new(message);
    let (header, status) = header(&mut input).map_err(|_| BadFrame::Header)?;
    let fds = if header.kind.has_fds() { u32::decode(&mut input).map_err(|_| BadFrame::Header)? } else { 0 };
    if fds > MAX_FDS {
        return Err(BadFrame::Fds(fds));
    }
    let payload_at = LENGTH + length - input.rest().len();
    Ok(Some(Extent { header, status, payload_at, end: LENGTH + length, fds: fds as usize }))
}

/// The header, with its status as it came. libvirtd answers a call with a status that does not exist, and drops a
/// message of a kind that does not exist; here such a one is a reply that nobody asked for.
fn header(input: &mut xdr::Decoder<'_>) -> Result<(Header, i32), xdr::XdrError> {
    let (program, version) = (u32::decode(input)?, u32::decode(input)?);
    let (procedure, kind) = (i32::decode(input)?, i32::decode(input)?);
    let (serial, status) = (u32::decode(input)?, i32::decode(input)?);
    let header = Header {
        program,
        version,
        procedure,
        kind: Kind::from_number(kind).unwrap_or(Kind::Reply),
        serial,
        status: Status::from_number(status).unwrap_or(Status::Error),
    };
    Ok((header, status))
}

#[cfg(test)]
mod tests;
