//! Who stands at the doors: lets clients in, one after the other, and gives each a door of its own.
//!
//! Deliberately absent: what is listened on and why (`listen.rs`), how many may be in (`gate.rs`).

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lodge_sys::local::LocalSocket;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::gate::{Gate, Pass};
use super::listen::{Bound, Place, Purpose};
use super::settings::{Auth, Settings};
use super::tls::Tls;
use super::unix::{Named, UnixError};
use super::{Door, Lobby, Login, Peer, network};
use crate::server::Server;
use crate::transport::{Plain, Transport};

/// How long to leave the host alone when it has no descriptor left for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a socket that a libvirt daemon has is looked at again.
const TAKEN_PAUSE: Duration = Duration::from_secs(1);

/// Stands at the doors.
pub(super) struct Porter {
    pub server: Arc<Server>,
    pub lobby: Arc<Lobby>,
    pub settings: Settings,
}

impl Porter {
    /// Lets clients in at all that is bound, until the front closes.
    pub fn serve(self: &Arc<Self>, bound: Bound) {
        for (purpose, named) in bound.unix {
            tracing::debug!(socket = %named.path().display(), ?purpose, "libvirt front listens");
            self.server.tasks().spawn(Arc::clone(self).serve_unix(purpose, named));
        }
        for (purpose, place) in bound.waiting {
            self.server.tasks().spawn(Arc::clone(self).wait_for(purpose, place));
        }
        for listener in bound.tls {
            tracing::info!(address = ?listener.local_addr().ok(), "TLS door open");
            self.server.tasks().spawn(Arc::clone(self).serve_network(listener, self.lobby.tls.clone()));
        }
        for listener in bound.tcp {
            tracing::info!(address = ?listener.local_addr().ok(), "TCP door open: nothing is encrypted there");
            self.server.tasks().spawn(Arc::clone(self).serve_network(listener, None));
        }
    }

    /// Serves a socket once the daemon that has it is gone.
    async fn wait_for(self: Arc<Self>, purpose: Purpose, place: Place) {
        loop {
            tokio::select! {
                () = self.server.closing().cancelled() => return,
                () = tokio::time::sleep(TAKEN_PAUSE) => {}
            }
            match place.bind() {
                Ok(named) => {
                    tracing::info!(socket = %place.path.display(), "libvirt front listens");
                    return self.serve_unix(purpose, named).await;
                }
                Err(UnixError::Taken { .. }) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "socket not served");
                    return;
                }
            }
        }
    }

    async fn serve_unix(self: Arc<Self>, purpose: Purpose, named: Named) {
        let gate = match purpose {
            Purpose::Admin => &self.lobby.admin_gate,
            Purpose::ReadOnly | Purpose::ReadWrite => &self.lobby.gate,
        };
        while let Some((stream, pass)) =
            self.next(gate, || async { Ok(named.listener.accept().await?.0) }).await
        {
            match local_peer(&stream).and_then(|peer| Ok((peer, LocalSocket::of(stream.into_std()?)?))) {
                Ok((peer, socket)) => self.begin(socket, self.unix_door(purpose, peer, pass)),
                Err(error) => tracing::warn!(%error, "cannot tell who connects"),
            }
        }
    }

    async fn serve_network(self: Arc<Self>, listener: TcpListener, tls: Option<Arc<Tls>>) {
        let gate = &self.lobby.gate;
        while let Some(((stream, from), pass)) = self.next(gate, || listener.accept()).await {
            // A call is one small packet and its answer another: neither is to wait for more.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "packets may be delayed");
            }
            let from = network::peer(from);
            match &tls {
                None => {
                    let peer = Peer::Remote { address: from, tls: None };
                    self.begin(Plain(stream), self.network_door(peer, self.settings.auth_tcp, pass));
                }
                Some(tls) => {
                    let shaking = Arc::clone(&self).shake_hands(Arc::clone(tls), stream, from, pass);
                    self.server.tasks().spawn(shaking);
                }
            }
        }
    }

    async fn shake_hands(self: Arc<Self>, tls: Arc<Tls>, stream: TcpStream, from: String, pass: Pass) {
        let outcome = tokio::select! {
            () = self.server.closing().cancelled() => return,
            outcome = tls.accept(stream) => outcome,
        };
        match outcome {
            Ok((stream, name)) => {
                let peer = Peer::Remote { address: from, tls: Some(name) };
                let door = self.network_door(peer, self.settings.auth_tls, pass);
                Arc::clone(&self.server).serve_connection(Plain(stream), door).await;
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(peer = from, %error, cause, "TLS client not let in");
            }
        }
    }

    /// The next client and its pass; none when the front closes.
    async fn next<T, F>(&self, gate: &Arc<Gate>, accept: impl Fn() -> F) -> Option<(T, Pass)>
    where
        F: Future<Output = io::Result<T>>,
    {
        let closing = self.server.closing();
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => return None,
                accepted = accept() => accepted,
            };
            match accepted {
                Ok(client) => {
                    let pass = tokio::select! {
                        () = closing.cancelled() => return None,
                        pass = gate.enter() => pass,
                    };
                    return Some((client, pass));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn begin(&self, transport: impl Transport, door: Door) {
        self.server.tasks().spawn(Arc::clone(&self.server).serve_connection(transport, door));
    }

    fn unix_door(&self, purpose: Purpose, peer: Peer, pass: Pass) -> Door {
        let settings = &self.settings;
        let (auth, limits, keepalive) = match purpose {
            Purpose::ReadWrite => (settings.auth_read_write, settings.limits, settings.keepalive),
            Purpose::ReadOnly => (settings.auth_read_only, settings.limits, settings.keepalive),
            Purpose::Admin => (Auth::None, settings.admin_limits, settings.admin_keepalive),
        };
        Door {
            admin: purpose == Purpose::Admin,
            logins: logins(auth),
            calls_max: limits.requests,
            keepalive,
            pass: Some(Arc::new(pass)),
            lobby: Some(Arc::clone(&self.lobby)),
            ..Door::of(peer, purpose == Purpose::ReadOnly)
        }
    }

    fn network_door(&self, peer: Peer, auth: Auth, pass: Pass) -> Door {
        Door {
            logins: logins(auth),
            calls_max: self.settings.limits.requests,
            keepalive: self.settings.keepalive,
            pass: Some(Arc::new(pass)),
            lobby: Some(Arc::clone(&self.lobby)),
            ..Door::of(peer, false)
        }
    }
}

fn logins(auth: Auth) -> Vec<Login> {
    match auth {
        Auth::None => Vec::new(),
        Auth::Sasl => vec![Login::Sasl],
        Auth::Polkit => vec![Login::Polkit],
    }
}

fn local_peer(stream: &UnixStream) -> io::Result<Peer> {
    let peer = stream.peer_cred()?;
    let mut groups = lodge_sys::peer::groups(stream)?;
    groups.push(peer.gid());
    Ok(Peer::Local { uid: peer.uid(), gid: peer.gid(), pid: peer.pid(), groups })
}
