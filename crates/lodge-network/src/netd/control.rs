//! The daemon's way to ask netd: one request per line, one reply per line, see [`crate::wire`].
//!
//! The socket is the daemon's alone by the permissions of its directory; still every line is bounded and a
//! bad one is refused, not believed.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_local;

use super::book::Book;
use super::dns::serve::Dns;
use super::setup::{DnsRules, Scope};
use crate::wire::{Event, LINE_MAX_BYTES, Reply, Request, Status, parse_request};

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 16;

/// Serves the daemon for ever.
pub async fn serve(listener: UnixListener, book: Rc<Book>, dns: Option<Rc<Dns>>) {
    let open = Rc::new(());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if Rc::strong_count(&open) > CONNECTIONS_MAX {
            continue;
        }
        let (open, book, dns) = (Rc::clone(&open), Rc::clone(&book), dns.clone());
        spawn_local(async move {
            if let Err(error) = converse(stream, &book, dns.as_deref()).await {
                tracing::debug!(%error, "control connection ended");
            }
            drop(open);
        });
    }
}

async fn converse(stream: UnixStream, book: &Book, dns: Option<&Dns>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(LINE_MAX_BYTES).expect("a small constant") + 1;
        if (&mut read).take(most).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let too_long = line.len() > LINE_MAX_BYTES;
        let reply = match parse_request(line.trim_ascii_end()) {
            Ok(Request::Events) => {
                let listener = book.listen();
                send(&mut write, &Reply::Done).await?;
                return tell(listener, &mut write).await;
            }
            Ok(request) => answer(request, book, dns)?,
            Err(why) => Reply::Refused { why },
        };
        send(&mut write, &reply).await?;
        if too_long {
            return Ok(());
        }
    }
}

fn answer(request: Request, book: &Book, dns: Option<&Dns>) -> std::io::Result<Reply> {
    Ok(match request {
        Request::Status => {
            let (leases, free, dhcp_messages, dns_queries) = book.counts();
            let dns_cached = dns.map_or(0, Dns::cached);
            Reply::Status(Status {
                pid: std::process::id(),
                leases,
                free,
                dhcp_messages,
                dns_queries,
                dns_cached,
            })
        }
        Request::Leases { after } => {
            let (leases, more) = book.leases(after);
            Reply::Leases { leases, more }
        }
        Request::Lease { mac } => {
            Reply::Leases { leases: book.lease(mac).into_iter().collect(), more: false }
        }
        Request::Names { mac, names } => {
            book.vouch(mac, names)?;
            Reply::Done
        }
        Request::Named => Reply::Named { macs: book.named() },
        Request::Upstreams { servers } => {
            if let Some(dns) = dns {
                dns.set_upstreams(servers);
            }
            Reply::Done
        }
        Request::Reconfigure { scope, rules } => reconfigure(scope, rules, book, dns),
        Request::Resolve { name } => Reply::Addresses { ips: book.resolve(&name) },
        // Handled where the connection is.
        Request::Events => Reply::Done,
    })
}

/// Takes over another configuration. The sockets are what they were opened for, so what is served must stay.
fn reconfigure(
    scope: Option<Box<Scope>>,
    rules: Option<Box<DnsRules>>,
    book: &Book,
    dns: Option<&Dns>,
) -> Reply {
    if scope.is_some() != book.serves_dhcp() || rules.is_some() != dns.is_some() {
        return Reply::Refused { why: "other services than before need other sockets".into() };
    }
    let rules = rules.map(|rules| *rules).unwrap_or_default();
    book.reconfigure(scope.map(|scope| *scope), &rules, super::serve::now_s());
    if let Some(dns) = dns {
        dns.set_rules(rules);
    }
    Reply::Done
}

async fn tell(
    mut listener: tokio::sync::broadcast::Receiver<Event>,
    write: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    loop {
        match listener.recv().await {
            Ok(event) => send(write, &event).await?,
            Err(RecvError::Lagged(_)) => send(write, &Event::Lagged).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, value: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write.write_all(&line).await
}
