//! The two servers: their clients' limits, their certificates, the threads that work for them.

use std::sync::Arc;

use lodge_wire::admin::{
    ConnectListServersArgs, ConnectListServersRet, ConnectLookupServerArgs, ConnectLookupServerRet, Server,
    ServerGetClientLimitsArgs, ServerGetClientLimitsRet, ServerGetThreadpoolParametersArgs,
    ServerGetThreadpoolParametersRet, ServerSetClientLimitsArgs, ServerSetThreadpoolParametersArgs,
    ServerUpdateTlsFilesArgs, TypedParam, TypedParamValue,
};

use super::invalid;
use crate::call::Call;
use crate::door::{Gate, Lobby};
use crate::fault::{Code, Fault, Origin};
use crate::session::Session;

const CLIENTS_MAX: &str = "nclients_max";
const UNAUTH_MAX: &str = "nclients_unauth_max";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The hypervisor's.
    Main,
    /// This one.
    Admin,
}

impl Which {
    const ALL: [Self; 2] = [Self::Main, Self::Admin];

    /// libvirtd's names, which people type.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Main => "libvirtd",
            Self::Admin => "admin",
        }
    }

    pub(super) fn named(server: &Server) -> Result<Self, Fault> {
        let name = server.name.to_string();
        Self::ALL
            .into_iter()
            .find(|which| which.name() == name)
            .ok_or_else(|| Fault::new(Code::NoServer, Origin::Rpc, format!("No server named '{name}'")))
    }

    pub(super) fn on_wire(self) -> Server {
        Server { name: self.name().into() }
    }

    /// Its clients, the oldest first.
    pub(super) fn sessions(self, call: &Call) -> Vec<Arc<Session>> {
        let mut sessions = call.server().sessions();
        sessions.retain(|session| session.door().admin == (self == Self::Admin));
        sessions
    }

    fn gate(self, lobby: &Lobby) -> &Gate {
        match self {
            Self::Main => &lobby.gate,
            Self::Admin => &lobby.admin_gate,
        }
    }
}

pub(crate) async fn list(call: &Call, args: ConnectListServersArgs) -> Result<ConnectListServersRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let servers = if args.need_results == 0 { Vec::new() } else { Which::ALL.map(Which::on_wire).to_vec() };
    Ok(ConnectListServersRet { servers, ret: 2 })
}

pub(crate) async fn lookup(
    call: &Call,
    args: ConnectLookupServerArgs,
) -> Result<ConnectLookupServerRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let which = Which::named(&Server { name: args.name })?;
    Ok(ConnectLookupServerRet { srv: which.on_wire() })
}

/// Calls are tasks on the runtime's threads, which both servers share: those are what is told.
pub(crate) async fn get_threadpool(
    call: &Call,
    args: ServerGetThreadpoolParametersArgs,
) -> Result<ServerGetThreadpoolParametersRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Which::named(&args.srv)?;
    let metrics = tokio::runtime::Handle::current().metrics();
    let workers = count(metrics.num_workers());
    let params = vec![
        uint("minWorkers", workers),
        uint("maxWorkers", workers),
        uint("nWorkers", workers),
        // This very call is at work.
        uint("freeWorkers", workers.saturating_sub(1)),
        uint("prioWorkers", 0),
        uint("jobQueueDepth", count(metrics.global_queue_depth())),
    ];
    Ok(ServerGetThreadpoolParametersRet { params })
}

pub(crate) async fn set_threadpool(
    call: &Call,
    args: ServerSetThreadpoolParametersArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    Which::named(&args.srv)?;
    let text = "calls are tasks here, there is no pool of workers to size";
    Err(Fault::new(Code::NoSupport, Origin::Rpc, text))
}

pub(crate) async fn get_limits(
    call: &Call,
    args: ServerGetClientLimitsArgs,
) -> Result<ServerGetClientLimitsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let crowd = Which::named(&args.srv)?.gate(lobby(call)?).crowd();
    let params = vec![
        uint(CLIENTS_MAX, count(crowd.clients_max)),
        uint("nclients", count(crowd.clients)),
        uint(UNAUTH_MAX, count(crowd.strangers_max)),
        uint("nclients_unauth", count(crowd.strangers)),
    ];
    Ok(ServerGetClientLimitsRet { params })
}

pub(crate) async fn set_limits(call: &Call, args: ServerSetClientLimitsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let gate = Which::named(&args.srv)?.gate(lobby(call)?);
    let crowd = gate.crowd();
    let (mut clients, mut strangers) = (crowd.clients_max, crowd.strangers_max);
    for TypedParam { field, value } in args.params {
        let field = field.to_string();
        let limit = match (field.as_str(), value) {
            (CLIENTS_MAX, TypedParamValue::Uint(limit)) => (&mut clients, limit),
            (UNAUTH_MAX, TypedParamValue::Uint(limit)) => (&mut strangers, limit),
            (CLIENTS_MAX | UNAUTH_MAX, _) => {
                return Err(invalid(format!("invalid type for parameter '{field}', expected 'uint'")));
            }
            _ => {
                return Err(Fault::new(
                    Code::ArgumentUnsupported,
                    Origin::Rpc,
                    format!("parameter '{field}' not supported"),
                ));
            }
        };
        *limit.0 = usize::try_from(limit.1).unwrap_or(usize::MAX);
    }
    if clients == 0 {
        return Err(invalid("the maximum number of clients must be at least 1: nobody could come in"));
    }
    if strangers > clients {
        return Err(invalid(
            "The overall maximum number of clients must be greater than the maximum number of clients waiting for authentication",
        ));
    }
    gate.set_limits(clients, strangers);
    Ok(())
}

pub(crate) async fn update_tls_files(call: &Call, args: ServerUpdateTlsFilesArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let which = Which::named(&args.srv)?;
    let tls = lobby(call)?.tls.clone().filter(|_| which == Which::Main);
    let tls =
        tls.ok_or_else(|| Fault::internal(Origin::Rpc, "no tls service found, unable to update tls files"))?;
    let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
    match reloaded {
        Ok(Ok(())) => {
            tracing::info!("certificates read anew");
            Ok(())
        }
        Ok(Err(error)) => Err(Fault::new(Code::SystemError, Origin::Rpc, whole(&error))),
        Err(_) => Err(Fault::internal(Origin::Rpc, "reading the certificates broke off")),
    }
}

fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn lobby(call: &Call) -> Result<&Lobby, Fault> {
    let lobby = call.session().door().lobby.as_deref();
    lobby.ok_or_else(|| Fault::internal(Origin::Rpc, "this door has no daemon behind it"))
}

fn uint(field: &str, value: u32) -> TypedParam {
    TypedParam { field: field.into(), value: TypedParamValue::Uint(value) }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
