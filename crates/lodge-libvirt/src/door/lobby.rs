//! What all doors share: how many are inside, who may log in, the certificates, and the daemon's own controls.

use std::sync::Arc;

use super::gate::Gate;
use super::scram::Decoy;
use super::tls::Tls;
use super::users::Users;
use crate::admin::Controls;

/// Made once by [`super::Doors::open`].
pub struct Lobby {
    /// Those who came to the hypervisor's doors.
    pub gate: Arc<Gate>,
    /// Those who came to the admin socket.
    pub admin_gate: Arc<Gate>,
    /// Who may log in with SASL.
    pub users: Users,
    /// Names that may, with `*`; none: all of them.
    pub allowed_users: Option<Vec<String>>,
    /// SASL without encryption over TCP: only if the daemon was told so.
    pub sasl_in_clear: bool,
    /// The sockets' group.
    pub group: Option<u32>,
    /// Where polkit is asked; none: on the host's system bus.
    pub bus: Option<String>,
    /// The TLS door, where there is one.
    pub tls: Option<Arc<Tls>>,
    /// The daemon.
    pub controls: Arc<dyn Controls>,
    pub(super) decoy: Decoy,
}

impl Lobby {
    /// A log-in that begins.
    pub(crate) fn scram(&self, mechanism: super::Mechanism) -> super::scram::Scram {
        super::scram::Scram::new(mechanism, self.users.clone(), self.decoy.clone())
    }
}

impl std::fmt::Debug for Lobby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lobby").field("gate", &self.gate.crowd()).finish_non_exhaustive()
    }
}
