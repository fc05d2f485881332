//! Packet sockets for DHCP: many datagrams in, many frames out, with one system call each.
//!
//! A DHCP client without an address cannot be reached through the kernel's own UDP: its address is not in
//! the neighbour table and it does not answer ARP. So replies leave as link-layer frames to its hardware
//! address. Requests come in by an ordinary UDP socket. What is in the datagrams is the caller's matter.

#![expect(
    unsafe_code,
    reason = "UNSAFETY: AF_PACKET addresses and recvmmsg(2) have no safe binding in rustix"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// EtherType of IPv4.
const ETH_P_IP: u16 = 0x0800;
/// Most messages one call takes; more are left for the next call.
pub const BATCH_MAX: usize = 64;

/// A frame to send: the IPv4 packet and whom it goes to.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Hardware address of the receiver.
    pub to: [u8; 6],
    /// The IPv4 packet.
    pub packet: Vec<u8>,
}

/// Opens a socket that can send IPv4 packets in frames and receives nothing. Needs `CAP_NET_RAW`; sending
/// through it later does not.
pub fn sender() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes no pointers. Protocol 0 means: no packet is delivered here.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends up to [`BATCH_MAX`] frames out of interface `ifindex`; says how many went.
pub fn send(socket: BorrowedFd<'_>, ifindex: u32, frames: &[Frame]) -> io::Result<usize> {
    let frames = &frames[..frames.len().min(BATCH_MAX)];
    let index = i32::try_from(ifindex).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut addresses: Vec<libc::sockaddr_ll> =
        frames.iter().map(|frame| link_address(index, frame.to)).collect();
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec {
            iov_base: frame.packet.as_ptr().cast_mut().cast(),
            iov_len: frame.packet.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = addresses
        .iter_mut()
        .zip(&mut parts)
        .map(|(address, part)| {
            let mut message = empty_message();
            message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            message.msg_hdr.msg_namelen = size_u32::<libc::sockaddr_ll>();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = u32::try_from(messages.len()).expect("at most BATCH_MAX");
    // SAFETY: `messages` has `count` headers; each points to one address and one iovec of the vectors above,
    // which live and do not move until after the call; the kernel only reads the packets' bytes.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Buffers for [`receive`], made once and used again.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    size: usize,
}

impl Inbox {
    /// Room for [`BATCH_MAX`] datagrams of up to `size` bytes each; longer ones are cut off.
    pub fn new(size: usize) -> Self {
        Self { bytes: vec![0; size * BATCH_MAX], lengths: Vec::with_capacity(BATCH_MAX), size }
    }

    /// The datagrams of the last [`receive`].
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.size).zip(&self.lengths).map(|(chunk, &length)| &chunk[..length])
    }
}

/// Takes what has arrived on a datagram socket without waiting; `WouldBlock` if nothing has.
pub fn receive(socket: BorrowedFd<'_>, inbox: &mut Inbox) -> io::Result<usize> {
    inbox.lengths.clear();
    let mut parts: Vec<libc::iovec> = inbox
        .bytes
        .chunks_mut(inbox.size)
        .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            let mut message = empty_message();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = u32::try_from(messages.len()).expect("at most BATCH_MAX");
    // SAFETY: `messages` has `count` headers, each with one iovec over its own chunk of `inbox.bytes`; all of
    // them live and do not move until after the call; no timeout is given.
    let got = unsafe {
        let flags = libc::MSG_DONTWAIT;
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, flags, std::ptr::null_mut())
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let size = inbox.size;
    inbox.lengths.extend(messages.iter().take(got).map(|message| (message.msg_len as usize).min(size)));
    Ok(got)
}

fn link_address(index: i32, to: [u8; 6]) -> libc::sockaddr_ll {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&to);
    libc::sockaddr_ll {
        sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).expect("a small constant"),
        sll_protocol: ETH_P_IP.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    }
}

fn empty_message() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain data; all zeroes is an empty message without name, parts or control data.
    unsafe { std::mem::zeroed() }
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("the kernel's structs are small")
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn datagrams_come_in_one_batch_in_order() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for text in ["one", "two", "a longer one than fits"] {
            client.send_to(text.as_bytes(), server.local_addr().unwrap()).unwrap();
        }
        let mut inbox = Inbox::new(8);
        assert_eq!(receive(server.as_fd(), &mut inbox).unwrap(), 3);
        let texts: Vec<&[u8]> = inbox.iter().collect();
        assert_eq!(texts, [b"one".as_slice(), b"two", b"a longer"]);
        assert_eq!(receive(server.as_fd(), &mut inbox).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
