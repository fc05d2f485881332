//! The host's ends of a machine: ports, sockets and log files that only one can have.

use super::super::chardev::{CharDevice, CharKind, CharMode};
use super::super::graphics::{Graphics, ListenKind};
use super::Copied;
use crate::xml::YesNo;

/// Takes them away, or names them after the new machine.
pub(super) fn part(work: &mut Copied, old: &str, new: &str) {
    let mut warnings = Vec::new();
    let devices = &mut work.document.devices;
    for screen in &mut devices.graphics {
        free_ports(screen, &mut warnings);
    }
    let streams = devices.serials.iter_mut().map(|device| ("serial", device));
    let streams = streams.chain(devices.parallels.iter_mut().map(|device| ("parallel", device)));
    let streams = streams.chain(devices.consoles.iter_mut().map(|device| ("console", device)));
    let streams = streams.chain(devices.channels.iter_mut().map(|device| ("channel", device)));
    for (sort, device) in streams {
        rename_stream(sort, device, (old, new), &mut warnings);
    }
    if let Some(cid) = devices.vsock.as_deref_mut().and_then(|vsock| vsock.cid.as_mut())
        && let Some(address) = cid.address.take()
    {
        cid.auto = Some(YesNo::Yes);
        warnings.push(format!("vsock: the number {address} is the source's; one is chosen at the start"));
    }
    work.warnings.append(&mut warnings);
}

fn free_ports(screen: &mut Graphics, warnings: &mut Vec<String>) {
    let is_fixed = |port: Option<i32>| port.is_some_and(|port| port > 0);
    let sort = screen.kind;
    if screen.autoport != Some(YesNo::Yes) && (is_fixed(screen.port) || is_fixed(screen.tls_port)) {
        let port = screen.port.or(screen.tls_port).unwrap_or_default();
        warnings.push(format!("{sort}: the port {port} is the source's; one is chosen at the start"));
        screen.port = None;
        screen.tls_port = None;
        screen.autoport = Some(YesNo::Yes);
    }
    if is_fixed(screen.websocket) {
        warnings.push(format!("{sort}: the web socket's port is chosen at the start"));
        screen.websocket = Some(-1);
    }
    if screen.socket.take().is_some() {
        warnings.push(format!("{sort}: the socket's name is the source's, and was left out"));
    }
    for listen in screen.listens.iter_mut().filter(|listen| listen.kind == ListenKind::Socket) {
        if listen.socket.take().is_some() {
            warnings.push(format!("{sort}: the socket's name is the source's; one is made at the start"));
        }
    }
}

fn rename_stream(sort: &str, device: &mut CharDevice, (old, new): (&str, &str), warnings: &mut Vec<String>) {
    if let Some(log) = &mut device.log {
        log.file = renamed(&log.file, old, new);
    }
    let is_channel = sort == "channel";
    for source in &mut device.sources {
        match device.kind {
            CharKind::File => source.path = source.path.as_deref().map(|path| renamed(path, old, new)),
            // libvirt and Lodge name a channel's socket at the start.
            CharKind::Unix if is_channel && source.mode != Some(CharMode::Connect) => source.path = None,
            CharKind::Unix if source.mode != Some(CharMode::Connect) => {
                source.path = source.path.as_deref().map(|path| renamed(path, old, new));
            }
            CharKind::Pipe | CharKind::Dev | CharKind::Nmdm => {
                let path = source.path.as_deref().unwrap_or_default();
                warnings
                    .push(format!("{sort}: `{path}` is the source's too: only one of the two can have it"));
            }
            CharKind::Tcp | CharKind::Udp if source.mode == Some(CharMode::Bind) => {
                let port = source.service.as_deref().unwrap_or_default();
                warnings
                    .push(format!("{sort}: port {port} is the source's too: only one of the two can listen"));
            }
            _ => {}
        }
    }
    if is_channel && device.kind == CharKind::Unix {
        device.sources.retain(|source| source.path.is_some());
    }
}

/// `/var/log/web1-console.log` of `web1` is `/var/log/web2-console.log` of `web2`; a path that does not name the machine
/// gets its name before the ending.
fn renamed(path: &str, old: &str, new: &str) -> String {
    let (directory, file) = path.rsplit_once('/').map_or(("", path), |(directory, file)| (directory, file));
    let file = if !old.is_empty() && file.contains(old) {
        file.replacen(old, new, 1)
    } else {
        match file.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() => format!("{stem}.{new}.{ending}"),
            _ => format!("{file}.{new}"),
        }
    };
    if path.contains('/') { format!("{directory}/{file}") } else { file }
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn a_file_is_named_after_the_new_machine() {
        assert_eq!(renamed("/var/log/web1-console.log", "web1", "web2"), "/var/log/web2-console.log");
        assert_eq!(renamed("/srv/web1/serial.log", "web1", "web2"), "/srv/web1/serial.web2.log");
        assert_eq!(renamed("/serial", "web1", "web2"), "/serial.web2");
        assert_eq!(renamed("/.hidden", "web1", "web2"), "/.hidden.web2");
    }
}
