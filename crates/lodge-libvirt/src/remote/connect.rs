//! The connection itself: opening, what it is, what it can, closing.

use lodge_wire::remote::{
    ConnectGetHostnameRet, ConnectGetLibVersionRet, ConnectGetTypeRet, ConnectGetUriRet,
    ConnectGetVersionRet, ConnectIsSecureRet, ConnectOpenArgs, ConnectSupportsFeatureArgs,
    ConnectSupportsFeatureRet,
};

use crate::call::Call;
use crate::door::Peer;
use crate::fault::{Code, Fault, Origin};
use crate::session::Opened;

/// `VIR_CONNECT_RO`
const READ_ONLY: u32 = 1;
/// What a URI can ask for here; one connection serves all of them.
const DRIVERS: &[&str] = &["qemu", "network", "storage", "nodedev", "secret", "nwfilter", "interface"];
/// The libvirt whose behaviour we have: 11.3.0.
const LIBVIRT_VERSION: u64 = 11_003_000;

pub(crate) async fn open(call: &Call, args: ConnectOpenArgs) -> Result<(), Fault> {
    if call.session().is_open() {
        return Err(Fault::internal(Origin::Rpc, "connection already open"));
    }
    let name = args.name.as_ref().map(|name| name.to_string_lossy().into_owned());
    let uri = judge_uri(name.as_deref(), call.engine().is_session())?;
    call.session().open(Opened { uri, read_only: args.flags & READ_ONLY != 0 })
}

/// The URI as GET_URI tells it. The daemon serves one host: what is asked for must be a driver of that host.
/// Which flags come with it libvirtd does not judge, either.
fn judge_uri(name: Option<&str>, session: bool) -> Result<String, Fault> {
    let own = if session { "qemu:///session" } else { "qemu:///system" };
    let Some(name) = name else { return Err(Fault::internal(Origin::Rpc, "connection not open")) };
    if name.is_empty() {
        return Ok(own.to_owned());
    }
    let unserved = |text: String| Fault::new(Code::NoConnect, Origin::None, text);
    let (scheme, rest) = name
        .split_once(':')
        .ok_or_else(|| unserved(format!("URI '{name}' does not include a driver name")))?;
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(Fault::internal(Origin::Uri, format!("Unable to parse URI {name}")));
    }
    let (host, path) = rest
        .strip_prefix("//")
        .map_or(("", rest), |rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if !DRIVERS.contains(&scheme) || !host.is_empty() {
        return Err(unserved(name.to_owned()));
    }
    if !matches!(path, "/system" | "/session") {
        let text = format!("unexpected {scheme} URI path '{path}', try {scheme}:///system");
        return Err(Fault::internal(Origin::None, text));
    }
    Ok(name.to_owned())
}

pub(crate) async fn close(call: &Call, (): ()) -> Result<(), Fault> {
    let session = std::sync::Arc::clone(call.session());
    call.after_reply(move || session.disconnect());
    Ok(())
}

pub(crate) async fn get_type(_: &Call, (): ()) -> Result<ConnectGetTypeRet, Fault> {
    Ok(ConnectGetTypeRet { r#type: "QEMU".into() })
}

pub(crate) async fn get_version(call: &Call, (): ()) -> Result<ConnectGetVersionRet, Fault> {
    Ok(ConnectGetVersionRet { hv_ver: call.engine().qemu_version_number() })
}

pub(crate) async fn get_lib_version(_: &Call, (): ()) -> Result<ConnectGetLibVersionRet, Fault> {
    Ok(ConnectGetLibVersionRet { lib_ver: LIBVIRT_VERSION })
}

pub(crate) async fn get_hostname(call: &Call, (): ()) -> Result<ConnectGetHostnameRet, Fault> {
    Ok(ConnectGetHostnameRet { hostname: call.engine().hostname().into() })
}

pub(crate) async fn get_uri(call: &Call, (): ()) -> Result<ConnectGetUriRet, Fault> {
    let opened = call.session().opened();
    let opened = opened.ok_or_else(|| Fault::internal(Origin::Rpc, "hypervisor connection not open"))?;
    Ok(ConnectGetUriRet { uri: opened.uri.into() })
}

/// Secure is what does not leave the host unencrypted.
pub(crate) async fn is_secure(call: &Call, (): ()) -> Result<ConnectIsSecureRet, Fault> {
    Ok(ConnectIsSecureRet {
        secure: i32::from(!matches!(call.session().door().peer, Peer::Remote { tls: None, .. })),
    })
}

pub(crate) async fn supports_feature(
    call: &Call,
    args: ConnectSupportsFeatureArgs,
) -> Result<ConnectSupportsFeatureRet, Fault> {
    // VIR_DRV_FEATURE_*. The keepalive alone is asked for before the connection is opened.
    const KEEPALIVE: i32 = 10;
    const REMOTE_EVENT_CALLBACK: i32 = 14;
    if args.feature == KEEPALIVE {
        call.session().set_keepalive();
        return Ok(ConnectSupportsFeatureRet { supported: 1 });
    }
    if !call.session().is_open() {
        return Err(Fault::internal(Origin::Rpc, "hypervisor connection not open"));
    }
    if args.feature == REMOTE_EVENT_CALLBACK {
        // Who knows of it is of 2014 or later, and takes messages of 16 MiB since 2012.
        call.session().streams().take_long_packets();
    }
    // Descriptors, strings in typed parameters, portable documents, events by callback, the close callback, the
    // order of a network update's arguments.
    let supported = matches!(args.feature, 8 | 9 | 11 | 14 | 15 | 16);
    Ok(ConnectSupportsFeatureRet { supported: i32::from(supported) })
}

/// The client wants to be told when the daemon loses its hypervisor. Ours is never elsewhere, so there is nothing to
/// tell and nothing to remember; libvirtd, too, says yes to either in any order.
pub(crate) async fn register_close_callback(_: &Call, (): ()) -> Result<(), Fault> {
    Ok(())
}

pub(crate) async fn unregister_close_callback(_: &Call, (): ()) -> Result<(), Fault> {
    Ok(())
}
