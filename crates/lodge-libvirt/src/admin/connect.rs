//! The connection to the daemon, its log and its life.

use std::time::Duration;

use lodge_wire::admin::{
    ConnectDaemonShutdownArgs, ConnectGetLibVersionRet, ConnectGetLoggingFiltersArgs,
    ConnectGetLoggingFiltersRet, ConnectGetLoggingOutputsArgs, ConnectGetLoggingOutputsRet, ConnectOpenArgs,
    ConnectSetDaemonTimeoutArgs, ConnectSetLoggingFiltersArgs, ConnectSetLoggingOutputsArgs,
};

use super::{Controls, invalid};
use crate::call::Call;
use crate::fault::{Fault, Origin};
use crate::session::Opened;

/// `VIR_DAEMON_SHUTDOWN_PRESERVE`: guests are to be kept, which they always are here.
const PRESERVE: u32 = 1;
/// The libvirt whose protocol this is: 11.3.0.
const LIBVIRT_VERSION: u64 = 11_003_000;

pub(crate) async fn open(call: &Call, args: ConnectOpenArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    call.session().open(Opened { uri: "libvirtd:///system".to_owned(), read_only: false })
}

pub(crate) async fn close(call: &Call, (): ()) -> Result<(), Fault> {
    let session = std::sync::Arc::clone(call.session());
    call.after_reply(move || session.disconnect());
    Ok(())
}

pub(crate) async fn get_lib_version(_: &Call, (): ()) -> Result<ConnectGetLibVersionRet, Fault> {
    Ok(ConnectGetLibVersionRet { lib_ver: LIBVIRT_VERSION })
}

pub(crate) async fn get_logging_outputs(
    call: &Call,
    args: ConnectGetLoggingOutputsArgs,
) -> Result<ConnectGetLoggingOutputsRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let outputs = controls(call)?.log_outputs();
    Ok(ConnectGetLoggingOutputsRet { noutputs: words(&outputs), outputs: outputs.into() })
}

pub(crate) async fn get_logging_filters(
    call: &Call,
    args: ConnectGetLoggingFiltersArgs,
) -> Result<ConnectGetLoggingFiltersRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let filters = controls(call)?.log_filters();
    let nfilters = words(&filters);
    Ok(ConnectGetLoggingFiltersRet { filters: (nfilters > 0).then(|| filters.into()), nfilters })
}

pub(crate) async fn set_logging_outputs(
    call: &Call,
    args: ConnectSetLoggingOutputsArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let outputs = args.outputs.map(|text| text.to_string()).unwrap_or_default();
    controls(call)?.set_log_outputs(&outputs).map_err(invalid)
}

pub(crate) async fn set_logging_filters(
    call: &Call,
    args: ConnectSetLoggingFiltersArgs,
) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let filters = args.filters.map(|text| text.to_string()).unwrap_or_default();
    controls(call)?.set_log_filters(&filters).map_err(invalid)
}

pub(crate) async fn set_daemon_timeout(call: &Call, args: ConnectSetDaemonTimeoutArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let timeout = (args.timeout > 0).then(|| Duration::from_secs(args.timeout.into()));
    controls(call)?.set_timeout(timeout);
    Ok(())
}

pub(crate) async fn daemon_shutdown(call: &Call, args: ConnectDaemonShutdownArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, PRESERVE)?;
    let lobby = call.session().door().lobby.clone();
    let lobby = lobby.ok_or_else(|| Fault::internal(Origin::Rpc, "this door has no daemon behind it"))?;
    // Only then does the client know that it was heard.
    call.after_reply(move || lobby.controls.shut_down());
    Ok(())
}

fn controls(call: &Call) -> Result<&dyn Controls, Fault> {
    let lobby = call.session().door().lobby.as_ref();
    let lobby = lobby.ok_or_else(|| Fault::internal(Origin::Rpc, "this door has no daemon behind it"))?;
    Ok(&*lobby.controls)
}

fn words(text: &str) -> u32 {
    u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX)
}
