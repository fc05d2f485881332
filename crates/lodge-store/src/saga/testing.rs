//! Trials of a saga: fail, repeat, panic and crash it at every step and every note, and see whether the world
//! is whole afterwards. For tests only; nothing in the product calls it.
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_start_is_whole_whatever_happens() {
//!     saga::testing::try_everything(&Start).await.unwrap();
//! }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use lodge_model::Kind;
use serde_json::Value;

use super::{CancellationToken, Context, Direction, Failure, Log, Position, SagaError, Step, resume};
use crate::DbError;

/// A saga and a world to try it in. The world is whatever outlives the daemon; a context works on it.
pub trait Scenario: Sync {
    /// The saga's context.
    type Context: Context + 'static;
    /// What the saga changes.
    type World: Send;

    /// A world in which the saga was not run.
    fn world(&self) -> Self::World;
    /// The saga's steps.
    fn steps(&self) -> Vec<Box<dyn Step<Self::Context>>>;
    /// A daemon's context on the world: with what an earlier one saved, or new.
    fn context(&self, world: &Self::World, saved: Option<&Value>) -> Self::Context;
    /// Is everything done? Else what is missing.
    fn is_done(&self, world: &Self::World) -> Result<(), String>;
    /// Is everything as before? Else what is left.
    fn is_undone(&self, world: &Self::World) -> Result<(), String>;
}

/// Runs all trials; the error tells the trial and what was wrong after it. Each state that a crash can leave is tried once:
/// what happens before a fault is met is what happens without it.
pub async fn try_everything<S: Scenario>(scenario: &S) -> Result<(), String> {
    let steps = scenario.steps().len();
    let straight = expect_done(scenario, "straight through", Fault::None).await?;
    expect_whole_after_crashes(scenario, Fault::None, &straight).await?;
    for at in 0..steps {
        expect_done(scenario, "repeated", Fault::Repeat(at)).await?;
        for fault in [Fault::FailBefore(at), Fault::Panic(at), Fault::Cancel(at)] {
            expect_undone(scenario, fault).await?;
        }
        let fault = Fault::FailAfter(at);
        let stopped = expect_undone(scenario, fault).await?;
        expect_whole_after_crashes(scenario, fault, &stopped).await?;
    }
    Ok(())
}

/// What goes wrong, at the step of this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The step fails without an effect.
    FailBefore(usize),
    /// The step has its effect and fails.
    FailAfter(usize),
    /// The step has its effect and panics.
    Panic(usize),
    /// The saga is cancelled when the step has had its effect.
    Cancel(usize),
    /// The step and its undo run twice.
    Repeat(usize),
}

/// The daemon dies at the note of this number, before or after it is durable.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// Counted from 0.
    pub note: usize,
    /// Did the note reach the disk?
    pub written: bool,
}

async fn expect_done<S: Scenario>(scenario: &S, trial: &str, fault: Fault) -> Result<Notes, String> {
    let world = scenario.world();
    let tell = |what: String| format!("{trial}, {fault:?}: {what}");
    match run(scenario, &world, fault, None).await {
        (Ended::Ok, notes) => scenario.is_done(&world).map(|()| notes).map_err(tell),
        (Ended::Err(error), _) => Err(tell(format!("the saga failed: {error}"))),
        (Ended::Crashed(..), _) => Err(tell("the saga crashed".to_owned())),
    }
}

async fn expect_undone<S: Scenario>(scenario: &S, fault: Fault) -> Result<Notes, String> {
    let world = scenario.world();
    let tell = |what: String| format!("stopped, {fault:?}: {what}");
    match run(scenario, &world, fault, None).await {
        (Ended::Err(error), notes) if error.left().is_empty() => {
            scenario.is_undone(&world).map(|()| notes).map_err(tell)
        }
        (Ended::Err(error), _) => Err(tell(format!("not all was taken back: {:?}", error.left()))),
        (Ended::Ok | Ended::Crashed(..), _) => Err(tell("the fault was not met".to_owned())),
    }
}

/// Crashes at each note from the fault on, before and after it is durable; the next daemon goes on and back.
async fn expect_whole_after_crashes<S: Scenario>(
    scenario: &S,
    fault: Fault,
    notes: &Notes,
) -> Result<(), String> {
    for note in notes.at_fault..=notes.end {
        for written in [false, true] {
            // A crash after the end is no crash of the saga.
            if written && note == notes.end {
                continue;
            }
            let crash = Crash { note, written };
            let stood = expect_whole(scenario, fault, crash, Direction::On).await?;
            // One that was going back goes back, whatever the direction; see `resume`.
            if matches!(stood, Position::Forward { .. }) {
                expect_whole(scenario, fault, crash, Direction::Back).await?;
            }
        }
    }
    Ok(())
}

/// Gives where the saga stood when the daemon died.
async fn expect_whole<S: Scenario>(
    scenario: &S,
    fault: Fault,
    crash: Crash,
    direction: Direction,
) -> Result<Position, String> {
    let world = scenario.world();
    let tell = |what: String| format!("{fault:?}, {crash:?}, then {direction:?}: {what}");
    let (Ended::Crashed(position, saved), _) = run(scenario, &world, fault, Some(crash)).await else {
        return Err(tell("the crash was not met".to_owned()));
    };
    let mut context = scenario.context(&world, Some(&saved));
    let mut log = MemoryLog::default();
    let cancel = CancellationToken::new();
    let stood = position.clone();
    let outcome = resume(&scenario.steps(), &mut context, &mut log, position, direction, &cancel).await;
    drop(context);
    let whole = match outcome {
        Ok(()) => scenario.is_done(&world),
        Err(error) if error.left().is_empty() => scenario.is_undone(&world),
        Err(error) => Err(format!("not all was taken back: {:?}", error.left())),
    };
    whole.map(|()| stood).map_err(tell)
}

enum Ended {
    Ok,
    Err(SagaError),
    Crashed(Position, Value),
}

/// Which notes a saga has written: counted from 0, its end's is one of them.
struct Notes {
    /// The first after the fault was met; without a fault, the first of all.
    at_fault: usize,
    /// The last, which the row goes with.
    end: usize,
}

async fn run<S: Scenario>(
    scenario: &S,
    world: &S::World,
    fault: Fault,
    crash: Option<Crash>,
) -> (Ended, Notes) {
    let cancel = CancellationToken::new();
    let mut context = scenario.context(world, None);
    let mut log = MemoryLog { crash, ..MemoryLog::default() };
    log.last = Some((Position::Forward { at: 0 }, context.saved()));
    let at_fault = Arc::new(AtomicUsize::new(0));
    let met = Met { notes: Arc::clone(&log.notes), at_fault: Arc::clone(&at_fault), cancel: cancel.clone() };
    let steps = with_fault(scenario.steps(), fault, &met);
    let dead = Arc::clone(&log.dead);
    let crashed = Arc::clone(&log.crashed);
    let start = Position::Forward { at: 0 };
    let outcome = tokio::select! {
        biased;
        () = crashed.notified() => None,
        outcome = resume(&steps, &mut context, &mut log, start, Direction::On, &cancel) => Some(outcome),
    };
    drop(context);
    let count = log.notes.load(Ordering::SeqCst);
    let notes = Notes { at_fault: at_fault.load(Ordering::SeqCst), end: count.saturating_sub(1) };
    let ended = match outcome {
        Some(Ok(())) if !dead.load(Ordering::SeqCst) => Ended::Ok,
        Some(Err(error)) if !dead.load(Ordering::SeqCst) => Ended::Err(error),
        _ => {
            let (position, saved) = log.last.expect("noted when it began");
            Ended::Crashed(position, saved)
        }
    };
    (ended, notes)
}

/// A log in memory, which may crash the daemon.
#[derive(Debug, Default)]
pub struct MemoryLog {
    /// Where it stands, as the disk would say.
    pub last: Option<(Position, Value)>,
    notes: Arc<AtomicUsize>,
    crash: Option<Crash>,
    dead: Arc<AtomicBool>,
    crashed: Arc<tokio::sync::Notify>,
}

impl MemoryLog {
    async fn meet_crash(&mut self, write: impl FnOnce(&mut Self)) {
        let number = self.notes.fetch_add(1, Ordering::SeqCst);
        let crash = self.crash.filter(|crash| crash.note == number);
        if crash.is_none_or(|crash| crash.written) {
            write(self);
        }
        if crash.is_some() {
            self.dead.store(true, Ordering::SeqCst);
            self.crashed.notify_one();
            // The dead do not go on: the future is dropped here.
            std::future::pending::<()>().await;
        }
    }
}

impl Log for MemoryLog {
    async fn note(&mut self, position: &Position, saved: &Value) -> Result<(), DbError> {
        self.meet_crash(|log| log.last = Some((position.clone(), saved.clone()))).await;
        Ok(())
    }

    async fn end(&mut self) -> Result<(), DbError> {
        self.meet_crash(|_| ()).await;
        Ok(())
    }
}

/// What a step with a fault tells of it, and does.
#[derive(Clone)]
struct Met {
    notes: Arc<AtomicUsize>,
    at_fault: Arc<AtomicUsize>,
    cancel: CancellationToken,
}

fn with_fault<C: Context + 'static>(
    steps: Vec<Box<dyn Step<C>>>,
    fault: Fault,
    met: &Met,
) -> Vec<Box<dyn Step<C>>> {
    let at = match fault {
        Fault::None => return steps,
        Fault::FailBefore(at)
        | Fault::FailAfter(at)
        | Fault::Panic(at)
        | Fault::Cancel(at)
        | Fault::Repeat(at) => at,
    };
    let wrap = |(index, inner): (usize, Box<dyn Step<C>>)| -> Box<dyn Step<C>> {
        if index == at { Box::new(Faulty { inner, fault, met: met.clone() }) } else { inner }
    };
    steps.into_iter().enumerate().map(wrap).collect()
}

/// A step with a fault in it.
struct Faulty<C> {
    inner: Box<dyn Step<C>>,
    fault: Fault,
    met: Met,
}

#[async_trait]
impl<C: Context + 'static> Step<C> for Faulty<C> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn run(&self, context: &mut C) -> Result<(), Failure> {
        let failure = Failure::new(Kind::Internal, "made to fail");
        self.met.at_fault.store(self.met.notes.load(Ordering::SeqCst), Ordering::SeqCst);
        if matches!(self.fault, Fault::FailBefore(_)) {
            return Err(failure);
        }
        self.inner.run(context).await?;
        match self.fault {
            Fault::None | Fault::FailBefore(_) => Ok(()),
            Fault::FailAfter(_) => Err(failure),
            Fault::Panic(_) => panic!("made to panic"),
            Fault::Cancel(_) => {
                self.met.cancel.cancel();
                std::future::pending().await
            }
            Fault::Repeat(_) => self.inner.run(context).await,
        }
    }

    async fn undo(&self, context: &mut C) -> Result<(), Failure> {
        self.inner.undo(context).await?;
        // Every undo that is tried with a fault runs twice: it must be idempotent too.
        self.inner.undo(context).await
    }
}
