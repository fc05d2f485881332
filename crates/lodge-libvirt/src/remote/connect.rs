//! The connection itself: opening, what it is, what it can, closing.

use lodge_wire::remote::{
    AuthListRet, ConnectGetHostnameRet, ConnectGetLibVersionRet, ConnectGetTypeRet, ConnectGetUriRet,
    ConnectGetVersionRet, ConnectIsSecureRet, ConnectOpenArgs, ConnectSupportsFeatureArgs,
    ConnectSupportsFeatureRet,
};

use crate::call::Call;
use crate::door::Peer;
use crate::fault::{Code, Fault, Origin};
use crate::session::Opened;

/// `VIR_CONNECT_RO`
const READ_ONLY: u32 = 1;
/// `VIR_CONNECT_NO_ALIASES`: the client's own matter.
const NO_ALIASES: u32 = 2;
/// The libvirt whose behaviour we have: 11.3.0.
const LIBVIRT_VERSION: u64 = 11_003_000;

pub(crate) async fn open(call: &Call, args: ConnectOpenArgs) -> Result<(), Fault> {
    if args.flags & !(READ_ONLY | NO_ALIASES) != 0 {
        let unknown = args.flags & !(READ_ONLY | NO_ALIASES);
        let text = format!("unsupported flags (0x{unknown:x}) in function virConnectOpenInternal");
        return Err(Fault::new(Code::InvalidArg, Origin::None, text));
    }
    let name = args.name.as_ref().map(|name| name.to_string_lossy().into_owned());
    let uri = judge_uri(name.as_deref(), call.engine().is_session())?;
    call.session().open(Opened { uri, read_only: args.flags & READ_ONLY != 0 })
}

/// The URI as GET_URI tells it. The daemon serves one host: what is asked for must be that host's driver.
fn judge_uri(name: Option<&str>, session: bool) -> Result<String, Fault> {
    let own = if session { "qemu:///session" } else { "qemu:///system" };
    let Some(name) = name else { return Err(Fault::internal(Origin::Rpc, "connection name is not given")) };
    if name.is_empty() {
        return Ok(own.to_owned());
    }
    let unserved = || Fault::new(Code::NoConnect, Origin::None, format!("'{name}'"));
    let (scheme, rest) = name.split_once(':').ok_or_else(unserved)?;
    let path = rest.strip_prefix("//").map_or(rest, |rest| rest.find('/').map_or("", |at| &rest[at..]));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    match scheme {
        "qemu" => match path {
            "/system" | "/session" => Ok(name.to_owned()),
            _ => Err(Fault::internal(
                Origin::Qemu,
                format!("unexpected QEMU URI path '{path}', try qemu:///system"),
            )),
        },
        "network" | "storage" | "nodedev" | "secret" | "nwfilter" | "interface" => match path {
            "/system" | "/session" => Ok(name.to_owned()),
            _ => Err(Fault::internal(
                Origin::Qemu,
                format!("unexpected {scheme} URI path '{path}', try {scheme}:///system"),
            )),
        },
        _ => Err(unserved()),
    }
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
    Ok(ConnectIsSecureRet { secure: i32::from(matches!(call.session().door().peer, Peer::Local { .. })) })
}

pub(crate) async fn supports_feature(
    call: &Call,
    args: ConnectSupportsFeatureArgs,
) -> Result<ConnectSupportsFeatureRet, Fault> {
    // VIR_DRV_FEATURE_*: what libvirtd answers itself, then what its QEMU driver does.
    let supported = match args.feature {
        8 | 14 | 15 => true,
        10 => {
            call.session().set_keepalive();
            true
        }
        _ if !call.session().is_open() => {
            return Err(Fault::internal(Origin::Rpc, "hypervisor connection not open"));
        }
        // Typed parameters with strings, XML_MIGRATABLE, the network's argument order.
        9 | 11 | 16 => true,
        _ => false,
    };
    Ok(ConnectSupportsFeatureRet { supported: i32::from(supported) })
}

pub(crate) async fn register_close_callback(call: &Call, (): ()) -> Result<(), Fault> {
    call.session().set_close_callback(true)
}

pub(crate) async fn unregister_close_callback(call: &Call, (): ()) -> Result<(), Fault> {
    call.session().set_close_callback(false)
}

pub(crate) async fn auth_list(call: &Call, (): ()) -> Result<AuthListRet, Fault> {
    let none = call.session().is_authenticated();
    let logins = call.session().door().logins.iter().map(|login| *login as i32);
    Ok(AuthListRet { types: if none { vec![0] } else { logins.collect() } })
}
