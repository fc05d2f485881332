//! The loops of netd: sockets in, the [`Book`] decides, the journal is made durable, replies go out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lodge_sys::packet::{self, Frame, Inbox};
use tokio::io::Interest;
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::task::{LocalSet, spawn_local};

use super::book::Book;
use super::control;
use super::dhcp::{Reply, Server, udp_packet};
use super::dns::serve::Dns;
use super::journal::Journal;
use super::names::Names;
use super::setup::{DnsRules, Scope};

/// Longest DHCP message taken; an Ethernet frame holds no longer one.
const DATAGRAM_MAX_BYTES: usize = 1_500;
/// How often ended leases are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What netd serves with: everything open, nothing to be looked up any more.
pub struct Equipment {
    /// The daemon's socket.
    pub control: StdUnixListener,
    /// The two journal files.
    pub journal: [File; 2],
    /// DHCP: sockets, interface, what is given out.
    pub dhcp: Option<DhcpEquipment>,
    /// DNS: sockets and rules.
    pub dns: Option<DnsEquipment>,
}

/// The sockets of DHCP.
pub struct DhcpEquipment {
    /// Requests come in here.
    pub receive: std::net::UdpSocket,
    /// Replies go out here.
    pub send: OwnedFd,
    /// Through this interface.
    pub ifindex: u32,
    /// What is given out.
    pub scope: Scope,
}

/// The sockets of DNS.
pub struct DnsEquipment {
    /// Datagrams.
    pub udp: Vec<std::net::UdpSocket>,
    /// Streams.
    pub tcp: Vec<std::net::TcpListener>,
    /// Who may ask and what is answered.
    pub rules: DnsRules,
}

/// Serves until the process is ended. Returns only an error it cannot live with.
pub fn serve(equipment: Equipment) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(equipment))
}

async fn run(equipment: Equipment) -> io::Result<()> {
    let (journal, entries) = Journal::open(equipment.journal)?;
    let restored = entries.len();
    let server = equipment.dhcp.as_ref().map(|dhcp| Server::new(dhcp.scope.clone()));
    let rules = equipment.dns.as_ref().map(|dns| dns.rules.clone()).unwrap_or_default();
    let hosts = server.as_ref().map(|server| server.scope().hosts.clone()).unwrap_or_default();
    let names = Names::new(&rules, &hosts);
    let book = Rc::new(Book::new(server, names, journal, entries, now_s()));

    let dns = equipment.dns.as_ref().map(|_| Dns::new(rules, Rc::clone(&book)));
    if let (Some(dns), Some(sockets)) = (&dns, equipment.dns) {
        for socket in sockets.udp {
            socket.set_nonblocking(true)?;
            spawn_local(Rc::clone(dns).serve_udp(UdpSocket::from_std(socket)?));
        }
        for listener in sockets.tcp {
            listener.set_nonblocking(true)?;
            spawn_local(Rc::clone(dns).serve_tcp(TcpListener::from_std(listener)?));
        }
    }
    spawn_local(sweep(Rc::clone(&book)));
    equipment.control.set_nonblocking(true)?;
    let control = control::serve(UnixListener::from_std(equipment.control)?, Rc::clone(&book), dns);
    tracing::info!(entries = restored, "netd serves");
    let Some(dhcp) = equipment.dhcp else {
        control.await;
        return Ok(());
    };
    spawn_local(control);
    serve_dhcp(dhcp, book).await
}

/// Takes what has come, decides about all of it, makes all changes durable at once, and replies to all.
/// What comes meanwhile waits in the socket and is the next batch.
async fn serve_dhcp(dhcp: DhcpEquipment, book: Rc<Book>) -> io::Result<()> {
    let DhcpEquipment { receive, send, ifindex, scope } = dhcp;
    receive.set_nonblocking(true)?;
    let receive = UdpSocket::from_std(receive)?;
    let mut inbox = Inbox::new(DATAGRAM_MAX_BYTES);
    loop {
        receive.readable().await?;
        match receive.try_io(Interest::READABLE, || packet::receive(receive.as_fd(), &mut inbox)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // The bridge went down for a moment (ENETDOWN) or the like: the socket stays good.
            Err(error) => {
                tracing::warn!(%error, "cannot receive DHCP messages");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        }
        let now = now_s();
        let mut replies = Vec::new();
        let mut changes = Vec::new();
        for datagram in inbox.iter() {
            let outcome = book.dhcp(datagram, now);
            replies.extend(outcome.reply);
            changes.extend(outcome.change);
        }
        if let Err(error) = book.commit().await {
            // Promises that cannot be kept are not made: the guests will ask again.
            tracing::error!(%error, "cannot write the leases' journal; no reply is sent");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        transmit(&send, ifindex, &scope, replies);
        for change in &changes {
            book.tell(book.event(change));
        }
        if let Err(error) = book.compact() {
            tracing::error!(%error, "cannot shorten the leases' journal");
        }
    }
}

fn transmit(send: &OwnedFd, ifindex: u32, scope: &Scope, replies: Vec<Reply>) {
    let frames: Vec<Frame> = replies
        .into_iter()
        .filter_map(|reply| {
            let packet = udp_packet(scope.server, reply.to_ip, &reply.message)?;
            Some(Frame { to: reply.to_mac, packet })
        })
        .collect();
    let mut left = frames.as_slice();
    while !left.is_empty() {
        match packet::send(send.as_fd(), ifindex, left) {
            Ok(sent) if sent > 0 => left = &left[sent..],
            Ok(_) => break,
            Err(error) => {
                // The interface's queue is full or it is down: the guests will ask again.
                tracing::debug!(%error, lost = left.len(), "cannot send DHCP replies");
                break;
            }
        }
    }
}

async fn sweep(book: Rc<Book>) {
    let mut timer = tokio::time::interval(SWEEP_EVERY);
    loop {
        timer.tick().await;
        for event in book.sweep(now_s()) {
            book.tell(event);
        }
    }
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
