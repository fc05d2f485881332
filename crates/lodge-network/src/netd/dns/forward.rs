//! Asking the host's name servers. Each query goes out by a socket of its own, so by a port nobody can
//! guess, with an id nobody can guess (RFC 5452); the socket is connected, so only that server can answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::Message;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

/// How long one server may take before the next is asked.
const ATTEMPT: Duration = Duration::from_millis(1_500);
/// Most servers asked about one query.
const ATTEMPTS_MAX: usize = 4;

/// How the client asked, and so how we ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams; a long answer comes truncated.
    Udp,
    /// A stream.
    Tcp,
}

/// Asks the servers in turn until one gives a sensible answer. The answer bears the query's own id.
pub async fn ask(query: &Message, upstreams: &[SocketAddr], transport: Transport) -> Option<Message> {
    let mut outgoing = query.clone();
    let mut last = None;
    for (attempt, server) in upstreams.iter().cycle().take(upstreams.len().clamp(2, ATTEMPTS_MAX)).enumerate()
    {
        outgoing.metadata.id = random_id();
        let Ok(bytes) = outgoing.to_vec() else { return None };
        let exchange = async {
            match transport {
                Transport::Udp => by_udp(&bytes, *server, &outgoing).await,
                Transport::Tcp => by_tcp(&bytes, *server, &outgoing).await,
            }
        };
        match timeout(ATTEMPT, exchange).await {
            Ok(Ok(mut answer)) => {
                use hickory_proto::op::ResponseCode::{Refused, ServFail};
                answer.metadata.id = query.metadata.id;
                if !matches!(answer.metadata.response_code, ServFail | Refused) {
                    return Some(answer);
                }
                last = Some(answer);
            }
            Ok(Err(error)) => tracing::debug!(%server, attempt, %error, "name server not reached"),
            Err(_) => tracing::debug!(%server, attempt, "name server gave no answer"),
        }
    }
    last
}

async fn by_udp(bytes: &[u8], server: SocketAddr, sent: &Message) -> io::Result<Message> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&server.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = matching(&buffer[..length], sent) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(bytes: &[u8], server: SocketAddr, sent: &Message) -> io::Result<Message> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    matching(&buffer, sent).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the answer"))
}

/// The answer, if it is one to what was sent: same id, same question.
fn matching(bytes: &[u8], sent: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let ours = answer.metadata.id == sent.metadata.id
        && answer.metadata.message_type == hickory_proto::op::MessageType::Response
        && answer.queries == sent.queries;
    ours.then_some(answer)
}

fn random_id() -> u16 {
    let mut bytes = [0; 2];
    let mut filled = 0;
    while filled < bytes.len() {
        // getrandom(2) for two bytes neither fails nor waits once the system has booted.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    u16::from_be_bytes(bytes)
}
