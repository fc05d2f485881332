//! polkit: may the process at the other end manage, or only look at, this host's guests?
//!
//! Root is let in without a question. For anybody else polkit is asked over the system bus about
//! `org.libvirt.unix.manage` or `.monitor`, with the process (number, start time, user) as the subject, and it may ask
//! that user for a password. Where there is no bus, or no polkit on it, groups decide: members of `libvirt` or of the
//! sockets' group may manage, everybody may look. libvirtd lets only root in there; we say in the log what we do.

use std::collections::HashMap;
use std::time::Duration;

use lodge_sys::process::Identity;
use zbus::Variant;

use super::Peer;
use crate::fault::{Code, Fault, Origin};

/// A person may have to find the password; after that the question is void.
const ANSWER_DEADLINE: Duration = Duration::from_mins(5);
/// The bus itself answers at once or not at all.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The group that Debian and Fedora have for this.
const GROUP: &str = "libvirt";
/// polkit may ask the user (`CheckAuthorizationFlags`).
const ALLOW_INTERACTION: u32 = 1;

/// Lets the peer pass or says why not, with libvirt's numbers: 45, 79, 94.
pub(crate) async fn check(
    peer: &Peer,
    read_only: bool,
    group: Option<u32>,
    bus: Option<&str>,
) -> Result<(), Fault> {
    let Peer::Local { uid, pid, groups, .. } = peer else { return Err(super::denied()) };
    if *uid == 0 {
        return Ok(());
    }
    let action = if read_only { "org.libvirt.unix.monitor" } else { "org.libvirt.unix.manage" };
    let subject = pid.and_then(|pid| Subject::of(pid, *uid)).ok_or_else(super::denied)?;
    match ask(&subject, action, bus).await {
        Ok(answer) => {
            tracing::debug!(uid, pid = subject.pid, action, ?answer, "polkit answered");
            answer.judge(action)
        }
        Err(error) if !error.is_absence() => {
            tracing::warn!(uid, pid = subject.pid, %error, "polkit does not answer: nobody comes in");
            Err(Fault::new(Code::AuthFailed, Origin::Polkit, "polkit does not answer"))
        }
        Err(error) => {
            let allowed = read_only || may_manage(*uid, groups, group);
            tracing::warn!(uid, pid = subject.pid, %error, allowed, "no polkit: groups decide who comes in");
            if allowed { Ok(()) } else { Err(not_a_member(*uid)) }
        }
    }
}

/// A process, as polkit names it.
struct Subject {
    pid: u32,
    start_ticks: u64,
    uid: u32,
}

impl Subject {
    fn of(pid: i32, uid: u32) -> Option<Self> {
        let pid = u32::try_from(pid).ok()?;
        let identity = Identity::of(pid).ok().flatten()?;
        Some(Self { pid, start_ticks: identity.start_time, uid })
    }
}

/// What polkit says.
#[derive(Debug, Clone, Copy)]
struct Answer {
    authorized: bool,
    challenge: bool,
    dismissed: bool,
}

impl Answer {
    fn judge(self, action: &str) -> Result<(), Fault> {
        let refuse = |code, text: &str| Err(Fault::new(code, Origin::Polkit, text));
        if self.authorized {
            Ok(())
        } else if self.dismissed {
            refuse(Code::AuthCancelled, "user cancelled authentication process")
        } else if self.challenge {
            refuse(
                Code::AuthUnavailable,
                &format!("no polkit agent available to authenticate action '{action}'"),
            )
        } else {
            refuse(Code::AuthFailed, "access denied by policy")
        }
    }
}

/// Why polkit gave no answer.
#[derive(Debug, thiserror::Error)]
enum NoPolkit {
    #[error("system bus: {0}")]
    Bus(zbus::Error),
    #[error("polkit: {0}")]
    Polkit(zbus::Error),
    #[error("no answer in time")]
    Late,
}

impl NoPolkit {
    /// Whether there is no polkit at all. One that is there and fails lets nobody in.
    fn is_absence(&self) -> bool {
        match self {
            Self::Bus(_) => true,
            Self::Polkit(zbus::Error::MethodError(name, ..)) => {
                matches!(
                    name.as_str(),
                    "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner"
                )
            }
            Self::Polkit(_) | Self::Late => false,
        }
    }
}

async fn ask(subject: &Subject, action: &str, bus: Option<&str>) -> Result<Answer, NoPolkit> {
    let connecting = async {
        let builder = match bus {
            Some(address) => zbus::connection::Builder::address(address),
            None => zbus::connection::Builder::system(),
        };
        builder.build().await
    };
    let bus = tokio::time::timeout(CONNECT_DEADLINE, connecting)
        .await
        .map_err(|_| NoPolkit::Late)?
        .map_err(NoPolkit::Bus)?;
    let of: HashMap<&str, Variant<'_>> = HashMap::from([
        ("pid", Variant::U32(subject.pid)),
        ("start-time", Variant::U64(subject.start_ticks)),
        // polkit has it signed.
        ("uid", Variant::I32(subject.uid.cast_signed())),
    ]);
    let details: HashMap<&str, &str> = HashMap::new();
    let question = (("unix-process", of), action, details, ALLOW_INTERACTION, "");
    let asked = bus.call_method(
        Some("org.freedesktop.PolicyKit1"),
        "/org/freedesktop/PolicyKit1/Authority",
        Some("org.freedesktop.PolicyKit1.Authority"),
        "CheckAuthorization",
        &question,
    );
    let reply = tokio::time::timeout(ANSWER_DEADLINE, asked).await.map_err(|_| NoPolkit::Late)?;
    let reply = reply.map_err(NoPolkit::Polkit)?;
    let (authorized, challenge, details): (bool, bool, HashMap<String, String>) =
        reply.body().deserialize().map_err(NoPolkit::Polkit)?;
    Ok(Answer { authorized, challenge, dismissed: details.contains_key("polkit.dismissed") })
}

/// Whether one of the peer's groups is one that may manage.
fn may_manage(uid: u32, of_peer: &[u32], of_socket: Option<u32>) -> bool {
    let libvirt = nix::unistd::Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw());
    // The daemon's own user needs no group.
    uid == rustix::process::geteuid().as_raw()
        || [libvirt, of_socket].into_iter().flatten().any(|group| of_peer.contains(&group))
}

fn not_a_member(uid: u32) -> Fault {
    let user = super::user_name(uid).unwrap_or_else(|| uid.to_string());
    let text =
        format!("there is no polkit on this host, and user '{user}' is not a member of group '{GROUP}'");
    Fault::new(Code::AuthFailed, Origin::Polkit, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_libvirts_numbers_and_words() {
        let answer = |authorized, challenge, dismissed| Answer { authorized, challenge, dismissed };
        assert!(answer(true, false, false).judge("a").is_ok());
        let texts: Vec<_> =
            [answer(false, false, false), answer(false, true, true), answer(false, true, false)]
                .into_iter()
                .map(|answer| answer.judge("org.libvirt.unix.manage").unwrap_err())
                .map(|fault| (fault.code().number(), fault.to_string()))
                .collect();
        let (_, unavailable) = &texts[2];
        assert_eq!(texts.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [45, 79, 94]);
        assert!(
            unavailable
                .contains("no polkit agent available to authenticate action 'org.libvirt.unix.manage'")
        );
    }

    #[test]
    fn the_sockets_group_may_manage() {
        let stranger = rustix::process::geteuid().as_raw() + 1;
        assert!(may_manage(stranger, &[7, 9], Some(9)));
        assert!(!may_manage(stranger, &[7, 9], Some(u32::MAX)));
    }
}
