//! A saga of three steps over a world of three marks, in every trial; and in the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::testing::{MemoryLog, Scenario, try_everything};
use super::*;
use crate::Db;

/// The marks that are set, each with a token only its maker knows.
type World = Arc<Mutex<BTreeMap<&'static str, u64>>>;

struct Marks {
    world: World,
    /// What the steps made: needed to take it back.
    tokens: BTreeMap<String, u64>,
    /// What an earlier daemon noted of that.
    found: BTreeMap<String, u64>,
}

impl Context for Marks {
    fn saved(&self) -> Value {
        json!(self.tokens)
    }
}

struct Mark(&'static str);

#[async_trait::async_trait]
impl Step<Marks> for Mark {
    fn name(&self) -> &'static str {
        self.0
    }

    async fn run(&self, marks: &mut Marks) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        let token = *marks.world.lock().unwrap().entry(self.0).or_insert(7);
        marks.tokens.insert(self.0.to_owned(), token);
        Ok(())
    }

    async fn undo(&self, marks: &mut Marks) -> Result<(), Failure> {
        marks.world.lock().unwrap().remove(self.0);
        marks.tokens.remove(self.0);
        marks.tokens.insert(format!("{} gone", self.0), 0);
        Ok(())
    }
}

struct Bad(&'static str);

#[async_trait::async_trait]
impl Step<Marks> for Bad {
    fn name(&self) -> &'static str {
        "bad"
    }

    async fn run(&self, _: &mut Marks) -> Result<(), Failure> {
        match self.0 {
            "hang" => std::future::pending().await,
            "panic" => panic!("at the step"),
            words => Err(Failure::new(Kind::Busy, words).with_hint("wait".to_owned())),
        }
    }

    async fn undo(&self, _: &mut Marks) -> Result<(), Failure> {
        if self.0 == "sticky" { Err(Failure::new(Kind::Internal, "stuck")) } else { Ok(()) }
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }
}

struct ThreeMarks;

impl Scenario for ThreeMarks {
    type Context = Marks;
    type World = World;

    fn world(&self) -> World {
        World::default()
    }

    fn steps(&self) -> Vec<Box<dyn Step<Marks>>> {
        vec![Box::new(Mark("a")), Box::new(Mark("b")), Box::new(Mark("c"))]
    }

    fn context(&self, world: &World, saved: Option<&Value>) -> Marks {
        let found = saved.map(|saved| serde_json::from_value(saved.clone()).unwrap());
        let found: BTreeMap<String, u64> = found.unwrap_or_default();
        Marks { world: Arc::clone(world), tokens: found.clone(), found }
    }

    fn is_done(&self, world: &World) -> Result<(), String> {
        let count = world.lock().unwrap().len();
        if count == 3 { Ok(()) } else { Err(format!("{count} of 3 marks")) }
    }

    fn is_undone(&self, world: &World) -> Result<(), String> {
        let world = world.lock().unwrap();
        if world.is_empty() { Ok(()) } else { Err(format!("left: {world:?}")) }
    }
}

#[tokio::test]
async fn all_or_nothing_whatever_happens() {
    try_everything(&ThreeMarks).await.unwrap();
}

/// What the step `b` may do wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    /// A second run is none too many.
    FailsWhenRepeated,
    /// A second undo, or one after a run that never began, is.
    FailsWhenUndoneTwice,
    /// What was not noted after its run is not taken back.
    NeedsItsNote,
    /// A next daemon that finds `c` taken back takes `b` for taken back too.
    ForgottenOnTheWayBack,
}

#[async_trait::async_trait]
impl Step<Marks> for Defect {
    fn name(&self) -> &'static str {
        "b"
    }

    async fn run(&self, marks: &mut Marks) -> Result<(), Failure> {
        let is_there = marks.world.lock().unwrap().contains_key("b");
        if is_there && *self == Self::FailsWhenRepeated {
            return Err(Failure::new(Kind::Exists, "there is one"));
        }
        Mark("b").run(marks).await
    }

    async fn undo(&self, marks: &mut Marks) -> Result<(), Failure> {
        let is_there = marks.world.lock().unwrap().contains_key("b");
        match self {
            Self::FailsWhenUndoneTwice if !is_there => Err(Failure::new(Kind::NotFound, "there is none")),
            Self::NeedsItsNote if !marks.tokens.contains_key("b") => Ok(()),
            Self::ForgottenOnTheWayBack if marks.found.contains_key("c gone") => Ok(()),
            _ => Mark("b").undo(marks).await,
        }
    }
}

struct Defective(Defect);

impl Scenario for Defective {
    type Context = Marks;
    type World = World;

    fn world(&self) -> World {
        ThreeMarks.world()
    }

    fn steps(&self) -> Vec<Box<dyn Step<Marks>>> {
        vec![Box::new(Mark("a")), Box::new(self.0), Box::new(Mark("c"))]
    }

    fn context(&self, world: &World, saved: Option<&Value>) -> Marks {
        ThreeMarks.context(world, saved)
    }

    fn is_done(&self, world: &World) -> Result<(), String> {
        ThreeMarks.is_done(world)
    }

    fn is_undone(&self, world: &World) -> Result<(), String> {
        ThreeMarks.is_undone(world)
    }
}

#[tokio::test]
async fn each_defect_is_found_and_its_trial_told() {
    for (defect, trial) in [
        (Defect::FailsWhenRepeated, "repeated, Repeat(1): "),
        (Defect::FailsWhenUndoneTwice, "None, Crash { note: 0, written: true }, then Back: "),
        (Defect::NeedsItsNote, "None, Crash { note: 1, written: false }, then Back: "),
        (Defect::ForgottenOnTheWayBack, "FailAfter(2), Crash { note: 3, written: true }, then On: "),
    ] {
        let told = try_everything(&Defective(defect)).await.unwrap_err();
        assert!(told.starts_with(trial), "{defect:?}: {told}");
    }
}

async fn with_last(bad: &'static str) -> (World, SagaError) {
    let world = World::default();
    let mut context = ThreeMarks.context(&world, None);
    let steps: Vec<Box<dyn Step<Marks>>> = vec![Box::new(Mark("a")), Box::new(Bad(bad))];
    let cancel = CancellationToken::new();
    let error = drive(&steps, &mut context, &mut MemoryLog::default(), &cancel).await.unwrap_err();
    (world, error)
}

#[tokio::test]
async fn a_failure_a_panic_and_a_hang_are_told_with_their_step() {
    for (bad, kind, words) in [
        ("no room", Kind::Busy, "no room"),
        ("panic", Kind::Internal, "internal error: at the step"),
        ("hang", Kind::Unavailable, "bad did not end within 20ms"),
    ] {
        let (world, error) = with_last(bad).await;
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
        let SagaError::Failed { failure, left } = error else { panic!("{error:?}") };
        assert_eq!(failure.step, "bad");
        assert!(left.is_empty() && world.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_undo_that_fails_is_collected_and_the_others_still_run() {
    let (world, error) = with_last("sticky").await;
    assert_eq!(error.left().len(), 1);
    assert_eq!(error.left()[0].step, "bad");
    assert!(world.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_open_saga_is_found_by_the_next_daemon_and_gone_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lodge.db");
    let world = World::default();
    {
        let db = Db::open(&path).unwrap();
        let mut context = ThreeMarks.context(&world, None);
        let mut log = begin(&db, "marks", "world", Some(4), &context).await.unwrap();
        Mark("a").run(&mut context).await.unwrap();
        log.note(&Position::Forward { at: 1 }, &context.saved()).await.unwrap();
        Mark("b").run(&mut context).await.unwrap();
    }
    let db = Db::open(&path).unwrap();
    let mut open = open_sagas(&db).await.unwrap();
    let mut saga = open.pop().unwrap();
    assert!(open.is_empty());
    assert_eq!((saga.kind.as_str(), saga.subject.as_str(), saga.job), ("marks", "world", Some(4)));
    assert_eq!(saga.position, Position::Forward { at: 1 });
    assert_eq!(saga.saved, json!({"a": 7}));
    let mut context = ThreeMarks.context(&world, Some(&saga.saved));
    let cancel = CancellationToken::new();
    let steps = ThreeMarks.steps();
    let error = resume(&steps, &mut context, &mut saga.log, saga.position, Direction::Back, &cancel).await;
    assert!(matches!(error, Err(SagaError::Interrupted { .. })));
    assert!(world.lock().unwrap().is_empty());
    assert!(open_sagas(&db).await.unwrap().is_empty());
}
