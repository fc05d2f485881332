//! How a client came in: through which door, and who the kernel or the login says it is.

use lodge_engine::Caller;

/// What the listener knows of a connection.
#[derive(Clone, Debug)]
pub struct Door {
    /// The `-ro` socket: nothing may be changed.
    pub read_only: bool,
    /// Who is there.
    pub peer: Peer,
    /// How clients log in, the preferred way first; empty: everybody who got this far is in.
    pub logins: Vec<Login>,
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
    },
    /// Somewhere on the network; who it is, the login says.
    Remote {
        /// Where, as libvirt writes it: `192.0.2.1;54321`.
        address: String,
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
        Self { read_only, peer: Peer::Local { uid, gid, pid }, logins: Vec::new() }
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
