//! Rename, metadata, dump, jobs, saved images, and guests tied to their caller.

use lodge_domain::{
    Affects, CreateOptions, DefineOptions, DestroyOptions, DomainError, DumpFormat, DumpOptions,
    JobOperation, JobPhase, MetadataEdit, MetadataKind, RestoreOptions, SaveOptions, StartOptions, Ticket,
    UndefineOptions, chain,
};
use lodge_model::Kind;
use tokio_util::sync::CancellationToken;

use crate::support::{Listener, World, has_qemu, state, tiny, until};

fn edit(kind: MetadataKind, text: Option<&str>, live: bool, config: bool) -> MetadataEdit {
    MetadataEdit {
        kind,
        text: text.map(str::to_owned),
        uri: Some("http://x/".into()),
        key: Some("k".into()),
        affects: Affects { live, config },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_renamed_with_its_marks_and_found_by_its_new_name_only() {
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("old"), DefineOptions::default()).await.unwrap();
    domains.define(&tiny("other"), DefineOptions::default()).await.unwrap();
    guest.set_autostart(true).await.unwrap();
    guest.set_autostart_once(true).await.unwrap();
    let mut listener = Listener::new(&domains);
    let taken = guest.rename("other".into()).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::Exists, "{}", chain(&taken));
    let itself = guest.rename("old".into()).await.unwrap_err();
    assert!(matches!(itself, DomainError::CannotRename { .. }), "{}", chain(&itself));
    let path = guest.rename("a/b".into()).await.unwrap_err();
    assert_eq!(path.kind(), Kind::InvalidInput, "{}", chain(&path));
    guest.rename("new".into()).await.unwrap();
    assert_eq!(listener.seen(), ["undefined renamed", "defined renamed"]);
    assert!(domains.find("old").is_err() && domains.find("a/b").is_err());
    assert_eq!(domains.find("new").unwrap().id(), guest.id());
    drop(guest);
    domains.close(std::time::Duration::from_secs(5)).await;
    let domains = world.open().await;
    let view = domains.find("new").unwrap().snapshot();
    assert!(view.autostart && view.autostart_once);
    let domain = domains.find("new").unwrap();
    domain.undefine(UndefineOptions::default()).await.unwrap();
    assert!(!world.files().iter().any(|file| file.contains("new.xml")), "{:?}", world.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_kept_live_and_for_the_next_boot() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let mut listener = Listener::new(&domains);
    let (title, element) = (MetadataKind::Title, MetadataKind::Element);
    guest.set_metadata(edit(title, Some("hello"), false, true)).await.unwrap();
    guest.set_metadata(edit(element, Some("<a><b/></a>"), false, true)).await.unwrap();
    assert_eq!(listener.seen(), ["metadata_change title", "metadata_change element http://x/"]);
    assert_eq!(guest.metadata(title, None, false).unwrap().as_deref(), Some("hello"));
    let off = guest.set_metadata(edit(title, Some("x"), true, false)).await.unwrap_err();
    assert!(matches!(off, DomainError::NotRunning { .. }));
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.set_metadata(edit(title, Some("live"), true, false)).await.unwrap();
    assert_eq!(guest.metadata(title, None, true).unwrap().as_deref(), Some("live"));
    assert_eq!(guest.metadata(title, None, false).unwrap().as_deref(), Some("hello"));
    let told = guest.metadata(element, Some("http://x/"), true).unwrap();
    assert_eq!(told.as_deref(), Some("<a>\n  <b/>\n</a>"));
    guest.set_metadata(edit(element, None, true, true)).await.unwrap();
    assert_eq!(guest.metadata(element, Some("http://x/"), true).unwrap(), None);
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_guest_that_is_defined_stays_with_its_number() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.create(&tiny("web1"), CreateOptions::default(), Ticket::default()).await.unwrap();
    let number = guest.snapshot().domid();
    let xml = tiny("web1").replace("<name>", &format!("<uuid>{}</uuid><name>", guest.id()));
    domains.define(&xml, DefineOptions::default()).await.unwrap();
    assert!(guest.snapshot().persistent);
    assert_eq!(guest.snapshot().domid(), number);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(state(&domains.find("web1").unwrap()), "shut off (destroyed)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_written_and_the_guest_goes_on_or_ends() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let file = world.dir.path().join("core");
    let off = guest.dump(file.clone(), DumpOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(off.kind(), Kind::InvalidState);
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let mut listener = Listener::new(&domains);
    let memory = DumpOptions { memory_only: true, ..DumpOptions::default() };
    guest.dump(file.clone(), memory, Ticket::default()).await.unwrap();
    assert_eq!(&std::fs::read(&file).unwrap()[..4], b"\x7fELF");
    assert_eq!(state(&guest), "running (unpaused)");
    assert_eq!(listener.seen(), ["suspended paused", "resumed unpaused"]);
    let packed = DumpOptions { format: DumpFormat::KdumpZlib, live: true, ..memory };
    guest.dump(file.clone(), packed, Ticket::default()).await.unwrap();
    assert_eq!(&std::fs::read(&file).unwrap()[..12], b"makedumpfile");
    guest.dump(file.clone(), DumpOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(&std::fs::read(&file).unwrap()[..4], b"QEVM");
    // Twice: after the first QEMU stands still by itself and must be let run again.
    let live = DumpOptions { live: true, ..DumpOptions::default() };
    guest.dump(file.clone(), live, Ticket::default()).await.unwrap();
    guest.dump(file.clone(), live, Ticket::default()).await.unwrap();
    let nowhere = world.dir.path().join("no/such");
    let error = guest.dump(nowhere, memory, Ticket::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", chain(&error));
    assert_eq!(state(&guest), "running (unpaused)");
    guest.dump(file, DumpOptions { crash: true, ..memory }, Ticket::default()).await.unwrap();
    until(&guest, "off", |view| !view.is_active()).await;
    assert_eq!(state(&guest), "shut off (crashed)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_leaves_figures_and_its_image_can_be_edited() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    assert!(matches!(guest.job().await, Err(DomainError::NotRunning { .. })));
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(guest.job().await.unwrap().phase, JobPhase::None);
    assert!(matches!(guest.abort_job().await, Err(DomainError::NoJob { .. })));
    let mut listener = Listener::new(&domains);
    guest.managed_save(SaveOptions::default(), Ticket::default()).await.unwrap();
    let seen = listener.seen();
    let passes = |word: &String| !word.starts_with("migration_iteration");
    let seen: Vec<_> = seen.into_iter().filter(passes).collect();
    assert_eq!(seen, ["suspended paused", "job_completed Save", "shutdown host", "stopped saved"]);
    let stats = guest.completed_job(true).await.unwrap().unwrap();
    assert_eq!((stats.phase, stats.operation), (JobPhase::Completed, JobOperation::Save));
    assert!(stats.memory.unwrap().total >= 16 << 20);
    assert!(guest.completed_job(false).await.unwrap().is_some());
    assert_eq!(guest.completed_job(false).await.unwrap(), None);

    let image = guest.managed_save_image().await.unwrap();
    assert!(image.running && image.xml.contains("<name>web1</name>"));
    let titled = image.xml.replace("</name>", "</name><title>T</title>");
    guest.edit_managed_save(Some(titled), Some(false)).await.unwrap();
    let image = guest.managed_save_image().await.unwrap();
    assert!(!image.running && image.xml.contains("<title>T</title>"));
    let other = guest.edit_managed_save(Some(tiny("other")), None).await.unwrap_err();
    assert_eq!(other.kind(), Kind::InvalidInput, "{}", chain(&other));
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "paused (migrating)");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    let none = guest.managed_save_image().await.unwrap_err();
    assert!(matches!(none, DomainError::NoManagedSave { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_tied_to_its_caller_goes_with_it() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let mut listener = Listener::new(&domains);
    let caller = CancellationToken::new();
    let tied = || Ticket { tied_to: Some(caller.clone()), ..Ticket::default() };
    domains.create(&tiny("web1"), CreateOptions::default(), tied()).await.unwrap();
    caller.cancel();
    listener.wait_for("stopped destroyed").await;
    assert!(domains.list().is_empty());
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_tied_to_its_caller_goes_with_the_daemon() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let caller = CancellationToken::new();
    let tied = Ticket { tied_to: Some(caller), ..Ticket::default() };
    domains.create(&tiny("web1"), CreateOptions::default(), tied).await.unwrap();
    domains.close(std::time::Duration::from_secs(5)).await;
    let domains = world.open().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while !domains.list().is_empty() {
        assert!(std::time::Instant::now() < deadline, "the guest outlived its caller");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.leavings(), before);
    let file = world.dir.path().join("none");
    assert!(domains.restore(&file, RestoreOptions::default(), Ticket::default()).await.is_err());
}
