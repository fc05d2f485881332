//! netd: one network's DHCP and DNS, in a process of its own that has no privileges.
//!
//! ```text
//!   daemon: opens sockets and files ──▶ netd: reads its Setup ──▶ sandbox closes ──▶ serves
//!                                         (root, one thread)       (own uid, empty root, few calls)
//! ```
//!
//! It parses what guests send, so it is given everything it needs as descriptors and drops all else. It is
//! not the daemon's to lose: it serves while the daemon is down, and the next daemon finds it by its
//! control socket. It ends on SIGTERM or SIGKILL; whatever it promised is in the journal by then.
//!
//! In order of reading: `setup` (what it is told), `table` and `dhcp` (leases, pure), `names` and `dns` (names,
//! pure), `journal`, `book` (all of it together), `serve` and `control` (sockets).

mod book;
mod control;
pub(crate) mod dhcp;
pub(crate) mod dns;
pub(crate) mod journal;
mod names;
mod serve;
pub(crate) mod setup;
mod table;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::process::ExitCode;

use lodge_sys::sandbox::{self, Profile, Sandbox};
use tracing_subscriber::EnvFilter;

pub use names::valid_name;
use serve::{DhcpEquipment, DnsEquipment, Equipment};
use setup::Setup;

/// Longest setup read.
const SETUP_MAX_BYTES: u64 = 16 << 20;
/// Enough for every client, connection and query the limits admit.
const DESCRIPTORS_MAX: u64 = 2_048;
/// A journal of a full /12 is smaller.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Address space, not memory: threads' stacks and arenas are reserved, hardly used.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Why netd does not serve.
#[derive(Debug, thiserror::Error)]
enum NetdError {
    #[error("usage: netd --config-fd NUMBER | --config FILE")]
    Usage,
    #[error("cannot read the setup")]
    ReadSetup(#[source] io::Error),
    #[error("the setup is no good")]
    ParseSetup(#[source] serde_json::Error),
    #[error("descriptor {number} was not handed over")]
    Descriptor { number: RawFd, source: io::Error },
    #[error("cannot give up privileges")]
    Sandbox(#[source] sandbox::SandboxError),
    #[error("cannot serve")]
    Serve(#[source] io::Error),
}

/// Runs netd; `args` are those after the word `netd`. To be called before any other thread exists.
pub fn run<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> ExitCode {
    // Standard error is netd's log. Where the program has set up its own logging, that stays.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(io::stderr).try_init();
    let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            tracing::error!(error = %text, "netd ends");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &[String]) -> Result<(), NetdError> {
    let setup = read_setup(args)?;
    let confine = Sandbox {
        root: setup.sandbox.root.clone(),
        id: setup.sandbox.id,
        descriptors_max: DESCRIPTORS_MAX,
        file_bytes_max: FILE_BYTES_MAX,
        memory_bytes_max: MEMORY_BYTES_MAX,
        profile: Profile::Server,
    };
    let equipment = equip(setup)?;
    sandbox::enter(&confine).map_err(NetdError::Sandbox)?;
    serve::serve(equipment).map_err(NetdError::Serve)
}

fn read_setup(args: &[String]) -> Result<Setup, NetdError> {
    let mut options = args.iter();
    let mut source = None;
    while let Some(option) = options.next() {
        let value = options.next().ok_or(NetdError::Usage)?;
        match option.as_str() {
            "--config-fd" => source = Some(File::from(take(value.parse().map_err(|_| NetdError::Usage)?)?)),
            "--config" => source = Some(File::open(value).map_err(NetdError::ReadSetup)?),
            // For people who read the process list.
            "--network" => {}
            _ => return Err(NetdError::Usage),
        }
    }
    let mut text = Vec::new();
    let source = source.ok_or(NetdError::Usage)?;
    source.take(SETUP_MAX_BYTES).read_to_end(&mut text).map_err(NetdError::ReadSetup)?;
    serde_json::from_slice(&text).map_err(NetdError::ParseSetup)
}

fn equip(setup: Setup) -> Result<Equipment, NetdError> {
    let [first, second] = setup.journal_fds;
    let dhcp = match setup.dhcp {
        Some(dhcp) => {
            let (receive, send) = (take(dhcp.receive_fd)?.into(), take(dhcp.send_fd)?);
            Some(DhcpEquipment { receive, send, ifindex: dhcp.ifindex, scope: dhcp.scope })
        }
        None => None,
    };
    let dns = match setup.dns {
        Some(dns) => {
            let udp =
                dns.udp_fds.into_iter().map(|fd| Ok(take(fd)?.into())).collect::<Result<_, NetdError>>()?;
            let tcp =
                dns.tcp_fds.into_iter().map(|fd| Ok(take(fd)?.into())).collect::<Result<_, NetdError>>()?;
            Some(DnsEquipment { udp, tcp, rules: dns.rules })
        }
        None => None,
    };
    let control = take(setup.control_fd)?.into();
    Ok(Equipment { control, journal: [take(first)?.into(), take(second)?.into()], dhcp, dns })
}

fn take(number: RawFd) -> Result<OwnedFd, NetdError> {
    sandbox::inherited(number).map_err(|source| NetdError::Descriptor { number, source })
}
