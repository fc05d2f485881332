//! Who is connected.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use lodge_wire::admin::{
    Client, ClientCloseArgs, ClientGetInfoArgs, ClientGetInfoRet, ServerListClientsArgs,
    ServerListClientsRet, ServerLookupClientArgs, ServerLookupClientRet, TypedParam, TypedParamValue,
};

use super::server::Which;
use crate::call::Call;
use crate::door::{self, Peer};
use crate::fault::{Code, Fault, Origin};
use crate::session::Session;

/// `VIR_CLIENT_TRANS_…`
const UNIX: u32 = 0;
const TCP: u32 = 1;
const TLS: u32 = 2;

pub(crate) async fn list(call: &Call, args: ServerListClientsArgs) -> Result<ServerListClientsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let which = Which::named(&args.srv)?;
    let clients: Vec<_> = which.sessions(call).iter().map(|session| on_wire(which, session)).collect();
    let ret = u32::try_from(clients.len()).unwrap_or(u32::MAX);
    Ok(ServerListClientsRet { clients: if args.need_results == 0 { Vec::new() } else { clients }, ret })
}

pub(crate) async fn lookup(
    call: &Call,
    args: ServerLookupClientArgs,
) -> Result<ServerLookupClientRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let which = Which::named(&args.srv)?;
    let session = find(call, which, args.id)?;
    Ok(ServerLookupClientRet { clnt: on_wire(which, &session) })
}

pub(crate) async fn get_info(call: &Call, args: ClientGetInfoArgs) -> Result<ClientGetInfoRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let session = find(call, Which::named(&args.clnt.srv)?, args.clnt.id)?;
    let mut params = vec![flag("readonly", session.is_read_only())];
    match &session.door().peer {
        Peer::Local { uid, gid, pid, .. } => {
            params.push(int("unix_user_id", uid.cast_signed()));
            params.push(text("unix_user_name", door::user_name(*uid).unwrap_or_else(|| uid.to_string())));
            params.push(int("unix_group_id", gid.cast_signed()));
            params.push(text("unix_group_name", door::group_name(*gid).unwrap_or_else(|| gid.to_string())));
            params.extend(pid.map(|pid| int("unix_process_id", pid)));
        }
        Peer::Remote { address, tls } => {
            params.push(text("sock_addr", address.clone()));
            params.extend(tls.clone().flatten().map(|name| text("tls_x509_dname", name)));
        }
    }
    params.extend(session.sasl_user().map(|user| text("sasl_user_name", user)));
    Ok(ClientGetInfoRet { params })
}

pub(crate) async fn close(call: &Call, args: ClientCloseArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let session = find(call, Which::named(&args.clnt.srv)?, args.clnt.id)?;
    tracing::info!(session = session.id(), "client disconnected by an administrator");
    if session.id() == call.session().id() {
        call.after_reply(move || session.disconnect());
    } else {
        session.disconnect();
    }
    Ok(())
}

fn find(call: &Call, which: Which, id: u64) -> Result<Arc<Session>, Fault> {
    let session = which.sessions(call).into_iter().find(|session| session.id() == id);
    session
        .ok_or_else(|| Fault::new(Code::NoClient, Origin::Rpc, format!("No client with matching ID '{id}'")))
}

fn on_wire(which: Which, session: &Session) -> Client {
    let since = session.connected().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let transport = match &session.door().peer {
        Peer::Local { .. } => UNIX,
        Peer::Remote { tls: None, .. } => TCP,
        Peer::Remote { tls: Some(_), .. } => TLS,
    };
    Client {
        srv: which.on_wire(),
        id: session.id(),
        timestamp: i64::try_from(since).unwrap_or(i64::MAX),
        transport,
    }
}

fn flag(field: &str, value: bool) -> TypedParam {
    TypedParam { field: field.into(), value: TypedParamValue::Boolean(i32::from(value)) }
}

fn int(field: &str, value: i32) -> TypedParam {
    TypedParam { field: field.into(), value: TypedParamValue::Int(value) }
}

fn text(field: &str, value: String) -> TypedParam {
    TypedParam { field: field.into(), value: TypedParamValue::String(value.into()) }
}
