//! Looking for what pools could be made of: a server's exports, the host's volume groups.

use std::fmt::Write as _;

use lodge_model::{
    storage::{Pool, PoolKind},
    xml::ForeignItem,
};

use super::{
    backend::{Backend, logical::report, tool},
    error::PoolError,
};

/// What a pool could be made of, as libvirt's `<sources>`. `spec`: the part of `<source>` that is known.
pub async fn find_pool_sources(kind: PoolKind, spec: Option<&str>) -> Result<String, PoolError> {
    match Backend::of(kind)? {
        Backend::Netfs => exports(&host_of(spec)?).await,
        Backend::Logical => groups().await,
        Backend::Dir | Backend::Fs | Backend::Disk => {
            Err(PoolError::NoSupport(format!("pool type '{kind}' does not support source discovery")))
        }
    }
}

/// The server that is to be asked.
fn host_of(spec: Option<&str>) -> Result<String, PoolError> {
    let Some(spec) = spec.filter(|spec| !spec.is_empty()) else {
        return Err(PoolError::Argument("hostname must be specified for netfs sources".to_owned()));
    };
    let is_source =
        matches!(ForeignItem::element(spec), Some(ForeignItem::Element { name, .. }) if &*name == "source");
    if !is_source {
        return Err(PoolError::Syntax("the source specification is no <source> element".to_owned()));
    }
    let pool = Pool::parse(&format!("<pool type='netfs'><name>x</name>{spec}</pool>"));
    let source = pool.map_err(|faults| PoolError::Document(faults.to_string()))?.source.unwrap_or_default();
    let host = match &source.hosts[..] {
        [host] => host.name.clone().filter(|name| !name.is_empty()),
        _ => return Err(PoolError::Internal("Expected exactly 1 host for the storage pool".to_owned())),
    };
    match host {
        // What begins with a dash would be an option.
        Some(host) if host.starts_with('-') || host.contains(char::is_whitespace) => {
            Err(PoolError::Document(format!("source host '{host}' is no name of a host")))
        }
        Some(host) => Ok(host),
        None => Err(PoolError::Document("missing storage pool host name".to_owned())),
    }
}

/// What an NFS server exports, asked with `showmount`.
async fn exports(host: &str) -> Result<String, PoolError> {
    let printed = tool("showmount").args(["--no-headers", "--exports", host]).run().await?;
    let mut text = "<sources>\n".to_owned();
    for dir in exported(&String::from_utf8_lossy(&printed)) {
        let (host, dir) = (quoted(host), quoted(dir));
        let _ = writeln!(
            text,
            "  <source>\n    <host name='{host}'/>\n    <dir path='{dir}'/>\n    <format type='nfs'/>\n  </source>"
        );
    }
    Ok(text + "</sources>\n")
}

/// The directories in `showmount`'s lines: `/export 192.0.2.0/24,*.example`.
fn exported(printed: &str) -> impl Iterator<Item = &str> {
    printed.lines().filter_map(|line| {
        let line = line.trim_end();
        // The list of clients has no blank in it, the directory may.
        let dir = line.rsplit_once([' ', '\t']).map_or(line, |(dir, _)| dir.trim_end());
        dir.starts_with('/').then_some(dir)
    })
}

/// The host's volume groups with their devices.
async fn groups() -> Result<String, PoolError> {
    let run = tool("pvs").args(["--reportformat", "json", "-o", "pv_name,vg_name"]);
    let members = report::members(&run.run().await?).map_err(PoolError::Internal)?;
    Ok(group_sources(&members))
}

fn group_sources(members: &[(String, String)]) -> String {
    let mut names: Vec<&str> =
        members.iter().map(|(_, group)| group.as_str()).filter(|name| !name.is_empty()).collect();
    names.dedup();
    let mut text = "<sources>\n".to_owned();
    let mut told: Vec<&str> = Vec::new();
    for name in names {
        if told.contains(&name) {
            continue;
        }
        told.push(name);
        text += "  <source>\n";
        for (device, _) in members.iter().filter(|(_, group)| group == name) {
            let _ = writeln!(text, "    <device path='{}'/>", quoted(device));
        }
        let _ = writeln!(text, "    <name>{}</name>\n    <format type='lvm2'/>\n  </source>", quoted(name));
    }
    text + "</sources>\n"
}

fn quoted(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_read() {
        let printed = "/srv/iso      *\n/srv/my files 192.0.2.0/24,10.0.0.1\nnonsense\n\n";
        assert_eq!(exported(printed).collect::<Vec<_>>(), ["/srv/iso", "/srv/my files"]);
    }

    #[test]
    fn a_server_must_be_named() {
        let error = |spec: Option<&str>| host_of(spec).unwrap_err().to_string();
        assert_eq!(error(None), "hostname must be specified for netfs sources");
        assert_eq!(error(Some("<source/>")), "Expected exactly 1 host for the storage pool");
        assert_eq!(
            error(Some("<source><host name='-a'/></source>")),
            "source host '-a' is no name of a host"
        );
        assert!(host_of(Some("<pool/>")).is_err() && host_of(Some("<source")).is_err());
        assert_eq!(host_of(Some("<source><host name='h'/></source>")).unwrap(), "h");
    }

    #[test]
    fn groups_are_told_with_their_devices() {
        let member = |device: &str, group: &str| (device.to_owned(), group.to_owned());
        let members = [member("/dev/a", "vg0"), member("/dev/b", ""), member("/dev/c", "vg0")];
        expect_test::expect![[r"
            <sources>
              <source>
                <device path='/dev/a'/>
                <device path='/dev/c'/>
                <name>vg0</name>
                <format type='lvm2'/>
              </source>
            </sources>
        "]]
        .assert_eq(&group_sources(&members));
    }
}
