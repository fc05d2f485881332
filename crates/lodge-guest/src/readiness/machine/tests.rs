//! The machine's rules as stories: what is seen, and what it leads to.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::super::cloud_init::{self, Records};
use super::*;

const ALL: Sight = Sight { agent_channel: true, nics: true, seed: true };

/// Seconds of slowness-free time and what is seen then.
fn story(sight: Sight, speed: f64, events: Vec<(u64, Event)>, expected: &Expect) {
    let mut machine = Machine::new(sight, speed, 0);
    let mut table = String::new();
    for (second, event) in events {
        machine.apply(event, second * 1000);
        let readiness = machine.readiness();
        let deadline = readiness.deadline_ms.map_or("-".to_owned(), |at| format!("{}", at / 1000));
        writeln!(table, "{second:4} {:10} {deadline:>5} {}", readiness.phase.word(), readiness.message)
            .unwrap();
    }
    let readiness = machine.readiness();
    for note in &readiness.notes {
        writeln!(table, "note: {note}").unwrap();
    }
    if let Some(failure) = &readiness.failure {
        writeln!(table, "{} {:?} {:?}", failure.module, failure.log_line, failure.stalled).unwrap();
    }
    let times = readiness.timeline.iter().map(|milestone| match milestone.duration_ms {
        Some(ms) => format!("{} {}s", milestone.phase.word(), ms / 1000),
        None => milestone.phase.word().to_owned(),
    });
    writeln!(table, "{}", times.collect::<Vec<_>>().join(", ")).unwrap();
    expected.assert_eq(&table);
}

fn addresses() -> Event {
    Event::Addresses(vec!["192.168.122.7".parse().unwrap()])
}

fn report(status: &str, result: Option<&str>) -> Event {
    let records = Records {
        status: Some(status.as_bytes()),
        result: result.map(str::as_bytes),
        output: None,
        seed: true,
    };
    Event::CloudInit(Box::new(cloud_init::digest(&records)))
}

fn stage(name: &str) -> Event {
    report(&format!(r#"{{"v1": {{"stage": "{name}", "datasource": "DataSourceNoCloud"}}}}"#), None)
}

fn result(errors: &str) -> Event {
    let result = format!(r#"{{"v1": {{"datasource": "DataSourceNoCloud", "errors": [{errors}]}}}}"#);
    report(r#"{"v1": {"stage": null, "datasource": "DataSourceNoCloud"}}"#, Some(&result))
}

#[test]
fn a_guest_gets_ready() {
    story(
        ALL,
        1.0,
        vec![
            (0, Event::Started),
            (6, addresses()),
            (8, Event::AgentAnswered),
            (8, Event::CloudInit(Box::new(cloud_init::not_begun()))),
            (9, stage("init")),
            (10, stage("modules-final")),
            (30, stage("modules-final")),
            (40, result("")),
            (40, Event::Hostname("test-system".to_owned())),
            (900, Event::Tick),
            (950, Event::Gone("it was shut down".to_owned())),
            (951, addresses()),
        ],
        &expect![[r#"
               0 booting       60 waiting for a sign of the guest
               6 address       66 it has an address; waiting for its agent
               8 agent         68 its agent answers; looking at its cloud-init
               8 cloud-init   338 cloud-init has not begun yet
               9 cloud-init   339 cloud-init: stage init
              10 cloud-init   340 cloud-init: stage modules-final
              30 cloud-init   340 cloud-init: stage modules-final
              40 ready          - cloud-init is done
              40 ready          - cloud-init is done
             900 ready          - cloud-init is done
             950 stopped        - it was shut down
             951 stopped        - it was shut down
            booting 6s, address 2s, agent 0s, cloud-init 32s, ready 910s, stopped
        "#]],
    );
}

#[test]
fn a_module_that_failed_is_told_with_its_line() {
    story(
        ALL,
        1.0,
        vec![
            (0, Event::Started),
            (8, Event::AgentAnswered),
            (9, addresses()),
            (9, stage("modules-final")),
            (20, result(r#""('locale', Boom())""#)),
            (20, Event::LogLine("util.py[WARNING]: Running module locale failed".to_owned())),
            (50, result(r#""('locale', Boom())""#)),
        ],
        &expect![[r#"
               0 booting       60 waiting for a sign of the guest
               8 agent         68 its agent answers; looking at its cloud-init
               9 agent         69 its agent answers; looking at its cloud-init
               9 cloud-init   339 cloud-init: stage modules-final
              20 failed         - cloud-init: locale failed
              20 failed         - cloud-init: locale failed
              50 failed         - cloud-init: locale failed
            locale Some("util.py[WARNING]: Running module locale failed") false
            booting 8s, agent 1s, cloud-init 11s, failed
        "#]],
    );
}

#[test]
fn a_seed_that_was_not_read_is_a_failure() {
    story(
        ALL,
        1.0,
        vec![
            (0, Event::Started),
            (8, Event::AgentAnswered),
            (8, Event::CloudInit(Box::new(cloud_init::switched_off()))),
            (
                8,
                Event::LogLine(
                    "No ds found [mode=search, notfound=disabled]. Disabled cloud-init [1]".to_owned(),
                ),
            ),
        ],
        &expect![[r#"
               0 booting       60 waiting for a sign of the guest
               8 agent         68 its agent answers; looking at its cloud-init
               8 failed         - cloud-init found no data source and did not run
               8 failed         - cloud-init found no data source and did not run
            datasource Some("No ds found [mode=search, notfound=disabled]. Disabled cloud-init [1]") false
            booting 8s, agent 0s, failed
        "#]],
    );
}

#[test]
fn a_slow_guest_gets_more_time_and_a_stuck_one_is_told_and_may_go_on() {
    story(
        ALL,
        20.0,
        vec![
            (0, Event::Started),
            (600, Event::Tick),
            (631, Event::Tick),
            (640, Event::AgentAnswered),
            (641, stage("init")),
            (1500, stage("init")),
            (1600, stage("init")),
            (1700, stage("modules-config")),
            (1800, result("")),
        ],
        &expect![[r#"
               0 booting      630 waiting for a sign of the guest
             600 booting      630 waiting for a sign of the guest
             631 failed         - stalled: no sign of the guest for 631 s
             640 agent       1270 its agent answers; looking at its cloud-init
             641 cloud-init  1541 cloud-init: stage init
            1500 cloud-init  1541 cloud-init: stage init
            1600 failed         - stalled: cloud-init did not move for 959 s; last seen: cloud-init: stage init
            1700 cloud-init  2600 cloud-init: stage modules-config
            1800 ready          - cloud-init is done
            note: it has no address that is known here
            booting 631s, failed 9s, booting 0s, agent 1s, cloud-init 959s, failed 100s, cloud-init 100s, ready
        "#]],
    );
}

#[test]
fn time_does_not_count_while_it_is_held() {
    story(
        ALL,
        1.0,
        vec![
            (0, Event::Started),
            (10, Event::Held),
            (500, Event::Tick),
            (510, Event::Released),
            (540, Event::Tick),
            (561, Event::Tick),
        ],
        &expect![[r#"
               0 booting       60 waiting for a sign of the guest
              10 booting        - waiting for a sign of the guest
             500 booting        - waiting for a sign of the guest
             510 booting      560 waiting for a sign of the guest
             540 booting      560 waiting for a sign of the guest
             561 failed         - stalled: no sign of the guest for 61 s
            boot None true
            booting 561s, failed
        "#]],
    );
}

#[test]
fn what_a_guest_lacks_is_told_and_not_waited_for() {
    let without_channel = Sight { agent_channel: false, nics: true, seed: false };
    story(
        without_channel,
        1.0,
        vec![(0, Event::Started), (5, addresses())],
        &expect![[r#"
           0 booting       60 waiting for a sign of the guest
           5 ready          - it has an address; more cannot be seen
        note: it has no guest agent's channel: what goes on inside cannot be seen
        booting 5s, address 0s, ready
    "#]],
    );
    let nothing = Sight { agent_channel: false, nics: false, seed: false };
    story(
        nothing,
        1.0,
        vec![(0, Event::Started), (900, Event::Tick)],
        &expect![[r#"
           0 ready          - it runs
         900 ready          - it runs
        note: it has neither a nic nor a guest agent's channel: only that it runs can be known
        booting 0s, ready
    "#]],
    );
    let no_seed = Sight { seed: false, ..ALL };
    story(
        no_seed,
        1.0,
        vec![(0, Event::Started), (5, addresses()), (66, Event::Tick)],
        &expect![[r#"
           0 booting       60 waiting for a sign of the guest
           5 address       65 it has an address; waiting for its agent
          66 ready          - it has an address; its agent does not answer
        note: no agent answered within 61 s: what goes on inside cannot be seen
        booting 5s, address 61s, ready
    "#]],
    );
    story(
        ALL,
        1.0,
        vec![(0, Event::Started), (5, addresses()), (66, Event::Tick)],
        &expect![[r#"
           0 booting       60 waiting for a sign of the guest
           5 address       65 it has an address; waiting for its agent
          66 failed         - stalled: it has an address, but no agent answered for 61 s
        agent None true
        booting 5s, address 61s, failed
    "#]],
    );
    let system = |up, word: &str| Event::System { up, word: word.to_owned() };
    story(
        no_seed,
        1.0,
        vec![
            (0, Event::Started),
            (5, Event::AgentAnswered),
            (5, system(false, "starting")),
            (9, system(true, "degraded")),
        ],
        &expect![[r#"
               0 booting       60 waiting for a sign of the guest
               5 agent         65 its agent answers; looking at its cloud-init
               5 agent         65 its system is starting; it has no cloud-init
               9 ready          - its system is up (degraded); it has no cloud-init
            booting 5s, agent 4s, ready
        "#]],
    );
}

#[test]
fn a_guest_that_resets_itself_begins_anew() {
    story(
        ALL,
        1.0,
        vec![
            (0, Event::Started),
            (8, Event::AgentAnswered),
            (9, stage("modules-final")),
            (20, Event::Started),
            (28, addresses()),
            (29, Event::AgentAnswered),
            (30, result("")),
        ],
        &expect![[r#"
               0 booting       60 waiting for a sign of the guest
               8 agent         68 its agent answers; looking at its cloud-init
               9 cloud-init   339 cloud-init: stage modules-final
              20 booting       80 waiting for a sign of the guest
              28 address       88 it has an address; waiting for its agent
              29 agent         89 its agent answers; looking at its cloud-init
              30 ready          - cloud-init is done
            booting 8s, agent 1s, cloud-init 11s, booting 8s, address 1s, agent 1s, ready
        "#]],
    );
}
