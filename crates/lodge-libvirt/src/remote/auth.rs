//! Logging in: which way, SASL, polkit.
//!
//! The client asks for the list, takes its first entry and goes through with it; until then it may call nothing else.
//! A refusal tells no more than libvirtd's does; the reason is in the log.

use std::time::Duration;

use lodge_wire::remote::{
    AuthListRet, AuthPolkitRet, AuthSaslInitRet, AuthSaslStartArgs, AuthSaslStartRet, AuthSaslStepArgs,
    AuthSaslStepRet,
};

use crate::call::Call;
use crate::door::scram::{Answer, Refused, Scram};
use crate::door::{self, Lobby, Login, Mechanism, Peer, denied};
use crate::fault::Fault;

/// A password that was wrong costs this much before the next may be tried.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);
/// The way that needs no login (`remote_auth_type`).
const NONE: i32 = 0;

pub(crate) async fn list(call: &Call, (): ()) -> Result<AuthListRet, Fault> {
    let session = call.session();
    let door = session.door();
    // As libvirtd: root is not asked, and is in from here on, not before.
    let root = matches!(door.peer, Peer::Local { uid: 0, .. });
    if root && door.logins.first() == Some(&Login::Polkit) && !session.is_authenticated() {
        session.authenticate(None);
    }
    if session.is_authenticated() {
        return Ok(AuthListRet { types: vec![NONE] });
    }
    Ok(AuthListRet { types: door.logins.iter().map(|login| *login as i32).collect() })
}

pub(crate) async fn polkit(call: &Call, (): ()) -> Result<AuthPolkitRet, Fault> {
    let session = call.session();
    let door = session.door();
    if !awaits(call, Login::Polkit) {
        tracing::warn!(session = session.id(), "client tried an invalid polkit request");
        return Err(denied());
    }
    let lobby = door.lobby.as_deref();
    let (group, bus) = (lobby.and_then(|lobby| lobby.group), lobby.and_then(|lobby| lobby.bus.as_deref()));
    door::polkit::check(&door.peer, door.read_only, group, bus).await?;
    session.authenticate(None);
    Ok(AuthPolkitRet { complete: 1 })
}

pub(crate) async fn sasl_init(call: &Call, (): ()) -> Result<AuthSaslInitRet, Fault> {
    sasl_lobby(call)?;
    let mechanisms: Vec<_> = Mechanism::ALL.iter().rev().map(|mechanism| mechanism.as_str()).collect();
    Ok(AuthSaslInitRet { mechlist: mechanisms.join(",").into() })
}

pub(crate) async fn sasl_start(call: &Call, args: AuthSaslStartArgs) -> Result<AuthSaslStartRet, Fault> {
    let lobby = sasl_lobby(call)?;
    let mechanism = args.mech.to_str().ok().and_then(Mechanism::named).ok_or_else(|| {
        tracing::warn!(session = call.session().id(), mechanism = %args.mech, "SASL mechanism not offered");
        denied()
    })?;
    let said = step(call, lobby, lobby.scram(mechanism), args.data).await?;
    Ok(AuthSaslStartRet { complete: said.complete, nil: 0, data: said.data })
}

pub(crate) async fn sasl_step(call: &Call, args: AuthSaslStepArgs) -> Result<AuthSaslStepRet, Fault> {
    let lobby = sasl_lobby(call)?;
    let scram = call.session().take_scram().ok_or_else(denied)?;
    let said = step(call, lobby, scram, args.data).await?;
    Ok(AuthSaslStepRet { complete: said.complete, nil: 0, data: said.data })
}

struct Said {
    complete: i32,
    data: Vec<u8>,
}

async fn step(call: &Call, lobby: &Lobby, mut scram: Scram, data: Vec<u8>) -> Result<Said, Fault> {
    let session = call.session();
    // It reads the users' file.
    let stepped = tokio::task::spawn_blocking(move || (scram.step(&data), scram)).await;
    let (answer, scram) = stepped.map_err(|_| denied())?;
    match answer {
        Ok(Answer::Continue(text)) => {
            session.put_scram(scram);
            Ok(Said { complete: 0, data: text.into_bytes() })
        }
        Ok(Answer::Proven { last, user }) => {
            if !door::allowed(lobby.allowed_users.as_deref(), &user) {
                tracing::warn!(session = session.id(), user, "SASL user is not on the allowed list");
                return Err(denied());
            }
            tracing::info!(session = session.id(), user, "logged in with SASL");
            session.set_sasl_user(user);
            session.authenticate(None);
            Ok(Said { complete: 1, data: last.into_bytes() })
        }
        Err(error) => {
            tracing::warn!(session = session.id(), peer = ?session.door().peer, %error, "SASL login refused");
            if matches!(error, Refused::Wrong(_)) {
                tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
            }
            Err(denied())
        }
    }
}

/// The door's lobby, if SASL is what this client is to log in with.
fn sasl_lobby(call: &Call) -> Result<&Lobby, Fault> {
    let session = call.session();
    let refuse = |why| {
        tracing::warn!(session = session.id(), why, "SASL refused");
        denied()
    };
    if !awaits(call, Login::Sasl) {
        return Err(refuse("the client tried an invalid SASL request"));
    }
    let lobby = session.door().lobby.as_deref().ok_or_else(|| refuse("the daemon keeps no users"))?;
    if matches!(session.door().peer, Peer::Remote { tls: None, .. }) && !lobby.sasl_in_clear {
        return Err(refuse("no SASL mechanism encrypts what goes over plain TCP"));
    }
    Ok(lobby)
}

/// Whether this way in is open to the client, which is not in yet.
fn awaits(call: &Call, login: Login) -> bool {
    let session = call.session();
    !session.is_authenticated() && session.door().logins.contains(&login)
}
