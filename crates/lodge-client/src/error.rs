//! Why a call failed: the daemon refused, or there was no understanding it.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lodge_api::{ErrorBody, ErrorKind};

/// Why a call of the API failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon's own answer.
    #[error("{}", .0.message)]
    Api(ErrorBody),
    /// What was given is not the name of a daemon.
    #[error("`{text}` does not name a daemon: {why}")]
    BadEndpoint {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No daemon listens.
    #[error("no lodge daemon answers at {}", places(.tried))]
    Unreachable {
        /// Where it was looked for, and what came of it.
        tried: Vec<(PathBuf, io::Error)>,
    },
    /// The daemon listens but says nothing.
    #[error("the daemon at `{}` took the connection but did not answer in {} s", socket.display(), waited.as_secs())]
    Silent {
        /// Its socket.
        socket: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended before the answer did.
    #[error("lost the daemon while it worked on `{call}`")]
    Lost {
        /// Method and path.
        call: String,
        /// How it ended.
        source: hyper::Error,
    },
    /// The answer is none of Lodge's.
    #[error("do not understand the answer to `{call}`: {why}")]
    Garbled {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// The job was cancelled by someone.
    #[error("job {job} was cancelled")]
    Cancelled {
        /// Its number.
        job: u64,
    },
}

impl ClientError {
    /// The sort of the failure: the daemon's own word, or what fits best.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Api(body) => body.kind,
            Self::BadEndpoint { .. } => ErrorKind::InvalidInput,
            Self::Unreachable { tried } if all_denied(tried) => ErrorKind::Denied,
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Lost { .. } => ErrorKind::Unavailable,
            Self::Garbled { .. } => ErrorKind::Corrupt,
            Self::Cancelled { .. } => ErrorKind::Conflict,
        }
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Api(body) => body.hint.clone(),
            Self::BadEndpoint { .. } => Some(
                "give a socket's path, a daemon's root directory, lodge:///system or lodge:///session".into(),
            ),
            Self::Unreachable { tried } if all_denied(tried) => Some(
                "this user may not use that socket: use sudo, or start your own with `lodge daemon`".into(),
            ),
            Self::Unreachable { .. } => Some(
                "start one with `lodge daemon` (as root: the host's; as a user: your own), \
                 or name another with --connect or LODGE_CONNECT"
                    .into(),
            ),
            Self::Silent { .. } => Some("look at its log in var/log/lodge, and at what it waits for".into()),
            Self::Lost { .. } => {
                Some("see whether it still runs and what its log says; guests run on without it".into())
            }
            Self::Garbled { .. } => {
                Some("client and daemon are of different versions, or another program has the socket".into())
            }
            Self::Cancelled { .. } => None,
        }
    }

    /// Why, from the nearest cause to the first; none repeats the message or another.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Api(body) => body.causes.clone(),
            Self::Lost { source, .. } => {
                let chain =
                    std::iter::successors(Some(source as &dyn std::error::Error), |cause| cause.source());
                chain.map(ToString::to_string).collect()
            }
            Self::BadEndpoint { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Garbled { .. }
            | Self::Cancelled { .. } => Vec::new(),
        }
    }

    /// The whole of it as the API's error document, for `-o json`.
    pub fn body(&self) -> ErrorBody {
        ErrorBody { kind: self.kind(), message: self.to_string(), hint: self.hint(), causes: self.causes() }
    }
}

fn all_denied(tried: &[(PathBuf, io::Error)]) -> bool {
    !tried.is_empty() && tried.iter().all(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Each place with what came of it.
fn places(tried: &[(PathBuf, io::Error)]) -> String {
    let mut out = String::new();
    for (index, (path, error)) in tried.iter().enumerate() {
        let sep = if index == 0 { "" } else { ", nor at " };
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such socket".to_owned(),
            io::ErrorKind::ConnectionRefused => "nobody listens on it".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        write!(out, "{sep}`{}` ({why})", path.display()).expect("a String takes all");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_told_place_by_place() {
        let error = ClientError::Unreachable {
            tried: vec![
                ("/run/lodge/lodge.sock".into(), io::ErrorKind::PermissionDenied.into()),
                ("/run/user/7/lodge/lodge.sock".into(), io::ErrorKind::NotFound.into()),
            ],
        };
        expect_test::expect![[r"
            no lodge daemon answers at `/run/lodge/lodge.sock` (permission denied), nor at `/run/user/7/lodge/lodge.sock` (no such socket)
            start one with `lodge daemon` (as root: the host's; as a user: your own), or name another with --connect or LODGE_CONNECT"]]
        .assert_eq(&format!("{error}\n{}", error.hint().unwrap()));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
