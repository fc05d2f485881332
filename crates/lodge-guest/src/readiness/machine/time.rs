//! How long each phase may stand still, and what is said when it does.

use super::super::{Failure, Phase};
use super::Machine;

/// Budgets in milliseconds: what is the same on every host (names, mirrors, disks), and what grows with a guest's
/// slowness. Generous: a Debian 12 guest under TCG on two busy cores was heard of first after 100 s, and its
/// cloud-init never stood still for more than 12 s.
const BOOT: (f64, f64) = (30_000.0, 30_000.0);
const AGENT: (f64, f64) = (30_000.0, 30_000.0);
const CLOUD_INIT_SILENT: (f64, f64) = (300_000.0, 30_000.0);

impl Machine {
    /// Says *stalled* when the present phase's budget is used up.
    pub(super) fn judge_time(&mut self, now_ms: u64) {
        if self.held_ms.is_some() || self.deadline().is_none_or(|deadline| now_ms < deadline) {
            return;
        }
        let waited = (now_ms.saturating_sub(self.moved_ms)) / 1000;
        let seen = self.readiness.message.clone();
        let phase = self.readiness.phase;
        if phase == Phase::Address && !self.sight.seed {
            // Many guests have the channel in their document and no agent: that is no failure of theirs.
            self.note(format!("no agent answered within {waited} s: what goes on inside cannot be seen"));
            self.enter(Phase::Ready, now_ms);
            "it has an address; its agent does not answer".clone_into(&mut self.readiness.message);
            return;
        }
        let (module, reason, hint) = match phase {
            Phase::Booting => (
                "boot",
                format!("no sign of the guest for {waited} s"),
                "see its console: `lodge console NAME`; does its disk boot, and by this firmware?",
            ),
            Phase::Address => (
                "agent",
                format!("it has an address, but no agent answered for {waited} s"),
                "install qemu-guest-agent in the guest, or see its console",
            ),
            Phase::Agent => (
                "system",
                format!("its agent answers, but nothing else moved for {waited} s; last seen: {seen}"),
                "see its console, or `systemctl list-jobs` in the guest",
            ),
            Phase::CloudInit => (
                "cloud-init",
                format!("cloud-init did not move for {waited} s; last seen: {seen}"),
                "see /var/log/cloud-init-output.log in the guest",
            ),
            Phase::Stopped | Phase::Ready | Phase::Failed => return,
        };
        self.enter(Phase::Failed, now_ms);
        self.readiness.message = format!("stalled: {reason}");
        self.readiness.failure = Some(Failure {
            module: module.to_owned(),
            reason,
            log_line: None,
            hint: Some(hint.to_owned()),
            stalled: true,
        });
    }

    /// When the present phase is taken as stuck.
    pub(super) fn deadline(&self) -> Option<u64> {
        let (fixed, scaled) = match self.readiness.phase {
            Phase::Booting => BOOT,
            Phase::Address | Phase::Agent => AGENT,
            Phase::CloudInit => CLOUD_INIT_SILENT,
            Phase::Stopped | Phase::Ready | Phase::Failed => return None,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and below 2^32"
        )]
        let budget = (fixed + scaled * self.readiness.speed) as u64;
        self.held_ms.is_none().then_some(self.moved_ms + budget)
    }
}
