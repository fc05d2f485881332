//! Whether a client calls without a pause, so that its next call is worth a look before the connection sleeps.
//!
//! Where processors are idle, to sleep and to be woken costs a connection more than most calls do. If each of the last
//! calls came right behind the answer before it and yet took as long as that, the connection's task looks for the next
//! one for a moment. Where client and daemon hand a busy processor to each other, calls come sooner, and a look would
//! only take it away: so what calls take without looking is measured again and again. One connection looks at a time,
//! for no longer than such calls take, and only where a processor is left for the client; one vain look, and the
//! client has to begin anew. Deliberately absent: bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A call sooner behind an answer needed no processor that slept.
const HANDED_OVER: Duration = Duration::from_micros(30);
/// A call later came after a pause. As long is looked for one.
const SOON: Duration = Duration::from_micros(100);
/// So many calls in a row between the two.
const STEADY: u32 = 16;
/// So many calls may be found by looking before other tasks of the thread have their turn.
const TURN: u32 = 64;
/// And so many before it is measured again what they take without.
const TRIAL: u32 = 512;

/// One client's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    answered: Option<Instant>,
    in_a_row: u32,
    found: u32,
}

impl Pace {
    /// The client has its answer.
    pub fn answered(&mut self) {
        self.answered = Some(Instant::now());
    }

    /// Something came from it that was not looked for.
    pub fn called(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.came(answered.elapsed());
        }
    }

    /// A call came so long behind the answer before it.
    fn came(&mut self, behind: Duration) {
        let is_worth_a_look = (HANDED_OVER..=SOON).contains(&behind);
        self.in_a_row = if is_worth_a_look { self.in_a_row.saturating_add(1) } else { 0 };
    }

    /// Until when the next call is worth a look.
    pub fn look_until(&self) -> Option<Instant> {
        self.answered.filter(|_| self.in_a_row >= STEADY).map(|answered| answered + SOON)
    }

    /// A look found a call; says whether others have to have their turn now.
    pub fn found(&mut self) -> bool {
        self.answered = None;
        self.found = self.found.wrapping_add(1);
        if self.found.is_multiple_of(TRIAL) {
            self.in_a_row = 0;
        }
        self.found.is_multiple_of(TURN)
    }

    /// A look was in vain.
    pub fn missed(&mut self) {
        *self = Self::default();
    }
}

/// The one place for whoever looks.
#[derive(Debug)]
pub(crate) struct Lookout(Option<AtomicBool>);

/// Taken; free again when dropped.
pub(super) struct Looking<'a>(&'a AtomicBool);

impl Lookout {
    /// With a processor for the client beside the one that looks.
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self((processors > 1).then(AtomicBool::default))
    }

    /// Takes the place, if it is free.
    pub(super) fn take(&self) -> Option<Looking<'_>> {
        let taken = self.0.as_ref()?;
        (!taken.swap(true, Ordering::Acquire)).then_some(Looking(taken))
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many calls, each so long behind the answer before it.
    fn calls(pace: &mut Pace, count: u32, behind: Duration) {
        (0..count).for_each(|_| pace.came(behind));
        pace.answered();
    }

    #[test]
    fn only_calls_that_come_soon_and_not_at_once_are_looked_for() {
        let mut pace = Pace::default();
        calls(&mut pace, STEADY - 1, HANDED_OVER);
        assert!(pace.look_until().is_none());
        calls(&mut pace, 1, HANDED_OVER);
        assert!(pace.look_until().is_some());
        calls(&mut pace, 1, SOON * 2);
        assert!(pace.look_until().is_none(), "it paused");
        calls(&mut pace, STEADY, HANDED_OVER / 2);
        assert!(pace.look_until().is_none(), "a look would take the processor away");
        calls(&mut pace, STEADY, HANDED_OVER);
        pace.missed();
        pace.answered();
        assert!(pace.look_until().is_none(), "it was waited for in vain");
    }

    #[test]
    fn others_have_their_turn_and_looking_is_put_to_the_test() {
        let mut pace = Pace::default();
        calls(&mut pace, STEADY, HANDED_OVER);
        let turns = (1..TRIAL).filter(|_| pace.found()).count();
        assert_eq!(u32::try_from(turns).unwrap(), TRIAL / TURN - 1);
        pace.answered();
        assert!(pace.look_until().is_some());
        assert!(pace.found());
        pace.answered();
        assert!(pace.look_until().is_none());
    }

    #[test]
    fn one_looks_at_a_time_and_where_a_processor_is_left() {
        let lookout = Lookout(Some(AtomicBool::default()));
        let looking = lookout.take();
        assert!(looking.is_some() && lookout.take().is_none());
        drop(looking);
        assert!(lookout.take().is_some());
        assert!(Lookout(None).take().is_none());
    }
}
