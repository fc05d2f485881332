//! The lifecycle's whole policy as tables, and its laws.

use expect_test::expect;
use lodge_model::JobId;
use lodge_model::domain::lifecycle::{
    CrashedReason, Denied, Event, PausedReason, Request, RunningReason, ShutdownReason, ShutoffReason, State,
    VirtState, admit, advance,
};
use proptest::prelude::*;
use std::fmt::Write as _;

const JOB: JobId = JobId(7);

fn states() -> [State; 9] {
    [
        State::NEW,
        State::Starting { job: JOB },
        State::Running { reason: RunningReason::Booted },
        State::Paused { reason: PausedReason::User },
        State::PmSuspended,
        State::InShutdown { reason: ShutdownReason::Unknown },
        State::Crashed { reason: CrashedReason::Panicked },
        State::Saving { job: JOB, was_running: true },
        State::Stopping { job: JOB },
    ]
}

fn events() -> [Event; 14] {
    [
        Event::StartBegan(JobId(8)),
        Event::Started(RunningReason::Booted),
        Event::StartedPaused(PausedReason::User),
        Event::StartFailed,
        Event::Stopped(PausedReason::IoError),
        Event::Continued(RunningReason::Unpaused),
        Event::FellAsleep,
        Event::WokeUp,
        Event::PoweredDown(ShutdownReason::User),
        Event::GuestCrashed(CrashedReason::Panicked),
        Event::SaveBegan(JobId(8)),
        Event::SaveFailed,
        Event::StopBegan(JobId(8)),
        Event::Exited(ShutoffReason::Destroyed),
    ]
}

/// The variant's name without its fields.
fn name(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn every_request_in_every_state() {
    let mut table = format!("{:12}", "");
    for request in Request::ALL {
        let _ = write!(table, "{:9}", name(request).to_lowercase());
    }
    for state in states() {
        let _ = write!(table, "\n{:12}", name(state));
        for request in Request::ALL {
            let cell = match admit(&state, request) {
                Ok(true) => "begin",
                Ok(false) => "done",
                Err(Denied::NotRunning) => "off",
                Err(Denied::AlreadyRunning) => "runs",
                Err(Denied::Paused) => "paused",
                Err(Denied::NotAsleep) => "awake",
                Err(Denied::Asleep) => "asleep",
                Err(Denied::Crashed) => "crashed",
                Err(Denied::Busy(_)) => "busy",
            };
            let _ = write!(table, "{cell:9}");
        }
    }
    let table: String =
        table.lines().map(|line| format!("{}\n", line.trim_end())).collect::<Vec<_>>().concat();
    expect![[r#"
                    start    shutdown reboot   reset    suspend  resume   wakeup   save     destroy  define   undefine
        Shutoff     begin    off      off      off      off      off      off      off      off      begin    begin
        Starting    busy     busy     busy     busy     busy     busy     busy     busy     begin    begin    busy
        Running     runs     begin    begin    begin    begin    done     awake    begin    begin    begin    begin
        Paused      runs     paused   paused   begin    done     begin    awake    begin    begin    begin    begin
        PmSuspended runs     asleep   asleep   begin    asleep   asleep   begin    asleep   begin    begin    begin
        InShutdown  runs     done     off      off      off      off      off      off      begin    begin    begin
        Crashed     runs     crashed  crashed  begin    crashed  crashed  crashed  crashed  begin    begin    begin
        Saving      busy     busy     busy     busy     busy     busy     busy     busy     begin    begin    busy
        Stopping    busy     busy     busy     busy     busy     busy     busy     busy     done     begin    busy
    "#]].assert_eq(&table);
}

#[test]
fn every_event_in_every_state() {
    let mut table = String::new();
    for event in events() {
        let _ = write!(table, "{:14}", name(event));
        for state in states() {
            let cell = match advance(state, event) {
                Ok(next) if next == state => "=".to_owned(),
                Ok(next) => name(next),
                Err(same) => {
                    assert_eq!(same, state);
                    "-".to_owned()
                }
            };
            let _ = write!(table, "{cell:12}");
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    let header: String =
        states().iter().map(|state| format!("{:12}", name(state))).collect::<Vec<_>>().concat();
    let table = format!("{:14}{}\n{table}", "", header.trim_end());
    expect![[r#"
                      Shutoff     Starting    Running     Paused      PmSuspended InShutdown  Crashed     Saving      Stopping
        StartBegan    Starting    -           -           -           -           -           -           -           -
        Started       -           Running     -           -           -           -           -           -           -
        StartedPaused -           Paused      -           -           -           -           -           -           -
        StartFailed   -           Shutoff     -           -           -           -           -           -           -
        Stopped       -           -           Paused      Paused      Paused      =           -           =           =
        Continued     -           -           Running     Running     Running     Running     Running     =           =
        FellAsleep    -           -           PmSuspended PmSuspended -           -           -           -           -
        WokeUp        -           -           =           -           Running     -           -           -           -
        PoweredDown   -           -           InShutdown  InShutdown  InShutdown  InShutdown  InShutdown  -           =
        GuestCrashed  -           -           Crashed     Crashed     -           -           =           -           =
        SaveBegan     -           -           Saving      Saving      -           -           -           -           -
        SaveFailed    -           -           -           -           -           -           -           Running     -
        StopBegan     -           Stopping    Stopping    Stopping    Stopping    Stopping    Stopping    Stopping    -
        Exited        -           Shutoff     Shutoff     Shutoff     Shutoff     Shutoff     Shutoff     Shutoff     Shutoff
    "#]].assert_eq(&table);
}

#[test]
fn states_show_as_libvirts() {
    let mut table = String::new();
    for state in states() {
        let ((virt, reason), (word, why)) = (state.virt(), state.words());
        let _ = writeln!(table, "{:12}{} {:2}  {word} ({why})", name(state), virt.number(), reason);
    }
    expect![[r#"
        Shutoff     5  0  shut off (unknown)
        Starting    3 11  paused (starting up)
        Running     1  1  running (booted)
        Paused      3  1  paused (user)
        PmSuspended 7  0  pmsuspended (unknown)
        InShutdown  4  0  in shutdown (unknown)
        Crashed     6  1  crashed (panicked)
        Saving      3  3  paused (saving)
        Stopping    4  1  in shutdown (user)
    "#]]
    .assert_eq(&table);
}

#[test]
fn reasons_have_libvirts_numbers() {
    assert_eq!(VirtState::PmSuspended.number(), 7);
    assert_eq!(VirtState::from_number(5), Some(VirtState::Shutoff));
    assert_eq!(VirtState::from_number(8), None);
    assert_eq!(RunningReason::PostCopyFailed.number(), 11);
    assert_eq!(PausedReason::ApiError.number(), 14);
    assert_eq!(ShutoffReason::Daemon.number(), 8);
    assert_eq!(CrashedReason::Panicked.number(), 1);
}

fn event() -> impl Strategy<Value = Event> {
    (0..events().len()).prop_map(|at| events()[at])
}

proptest! {
    #[test]
    fn whatever_happens_the_laws_hold(history in proptest::collection::vec(event(), 0..40)) {
        let mut state = State::NEW;
        for event in history {
            let before = state;
            state = advance(state, event).unwrap_or_else(|same| same);
            // Active is what is not shut off; only a start makes it so, only an end of QEMU or of the start unmakes it.
            prop_assert_eq!(state.is_active(), !matches!(state, State::Shutoff { .. }));
            if state.is_active() != before.is_active() {
                prop_assert!(matches!(event, Event::StartBegan(_) | Event::StartFailed | Event::Exited(_)));
            }
            // A job holds the domain exactly in the states that name it, and others are told which.
            match state.job() {
                Some(job) => prop_assert_eq!(admit(&state, Request::Start), Err(Denied::Busy(job))),
                None => prop_assert!(!matches!(admit(&state, Request::Start), Err(Denied::Busy(_)))),
            }
            // Whatever it does, it can be stopped, and then it is off.
            if state.is_active() {
                prop_assert!(admit(&state, Request::Destroy).is_ok());
                let ended = advance(state, Event::Exited(ShutoffReason::Destroyed));
                prop_assert_eq!(ended, Ok(State::Shutoff { reason: ShutoffReason::Destroyed }));
            }
        }
    }
}
