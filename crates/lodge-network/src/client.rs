//! The daemon's end of netd's control socket. Every exchange has a deadline: a stuck netd delays nobody.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::MacAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::netd::setup::{DnsRules, Scope};
use crate::wire::{Event, LINE_MAX_BYTES, Reply, Request, Status, WireLease};
use crate::{NetworkError, limits};

/// Where a network's netd listens.
#[derive(Debug, Clone)]
pub struct Netd {
    network: String,
    socket: PathBuf,
}

impl Netd {
    /// The netd of `network`, which listens at `socket`.
    pub fn at(network: &str, socket: PathBuf) -> Self {
        Self { network: network.to_owned(), socket }
    }

    /// How it fares.
    pub async fn status(&self, within: Duration) -> Result<Status, NetworkError> {
        match self.ask_within(&Request::Status, within).await? {
            Reply::Status(status) => Ok(status),
            other => Err(self.strange(&other)),
        }
    }

    /// All leases, page by page.
    pub async fn leases(&self) -> Result<Vec<WireLease>, NetworkError> {
        let mut all: Vec<WireLease> = Vec::new();
        loop {
            let after = all.last().map(|lease| lease.ip);
            match self.ask(&Request::Leases { after }).await? {
                Reply::Leases { leases, more } => {
                    let progress = !leases.is_empty();
                    all.extend(leases);
                    if !more || !progress {
                        return Ok(all);
                    }
                }
                other => return Err(self.strange(&other)),
            }
        }
    }

    /// The lease of one guest.
    pub async fn lease(&self, mac: MacAddr) -> Result<Option<WireLease>, NetworkError> {
        match self.ask(&Request::Lease { mac }).await? {
            Reply::Leases { mut leases, .. } => Ok(leases.pop()),
            other => Err(self.strange(&other)),
        }
    }

    /// Gives names to a guest; none takes them away.
    pub async fn set_names(&self, mac: MacAddr, names: Vec<String>) -> Result<(), NetworkError> {
        self.done(&Request::Names { mac, names }).await
    }

    /// Guests with names from the host.
    pub async fn named(&self) -> Result<Vec<MacAddr>, NetworkError> {
        match self.ask(&Request::Named).await? {
            Reply::Named { macs } => Ok(macs),
            other => Err(self.strange(&other)),
        }
    }

    /// Tells it whom to ask about names outside.
    pub async fn set_upstreams(&self, servers: Vec<std::net::SocketAddr>) -> Result<(), NetworkError> {
        self.done(&Request::Upstreams { servers }).await
    }

    /// Gives it another configuration; it must serve the same of DHCP and DNS as before.
    pub async fn reconfigure(
        &self,
        scope: Option<Scope>,
        rules: Option<DnsRules>,
    ) -> Result<(), NetworkError> {
        let (scope, rules) = (scope.map(Box::new), rules.map(Box::new));
        self.done(&Request::Reconfigure { scope, rules }).await
    }

    /// The addresses of a name.
    pub async fn resolve(&self, name: &str) -> Result<Vec<std::net::IpAddr>, NetworkError> {
        match self.ask(&Request::Resolve { name: name.to_owned() }).await? {
            Reply::Addresses { ips } => Ok(ips),
            other => Err(self.strange(&other)),
        }
    }

    /// What happens from now on.
    pub async fn events(&self) -> Result<Events, NetworkError> {
        let begin = async {
            let mut connection = Connection::open(&self.socket).await?;
            match connection.exchange(&Request::Events).await? {
                Reply::Done => Ok(Events(connection)),
                _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
            }
        };
        timeout(limits::NETD_ANSWER, begin)
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| self.silent(&error))
    }

    async fn done(&self, request: &Request) -> Result<(), NetworkError> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            other => Err(self.strange(&other)),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Reply, NetworkError> {
        self.ask_within(request, limits::NETD_ANSWER).await
    }

    async fn ask_within(&self, request: &Request, within: Duration) -> Result<Reply, NetworkError> {
        let exchange = async { Connection::open(&self.socket).await?.exchange(request).await };
        timeout(within, exchange)
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| self.silent(&error))
    }

    fn silent(&self, error: &io::Error) -> NetworkError {
        NetworkError::Silent { network: self.network.clone(), detail: error.to_string() }
    }

    fn strange(&self, reply: &Reply) -> NetworkError {
        let detail = match reply {
            Reply::Refused { why } => format!("it refused: {why}"),
            _ => "its answer was to another question".into(),
        };
        NetworkError::Silent { network: self.network.clone(), detail }
    }
}

/// What netd tells, one after another.
#[derive(Debug)]
pub struct Events(Connection);

impl Events {
    /// The next; `None` when netd has gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let line = self.0.line().await.ok()??;
            // A newer netd may tell what this daemon does not know.
            if let Ok(event) = serde_json::from_slice(&line) {
                return Some(event);
            }
        }
    }
}

#[derive(Debug)]
struct Connection(BufReader<UnixStream>);

impl Connection {
    async fn open(socket: &Path) -> io::Result<Self> {
        let (_directory, short) = short_path(socket)?;
        Ok(Self(BufReader::new(UnixStream::connect(short).await?)))
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.0.write_all(&line).await?;
        let answer = self.line().await?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        // A page of leases is longer than a request.
        let most = u64::try_from(LINE_MAX_BYTES).expect("a small constant") * 8;
        let length = (&mut self.0).take(most).read_until(b'\n', &mut line).await?;
        if length == 0 {
            return Ok(None);
        }
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the line does not end")),
        }
    }
}

/// A path to `socket` that fits a socket address (108 bytes) however deep its directory lies: through a
/// descriptor of the directory, which must stay open while the path is used.
pub fn short_path(socket: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    use rustix::fs::{Mode, OFlags};
    let name = socket.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let parent = socket.parent().unwrap_or(Path::new("/"));
    let directory =
        rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((directory, short))
}
