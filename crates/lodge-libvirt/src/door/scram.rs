//! SCRAM, the server's side: a name and a password proven without sending the password (RFC 5802, RFC 7677).
//!
//! ```text
//!  First ──client-first──▶ Final ──client-final──▶ proven, or refused
//! ```
//!
//! Without channel binding: libvirt's clients have none. Of our own rather than a crate's: the server side of the one
//! that there is (rsasl 2.3) tells users that exist from others, compares keys in variable time and calls a failed
//! proof finished. Here a name that is not known takes the same way, with a salt that stays the same, to the same end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use super::users::{Mechanism, Users, UsersError, Verifier};

/// Of the server's part of the nonce.
const NONCE_BYTES: usize = 24;
/// Longest message of a client's: a name, a nonce and a proof are far shorter.
const MESSAGE_MAX_BYTES: usize = 4096;

/// One log-in on its way.
#[derive(Debug)]
pub struct Scram {
    mechanism: Mechanism,
    users: Users,
    /// What names that are not known are answered with depends on it; one per daemon.
    decoy: Decoy,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    Final(Box<Pending>),
    Over,
}

#[derive(Debug)]
struct Pending {
    name: String,
    known: bool,
    verifier: Verifier,
    gs2_header: String,
    nonce: String,
    /// The authenticated message, up to the client's last one.
    so_far: String,
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this; the client is to go on.
    Continue(String),
    /// Send this; the client is `user`.
    Proven {
        /// The server's own proof.
        last: String,
        /// Who it is.
        user: String,
    },
}

/// Why a client is not let in. The client learns nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not SCRAM.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// It asks for what is not offered.
    #[error("not offered: {0}")]
    NotOffered(&'static str),
    /// The password is wrong, or there is no such user.
    #[error("wrong name or password for `{0}`")]
    Wrong(String),
    /// Users cannot be read.
    #[error("users cannot be read")]
    Users(#[from] UsersError),
    /// The kernel gives no random numbers.
    #[error("no random numbers")]
    Random,
}

/// A secret that makes up salts for names that are not known.
#[derive(Clone)]
pub struct Decoy(hmac::Key);

impl std::fmt::Debug for Decoy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoy")
    }
}

impl Decoy {
    /// A fresh one.
    pub fn new() -> Result<Self, Refused> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map(Self).map_err(|_| Refused::Random)
    }

    fn verifier(&self, mechanism: Mechanism, name: &str) -> Verifier {
        let salt = hmac::sign(&self.0, [mechanism.as_str(), " ", name].concat().as_bytes());
        // Nobody has the password to these.
        let key = vec![0; mechanism.key_bytes()];
        Verifier::decoy(salt.as_ref()[..16].to_vec(), key)
    }
}

impl Scram {
    /// Nothing is said yet.
    pub fn new(mechanism: Mechanism, users: Users, decoy: Decoy) -> Self {
        Self { mechanism, users, decoy, state: State::First }
    }

    /// Takes the client's next message. After a refusal nothing more is taken.
    pub fn step(&mut self, message: &[u8]) -> Result<Answer, Refused> {
        let mut random = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| Refused::Random)?;
        self.step_with(message, &BASE64.encode(random))
    }

    fn step_with(&mut self, message: &[u8], server_nonce: &str) -> Result<Answer, Refused> {
        if message.len() > MESSAGE_MAX_BYTES {
            return Err(Refused::Malformed("too long"));
        }
        let message = str::from_utf8(message).map_err(|_| Refused::Malformed("no UTF-8"))?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.first(message, server_nonce),
            State::Final(pending) => self.last(message, *pending),
            State::Over => Err(Refused::Malformed("nothing more was to come")),
        }
    }

    /// `n,,n=user,r=nonce`
    fn first(&mut self, message: &str, server_nonce: &str) -> Result<Answer, Refused> {
        let mut parts = message.splitn(3, ',');
        let (binding, authorise, bare) = (parts.next(), parts.next(), parts.next());
        match binding {
            Some("n" | "y") => {}
            Some(flag) if flag.starts_with("p=") => return Err(Refused::NotOffered("channel binding")),
            _ => return Err(Refused::Malformed("no channel binding flag")),
        }
        let authorise = authorise.unwrap_or_default();
        let bare = bare.ok_or(Refused::Malformed("no client-first-message-bare"))?;
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|part| part.strip_prefix("n=")).and_then(unescape);
        let name = name.filter(|name| !name.is_empty()).ok_or(Refused::Malformed("no name"))?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        let printable = |nonce: &&str| !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        let nonce = nonce.filter(printable).ok_or(Refused::Malformed("no nonce"))?;
        if !authorise.is_empty() && authorise.strip_prefix("a=").and_then(unescape).as_deref() != Some(&name)
        {
            return Err(Refused::NotOffered("to act as another user"));
        }
        let verifier = self.users.verifier(&name, self.mechanism)?;
        let known = verifier.is_some();
        let verifier = verifier.unwrap_or_else(|| self.decoy.verifier(self.mechanism, &name));
        let nonce = format!("{nonce}{server_nonce}");
        let reply = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let gs2_header = message[..message.len() - bare.len()].to_owned();
        let so_far = format!("{bare},{reply}");
        self.state = State::Final(Box::new(Pending { name, known, verifier, gs2_header, nonce, so_far }));
        Ok(Answer::Continue(reply))
    }

    /// `c=base64(gs2 header),r=nonce,p=base64(proof)`
    fn last(&self, message: &str, pending: Pending) -> Result<Answer, Refused> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Refused::Malformed("no proof"))?;
        let proof = BASE64.decode(proof).map_err(|_| Refused::Malformed("proof is no base64"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c="));
        let header = binding.and_then(|text| BASE64.decode(text).ok());
        if header.as_deref() != Some(pending.gs2_header.as_bytes()) {
            return Err(Refused::Malformed("channel binding differs"));
        }
        if attributes.next().and_then(|part| part.strip_prefix("r=")) != Some(&pending.nonce) {
            return Err(Refused::Malformed("nonce differs"));
        }
        let signed = format!("{},{without_proof}", pending.so_far);
        let verifier = &pending.verifier;
        let signature = self.mechanism.sign(&verifier.stored_key, signed.as_bytes());
        if proof.len() != signature.len() {
            return Err(Refused::Malformed("proof of another length"));
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
        let proven = self.mechanism.hash(&client_key).ct_eq(&verifier.stored_key);
        if !bool::from(proven) || !pending.known {
            return Err(Refused::Wrong(pending.name));
        }
        let own = self.mechanism.sign(&verifier.server_key, signed.as_bytes());
        Ok(Answer::Proven { last: format!("v={}", BASE64.encode(own)), user: pending.name })
    }
}

/// `=2C` is a comma and `=3D` an equals sign; no other `=` may be there.
fn unescape(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        name.push(c);
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests;
