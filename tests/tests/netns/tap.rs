//! A guest as QEMU plugs one in: frames are written to its tap and read from it, also such as no honest guest sends.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lodge_model::MacAddr;
use lodge_network::Attached;

/// How long an answer may take that is expected, and one that is not.
const ANSWER: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(800);

/// The virtio-net header in front of each frame: none of its features.
const HEADER_BYTES: usize = 10;
const BROADCAST: MacAddr = MacAddr([0xff; 6]);
const COOKIE: [u8; 4] = [99, 130, 83, 99];

pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const ACK: u8 = 5;
pub const RELEASE: u8 = 7;

/// A guest's end of its cable.
pub struct Tap {
    file: std::fs::File,
    mac: MacAddr,
    pub ifname: String,
}

/// What a message says of its sender.
#[derive(Clone)]
pub struct Saying {
    /// The frame's sender.
    pub frame: MacAddr,
    /// `chaddr`.
    pub hardware: MacAddr,
    /// Option 61.
    pub client_id: Option<Vec<u8>>,
    /// Option 12.
    pub name: Option<String>,
}

impl Saying {
    /// As an honest guest.
    pub fn as_itself(mac: &str) -> Self {
        let mac: MacAddr = mac.parse().unwrap();
        Self { frame: mac, hardware: mac, client_id: None, name: None }
    }
}

/// A server's message.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    pub kind: u8,
    pub ip: Ipv4Addr,
}

impl Tap {
    pub fn new(mut attached: Attached, mac: &str) -> Self {
        Self { file: attached.taps.remove(0).into(), mac: mac.parse().unwrap(), ifname: attached.ifname }
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        let bytes = [&[0; HEADER_BYTES], frame].concat();
        let sent = (&self.file).write(&bytes).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The next DHCP message to `hardware`, within a while.
    fn hear(&self, hardware: MacAddr, patience: Duration) -> Option<Heard> {
        let end = Instant::now() + patience;
        let mut frame = vec![0; 4_096];
        loop {
            match (&self.file).read(&mut frame) {
                Ok(length) => {
                    if let Some(heard) = understood(&frame[HEADER_BYTES..length], hardware) {
                        return Some(heard);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let left = end.checked_duration_since(Instant::now())?;
                    let wait = rustix::event::Timespec::try_from(left).unwrap();
                    let mut poll = [rustix::event::PollFd::new(&self.file, rustix::event::PollFlags::IN)];
                    rustix::event::poll(&mut poll, Some(&wait)).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A full exchange; the address. None: no server answered.
    pub fn lease(&self, saying: &Saying) -> Option<Ipv4Addr> {
        self.send(&message(saying, DISCOVER, Ipv4Addr::UNSPECIFIED, None));
        let offer = self.hear(saying.hardware, ANSWER)?;
        assert_eq!(offer.kind, OFFER, "{offer:?}");
        self.send(&message(saying, REQUEST, Ipv4Addr::UNSPECIFIED, Some(offer.ip)));
        let ack = self.hear(saying.hardware, ANSWER)?;
        (ack.kind == ACK).then_some(ack.ip)
    }

    /// Whether anything is said to `hardware` after this message.
    pub fn is_answered(&self, frame: &[u8], hardware: MacAddr) -> bool {
        self.send(frame);
        self.hear(hardware, SILENCE).is_some()
    }

    /// What arrives until this frame does, which must come.
    pub fn frames_until(&self, last: &[u8]) -> Vec<Vec<u8>> {
        let end = Instant::now() + ANSWER;
        let (mut frame, mut heard) = (vec![0; 4_096], Vec::new());
        loop {
            match (&self.file).read(&mut frame) {
                Ok(length) if &frame[HEADER_BYTES..length] == last => return heard,
                Ok(length) => heard.push(frame[HEADER_BYTES..length].to_vec()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(Instant::now() < end, "the last frame did not come");
                    let mut poll = [rustix::event::PollFd::new(&self.file, rustix::event::PollFlags::IN)];
                    let wait = rustix::event::Timespec::try_from(SILENCE).unwrap();
                    rustix::event::poll(&mut poll, Some(&wait)).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn mac(&self) -> MacAddr {
        self.mac
    }
}

/// A client's message in a frame: RFC 2131 section 2.
pub fn message(saying: &Saying, kind: u8, current: Ipv4Addr, wish: Option<Ipv4Addr>) -> Vec<u8> {
    let mut bootp = vec![1, 1, 6, 0];
    bootp.extend(7_u32.to_be_bytes()); // xid
    bootp.extend([0, 0, 0, 0]);
    bootp.extend(current.octets());
    bootp.resize(28, 0);
    bootp.extend(saying.hardware.0);
    bootp.resize(236, 0);
    bootp.extend(COOKIE);
    bootp.extend([53, 1, kind]);
    let mut option = |code: u8, value: &[u8]| {
        bootp.extend([code, u8::try_from(value.len()).unwrap()]);
        bootp.extend(value);
    };
    if let Some(id) = &saying.client_id {
        option(61, id);
    }
    if let Some(name) = &saying.name {
        option(12, name.as_bytes());
    }
    if let Some(wish) = wish {
        option(50, &wish.octets());
    }
    bootp.push(255);
    let mut datagram = Vec::new();
    datagram.extend(68_u16.to_be_bytes());
    datagram.extend(67_u16.to_be_bytes());
    datagram.extend(u16::try_from(8 + bootp.len()).unwrap().to_be_bytes());
    datagram.extend([0, 0]); // no checksum, RFC 768
    datagram.extend(bootp);
    packet(saying.frame, current, &datagram, 0, false)
}

/// The same message in two pieces, the first too short for the hardware address.
pub fn in_pieces(frame: &[u8]) -> [Vec<u8>; 2] {
    let datagram = &frame[34..];
    let from = Ipv4Addr::new(frame[26], frame[27], frame[28], frame[29]);
    let sender = MacAddr(frame[6..12].try_into().unwrap());
    [packet(sender, from, &datagram[..32], 0, true), packet(sender, from, &datagram[32..], 32, false)]
}

/// An IPv4 packet to all, in a frame to all.
fn packet(sender: MacAddr, from: Ipv4Addr, payload: &[u8], offset: u16, has_more: bool) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    header.extend(9_u16.to_be_bytes());
    header.extend(((offset / 8) | (u16::from(has_more) << 13)).to_be_bytes());
    header.extend([64, 17, 0, 0]);
    header.extend(from.octets());
    header.extend([255; 4]);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = BROADCAST.0.to_vec();
    frame.extend(sender.0);
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(payload);
    frame
}

fn understood(frame: &[u8], hardware: MacAddr) -> Option<Heard> {
    let is_from_server =
        frame.get(12..14)? == [8, 0] && frame.get(23)? == &17 && frame.get(34..36)? == [0, 67];
    let bootp = frame.get(42..).filter(|_| is_from_server)?;
    if bootp.get(28..34)? != hardware.0 {
        return None;
    }
    let ip: [u8; 4] = bootp.get(16..20)?.try_into().ok()?;
    let mut options = bootp.get(240..)?;
    while let [code, length, rest @ ..] = options {
        if *code == 53 {
            return Some(Heard { kind: *rest.first()?, ip: ip.into() });
        }
        options = rest.get(usize::from(*length)..)?;
    }
    None
}
