//! A server's directory, mounted for as long as the pool runs: NFS, CIFS, GlusterFS.
//!
//! A server that is gone costs who waits for it an error at a deadline; its pool keeps its own turn and no other's.

use lodge_model::storage::Pool;

use super::{dir_of, format, fs, mount::Mount};
use crate::pool::error::PoolError;

pub(super) fn mount_of(pool: &Pool) -> Result<Mount, PoolError> {
    let (host, dir) = place(pool)?;
    let (format, version) = (format(pool), version(pool)?);
    let mut options = fs::options(pool)?;
    let source = match format {
        "cifs" => format!("//{host}/{dir}"),
        _ => format!("{host}:{dir}"),
    };
    // As libvirt mounts them.
    match format {
        "cifs" => options.insert(fs::SAFE.len(), "guest".to_owned()),
        "glusterfs" => options.insert(fs::SAFE.len(), "direct-io-mode=1".to_owned()),
        _ => {
            if let Some(version) = version {
                options.insert(fs::SAFE.len(), format!("nfsvers={version}"));
            }
        }
    }
    let kind = Some(format).filter(|format| *format != "auto").map(str::to_owned);
    Ok(Mount { source, is_local: false, kind, options, target: dir_of(pool)? })
}

/// The one server and its directory.
fn place(pool: &Pool) -> Result<(&str, &str), PoolError> {
    let internal = |text: &str| PoolError::Internal(text.to_owned());
    let source = pool.source.as_deref().ok_or_else(|| internal("missing source host"))?;
    let [host] = &source.hosts[..] else {
        return Err(internal("Expected exactly 1 host for the storage pool"));
    };
    let host = host.name.as_deref().filter(|name| !name.is_empty());
    let host = host.ok_or_else(|| internal("missing source host"))?;
    let dir = source.dir.as_ref().and_then(|dir| dir.path.as_deref()).filter(|dir| !dir.is_empty());
    let dir = dir.ok_or_else(|| internal("missing source path"))?;
    // What begins with a dash would be an option of `mount`.
    if host.starts_with('-') || host.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(PoolError::Document(format!("source host '{host}' is no name of a host")));
    }
    Ok((host, dir))
}

/// NFS's version, as `4.1`.
fn version(pool: &Pool) -> Result<Option<&str>, PoolError> {
    let source = pool.source.as_deref();
    let Some(version) = source.and_then(|source| source.protocol.as_ref()?.ver.as_deref()) else {
        return Ok(None);
    };
    let format = format(pool);
    if !matches!(format, "nfs" | "auto") {
        let text = format!("storage pool protocol ver unsupported for pool type '{format}'");
        return Err(PoolError::Config(text));
    }
    if version.is_empty() || !version.chars().all(|letter| letter.is_ascii_digit() || letter == '.') {
        return Err(PoolError::Document(format!("storage pool protocol ver '{version}' is malformed")));
    }
    Ok(Some(version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::document;

    fn mount(source: &str) -> Result<String, String> {
        let text = format!(
            "<pool type='netfs'><name>a</name><source>{source}</source><target><path>/x</path></target></pool>"
        );
        let mount = document::read(&text, false).and_then(|pool| mount_of(&pool));
        mount
            .map(|mount| format!("{:?} {} {}", mount.kind, mount.options.join(","), mount.source))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_protocol_is_mounted_as_libvirt_does() {
        let at = "<host name='h'/><dir path='/d'/>";
        let with = |rest: &str| mount(&format!("{at}{rest}")).unwrap();
        assert_eq!(with(""), "None nodev,nosuid,noexec h:/d");
        assert_eq!(with("<format type='nfs'/>"), "Some(\"nfs\") nodev,nosuid,noexec h:/d");
        let nfs3 = "<format type='nfs'/><protocol ver='3'/>";
        assert_eq!(with(nfs3), "Some(\"nfs\") nodev,nosuid,noexec,nfsvers=3 h:/d");
        assert_eq!(
            with("<format type='glusterfs'/>"),
            "Some(\"glusterfs\") nodev,nosuid,noexec,direct-io-mode=1 h:/d"
        );
        let cifs = mount("<host name='h'/><dir path='share'/><format type='cifs'/>").unwrap();
        assert_eq!(cifs, "Some(\"cifs\") nodev,nosuid,noexec,guest //h/share");
    }

    #[test]
    fn what_would_be_an_option_is_refused() {
        assert_eq!(
            mount("<host name='-o'/><dir path='/d'/>").unwrap_err(),
            "source host '-o' is no name of a host"
        );
        let version = mount("<host name='h'/><dir path='/d'/><protocol ver='3,exec'/>").unwrap_err();
        assert_eq!(version, "storage pool protocol ver '3,exec' is malformed");
        let two = mount("<host name='a'/><host name='b'/><dir path='/d'/>").unwrap_err();
        assert_eq!(two, "Expected exactly 1 host for the storage pool");
    }
}
