use std::path::Path;

use super::*;

const DOMAIN: &str = "<domain type='qemu'><name>a</name><uuid>11111111-2222-3333-4444-555555555555</uuid>\
    <memory unit='KiB'>65536</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>\
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a.qcow2'/>\
      <target dev='vda' bus='virtio'/></disk>\
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/i/b.img'/>\
      <target dev='vdb' bus='virtio'/></disk>\
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>\
    </devices></domain>";

fn domain() -> Domain {
    Domain::parse(DOMAIN).unwrap()
}

fn request(inner: &str) -> Result<DomainSnapshot, SnapshotFault> {
    DomainSnapshot::parse_request(&format!("<domainsnapshot>{inner}</domainsnapshot>"), false, false)
}

fn align(snapshot: &mut DomainSnapshot, location: Location) -> Result<(), SnapshotFault> {
    let is_file = |path: &Path| path.starts_with("/i");
    snapshot.align(&domain(), Defaults { location, uniform: true, is_file: &is_file })
}

#[test]
fn a_snapshot_of_libvirts_is_read_and_written_as_it_was() {
    let text = format!(
        "<domainsnapshot>\n  <name>s1</name>\n  <description>the &lt;first&gt;</description>\n  \
         <state>shutoff</state>\n  <parent>\n    <name>s0</name>\n  </parent>\n  \
         <creationTime>1700000000</creationTime>\n  <memory snapshot='no'/>\n  <disks>\n    \
         <disk name='vda' snapshot='external' type='file'>\n      <driver type='qcow2'/>\n      \
         <source file='/i/a.s1'/>\n    </disk>\n    <disk name='vdb' snapshot='no'/>\n  </disks>\n{}  \
         <active>1</active>\n</domainsnapshot>\n",
        domain()
            .to_xml(&WriteOptions::STORED)
            .lines()
            .fold(String::new(), |all, line| all + "  " + line + "\n")
    );
    let (snapshot, current) = DomainSnapshot::parse_file(&text).unwrap();
    assert!(current);
    assert!(snapshot.is_external());
    assert_eq!((snapshot.name(), snapshot.parent()), ("s1", Some("s0")));
    assert_eq!(snapshot.to_file(true), text);
    assert!(!snapshot.to_xml(false).contains("<active>"));
}

#[test]
fn an_old_snapshot_without_a_document_is_read() {
    let text = "<domainsnapshot><name>s</name><state>running</state><creationTime>1</creationTime>\
                <domain><uuid>11111111-2222-3333-4444-555555555555</uuid></domain><active>0</active></domainsnapshot>";
    let (snapshot, current) = DomainSnapshot::parse_file(text).unwrap();
    assert!(!current && snapshot.domain.is_none());
    assert_eq!(snapshot.memory(), Location::Internal);
}

#[test]
fn a_request_is_completed_and_aligned() {
    let mut snapshot = request("<domain><anything/></domain><state>running</state>").unwrap();
    snapshot.complete(1_700_000_000);
    assert_eq!((snapshot.name(), snapshot.state), ("1700000000", None));
    align(&mut snapshot, Location::External).unwrap();
    let told: Vec<_> = snapshot
        .disks()
        .iter()
        .map(|disk| format!("{} {} {:?} {:?}", disk.name(), disk.location(), disk.path(), disk.format()))
        .collect();
    let wanted = [
        "vda external Some(\"/i/a.1700000000\") Some(\"qcow2\")",
        "vdb external Some(\"/i/b.1700000000\") Some(\"qcow2\")",
        "sda no None None",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn contradictions_have_libvirts_words() {
    let why = |inner: &str| request(inner).unwrap_err().to_string();
    assert_eq!(why("<memory snapshot='manual'/>"), "'manual' memory snapshot mode not supported");
    assert_eq!(why("<memory snapshot='external'/>"), "external memory snapshots require a filename");
    assert_eq!(why("<memory snapshot='no' file='/a'/>"), "memory filename '/a' requires external snapshot");
    assert_eq!(why("<memory file='a'/>"), "memory snapshot file path (a) must be absolute");
    assert_eq!(why("<disks><disk/></disks>"), "missing name from disk snapshot element");
    assert_eq!(
        why("<disks><disk name='vda'><source file='a'/></disk></disks>"),
        "disk snapshot image path 'a' must be absolute"
    );
    assert_eq!(
        why("<disks><disk name='vda'><driver type='foo'/></disk></disks>"),
        "unknown disk snapshot driver 'foo'"
    );
    let off = DomainSnapshot::parse_request(
        "<domainsnapshot><memory snapshot='internal'/></domainsnapshot>",
        true,
        false,
    );
    assert_eq!(
        off.unwrap_err().to_string(),
        "memory state cannot be saved with offline or disk-only snapshot"
    );
    let unaligned = |inner: &str, location| {
        let mut snapshot = request(inner).unwrap();
        snapshot.complete(1);
        align(&mut snapshot, location).unwrap_err().to_string()
    };
    let disk = |inner: &str| unaligned(&format!("<disks>{inner}</disks>"), Location::Internal);
    assert_eq!(disk("<disk name='vdz'/>"), "no disk named 'vdz'");
    assert_eq!(disk("<disk name='vda'/><disk name='/i/a.qcow2'/>"), "disk '/i/a.qcow2' specified twice");
    assert_eq!(disk("<disk name='vda' snapshot='no'/>"), "disk 'vda' must use snapshot mode 'internal'");
}

#[test]
fn what_cannot_be_taken_is_refused() {
    let checked = |inner: &str, location, state: State| {
        let mut snapshot = request(inner).unwrap();
        snapshot.complete(1);
        snapshot.state = Some(SnapshotState::Shutoff);
        align(&mut snapshot, location)?;
        snapshot.check(&domain(), state)
    };
    let why = |inner: &str, location| checked(inner, location, State::Off).unwrap_err().to_string();
    assert_eq!(
        why("", Location::Internal),
        "internal snapshot for disk vdb unsupported for storage type raw"
    );
    let raw = "<disks><disk name='vda'><driver type='raw'/></disk></disks>";
    assert_eq!(why(raw, Location::External), "external snapshot format for disk vda is unsupported: raw");
    let none = "<disks><disk name='vda' snapshot='no'/><disk name='vdb' snapshot='no'/></disks>";
    assert_eq!(why(none, Location::External), "nothing selected for snapshot");
    assert_eq!(checked("", Location::External, State::Off), Ok(Plan { external: true, manual: false }));
}

#[test]
fn names_are_file_names() {
    let why = |name: &str| {
        let snapshot = DomainSnapshot { name: Some(name.to_owned()), ..DomainSnapshot::default() };
        snapshot.check_name().err().map(|fault| fault.to_string()).unwrap_or_default()
    };
    assert_eq!(why("a/b"), "invalid snapshot name 'a/b': name can't contain '/'");
    assert_eq!(why(".a"), "invalid snapshot name '.a': name can't start with '.'");
    assert_eq!(why("a b ü"), "");
    assert!(why(&"x".repeat(300)).contains("longer than"));
    assert!(why("a\nb").contains("control"));
}
