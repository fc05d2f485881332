//! Everything that is listened on: what is bound or handed over, and for what.
//!
//! Without systemd the daemon makes all sockets itself; when systemd hands some over, those and no others are served,
//! as libvirtd does. What a handed socket is for, its name in the file system says, on the network its unit's name.
//! Letting clients in is `porter.rs`'s.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lodge_model::Kind;
use lodge_store::Root;
use lodge_sys::activation::Handed;
use rustix::net::AddressFamily;
use tokio::net::TcpListener;

use super::gate::Gate;
use super::porter::Porter;
use super::settings::Settings;
use super::tls::{Tls, TlsError};
use super::unix::{self, Named, UnixError};
use super::users::Users;
use super::{Lobby, network, scram};
use crate::admin::Controls;
use crate::server::Server;

/// libvirt's daemons whose sockets clients look for; all of them are this one.
const DAEMONS: [&str; 9] = [
    "libvirt",
    "virtqemud",
    "virtnetworkd",
    "virtstoraged",
    "virtnodedevd",
    "virtsecretd",
    "virtnwfilterd",
    "virtinterfaced",
    "virtproxyd",
];
/// Those of them that `virt-admin` is used with.
const ADMIN_DAEMONS: [&str; 2] = ["libvirt", "virtqemud"];

/// What the doors are opened with.
pub struct Opening {
    /// What the files say.
    pub settings: Settings,
    /// Open the network's doors too (`--listen`).
    pub listen: bool,
    /// Allow SASL over TCP although nothing is encrypted there.
    pub sasl_in_clear: bool,
    /// The bus that polkit is on; none: the host's system bus.
    pub bus: Option<String>,
    /// What systemd opened.
    pub handed: Vec<Handed>,
    /// The daemon, for `virt-admin`.
    pub controls: Arc<dyn Controls>,
}

/// The open doors. They close with the front.
#[derive(Debug)]
pub struct Doors {
    lobby: Arc<Lobby>,
    sockets: Vec<PathBuf>,
    tls: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
}

/// Why the doors do not open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A socket in the file system.
    #[error(transparent)]
    Unix(#[from] UnixError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port.
    #[error("cannot listen on {address}, port {port}")]
    Network {
        /// The address, or `all addresses`.
        address: String,
        /// The port.
        port: String,
        /// Why.
        source: io::Error,
    },
    /// systemd handed over something that is no socket of libvirt's.
    #[error("systemd's socket `{name}` is none of libvirt's: {reason}")]
    Handed {
        /// Its unit's name.
        name: String,
        /// Why it cannot be served.
        reason: &'static str,
    },
    /// The kernel gives no random numbers.
    #[error("the kernel gives no random numbers")]
    Random,
}

impl DoorError {
    /// The sort.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unix(error) => error.kind(),
            Self::Tls(error) => error.kind(),
            Self::Network { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => Kind::Conflict,
                io::ErrorKind::PermissionDenied => Kind::Denied,
                _ => Kind::InvalidInput,
            },
            Self::Handed { .. } => Kind::InvalidInput,
            Self::Random => Kind::Internal,
        }
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unix(error) => error.hint(),
            Self::Tls(error) => Some(error.hint()),
            Self::Network { .. } => Some("listen_addr, tls_port and tcp_port in libvirtd.conf say where"),
            Self::Handed { .. } => Some("docs/connecting.md lists the units"),
            Self::Random => None,
        }
    }
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    ReadWrite,
    ReadOnly,
    Admin,
}

/// Everything to be served, bound and not yet served.
#[derive(Default)]
pub(super) struct Bound {
    pub unix: Vec<(Purpose, Named)>,
    /// A libvirt daemon that still runs has these; they are taken when it has gone.
    pub waiting: Vec<(Purpose, Place)>,
    pub tcp: Vec<TcpListener>,
    pub tls: Vec<TcpListener>,
}

/// Where a socket is to be, and for whom.
pub(super) struct Place {
    pub path: PathBuf,
    mode: u32,
    group: Option<u32>,
    queued: u32,
}

impl Place {
    /// Takes it.
    pub fn bind(&self) -> Result<Named, UnixError> {
        Named::bind(&self.path, self.mode, self.group, self.queued)
    }
}

impl Doors {
    /// Opens them all, or none: what fails is told before anybody is let in.
    pub fn open(server: &Arc<Server>, root: &Root, opening: Opening) -> Result<Self, DoorError> {
        let Opening { settings, listen, sasl_in_clear, bus, handed, controls } = opening;
        let group = settings.unix.group.as_deref().map(unix::group_number).transpose()?;
        let bound =
            if handed.is_empty() { bind_all(&settings, listen, group)? } else { take_handed(handed)? };
        let tls = if bound.tls.is_empty() { None } else { Some(Arc::new(Tls::load(settings.tls.clone())?)) };
        let lobby = Arc::new(Lobby {
            gate: Gate::new(settings.limits.clients, settings.limits.unauthenticated),
            admin_gate: Gate::new(settings.admin_limits.clients, settings.admin_limits.unauthenticated),
            users: Users::at(root.configuration().join("sasl-users")),
            allowed_users: settings.sasl_allowed_users.clone(),
            sasl_in_clear,
            group,
            bus,
            tls,
            controls,
            decoy: scram::Decoy::new().map_err(|_| DoorError::Random)?,
        });
        let address = |listener: &TcpListener| listener.local_addr().ok();
        let doors = Self {
            lobby: Arc::clone(&lobby),
            sockets: bound.unix.iter().map(|(_, named)| named.path().to_owned()).collect(),
            tls: bound.tls.iter().filter_map(address).collect(),
            tcp: bound.tcp.iter().filter_map(address).collect(),
        };
        let porter = Arc::new(Porter { server: Arc::clone(server), lobby, settings });
        porter.serve(bound);
        Ok(doors)
    }

    /// What all doors share.
    pub fn lobby(&self) -> &Arc<Lobby> {
        &self.lobby
    }

    /// Sockets in the file system.
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// Where TLS is spoken.
    pub fn tls(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Where TCP is.
    pub fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }
}

fn bind_all(settings: &Settings, listen: bool, group: Option<u32>) -> Result<Bound, DoorError> {
    let mut bound = Bound::default();
    let at = &settings.unix;
    let mut bind = |purpose, name: &str, suffix: &str, mode, limits: &super::ClientLimits| {
        let path = at.directory.join(format!("{name}-{suffix}"));
        let place = Place { path, mode, group, queued: limits.queued };
        match place.bind() {
            Ok(named) => bound.unix.push((purpose, named)),
            Err(UnixError::Taken { path, program }) if unix::is_libvirts(&program) => {
                tracing::warn!(
                    socket = %path.display(),
                    program,
                    "a libvirt daemon has this socket: it is served here as soon as that has stopped"
                );
                bound.waiting.push((purpose, place));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    };
    for name in DAEMONS {
        bind(Purpose::ReadWrite, name, "sock", at.read_write_mode, &settings.limits)?;
        if at.read_only {
            bind(Purpose::ReadOnly, name, "sock-ro", at.read_only_mode, &settings.limits)?;
        }
    }
    for name in ADMIN_DAEMONS {
        bind(Purpose::Admin, name, "admin-sock", at.admin_mode, &settings.admin_limits)?;
    }
    if listen && settings.listen_tls {
        bound.tls = bind_port(settings, &settings.tls_port)?;
    }
    if listen && settings.listen_tcp {
        bound.tcp = bind_port(settings, &settings.tcp_port)?;
    }
    Ok(bound)
}

fn bind_port(settings: &Settings, port: &str) -> Result<Vec<TcpListener>, DoorError> {
    let address = settings.listen_addr.as_deref();
    network::listen(address, port, settings.limits.queued).map_err(|source| DoorError::Network {
        address: address.unwrap_or("all addresses").to_owned(),
        port: port.to_owned(),
        source,
    })
}

fn take_handed(handed: Vec<Handed>) -> Result<Bound, DoorError> {
    let mut bound = Bound::default();
    for Handed { name, socket } in handed {
        let refuse = |reason| DoorError::Handed { name: name.clone(), reason };
        let unit = name.trim_end_matches(".socket").to_owned();
        match family(&socket) {
            Some(AddressFamily::UNIX) => {
                let named = Named::handed(&name, socket)?;
                let purpose = purpose(named.path(), &unit)
                    .ok_or_else(|| refuse("neither its path nor its name tells its purpose"))?;
                bound.unix.push((purpose, named));
            }
            Some(AddressFamily::INET | AddressFamily::INET6) => {
                let listener = network::handed(socket).map_err(|_| refuse("it does not listen"))?;
                match unit.rsplit('-').next() {
                    Some("tls") => bound.tls.push(listener),
                    Some("tcp") => bound.tcp.push(listener),
                    _ => return Err(refuse("a network socket's unit is named …-tls.socket or …-tcp.socket")),
                }
            }
            _ => return Err(refuse("neither UNIX nor TCP")),
        }
    }
    Ok(bound)
}

fn family(socket: &OwnedFd) -> Option<AddressFamily> {
    rustix::net::sockopt::socket_domain(socket).ok()
}

/// By the socket's name in the file system, else by its unit's.
fn purpose(path: &Path, unit: &str) -> Option<Purpose> {
    let by = |name: &str, admin: &str, read_only: &str, read_write: bool| {
        if name.ends_with(admin) {
            Some(Purpose::Admin)
        } else if name.ends_with(read_only) {
            Some(Purpose::ReadOnly)
        } else {
            read_write.then_some(Purpose::ReadWrite)
        }
    };
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    by(file, "-admin-sock", "-sock-ro", file.ends_with("-sock")).or_else(|| {
        let known = unit == "lodge" || unit == "libvirtd" || DAEMONS.contains(&unit);
        by(unit, "-admin", "-ro", known)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handed_socket_tells_its_purpose_by_path_or_unit() {
        for (path, unit, expected) in [
            ("/run/libvirt/libvirt-sock", "lodge", Some(Purpose::ReadWrite)),
            ("/run/libvirt/libvirt-sock-ro", "x", Some(Purpose::ReadOnly)),
            ("/run/libvirt/virtqemud-admin-sock", "x", Some(Purpose::Admin)),
            ("/somewhere", "libvirtd", Some(Purpose::ReadWrite)),
            ("/somewhere", "virtqemud-ro", Some(Purpose::ReadOnly)),
            ("/somewhere", "libvirtd-admin", Some(Purpose::Admin)),
            ("/somewhere", "cups", None),
        ] {
            assert_eq!(purpose(Path::new(path), unit), expected, "{path} {unit}");
        }
    }
}
