//! How a client came in: through which door, and who the kernel or the login says it is.
//!
//! ```text
//!  Settings (libvirtd.conf) ──▶ Doors::open ──▶ unix · tcp · tls ──▶ Gate (how many) ──▶ Door ──▶ Server::serve_connection
//!                                    ▲                                                     │
//!                         systemd's sockets                       login: polkit · SASL (remote/auth.rs)
//! ```
//!
//! [`Doors`] are what is listened on, [`Lobby`] is what all of them share, a [`Door`] is what is known of one client
//! that came in.

use std::sync::Arc;

use lodge_engine::Caller;

use crate::fault::{Code, Fault, Origin};

mod gate;
mod listen;
mod lobby;
mod names;
mod network;
pub(crate) mod polkit;
mod porter;
pub(crate) mod scram;
mod settings;
mod tls;
mod unix;
mod users;

pub use gate::{Crowd, Gate, Pass};
pub use listen::{DoorError, Doors, Opening};
pub use lobby::Lobby;
pub use lodge_store::conf::ConfError;
pub(crate) use names::allowed;
pub use settings::{Auth, ClientLimits, Keepalive, Settings, SettingsError, TlsSettings, UnixSettings};
pub use tls::{Tls, TlsError, distinguished_name};
pub use unix::UnixError;
pub use users::{Mechanism, Users, UsersError};

/// What the listener knows of a connection.
#[derive(Clone, Debug)]
pub struct Door {
    /// The admin socket: the program ADMIN and no other.
    pub admin: bool,
    /// The `-ro` socket: nothing may be changed.
    pub read_only: bool,
    /// Who is there.
    pub peer: Peer,
    /// How clients log in, the preferred way first; empty: everybody who got this far is in.
    pub logins: Vec<Login>,
    /// Calls that may be unanswered; beyond it the connection is not read.
    pub calls_max: usize,
    /// When a client that asked for it is pinged.
    pub keepalive: Keepalive,
    /// Counts the client as long as it is inside.
    pub pass: Option<Arc<Pass>>,
    /// What all doors share.
    pub lobby: Option<Arc<Lobby>>,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this host, by `SO_PEERCRED`.
    Local {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its number, where the kernel tells it.
        pid: Option<i32>,
        /// All its groups.
        groups: Vec<u32>,
    },
    /// Somewhere on the network; who it is, the login says.
    Remote {
        /// Where, as libvirt writes it: `192.0.2.1:54321`.
        address: String,
        /// It came through TLS; its certificate's name, where it had to show one.
        tls: Option<Option<String>>,
    },
}

/// A way to log in (`remote_auth_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Login {
    /// SASL.
    Sasl = 1,
    /// polkit.
    Polkit = 2,
}

impl Door {
    /// The door of a UNIX socket whose mode is guard enough.
    pub fn local(uid: u32, gid: u32, pid: Option<i32>, read_only: bool) -> Self {
        Self::of(Peer::Local { uid, gid, pid, groups: vec![gid] }, read_only)
    }

    /// A door without a login, with libvirt's limits.
    pub fn of(peer: Peer, read_only: bool) -> Self {
        Self {
            admin: false,
            read_only,
            peer,
            logins: Vec::new(),
            calls_max: crate::limits::CALLS_MAX,
            keepalive: Keepalive::default(),
            pass: None,
            lobby: None,
        }
    }

    /// The client has logged in, or need not.
    pub(crate) fn logged_in(&self) {
        if let Some(pass) = &self.pass {
            pass.logged_in();
        }
    }

    /// Who asks, for the engine, as far as the door knows. A remote peer is nobody in particular.
    pub(crate) fn caller(&self) -> Caller {
        const NOBODY: u32 = 65_534;
        match self.peer {
            Peer::Local { uid, pid, .. } => Caller { uid, pid, read_only: self.read_only },
            Peer::Remote { .. } => Caller { uid: NOBODY, pid: None, read_only: self.read_only },
        }
    }
}

/// All that a client learns whose login failed, in libvirtd's words.
pub(crate) fn denied() -> Fault {
    Fault::new(Code::AuthFailed, Origin::Rpc, "authentication failed")
}

/// A user's name, where the host knows it.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

/// A group's name, where the host knows it.
pub(crate) fn group_name(gid: u32) -> Option<String> {
    nix::unistd::Group::from_gid(gid.into()).ok().flatten().map(|group| group.name)
}
