//! Definitions in a directory of their own.

use lodge_model::Kind;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn domains() -> (TempDir, Definitions) {
    let dir = tempfile::tempdir().unwrap();
    let definitions = Definitions::open_at(&dir.path().join("qemu"), Collection::Domains).unwrap();
    (dir, definitions)
}

#[test]
fn what_is_put_is_loaded_with_its_mark() {
    let (_dir, domains) = domains();
    domains.put("web1", "<domain type='kvm'>\n</domain>\n").unwrap();
    domains.put("db", "<domain/>\n").unwrap();
    domains.set_autostart("web1", true).unwrap();
    let file = std::fs::read_to_string(domains.path("web1")).unwrap();
    assert!(file.contains("AUTO-GENERATED") && file.contains("virsh edit web1"), "{file}");
    let loaded = domains.load_all().unwrap();
    assert!(loaded.faults.is_empty());
    let seen: Vec<_> = loaded
        .entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.text.as_str(), entry.autostart))
        .collect();
    assert_eq!(seen, [("db", "<domain/>\n", false), ("web1", "<domain type='kvm'>\n</domain>\n", true)]);
    assert_eq!(loaded.entries[1].header_lines, 7);
}

#[test]
fn a_definition_is_removed_with_its_mark() {
    let (dir, domains) = domains();
    domains.put("web1", "<domain/>").unwrap();
    domains.set_autostart("web1", true).unwrap();
    assert!(domains.remove("web1").unwrap());
    assert!(!domains.remove("web1").unwrap());
    let left: Vec<_> =
        std::fs::read_dir(dir.path().join("qemu")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["autostart"]);
    assert!(!domains.autostart("web1"));
}

#[test]
fn a_hand_edit_is_noticed_once_and_our_own_writes_are_not() {
    let (_dir, domains) = domains();
    domains.put("web1", "<domain/>\n").unwrap();
    assert_eq!(domains.changed("web1").unwrap(), Change::Same);
    std::fs::write(domains.path("web1"), "<domain><title>mine</title></domain>\n").unwrap();
    let Change::Edited(entry) = domains.changed("web1").unwrap() else { panic!("not noticed") };
    assert_eq!(entry.text, "<domain><title>mine</title></domain>\n");
    assert_eq!(domains.changed("web1").unwrap(), Change::Same);
    std::fs::remove_file(domains.path("web1")).unwrap();
    assert_eq!(domains.changed("web1").unwrap(), Change::Removed);
    assert_eq!(domains.changed("web1").unwrap(), Change::Same);
}

#[test]
fn a_rename_takes_the_mark_along_and_refuses_a_taken_name() {
    let (dir, domains) = domains();
    domains.put("old", "<domain/>").unwrap();
    domains.put("taken", "<domain/>").unwrap();
    domains.set_autostart("old", true).unwrap();
    assert_eq!(domains.rename("old", "taken", "<domain/>").unwrap_err().kind(), Kind::Exists);
    domains.rename("old", "new", "<domain><name>new</name></domain>").unwrap();
    assert_eq!(domains.names().unwrap(), ["new", "taken"]);
    assert!(domains.autostart("new") && !domains.autostart("old"));
    assert_eq!(std::fs::read_dir(dir.path().join("qemu")).unwrap().count(), 3, "no note is left");
}

#[test]
fn a_rename_cut_short_is_finished_at_the_next_start() {
    let (dir, domains) = domains();
    domains.put("old", "<domain/>").unwrap();
    domains.put("new", "<domain><name>new</name></domain>").unwrap();
    let qemu = dir.path().join("qemu");
    std::fs::write(qemu.join(".lodge-rename.0"), "old\nnew\n1\n").unwrap();
    std::fs::write(qemu.join(".lodge-rename.1"), "half a not").unwrap();
    let domains = Definitions::open_at(&qemu, Collection::Domains).unwrap();
    assert_eq!(domains.names().unwrap(), ["new"]);
    assert!(domains.autostart("new"));
}

#[test]
fn leftovers_of_a_crash_are_removed_and_other_files_are_not() {
    let (dir, _) = domains();
    let qemu = dir.path().join("qemu");
    for name in [".lodge-tmp.7.0", "autostart/.lodge-tmp.7.1", "notes.txt", "half.xml.new"] {
        std::fs::write(qemu.join(name), "x").unwrap();
    }
    Definitions::open_at(&qemu, Collection::Domains).unwrap();
    assert!(!qemu.join(".lodge-tmp.7.0").exists() && !qemu.join("autostart/.lodge-tmp.7.1").exists());
    assert!(qemu.join("notes.txt").exists() && qemu.join("half.xml.new").exists());
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_others_are_loaded() {
    let (_dir, domains) = domains();
    domains.put("good", "<domain/>").unwrap();
    std::fs::write(domains.path("binary"), [0xff, 0xfe]).unwrap();
    std::fs::create_dir(domains.path("directory")).unwrap();
    let loaded = domains.load_all().unwrap();
    assert_eq!(loaded.entries.len(), 1);
    let kinds: Vec<_> = loaded.faults.iter().map(DefinitionError::kind).collect();
    assert_eq!(kinds, [Kind::Corrupt, Kind::Corrupt]);
}

#[test]
fn a_file_system_that_cannot_be_written_leaves_the_old_definition() {
    let (_dir, domains) = domains();
    domains.put("web1", "<domain>old</domain>").unwrap();
    let long = "n".repeat(300);
    assert_eq!(domains.put(&long, "<domain/>").unwrap_err().kind(), Kind::InvalidInput);
    assert_eq!(domains.load("web1").unwrap().text, "<domain>old</domain>\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_name_is_refused_or_stays_in_the_directory_and_comes_back(name in "\\PC{0,40}|[./a\u{0}\n]{0,6}") {
        let (dir, domains) = domains();
        if let Err(error) = domains.put(&name, "<domain/>\n") {
            prop_assert_eq!(error.kind(), Kind::InvalidInput);
        } else {
            prop_assert_eq!(domains.names().unwrap(), [name.as_str()]);
            prop_assert_eq!(domains.load(&name).unwrap().text, "<domain/>\n");
            domains.set_autostart(&name, true).unwrap();
            prop_assert!(domains.load_all().unwrap().entries[0].autostart);
            domains.remove(&name).unwrap();
        }
        let above = std::fs::read_dir(dir.path()).unwrap().count();
        let within = std::fs::read_dir(dir.path().join("qemu")).unwrap().count();
        prop_assert_eq!((above, within), (1, 1));
    }
}
