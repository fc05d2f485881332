//! Where the daemon may listen: what `--connect` and `LODGE_CONNECT` may say, and what holds without.
//!
//! Explicit wins over the environment, which wins over the host's daemon, which wins over the user's own.
//! libvirt's URIs of a local QEMU mean the same daemons, so that scripts with `-c qemu:///system` go on.

use std::path::{Path, PathBuf};

use crate::ClientError;

/// Where a daemon's socket lies under its root.
const SOCKET: &str = "run/lodge/lodge.sock";

/// Where to look for a daemon, the first place first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    sockets: Vec<PathBuf>,
}

/// Where the sockets of the two usual daemons are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The host's daemon.
    pub system: PathBuf,
    /// This user's own; absent where the session has no directory for sockets.
    pub session: Option<PathBuf>,
}

impl Places {
    /// Those of this process: reads `XDG_RUNTIME_DIR` or, as the daemon does without it, `XDG_CACHE_HOME` or `HOME`.
    pub fn of_this_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
        let runtime = var("XDG_RUNTIME_DIR").or_else(cache);
        Self { system: Path::new("/").join(SOCKET), session: runtime.map(|dir| dir.join("lodge/lodge.sock")) }
    }
}

impl Endpoint {
    /// The daemon a person means: `explicit` (`--connect`), else `LODGE_CONNECT`, else the usual places.
    pub fn find(explicit: Option<&str>) -> Result<Self, ClientError> {
        let environment = std::env::var("LODGE_CONNECT").ok();
        Self::choose(explicit, environment.as_deref(), &Places::of_this_process())
    }

    /// As [`Self::find`], with all that it reads given.
    pub fn choose(
        explicit: Option<&str>,
        environment: Option<&str>,
        places: &Places,
    ) -> Result<Self, ClientError> {
        if let Some(text) = explicit.or(environment.filter(|text| !text.is_empty())) {
            return Self::parse(text, places);
        }
        let sockets = std::iter::once(places.system.clone()).chain(places.session.clone()).collect();
        Ok(Self { sockets })
    }

    /// The endpoint `text` names: a socket's path, a root directory, or a URI.
    pub fn parse(text: &str, places: &Places) -> Result<Self, ClientError> {
        let bad = |why: &str| ClientError::BadEndpoint { text: text.to_owned(), why: why.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.is_empty() {
                return Err(bad("it is empty"));
            }
            return Ok(Self::at_path(Path::new(text)));
        };
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let Some(path) = rest.find('/').map(|at| &rest[at..]) else {
            return Err(bad("a `/` is missing after the third"));
        };
        let host = &rest[..rest.len() - path.len()];
        let path = decode(path).ok_or_else(|| bad("its percent signs do not stand before two hex digits"))?;
        if !(host.is_empty() || host == "localhost") {
            return Err(bad(
                "only daemons of this host can be reached; run lodge on the other host through ssh",
            ));
        }
        let query = Query::parse(query).map_err(|why| bad(&why))?;
        match scheme {
            "unix" if path == "/" => Err(bad("it has no path")),
            "unix" => Ok(Self::at_path(Path::new(&path))),
            "lodge" | "lodge+unix" | "qemu" | "qemu+unix" => {
                if let Some(socket) = query.socket {
                    return Ok(Self::at_path(Path::new(&socket)));
                }
                match path.as_str() {
                    "/system" => Ok(Self { sockets: vec![places.system.clone()] }),
                    "/session" => {
                        let session = places.session.clone();
                        let why = "this session has no directory for sockets (neither XDG_RUNTIME_DIR nor HOME is set)";
                        Ok(Self { sockets: vec![session.ok_or_else(|| bad(why))?] })
                    }
                    "/" | "" => Err(bad("say /system, /session or a socket's path")),
                    _ if scheme == "lodge+unix" => Ok(Self::at_path(Path::new(&path))),
                    _ => Err(bad(
                        "say /system or /session; a socket's path goes after unix:// or lodge+unix://",
                    )),
                }
            }
            _ => Err(bad("its scheme is none of unix, lodge, lodge+unix, qemu, qemu+unix")),
        }
    }

    /// The daemon with this socket, or with this directory as its root.
    pub fn at_path(path: &Path) -> Self {
        let socket = if path.is_dir() { path.join(SOCKET) } else { path.to_owned() };
        Self { sockets: vec![socket] }
    }

    /// The sockets to try, the first first. Never empty.
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }
}

/// What may stand after `?`. libvirt's words: `socket=PATH`; `mode` chooses among its daemons, of which we have one.
struct Query {
    socket: Option<String>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, String> {
        let mut socket = None;
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "socket" => socket = Some(decode(value).ok_or("its socket is not percent-encoded")?),
                "mode" => {}
                _ => return Err(format!("`{name}` is no option of a local daemon; `socket=PATH` is")),
            }
        }
        Ok(Self { socket })
    }
}

/// Takes percent-encoding off.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn places() -> Places {
        Places {
            system: "/run/lodge/lodge.sock".into(),
            session: Some("/run/user/7/lodge/lodge.sock".into()),
        }
    }

    #[test]
    fn what_may_be_said() {
        let mut table = String::new();
        for text in [
            "/tmp/a.sock",
            "rel.sock",
            "unix:///tmp/a.sock",
            "unix://tmp/a.sock",
            "lodge+unix:///tmp/a%20b.sock",
            "lodge+unix:///system",
            "lodge:///system",
            "lodge:///session",
            "qemu:///system",
            "qemu:///session",
            "qemu+unix:///system?socket=/tmp/x.sock",
            "qemu:///system?mode=direct",
            "qemu:///system?keyfile=/k",
            "qemu:///tmp/a.sock",
            "qemu+ssh://host/system",
            "lodge://host/system",
            "lodge:///",
            "lodge://",
            "unix:///%zz",
            "",
        ] {
            let what = match Endpoint::parse(text, &places()) {
                Ok(endpoint) => format!("{:?}", endpoint.sockets),
                Err(error) => error.to_string(),
            };
            writeln!(table, "{text}\n    {what}").unwrap();
        }
        expect_test::expect![[r#"
            /tmp/a.sock
                ["/tmp/a.sock"]
            rel.sock
                ["rel.sock"]
            unix:///tmp/a.sock
                ["/tmp/a.sock"]
            unix://tmp/a.sock
                `unix://tmp/a.sock` does not name a daemon: only daemons of this host can be reached; run lodge on the other host through ssh
            lodge+unix:///tmp/a%20b.sock
                ["/tmp/a b.sock"]
            lodge+unix:///system
                ["/run/lodge/lodge.sock"]
            lodge:///system
                ["/run/lodge/lodge.sock"]
            lodge:///session
                ["/run/user/7/lodge/lodge.sock"]
            qemu:///system
                ["/run/lodge/lodge.sock"]
            qemu:///session
                ["/run/user/7/lodge/lodge.sock"]
            qemu+unix:///system?socket=/tmp/x.sock
                ["/tmp/x.sock"]
            qemu:///system?mode=direct
                ["/run/lodge/lodge.sock"]
            qemu:///system?keyfile=/k
                `qemu:///system?keyfile=/k` does not name a daemon: `keyfile` is no option of a local daemon; `socket=PATH` is
            qemu:///tmp/a.sock
                `qemu:///tmp/a.sock` does not name a daemon: say /system or /session; a socket's path goes after unix:// or lodge+unix://
            qemu+ssh://host/system
                `qemu+ssh://host/system` does not name a daemon: only daemons of this host can be reached; run lodge on the other host through ssh
            lodge://host/system
                `lodge://host/system` does not name a daemon: only daemons of this host can be reached; run lodge on the other host through ssh
            lodge:///
                `lodge:///` does not name a daemon: say /system, /session or a socket's path
            lodge://
                `lodge://` does not name a daemon: a `/` is missing after the third
            unix:///%zz
                `unix:///%zz` does not name a daemon: its percent signs do not stand before two hex digits

                `` does not name a daemon: it is empty
        "#]].assert_eq(&table);
    }

    #[test]
    fn explicit_then_environment_then_the_host_then_the_user() {
        let sockets = |explicit, environment| {
            Endpoint::choose(explicit, environment, &places()).unwrap().sockets().to_vec()
        };
        assert_eq!(sockets(Some("/a"), Some("/b")), [PathBuf::from("/a")]);
        assert_eq!(sockets(None, Some("/b")), [PathBuf::from("/b")]);
        assert_eq!(sockets(None, Some("")), [places().system, places().session.unwrap()]);
        assert_eq!(sockets(None, None), [places().system, places().session.unwrap()]);
    }

    #[test]
    fn a_root_directory_stands_for_the_socket_in_it() {
        let root = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::parse(root.path().to_str().unwrap(), &places()).unwrap();
        assert_eq!(endpoint.sockets(), [root.path().join("run/lodge/lodge.sock")]);
    }
}
