//! Registering for QEMU's own events.

use lodge_wire::qemu::{
    ConnectDomainMonitorEventDeregisterArgs, ConnectDomainMonitorEventRegisterArgs,
    ConnectDomainMonitorEventRegisterRet,
};

use crate::call::Call;
use crate::event::monitor::Names;
use crate::event::{Class, Only, Subject};
use crate::fault::{Fault, Origin};

/// `VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX`
const REGEX: u32 = 1;
/// `VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE`
const NO_CASE: u32 = 2;

pub(crate) async fn register(
    call: &Call,
    args: ConnectDomainMonitorEventRegisterArgs,
) -> Result<ConnectDomainMonitorEventRegisterRet, Fault> {
    call.only_flags(args.flags, REGEX | NO_CASE)?;
    let any_case = args.flags & NO_CASE != 0;
    let monitor = match args.event {
        None => None,
        Some(pattern) if args.flags & REGEX != 0 => Some(Names::matching(&pattern, any_case)?),
        Some(name) if any_case => Some(Names::AnyCase(name)),
        Some(name) => Some(Names::Exactly(name)),
    };
    let only = Only { subject: args.dom.map(|dom| Subject::Uuid(dom.uuid)), monitor };
    let callback_id = call.server().hub().register(call.session(), Class::Monitor, 0, only)?;
    Ok(ConnectDomainMonitorEventRegisterRet { callback_id })
}

pub(crate) async fn deregister(
    call: &Call,
    args: ConnectDomainMonitorEventDeregisterArgs,
) -> Result<(), Fault> {
    let known = call.server().hub().deregister(call.session(), Class::Monitor, args.callback_id);
    known.then_some(()).ok_or_else(|| {
        let text = format!("qemu monitor event callback {} not registered", args.callback_id);
        Fault::internal(Origin::Rpc, text)
    })
}
