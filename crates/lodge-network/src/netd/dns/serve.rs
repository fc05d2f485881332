//! The sockets of DNS: datagrams and streams in, answers out, with limits on everything.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::cache::{Cache, Key};
use super::forward::{self, Transport};
use super::{Decision, decide, fit, refusal, udp_limit};
use crate::netd::book::Book;
use crate::netd::setup::DnsRules;

/// Most queries waiting for servers outside, of all clients and of one.
const PENDING_MAX: usize = 600;
const PENDING_PER_CLIENT_MAX: usize = 100;
/// Most TCP clients at a time, and queries of one.
const STREAMS_MAX: usize = 64;
const QUERIES_PER_STREAM_MAX: usize = 200;
/// How long a TCP client may be silent.
const STREAM_IDLE: Duration = Duration::from_secs(10);

/// The DNS service of one network.
#[derive(Debug)]
pub struct Dns {
    rules: RefCell<DnsRules>,
    cache: RefCell<Cache>,
    pending: RefCell<HashMap<IpAddr, usize>>,
    pending_total: Cell<usize>,
    streams: Cell<usize>,
    book: Rc<Book>,
}

impl Dns {
    /// A service by `rules` about the names in `book`.
    pub fn new(rules: DnsRules, book: Rc<Book>) -> Rc<Self> {
        Rc::new(Self {
            rules: RefCell::new(rules),
            cache: RefCell::default(),
            pending: RefCell::default(),
            pending_total: Cell::new(0),
            streams: Cell::new(0),
            book,
        })
    }

    /// From now on asks these servers.
    pub fn set_upstreams(&self, upstreams: Vec<SocketAddr>) {
        let mut rules = self.rules.borrow_mut();
        if rules.upstreams != upstreams {
            rules.upstreams = upstreams;
            self.cache.borrow_mut().clear();
        }
    }

    /// From now on answers by these rules.
    pub fn set_rules(&self, rules: DnsRules) {
        *self.rules.borrow_mut() = rules;
        self.cache.borrow_mut().clear();
    }

    /// How many answers are remembered.
    pub fn cached(&self) -> usize {
        self.cache.borrow().len()
    }

    /// Serves datagrams for ever.
    pub async fn serve_udp(self: Rc<Self>, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                // An ICMP error of an earlier answer; the socket itself is well.
                tokio::task::yield_now().await;
                continue;
            };
            match self.decide(&buffer[..length], client.ip()) {
                Decision::Ignore => {}
                // Answered at once: what is known here needs no task.
                Decision::Answer(answer) => {
                    let most = fit(&answer, udp_limit(&answer));
                    if let Some(bytes) = most {
                        let _ = socket.try_send_to(&bytes, client);
                    }
                }
                Decision::Forward(query) => {
                    let (dns, socket) = (Rc::clone(&self), Rc::clone(&socket));
                    spawn_local(async move {
                        if let Some(answer) = dns.outside(&query, client.ip(), Transport::Udp).await
                            && let Some(bytes) = fit(&answer, udp_limit(&query))
                        {
                            let _ = socket.send_to(&bytes, client).await;
                        }
                    });
                }
            }
        }
    }

    /// Serves streams for ever.
    pub async fn serve_tcp(self: Rc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, client)) = listener.accept().await else {
                // Out of descriptors: wait for one to come free.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if self.streams.get() >= STREAMS_MAX {
                continue;
            }
            self.streams.set(self.streams.get() + 1);
            let dns = Rc::clone(&self);
            spawn_local(async move {
                let _ = dns.stream(stream, client.ip()).await;
                dns.streams.set(dns.streams.get() - 1);
            });
        }
    }

    async fn stream(&self, mut stream: TcpStream, client: IpAddr) -> std::io::Result<()> {
        for _ in 0..QUERIES_PER_STREAM_MAX {
            let length = timeout(STREAM_IDLE, stream.read_u16()).await??;
            let mut query = vec![0; usize::from(length)];
            timeout(STREAM_IDLE, stream.read_exact(&mut query)).await??;
            let answer = match self.decide(&query, client) {
                Decision::Ignore => break,
                Decision::Answer(answer) => answer,
                Decision::Forward(query) => match self.outside(&query, client, Transport::Tcp).await {
                    Some(answer) => Box::new(answer),
                    None => break,
                },
            };
            let Some(bytes) = fit(&answer, usize::from(u16::MAX)) else { break };
            let Ok(length) = u16::try_from(bytes.len()) else { break };
            let whole = [&length.to_be_bytes(), bytes.as_slice()].concat();
            timeout(STREAM_IDLE, stream.write_all(&whole)).await??;
        }
        Ok(())
    }

    fn decide(&self, query: &[u8], client: IpAddr) -> Decision {
        self.book.count_query();
        self.book.with_names(|names, holders| decide(query, client, &self.rules.borrow(), names, holders))
    }

    /// The answer from outside or from memory; `None` where the client has too many questions open.
    async fn outside(&self, query: &Message, client: IpAddr, transport: Transport) -> Option<Message> {
        let key = Key::of(query)?;
        if let Some(answer) = self.cache.borrow().find(&key, query, Instant::now()) {
            return Some(answer);
        }
        let _open = self.open(client)?;
        let upstreams = self.rules.borrow().upstreams.clone();
        let answer = forward::ask(query, &upstreams, transport).await;
        if let Some(answer) = &answer {
            self.cache.borrow_mut().keep(key, answer, Instant::now());
        }
        Some(answer.unwrap_or_else(|| *refusal(query, ResponseCode::ServFail)))
    }

    fn open(&self, client: IpAddr) -> Option<Open<'_>> {
        let mut pending = self.pending.borrow_mut();
        let own = pending.entry(client).or_default();
        if *own >= PENDING_PER_CLIENT_MAX || self.pending_total.get() >= PENDING_MAX {
            if *own == 0 {
                pending.remove(&client);
            }
            return None;
        }
        *own += 1;
        self.pending_total.set(self.pending_total.get() + 1);
        Some(Open { dns: self, client })
    }
}

/// A query that waits for an answer from outside.
struct Open<'d> {
    dns: &'d Dns,
    client: IpAddr,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut pending = self.dns.pending.borrow_mut();
        if let Some(own) = pending.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                pending.remove(&self.client);
            }
        }
        self.dns.pending_total.set(self.dns.pending_total.get() - 1);
    }
}
