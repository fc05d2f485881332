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

/// Runs all trials; the error tells the trial and what was wrong after it.
pub async fn try_everything<S: Scenario>(scenario: &S) -> Result<(), String> {
    let steps = scenario.steps().len();
    expect_done(scenario, "straight through", Fault::None, None).await?;
    for at in 0..steps {
        expect_done(scenario, "repeated", Fault::Repeat(at), None).await?;
        for fault in [Fault::FailBefore(at), Fault::FailAfter(at), Fault::Panic(at), Fault::Cancel(at)] {
            expect_undone(scenario, "stopped", fault).await?;
        }
        // Crashes on the way on and on the way back, before and after each note.
        // Without a fault they are the same for every step.
        let faults = [Fault::FailAfter(at), Fault::None];
        for fault in faults.into_iter().take(if at == 0 { 2 } else { 1 }) {
            for note in 0..2 * steps + 2 {
                for written in [false, true] {
                    for direction in [Direction::On, Direction::Back] {
                        expect_whole(scenario, fault, Crash { note, written }, direction).await?;
                    }
                }
            }
        }
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

async fn expect_done<S: Scenario>(
    scenario: &S,
    trial: &str,
    fault: Fault,
    crash: Option<Crash>,
) -> Result<(), String> {
    let world = scenario.world();
    let tell = |what: String| format!("{trial}, {fault:?}, {crash:?}: {what}");
    match run(scenario, &world, fault, crash).await {
        Ended::Ok => scenario.is_done(&world).map_err(tell),
        Ended::Err(error) => Err(tell(format!("the saga failed: {error}"))),
        Ended::Crashed(..) => Err(tell("the saga crashed".to_owned())),
    }
}

async fn expect_undone<S: Scenario>(scenario: &S, trial: &str, fault: Fault) -> Result<(), String> {
    let world = scenario.world();
    let tell = |what: String| format!("{trial}, {fault:?}: {what}");
    match run(scenario, &world, fault, None).await {
        Ended::Err(error) if error.left().is_empty() => scenario.is_undone(&world).map_err(tell),
        Ended::Err(error) => Err(tell(format!("not all was taken back: {:?}", error.left()))),
        Ended::Ok | Ended::Crashed(..) => Err(tell("the fault was not met".to_owned())),
    }
}

async fn expect_whole<S: Scenario>(
    scenario: &S,
    fault: Fault,
    crash: Crash,
    direction: Direction,
) -> Result<(), String> {
    let world = scenario.world();
    let tell = |what: String| format!("{fault:?}, {crash:?}, then {direction:?}: {what}");
    let (position, saved) = match run(scenario, &world, fault, Some(crash)).await {
        Ended::Crashed(position, saved) => (position, saved),
        // It ended before that note: the trials without a crash cover it.
        Ended::Ok => return scenario.is_done(&world).map_err(tell),
        Ended::Err(_) => return scenario.is_undone(&world).map_err(tell),
    };
    let mut context = scenario.context(&world, Some(&saved));
    let mut log = MemoryLog::default();
    let cancel = CancellationToken::new();
    let outcome = resume(&scenario.steps(), &mut context, &mut log, position, direction, &cancel).await;
    drop(context);
    match outcome {
        Ok(()) => scenario.is_done(&world).map_err(tell),
        Err(error) if error.left().is_empty() => scenario.is_undone(&world).map_err(tell),
        Err(error) => Err(tell(format!("not all was taken back: {:?}", error.left()))),
    }
}

enum Ended {
    Ok,
    Err(SagaError),
    Crashed(Position, Value),
}

async fn run<S: Scenario>(scenario: &S, world: &S::World, fault: Fault, crash: Option<Crash>) -> Ended {
    let cancel = CancellationToken::new();
    let steps = with_fault(scenario.steps(), fault, &cancel);
    let mut context = scenario.context(world, None);
    let mut log = MemoryLog { crash, ..MemoryLog::default() };
    log.last = Some((Position::Forward { at: 0 }, context.saved()));
    let dead = Arc::clone(&log.dead);
    let crashed = Arc::clone(&log.crashed);
    let start = Position::Forward { at: 0 };
    let outcome = tokio::select! {
        biased;
        () = crashed.notified() => None,
        outcome = resume(&steps, &mut context, &mut log, start, Direction::On, &cancel) => Some(outcome),
    };
    drop(context);
    match outcome {
        Some(Ok(())) if !dead.load(Ordering::SeqCst) => Ended::Ok,
        Some(Err(error)) if !dead.load(Ordering::SeqCst) => Ended::Err(error),
        _ => {
            let (position, saved) = log.last.expect("noted when it began");
            Ended::Crashed(position, saved)
        }
    }
}

/// A log in memory, which may crash the daemon.
#[derive(Debug, Default)]
pub struct MemoryLog {
    /// Where it stands, as the disk would say.
    pub last: Option<(Position, Value)>,
    notes: AtomicUsize,
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
        // A crash after the end is no crash of the saga: only the one before the row is gone is tried.
        if self.crash.is_some_and(|crash| crash.written) {
            return Ok(());
        }
        self.meet_crash(|_| ()).await;
        Ok(())
    }
}

fn with_fault<C: Context + 'static>(
    steps: Vec<Box<dyn Step<C>>>,
    fault: Fault,
    cancel: &CancellationToken,
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
        if index == at { Box::new(Faulty { inner, fault, cancel: cancel.clone() }) } else { inner }
    };
    steps.into_iter().enumerate().map(wrap).collect()
}

/// A step with a fault in it.
struct Faulty<C> {
    inner: Box<dyn Step<C>>,
    fault: Fault,
    cancel: CancellationToken,
}

#[async_trait]
impl<C: Context + 'static> Step<C> for Faulty<C> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn run(&self, context: &mut C) -> Result<(), Failure> {
        let failure = Failure::new(Kind::Internal, "made to fail");
        if matches!(self.fault, Fault::FailBefore(_)) {
            return Err(failure);
        }
        self.inner.run(context).await?;
        match self.fault {
            Fault::None | Fault::FailBefore(_) => Ok(()),
            Fault::FailAfter(_) => Err(failure),
            Fault::Panic(_) => panic!("made to panic"),
            Fault::Cancel(_) => {
                self.cancel.cancel();
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
