//! The driver: takes a saga from where its log stands to an end.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use lodge_model::Kind;
use tokio_util::sync::CancellationToken;

use super::{Cause, Context, Failure, Log, Position, Step};
use crate::DbError;

/// Which way a saga goes that was found open at start-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// On to its end, beginning with the step that may have had its effect.
    On,
    /// Back to nothing.
    Back,
}

/// How a saga ended, if not well. Whatever it was, its effects were taken back, but for what is `left`.
#[derive(Debug, thiserror::Error)]
pub enum SagaError {
    /// A step failed.
    #[error("{}", failure.message)]
    Failed {
        /// The step and its failure.
        failure: Failure,
        /// What could not be taken back.
        left: Vec<Failure>,
    },
    /// It was cancelled.
    #[error("it was cancelled")]
    Cancelled {
        /// What could not be taken back.
        left: Vec<Failure>,
    },
    /// The daemon ended in its midst, and it was taken back by the next.
    #[error("it was interrupted by the end of the daemon and taken back")]
    Interrupted {
        /// What could not be taken back.
        left: Vec<Failure>,
    },
}

impl SagaError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Failed { failure, .. } => failure.kind,
            Self::Cancelled { .. } => Kind::InvalidState,
            Self::Interrupted { .. } => Kind::Unavailable,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { failure, .. } => failure.hint.clone(),
            Self::Cancelled { .. } => None,
            Self::Interrupted { .. } => Some("ask for it again".to_owned()),
        }
    }

    /// What could not be taken back.
    pub fn left(&self) -> &[Failure] {
        match self {
            Self::Failed { left, .. } | Self::Cancelled { left } | Self::Interrupted { left } => left,
        }
    }

    fn new(cause: Cause, left: Vec<Failure>) -> Self {
        match cause {
            Cause::Failed(failure) => Self::Failed { failure, left },
            Cause::Cancelled => Self::Cancelled { left },
            Cause::Interrupted => Self::Interrupted { left },
        }
    }
}

/// Runs a saga that was just begun.
pub async fn drive<C: Context>(
    steps: &[Box<dyn Step<C>>],
    context: &mut C,
    log: &mut impl Log,
    cancel: &CancellationToken,
) -> Result<(), SagaError> {
    resume(steps, context, log, Position::Forward { at: 0 }, Direction::On, cancel).await
}

/// Takes up a saga where its log stands. One that was going back goes back, whatever `direction` says.
pub async fn resume<C: Context>(
    steps: &[Box<dyn Step<C>>],
    context: &mut C,
    log: &mut impl Log,
    from: Position,
    direction: Direction,
    cancel: &CancellationToken,
) -> Result<(), SagaError> {
    let mut position = match (from, direction) {
        (Position::Forward { at }, Direction::Back) => {
            let at = (at + 1).min(steps.len());
            let position = Position::Back { at, cause: Cause::Interrupted, left: Vec::new() };
            note_back(log, &position, context).await;
            position
        }
        (from, _) => from,
    };
    loop {
        position = match position {
            Position::Forward { at } if at >= steps.len() => {
                end(log).await;
                return Ok(());
            }
            Position::Forward { at } => forward(steps, at, context, log, cancel).await,
            Position::Back { at: 0, cause, left } => {
                end(log).await;
                return Err(SagaError::new(cause, left));
            }
            Position::Back { at, cause, left } => back(steps, at, cause, left, context, log).await,
        };
    }
}

/// Runs the step at `at` and notes where that leads.
async fn forward<C: Context>(
    steps: &[Box<dyn Step<C>>],
    at: usize,
    context: &mut C,
    log: &mut impl Log,
    cancel: &CancellationToken,
) -> Position {
    let outcome = run(steps[at].as_ref(), context, cancel).await;
    let cause = match outcome {
        Ok(()) => {
            let position = Position::Forward { at: at + 1 };
            // The last step's note would be followed by the end's at once.
            if at + 1 == steps.len() {
                return position;
            }
            match log.note(&position, &context.saved()).await {
                Ok(()) => return position,
                Err(error) => Cause::Failed(unnoted(steps[at].name(), &error)),
            }
        }
        Err(cause) => cause,
    };
    let position = Position::Back { at: at + 1, cause, left: Vec::new() };
    note_back(log, &position, context).await;
    position
}

/// Takes back the step below `at`.
async fn back<C: Context>(
    steps: &[Box<dyn Step<C>>],
    at: usize,
    cause: Cause,
    mut left: Vec<Failure>,
    context: &mut C,
    log: &mut impl Log,
) -> Position {
    // A later program may have fewer steps than the one that noted this.
    if let Some(step) = steps.get(at - 1) {
        let outcome = AssertUnwindSafe(step.undo(context)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        if let Err(mut failure) = outcome {
            step.name().clone_into(&mut failure.step);
            tracing::error!(step = step.name(), error = failure.message, "step not taken back");
            left.push(failure);
        }
    }
    let position = Position::Back { at: at - 1, cause, left };
    // Back to the first: the end's note follows at once.
    if at > 1 {
        note_back(log, &position, context).await;
    }
    position
}

async fn run<C: Context>(
    step: &dyn Step<C>,
    context: &mut C,
    cancel: &CancellationToken,
) -> Result<(), Cause> {
    let name = step.name();
    let failed = |mut failure: Failure| {
        name.clone_into(&mut failure.step);
        tracing::debug!(step = name, error = failure.message, "step failed");
        Err(Cause::Failed(failure))
    };
    let limit = async {
        match step.limit() {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Cause::Cancelled),
        outcome = AssertUnwindSafe(step.run(context)).catch_unwind() => match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => failed(failure),
            Err(panic) => failed(panicked(panic.as_ref())),
        },
        () = limit => {
            let limit = step.limit().unwrap_or_default();
            failed(Failure::new(Kind::Unavailable, format!("{name} did not end within {limit:?}")))
        }
    }
}

/// Notes on the way back are a help to a next daemon, not a condition: without them it takes back more.
async fn note_back<C: Context>(log: &mut impl Log, position: &Position, context: &C) {
    if let Err(error) = log.note(position, &context.saved()).await {
        tracing::warn!(error = %error, "a saga's way back could not be noted");
    }
}

async fn end(log: &mut impl Log) {
    if let Err(error) = log.end().await {
        // It stays open: the next daemon repeats its last step or undo, which does no harm.
        tracing::warn!(error = %error, "a saga's end could not be noted");
    }
}

fn unnoted(step: &str, error: &DbError) -> Failure {
    let mut failure = Failure::of(error.kind(), error).with_hint(error.hint());
    step.clone_into(&mut failure.step);
    failure
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new(Kind::Internal, format!("internal error: {}", words.unwrap_or("a panic without words")))
        .with_hint("this is a fault of lodge: please report it with the daemon's log".to_owned())
}
