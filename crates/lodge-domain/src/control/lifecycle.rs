//! What follows when a guest stops by itself: `virsh set-lifecycle-action`.

use lodge_model::domain::Domain;
use lodge_model::domain::features::LifecycleAction;

use super::{Change, Scope};

/// What may happen to a guest by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It switches itself off.
    Poweroff,
    /// It restarts.
    Reboot,
    /// It crashes.
    Crash,
}

/// Says what follows.
pub fn set(occasion: Occasion, action: LifecycleAction, scope: Scope) -> Change {
    Change::new("set-lifecycle-action", scope).both(move |domain: &mut Domain| {
        let place = match occasion {
            Occasion::Poweroff => &mut domain.on_poweroff,
            Occasion::Reboot => &mut domain.on_reboot,
            Occasion::Crash => &mut domain.on_crash,
        };
        *place = Some(action);
        Ok(())
    })
}
