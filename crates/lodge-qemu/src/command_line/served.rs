//! Images that a server has: the node of the protocol's driver, where a file's would be.
//!
//! QEMU itself connects. Secrets come as files in memory, never as words. The names of nodes, objects and properties
//! are libvirt's. Deliberately absent: protocols that QEMU has no driver for any more (`tftp`, `vxhs`, `sheepdog`):
//! refused by name.

use lodge_model::domain::disk::{DiskSource, SourceHost, Transport};
use lodge_model::xml::{Kept, YesNo};
use serde_json::{Value, json};

use super::builder::Builder;
use super::props::Props;
use crate::claims::{FdNumber, Served};

/// Where QEMU's SSH looks for keys and for the hosts it knows: one place for all disks.
pub(super) fn home(b: &mut Builder<'_>) {
    if let Some(home) = &b.claims.ssh_home {
        b.env("HOME", home);
    }
}

/// The node without its name and mode; `storage`: that name. Nothing: it was refused.
pub(super) fn node(b: &mut Builder<'_>, served: &Served, storage: &str, read_only: bool) -> Option<Props> {
    let source = &served.source;
    let protocol = source.protocol.as_deref().unwrap_or_default();
    if !is_there(b, protocol) {
        return None;
    }
    refuse_unknown(b, source, protocol);
    let login = login(b, served, storage)?;
    match protocol {
        "nbd" => nbd(b, served, storage),
        "http" | "https" | "ftp" | "ftps" => {
            if !read_only {
                let hint = "add <readonly/>, or put a qcow2 of this host above it (<backingStore>)";
                b.refuse_hinted(format!("what comes by {protocol} can only be read"), hint);
            }
            curl(b, served, protocol, storage, login)
        }
        "ssh" => ssh(b, source),
        "iscsi" => iscsi(b, source, login),
        "rbd" => rbd(b, source, login),
        "nfs" => nfs(b, source),
        _ => gluster(b, source),
    }
}

fn is_there(b: &mut Builder<'_>, protocol: &str) -> bool {
    use crate::capabilities::{SERVED_DRIVERS, debian_package_of};
    if !SERVED_DRIVERS.contains(&protocol) {
        b.refuse(format!("QEMU has no driver for disks by '{protocol}'"));
        return false;
    }
    if b.capabilities.has_served_driver(protocol) {
        return true;
    }
    let reason = format!("this QEMU ({}) has no driver for disks by '{protocol}'", b.capabilities.version);
    match debian_package_of(protocol) {
        Some(package) => b.refuse_hinted(reason, format!("install the Debian package {package}")),
        None => b.refuse(reason),
    }
    false
}

/// What a `<source>` says and its protocol does not have, so that nothing is parsed and then forgotten.
fn refuse_unknown(b: &mut Builder<'_>, source: &DiskSource, protocol: &str) {
    let known: &[&str] = match protocol {
        "nbd" => &["reconnect"],
        "http" | "https" | "ftp" | "ftps" => &["auth", "readahead", "timeout"],
        "ssh" => &["knownHosts", "identity"],
        "iscsi" => &["auth", "initiator"],
        "rbd" => &["auth", "snapshot", "config"],
        "nfs" => &["identity"],
        _ => &[],
    };
    let all = [
        "auth",
        "reconnect",
        "readahead",
        "timeout",
        "knownHosts",
        "identity",
        "initiator",
        "snapshot",
        "config",
    ];
    for name in all.into_iter().filter(|name| !known.contains(name)) {
        if source.foreign.tree(name).is_some() {
            b.refuse(format!("a disk by '{protocol}' has no <{name}>"));
        }
    }
    let by_url = matches!(protocol, "http" | "https" | "ftp" | "ftps");
    if !by_url && source.cookies.tree("cookies").is_some() {
        b.refuse(format!("a disk by '{protocol}' has no <cookies>"));
    }
    if !matches!(protocol, "https" | "ftps") && source.ssl.tree("ssl").is_some() {
        b.refuse(format!("a disk by '{protocol}' has no <ssl>"));
    }
    if protocol != "nbd" && source.foreign.attribute("tls") == Some("yes") {
        b.refuse(format!("a disk by '{protocol}' has no tls='yes'"));
    }
}

/// Who logs in, and the object with the secret.
#[derive(Default)]
struct Login {
    user: Option<String>,
    secret: Option<String>,
}

fn login(b: &mut Builder<'_>, served: &Served, storage: &str) -> Option<Login> {
    match served.source.login() {
        Ok(None) => Some(Login::default()),
        Ok(Some(login)) => {
            let Some(fd) = served.login else {
                b.refuse("the secret for its server was not given");
                return None;
            };
            let secret = secret(b, &format!("{storage}-auth-secret0"), fd);
            Some(Login { user: Some(login.user), secret: Some(secret) })
        }
        Err(error) => {
            b.refuse(error.to_string());
            None
        }
    }
}

/// An object with what is in the file in memory; its name.
pub(super) fn secret(b: &mut Builder<'_>, name: &str, fd: FdNumber) -> String {
    b.json("-object", &Props::object("secret", name).with("file", format!("/proc/self/fd/{fd}")));
    name.to_owned()
}

fn nbd(b: &mut Builder<'_>, served: &Served, storage: &str) -> Option<Props> {
    let source = &served.source;
    let server = match (served.socket, one_host(b, source)?) {
        (Some(fd), _) => json!({ "type": "fd", "str": fd.to_string() }),
        (None, host) => address(host, 10809)?,
    };
    let credentials = (source.foreign.attribute("tls") == Some("yes")).then(|| {
        let name = format!("obj{storage}_tls0");
        match &served.certificates {
            Some(dir) => {
                let opened = served.passphrase.map(|fd| secret(b, &format!("{storage}-secret0"), fd));
                let object = Props::object("tls-creds-x509", &name).with("dir", dir.as_str());
                let object = object.with("endpoint", "client").with("verify-peer", true);
                b.json("-object", &object.maybe("passwordid", opened));
            }
            None => b.refuse_hinted(
                "there are no certificates for TLS",
                "put ca-cert.pem (and client-cert.pem with client-key.pem) into /etc/pki/libvirt-nbd or /etc/pki/qemu",
            ),
        }
        name
    });
    let delay = source.foreign.tree("reconnect").and_then(|tree| number(b, &tree, "delay"));
    let props = Props::driver("nbd").with("server", server);
    let export = source.name.as_deref().filter(|name| !name.is_empty());
    Some(
        props
            .maybe("export", export)
            .maybe("tls-creds", credentials)
            .maybe("tls-hostname", source.foreign.attribute("tlsHostname"))
            .maybe("reconnect-delay", delay),
    )
}

fn curl(b: &mut Builder<'_>, served: &Served, protocol: &str, storage: &str, login: Login) -> Option<Props> {
    let source = &served.source;
    let host = one_host(b, source)?;
    let port = match protocol {
        "http" => 80,
        "https" => 443,
        "ftp" => 21,
        _ => 990,
    };
    let (name, port) = (host.name.as_deref()?, host.port.unwrap_or(port));
    let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let path = escaped(source.name.as_deref().unwrap_or_default());
    let mut url = format!("{protocol}://{name}:{port}/{}", path.trim_start_matches('/'));
    if let Some(query) = source.foreign.attribute("query") {
        url += &format!("?{query}");
    }
    let cookies = match (served.source.cookie_line(), served.cookies) {
        (None, _) => None,
        (Some(_), Some(fd)) => Some(secret(b, &format!("{storage}-httpcookie-secret0"), fd)),
        (Some(_), None) => {
            b.refuse("its cookies were not given");
            return None;
        }
    };
    let ssl = source.ssl.tree("ssl");
    let verify = ssl.as_ref().and_then(|ssl| ssl.attribute("verify")).map(|word| word == YesNo::Yes.as_str());
    let readahead = source.foreign.tree("readahead").and_then(|tree| number(b, &tree, "size"));
    let timeout = source.foreign.tree("timeout").and_then(|tree| number(b, &tree, "seconds"));
    Some(
        Props::driver(protocol)
            .with("url", url)
            .maybe("username", login.user)
            .maybe("password-secret", login.secret)
            .maybe("sslverify", verify)
            .maybe("cookie-secret", cookies)
            .maybe("readahead", readahead)
            .maybe("timeout", timeout),
    )
}

fn ssh(b: &mut Builder<'_>, source: &DiskSource) -> Option<Props> {
    let host = one_host(b, source)?;
    let identity = source.foreign.tree("identity").unwrap_or_default();
    if identity.attribute("agentsock").is_some() {
        let hint = "name the key's file (keyfile)";
        b.refuse_hinted("the keys of an agent cannot be handed to the guest's own user", hint);
    }
    let has_files = identity.attribute("keyfile").is_some() || source.foreign.tree("knownHosts").is_some();
    if has_files && b.claims.ssh_home.is_none() {
        b.refuse("its key and the known hosts can only be given to QEMU at its start");
    }
    let server = json!({ "host": host.name.as_deref()?, "port": host.port.unwrap_or(22).to_string() });
    let path = source.name.as_deref().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(
        Props::driver("ssh")
            .with("path", path)
            .with("server", server)
            .maybe("user", identity.attribute("username")),
    )
}

fn iscsi(b: &mut Builder<'_>, source: &DiskSource, login: Login) -> Option<Props> {
    let host = one_host(b, source)?;
    let name = source.name.as_deref().unwrap_or_default();
    let (target, lun) = name.split_once('/').unwrap_or((name, "0"));
    let Ok(lun) = lun.parse::<u32>() else {
        b.refuse(format!("'{lun}' is no number of a logical unit (the name is TARGET/NUMBER)"));
        return None;
    };
    let (host, port) = (host.name.as_deref()?, host.port.unwrap_or(3260));
    let portal = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let initiator = source.foreign.tree("initiator");
    let initiator = initiator.as_ref().and_then(|tree| tree.child("iqn")?.attribute("name"));
    Some(
        Props::driver("iscsi")
            .with("portal", portal)
            .with("target", target)
            .with("lun", lun)
            .with("transport", "tcp")
            .maybe("user", login.user)
            .maybe("password-secret", login.secret)
            .maybe("initiator-name", initiator),
    )
}

fn rbd(b: &mut Builder<'_>, source: &DiskSource, login: Login) -> Option<Props> {
    let name = source.name.as_deref().unwrap_or_default();
    let Some((pool, image)) =
        name.split_once('/').filter(|(pool, image)| !pool.is_empty() && !image.is_empty())
    else {
        b.refuse(format!("'{name}' names no image: it is POOL/IMAGE"));
        return None;
    };
    let child = |element: &str, attribute: &str| {
        source.foreign.tree(element)?.attribute(attribute).map(str::to_owned)
    };
    // Without a port Ceph tries those of both its protocols.
    let servers: Vec<Value> = source
        .hosts
        .iter()
        .filter_map(|host| {
            Some(json!({ "host": host.name.as_deref()?, "port": host.port.unwrap_or(0).to_string() }))
        })
        .collect();
    let by_secret = login.secret.is_some().then(|| json!(["cephx", "none"]));
    Some(
        Props::driver("rbd")
            .with("pool", pool)
            .maybe("namespace", source.foreign.attribute("namespace"))
            .with("image", image)
            .maybe("snapshot", child("snapshot", "name"))
            .maybe("conf", child("config", "file"))
            .maybe("server", (!servers.is_empty()).then_some(servers))
            .maybe("user", login.user)
            .maybe("auth-client-required", by_secret)
            .maybe("key-secret", login.secret),
    )
}

fn nfs(b: &mut Builder<'_>, source: &DiskSource) -> Option<Props> {
    let host = one_host(b, source)?;
    let identity = source.foreign.tree("identity").unwrap_or_default();
    let mut id = |name: &str| number(b, &identity, name);
    let (user, group) = (id("user"), id("group"));
    let server = json!({ "host": host.name.as_deref()?, "type": "inet" });
    Some(
        Props::driver("nfs")
            .with("server", server)
            .with("path", source.name.as_deref().unwrap_or_default())
            .maybe("user", user)
            .maybe("group", group),
    )
}

fn gluster(b: &mut Builder<'_>, source: &DiskSource) -> Option<Props> {
    let name = source.name.as_deref().unwrap_or_default();
    let Some((volume, path)) = name.split_once('/').filter(|(_, path)| !path.is_empty()) else {
        b.refuse(format!("'{name}' names no image: it is VOLUME/PATH"));
        return None;
    };
    let servers: Vec<Value> = source.hosts.iter().filter_map(|host| address(host, 24007)).collect();
    if servers.is_empty() {
        b.refuse("there is no <host> that has it");
        return None;
    }
    Some(Props::driver("gluster").with("volume", volume).with("path", path).with("server", servers))
}

/// The one server of a protocol that has one.
fn one_host<'a>(b: &mut Builder<'_>, source: &'a DiskSource) -> Option<&'a SourceHost> {
    let protocol = source.protocol.as_deref().unwrap_or_default();
    match &source.hosts[..] {
        [host] => {
            if host.transport == Some(Transport::Rdma) {
                b.refuse(format!("a disk by '{protocol}' is not reached by rdma"));
                return None;
            }
            if host.transport == Some(Transport::Unix) && protocol != "nbd" {
                b.refuse(format!("a disk by '{protocol}' is not reached by a unix socket"));
                return None;
            }
            let is_unix = host.transport == Some(Transport::Unix);
            if if is_unix { host.socket.is_none() } else { host.name.is_none() } {
                b.refuse("its <host> says neither a name nor a socket");
                return None;
            }
            Some(host)
        }
        hosts => {
            b.refuse(format!("a disk by '{protocol}' has one <host>, not {}", hosts.len()));
            None
        }
    }
}

/// QEMU's `SocketAddress` of a host.
fn address(host: &SourceHost, port: u16) -> Option<Value> {
    if host.transport == Some(Transport::Unix) {
        return Some(json!({ "type": "unix", "path": host.socket.as_deref()? }));
    }
    let port = host.port.unwrap_or(port).to_string();
    Some(json!({ "type": "inet", "host": host.name.as_deref()?, "port": port }))
}

fn number(b: &mut Builder<'_>, tree: &Kept, name: &str) -> Option<u64> {
    let text = tree.attribute(name)?;
    // libvirt writes a number of an account with a plus before it.
    let number = text.trim_start_matches('+').parse().ok();
    if number.is_none() {
        b.refuse(format!("<{} {name}>: `{text}` is no number", tree.name));
    }
    number
}

/// A path within a URL (RFC 3986, 2): what is not of it is written in percent.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_for_its_url() {
        assert_eq!(escaped("/images/a b?#ä.img"), "/images/a%20b%3F%23%C3%A4.img");
    }
}
