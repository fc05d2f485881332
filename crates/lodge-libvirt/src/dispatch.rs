//! From a message's header to the function that does it.
//!
//! [`procedures!`] makes of a table one `match`: the arguments are decoded, the rules that hold for every call are
//! applied in libvirtd's order (known? logged in? decodable? open? may it write?), the function is called, its reply
//! encoded. Deliberately absent: when and where the call runs (`connection.rs`).

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

use lodge_wire::Facts;
use lodge_wire::packet::{self, Header, Kind, Status};
use lodge_wire::xdr::{Xdr, XdrError};

use crate::call::Call;
use crate::fault::{Fault, Origin};
use crate::frame::Payload;
use crate::outbox::Frame;
use crate::server::Server;
use crate::session::Session;
use crate::{admin, qemu, remote};

/// A call that is ready to run. It ends with its reply.
pub(crate) type Work = Pin<Box<dyn Future<Output = Frame> + Send>>;

/// One line of the table of what is served, for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// What is known of it.
    pub facts: &'static Facts,
    /// The function, as the table has it.
    pub function: &'static str,
    /// The test that shows that it works.
    pub test: &'static str,
}

/// A message that asks for something, taken apart.
pub(crate) struct Request<'a> {
    pub header: Header,
    /// The status as it came, even one that does not exist.
    pub status: i32,
    pub payload: Payload<'a>,
    pub fds: Vec<OwnedFd>,
}

/// What is to be done for a call; a refusal is said at once.
pub(crate) fn prepare(
    server: &Arc<Server>,
    session: &Arc<Session>,
    request: Request<'_>,
) -> Result<(Work, &'static Facts), Fault> {
    let header = request.header;
    if request.status != Status::Ok as i32 {
        return Err(Fault::rpc(format!("Unexpected message status {}", request.status)));
    }
    match (session.door().admin, header.program, header.version) {
        (false, lodge_wire::remote::PROGRAM, lodge_wire::remote::VERSION) => {
            remote::prepare(server, session, request)
        }
        (false, lodge_wire::qemu::PROGRAM, lodge_wire::qemu::VERSION) => {
            qemu::prepare(server, session, request)
        }
        (true, lodge_wire::admin::PROGRAM, lodge_wire::admin::VERSION) => {
            admin::prepare(server, session, request)
        }
        // Containers are not served; that there could be such a call is known.
        (false, lodge_wire::lxc::PROGRAM, lodge_wire::lxc::VERSION) => {
            Err(Fault::rpc(format!("unknown procedure: {}", header.procedure)))
        }
        (_, program, version) => Err(Fault::rpc(format!("Cannot find program {program} version {version}"))),
    }
}

/// Everything that is served, in the order of the tables.
pub fn served() -> impl Iterator<Item = &'static Served> {
    remote::SERVED.iter().chain(qemu::SERVED).chain(admin::SERVED)
}

/// The rules for every call that stand before its arguments.
pub(crate) fn admit(session: &Session, facts: &Facts) -> Result<(), Fault> {
    if !facts.before_login && !session.is_authenticated() {
        return Err(Fault::rpc("authentication required"));
    }
    Ok(())
}

/// The rules for every call that stand behind its arguments.
pub(crate) fn admit_open<C: lodge_wire::Call>(call: &Call, arguments: &C::Args) -> Result<(), Fault> {
    if !C::FACTS.before_login && !opens(C::FACTS) && !call.session().is_open() {
        return Err(Fault::internal(Origin::Rpc, not_open(C::FACTS)));
    }
    if call.session().is_read_only() && !only_looks::<C>(arguments) {
        return Err(call.refuse_write());
    }
    Ok(())
}

/// Whether a call may be made where nothing may be changed. The rule is that of the permissions; a few of libvirt's
/// functions check otherwise.
fn only_looks<C: lodge_wire::Call>(arguments: &C::Args) -> bool {
    match C::FACTS.name {
        "DOMAIN_MIGRATE_GET_COMPRESSION_CACHE"
        | "DOMAIN_MIGRATE_GET_MAX_DOWNTIME"
        | "CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER" => true,
        "DOMAIN_SET_SCHEDULER_PARAMETERS" | "DOMAIN_GET_LAUNCH_SECURITY_INFO" | "NODE_GET_SEV_INFO" => false,
        _ => C::only_looks(arguments),
    }
}

/// Calls that need no open connection.
fn opens(facts: &Facts) -> bool {
    matches!(facts.name, "CONNECT_OPEN" | "CONNECT_CLOSE" | "CONNECT_SUPPORTS_FEATURE")
}

/// libvirtd's words, by the driver that would have done it.
fn not_open(facts: &Facts) -> &'static str {
    let others = ["NETWORK", "STORAGE", "NODE_DEVICE", "SECRET", "NWFILTER", "INTERFACE"];
    let of_hypervisor =
        ["NODE_DEVICE_DETTACH", "NODE_DEVICE_RE_ATTACH", "NODE_DEVICE_RESET", "NODE_DEVICE_DETACH_FLAGS"];
    let other = |object: &str| {
        facts.name.starts_with(object) || facts.name.starts_with("CONNECT_") && facts.name.contains(object)
    };
    let of_devices = matches!(facts.name, "NODE_NUM_OF_DEVICES" | "NODE_LIST_DEVICES");
    if (others.into_iter().any(other) || of_devices) && !of_hypervisor.contains(&facts.name) {
        "connection not open"
    } else {
        "hypervisor connection not open"
    }
}

pub(crate) fn decode<T: Xdr>(payload: &[u8]) -> Result<T, Fault> {
    lodge_wire::xdr::from_bytes(payload).map_err(|error: XdrError| {
        tracing::debug!(%error, "arguments not readable");
        Fault::rpc("Unable to decode message payload")
    })
}

/// The reply of a call as a message.
pub(crate) fn reply<T: Xdr>(call: &Call, outcome: Result<T, Fault>) -> Frame {
    let (fds, mut after) = call.take_reply_baggage();
    let outcome = outcome.and_then(|value| {
        if let Some(flow) = call.begin_stream()? {
            after = Some(flow);
        }
        Ok(value)
    });
    let (kind, count) = match u32::try_from(fds.len()) {
        Ok(count) if count > 0 => (Kind::ReplyWithFds, Some(count)),
        _ => (Kind::Reply, None),
    };
    let encoded = outcome.and_then(|value| {
        let header = call.reply_header(kind, Status::Ok);
        packet::message_with_fds(&header, count, &value).map_err(|error| {
            tracing::error!(procedure = call.facts().name, %error, "reply does not fit the protocol");
            Fault::rpc("Unable to encode message payload")
        })
    });
    match encoded {
        Ok(bytes) => Frame { bytes, fds, after, ..Frame::default() },
        Err(fault) => {
            tracing::debug!(procedure = call.facts().name, %fault, "call failed");
            refusal(&call.reply_header(Kind::Reply, Status::Error), &fault)
        }
    }
}

/// A refusal as the reply to the message with this header.
pub(crate) fn refusal(header: &Header, fault: &Fault) -> Frame {
    let header = Header { kind: Kind::Reply, status: Status::Error, ..*header };
    // Where a text is too long for the wire, the number is what counts.
    let short = || packet::message(&header, &Fault::new(fault.code(), fault.origin(), "").body());
    let bytes = packet::message(&header, &fault.body()).or_else(|_| short());
    Frame::plain(bytes.expect("an empty text fits"))
}

/// The table of a program: `Procedure => function, "test";`. The function takes `&Call` and the arguments.
macro_rules! procedures {
    ($program:ident; $($name:ident => $($function:ident)::+, $test:literal;)*) => {
        /// What of this program is served.
        pub(crate) static SERVED: &[$crate::dispatch::Served] = &[$(
            $crate::dispatch::Served {
                facts: <lodge_wire::$program::call::$name as lodge_wire::Call>::FACTS,
                function: concat!($("::", stringify!($function)),+),
                test: $test,
            },
        )*];

        pub(crate) fn prepare(
            server: &std::sync::Arc<$crate::server::Server>,
            session: &std::sync::Arc<$crate::session::Session>,
            request: $crate::dispatch::Request<'_>,
        ) -> Result<($crate::dispatch::Work, &'static lodge_wire::Facts), $crate::fault::Fault> {
            use lodge_wire::$program::{Procedure, call};
            let number = request.header.procedure;
            match Procedure::from_number(number) {
                $(Some(Procedure::$name) => {
                    type Of = call::$name;
                    let facts = <Of as lodge_wire::Call>::FACTS;
                    $crate::dispatch::admit(session, facts)?;
                    let arguments: <Of as lodge_wire::Call>::Args = $crate::dispatch::decode(&request.payload)?;
                    let call = $crate::call::Call::new(server, session, request.header, facts, request.fds);
                    $crate::dispatch::admit_open::<Of>(&call, &arguments)?;
                    let work = async move {
                        let outcome: Result<<Of as lodge_wire::Call>::Ret, $crate::fault::Fault> =
                            $($function)::+(&call, arguments).await;
                        $crate::dispatch::reply(&call, outcome)
                    };
                    Ok((Box::pin(work), facts))
                })*
                _ => Err($crate::fault::Fault::rpc(format!("unknown procedure: {number}"))),
            }
        }
    };
}
pub(crate) use procedures;
