//! What the daemon and its confined process say to each other, over one socket.
//!
//! ```text
//!  daemon ──▶ Order                        (a frame)
//!  daemon ◀── Ask::Tool(act)               (a frame)     any number of times
//!  daemon ──▶ the connection of a view     (one byte with a descriptor; none: there will be no view)
//!  daemon ──▶ Result<Said, EditError>      (a frame, when the tool has ended and the view is gone)
//!  daemon ◀── Ask::Done(outcome)           (a frame)
//! ```
//! A frame is its length in four bytes, little endian, and JSON. Neither side believes the other's lengths.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use lodge_model::guest_disk::Edit;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Outcome, error::EditError, tool::Act};

/// The longest frame: edits with whole files in them.
pub(crate) const FRAME_MAX_BYTES: u32 = 256 << 20;

/// What is to be done with the disks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Carry out edits; with a redo log if its descriptor was handed over.
    Edit(Vec<Edit>),
    /// Apply what a redo log says, if it is whole.
    Recover,
}

/// What the confined process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// A tool is to be run on a view that this side serves.
    Tool(Act),
    /// All is done, or nothing is.
    Done(Result<Vec<Outcome>, EditError>),
}

/// Writes a frame.
pub(crate) fn say(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

/// A message as a frame.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).ok().filter(|length| *length <= FRAME_MAX_BYTES);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too large to be told"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Reads a frame.
pub(crate) fn hear<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}

/// Hands over a descriptor, or says that there is none.
pub(crate) fn hand_over(socket: impl AsFd, descriptor: Option<&impl AsFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(AsFd::as_fd);
    let descriptors = descriptors.as_slice();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(&socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes a descriptor that is handed over.
pub(crate) fn take_over(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(descriptors.next().and_then(|mut descriptors| descriptors.next()))
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    #[test]
    fn messages_and_descriptors_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        say(&here, &Ask::Tool(Act::ExtScript)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        hand_over(&here, Some(&file)).unwrap();
        hand_over(&here, None::<&std::fs::File>).unwrap();
        say(&here, &Order::Recover).unwrap();
        drop(here);
        assert!(matches!(hear(&there), Ok(Ask::Tool(Act::ExtScript))));
        let mut taken = std::fs::File::from(take_over(&there).unwrap().unwrap());
        taken.rewind().unwrap();
        assert_eq!(io::read_to_string(taken).unwrap(), "content");
        assert!(take_over(&there).unwrap().is_none());
        assert!(matches!(hear(&there), Ok(Order::Recover)));
        assert!(hear::<Order>(&there).is_err() && take_over(&there).is_err());
    }

    #[test]
    fn a_length_is_not_believed() {
        assert!(hear::<Order>(&[255, 255, 255, 255, b'1'][..]).is_err());
        assert!(hear::<Order>(&[5, 0, 0, 0, b'1'][..]).is_err());
    }
}
