//! The database in a directory of its own.

use lodge_model::Kind;
use serde_json::json;

use super::events::EVENTS_KEPT;
use super::images::ImageRow;
use super::jobs::{JobEnd, JobState};
use super::*;

fn db() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("lodge.db")).unwrap();
    (dir, db)
}

#[tokio::test]
async fn a_job_goes_from_running_to_its_end_and_stays_there() {
    let (_dir, db) = db();
    let id = db.begin_job("image-build", "debian-12", "root").await.unwrap();
    db.note_job(id, "packages", 0.25, "212 of 800").await.unwrap();
    let job = db.job(id).await.unwrap().unwrap();
    assert_eq!((job.state, job.phase.as_str(), job.progress), (JobState::Running, "packages", 0.25));
    assert!(db.end_job(id, JobEnd::Done(Some(json!({"name": "debian-12"})))).await.unwrap());
    assert!(!db.end_job(id, JobEnd::Cancelled).await.unwrap(), "an end is final");
    let job = db.job(id).await.unwrap().unwrap();
    assert_eq!((job.state, job.progress), (JobState::Done, 1.0));
    assert_eq!(job.result, Some(json!({"name": "debian-12"})));
    assert!(job.ended_ms.is_some());
    assert_eq!(db.job(99).await.unwrap(), None);
}

#[tokio::test]
async fn jobs_cut_short_are_ended_but_for_those_of_open_sagas() {
    let (dir, first) = db();
    let plain = first.begin_job("image-build", "a", "root").await.unwrap();
    let kept = first.begin_job("domain-start", "b", "root").await.unwrap();
    first
        .begin_saga("domain-start", "b", Some(kept), json!({"way": "forward", "at": 0}), json!({}))
        .await
        .unwrap();
    drop(first);
    let db = Db::open(&dir.path().join("lodge.db")).unwrap();
    assert_eq!(db.end_cut_jobs(json!({"message": "interrupted"})).await.unwrap(), [plain]);
    assert_eq!(db.job(plain).await.unwrap().unwrap().state, JobState::Failed);
    assert_eq!(db.job(kept).await.unwrap().unwrap().state, JobState::Running);
    assert_eq!(db.saga_rows().await.unwrap().len(), 1);
}

#[tokio::test]
async fn events_are_numbered_in_order_kept_within_bounds_and_never_renumbered() {
    let (dir, first) = db();
    let events: Vec<_> =
        (0..50).map(|at| first.append_event("domain.started", "id", json!({ "at": at }))).collect();
    let rows = futures_util::future::join_all(events).await;
    let mut seqs: Vec<_> = rows.into_iter().map(|row| row.unwrap().seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=50).collect::<Vec<_>>());
    let page = first.events_after(48, 10).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [49, 50]);
    assert_eq!(page.oldest, Some(1));
    // Far on, the old ones are gone, and the numbers go on after a reopening.
    let far = EVENTS_KEPT + 1024;
    first
        .write("jump", move |db| {
            db.execute("INSERT INTO events VALUES (?1, 0, 'k', 's', '{}')", [far - 1]).map(|_| ())
        })
        .await
        .unwrap();
    while !first.append_event("k", "s", json!({})).await.unwrap().seq.is_multiple_of(256) {}
    assert!(first.events_after(0, 10).await.unwrap().oldest.unwrap() > 50);
    let last = first.last_event().await.unwrap();
    first.write("clear", |db| db.execute("DELETE FROM events", []).map(|_| ())).await.unwrap();
    drop(first);
    let db = Db::open(&dir.path().join("lodge.db")).unwrap();
    assert_eq!(db.append_event("k", "s", json!({})).await.unwrap().seq, last + 1);
}

#[tokio::test]
async fn rows_come_back_as_they_went_in() {
    let (_dir, db) = db();
    let image = ImageRow {
        name: "debian-12".into(),
        path: "/images/debian-12.qcow2".into(),
        format: "qcow2".into(),
        size_bytes: 1 << 30,
        virtual_bytes: 1 << 33,
        sha256: "00".into(),
        source: "recipe".into(),
        details: json!({"user": "debian"}),
        created_ms: 1,
    };
    db.put_image(image.clone()).await.unwrap();
    assert_eq!(db.image("debian-12").await.unwrap().as_ref(), Some(&image));
    assert_eq!(db.images().await.unwrap(), [image]);
    assert!(db.remove_image("debian-12").await.unwrap());

    db.set_value("a", vec![0, 255]).await.unwrap();
    assert_eq!(db.value("a").await.unwrap(), Some(vec![0, 255]));
    assert!(db.remove_value("a").await.unwrap());
    assert_eq!(db.value("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_failing_request_takes_back_its_own_changes_only() {
    let (_dir, db) = db();
    let good = db.set_value("good", vec![1]);
    let bad = db.write("fail", |db| {
        db.execute("INSERT INTO kv VALUES ('bad', x'01')", [])?;
        db.execute("INSERT INTO nowhere VALUES (1)", []).map(|_| ())
    });
    let panics = db.write("panic", |db| -> rusqlite::Result<()> {
        db.execute("INSERT INTO kv VALUES ('panicked', x'01')", [])?;
        panic!("made to panic")
    });
    let (good, bad, panics) = tokio::join!(good, bad, panics);
    good.unwrap();
    assert!(matches!(bad.unwrap_err(), DbError::Write { what: "fail", .. }));
    assert!(matches!(panics.unwrap_err(), DbError::Stopped { what: "panic" }));
    assert!(db.value("good").await.unwrap().is_some());
    assert!(db.value("bad").await.unwrap().is_none() && db.value("panicked").await.unwrap().is_none());
    db.set_value("after", vec![]).await.unwrap();
}

#[tokio::test]
async fn a_full_database_is_told_and_what_was_answered_stays() {
    let (_dir, db) = db();
    db.set_value("before", vec![7]).await.unwrap();
    db.write("limit", |db| db.pragma_update(None, "max_page_count", 60)).await.unwrap();
    let big = futures_util::future::join_all((0..8).map(|at| {
        let db = db.clone();
        async move { (at, db.set_value(&format!("big{at}"), vec![0; 100_000]).await) }
    }));
    let mut refused = 0;
    for (at, outcome) in big.await {
        let there = db.value(&format!("big{at}")).await.unwrap().is_some();
        assert_eq!(there, outcome.is_ok(), "answered and true differ for {at}");
        if let Err(error) = outcome {
            assert_eq!(error.kind(), Kind::Exhausted, "{error}");
            assert!(error.hint().unwrap().contains("space"));
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(db.value("before").await.unwrap(), Some(vec![7]));
    db.set_value("small", vec![1]).await.unwrap();
}

#[test]
fn a_newer_database_a_foreign_one_and_a_broken_one_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let newer = dir.path().join("newer.db");
    drop(Db::open(&newer).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let broken = dir.path().join("broken.db");
    std::fs::write(
        &broken,
        "this is no database at all, and long enough to be read as a header of one: ".repeat(20),
    )
    .unwrap();
    let torn = dir.path().join("torn.db");
    drop(Db::open(&torn).unwrap());
    let mut bytes = std::fs::read(&torn).unwrap();
    bytes[4096..12288].fill(0xa5);
    std::fs::write(&torn, &bytes).unwrap();

    let kinds = [
        (newer, Kind::Unsupported),
        (foreign, Kind::Conflict),
        (broken, Kind::Corrupt),
        (torn, Kind::Corrupt),
    ];
    for (path, kind) in kinds {
        let before = std::fs::read(&path).unwrap();
        let error = Db::open(&path).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint().is_some());
        assert_eq!(std::fs::read(&path).unwrap(), before, "`{}` was changed", path.display());
    }
}

#[test]
fn the_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lodge.db");
    drop(Db::open(&path).unwrap());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_newest_version_of_a_template_is_the_one_that_is_meant() {
    use super::templates::TemplateRow;
    let (_dir, db) = db();
    let row = |version| TemplateRow {
        name: "web".to_owned(),
        version,
        source: "web1".to_owned(),
        document: "<domain/>".to_owned(),
        disks: json!([{ "target": "vda" }]),
        nvram: None,
        details: json!({}),
        created_ms: 1,
    };
    for version in [2, 1, 3] {
        db.put_guest_template(row(version)).await.unwrap();
    }
    assert_eq!(db.guest_template("web", None).await.unwrap(), Some(row(3)));
    assert_eq!(db.guest_template("web", Some(1)).await.unwrap(), Some(row(1)));
    assert_eq!(db.guest_template("web", Some(9)).await.unwrap(), None);
    assert!(db.remove_guest_template("web", 3).await.unwrap());
    assert!(!db.remove_guest_template("web", 3).await.unwrap());
    let left: Vec<_> = db.guest_templates().await.unwrap().into_iter().map(|row| row.version).collect();
    assert_eq!(left, [2, 1]);
}

#[tokio::test]
async fn an_act_on_an_identity_is_noted_once_and_found_by_name_and_by_uuid() {
    use super::identities::IdentityActRow;
    let (_dir, db) = db();
    let row = |id: &str, name: &str| IdentityActRow {
        id: id.to_owned(),
        time_ms: 1,
        act: "clone".to_owned(),
        guest: format!("uuid of {name}"),
        name: name.to_owned(),
        source: "web".to_owned(),
        caller: "uid 0".to_owned(),
        items: json!([]),
        warnings: json!([]),
    };
    for (id, name) in [("1", "a"), ("2", "b"), ("2", "b"), ("3", "a")] {
        db.put_identity_act(row(id, name)).await.unwrap();
    }
    let ids = |rows: Vec<IdentityActRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(db.identity_acts(Some("a")).await.unwrap()), ["3", "1"]);
    assert_eq!(ids(db.identity_acts(Some("uuid of b")).await.unwrap()), ["2"]);
    db.remove_identity_act("3").await.unwrap();
    assert_eq!(ids(db.identity_acts(None).await.unwrap()), ["2", "1"]);
}

#[tokio::test]
async fn what_was_read_of_a_disk_is_kept_with_its_print() {
    let (_dir, db) = db();
    db.put_identity("web1", "1:2:3", json!({ "machine-id": "a" })).await.unwrap();
    db.put_identity("web1", "1:2:4", json!({ "machine-id": "b" })).await.unwrap();
    let kept = ("1:2:4".to_owned(), json!({ "machine-id": "b" }));
    assert_eq!(db.identity("web1").await.unwrap(), Some(kept));
    assert_eq!(db.identities().await.unwrap().len(), 1);
    db.forget_identities(vec!["web1".to_owned(), "other".to_owned()]).await.unwrap();
    assert_eq!(db.identity("web1").await.unwrap(), None);
}
