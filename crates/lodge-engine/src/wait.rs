//! Waiting for a point in a guest's life: told when it comes, or why it will not.

use std::time::Duration;

use lodge_api::{Phase, Readiness, ReadinessFailure, WaitFor, WaitQuery};
use lodge_domain::Handle;
use lodge_model::Kind;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// How often a wait looks for what is told by no event.
const LOOK: Duration = Duration::from_secs(1);

impl Engine {
    /// Waits until it is so; an error says why it will not be.
    #[crate::boxed]
    pub async fn wait(&self, _caller: &Caller, dom: &str, query: WaitQuery) -> Result<Readiness> {
        let handle = self.find_domain(dom)?;
        let waiting = self.wait_for(&handle, query.target);
        let Some(timeout_s) = query.timeout_s else { return waiting.await };
        if let Ok(outcome) = tokio::time::timeout(Duration::from_secs(timeout_s), waiting).await {
            return outcome;
        }
        let now = self.readiness_of(&handle).await;
        let (target, phase) = (word(query.target), now.phase);
        let message =
            format!("`{dom}` is not {target} after {timeout_s} s; it is at `{phase}`: {}", now.message);
        Err(EngineError::new(Kind::Unavailable, message)
            .with_hint(format!("`lodge console {dom}` shows what the guest is doing")))
    }

    async fn wait_for(&self, handle: &Handle, target: WaitFor) -> Result<Readiness> {
        let mut events = self.domains.subscribe();
        loop {
            // Seen before it is judged: only what changes after that wakes us.
            let mut watching = self.followers.watch(handle.id());
            if let Some(watching) = &mut watching {
                watching.mark_unchanged();
            }
            if let Some(done) = self.has_come(handle, target).await? {
                return Ok(done);
            }
            // Whatever comes first: the domain's own event, the guest's next phase, or a look by the clock.
            let phase = async {
                match &mut watching {
                    Some(watching) => watching.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = events.recv() => {}
                _ = phase => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// `Ok(None)`: not yet.
    async fn has_come(&self, handle: &Handle, target: WaitFor) -> Result<Option<Readiness>> {
        let snapshot = handle.snapshot();
        let (state, _) = snapshot.state.words();
        let now = self.readiness_of(handle).await;
        let come = match target {
            WaitFor::Stopped => return Ok((!snapshot.is_active()).then_some(now)),
            WaitFor::Running => state == "running",
            WaitFor::Ready => now.phase == Phase::Ready,
            WaitFor::Address => !now.interfaces.is_empty(),
            WaitFor::Agent => {
                self.followers.watch(handle.id()).is_some_and(|watching| watching.borrow().agent)
            }
        };
        if come {
            return Ok(Some(now));
        }
        if !snapshot.is_active() && snapshot.job.is_none() {
            let (_, reason) = snapshot.state.words();
            let message = format!("`{}` is not {}: it is shut off ({reason})", snapshot.name, word(target));
            return Err(EngineError::new(Kind::InvalidState, message).with_hint("start it"));
        }
        match &now.failure {
            Some(failure) if now.phase == Phase::Failed => Err(failed(&snapshot.name, target, failure)),
            _ => Ok(None),
        }
    }
}

fn failed(name: &str, target: WaitFor, failure: &ReadinessFailure) -> EngineError {
    let mut message = format!("`{name}` is not {}: {}: {}", word(target), failure.module, failure.message);
    if let Some(line) = &failure.log_line {
        message.push_str("\n  the guest's log: ");
        message.push_str(line);
    }
    let error = EngineError::new(Kind::InvalidState, message);
    match &failure.hint {
        Some(hint) => error.with_hint(hint.clone()),
        None => error,
    }
}

fn word(target: WaitFor) -> &'static str {
    match target {
        WaitFor::Ready => "ready",
        WaitFor::Address => "addressed",
        WaitFor::Agent => "answering by its agent",
        WaitFor::Stopped => "shut off",
        WaitFor::Running => "running",
    }
}
