//! A host made of files and links.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let file = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("written");
    };
    let link = |path: &str, to: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        symlink(root.path().join(to), path).expect("linked");
    };
    let pci = "sys/devices/pci0000:00/0000:00:02.0";
    file(&format!("{pci}/class"), "0x018000\n");
    file(&format!("{pci}/vendor"), "0x1af4\n");
    file(&format!("{pci}/device"), "0x1042\n");
    file(&format!("{pci}/numa_node"), "-1\n");
    link("sys/bus/pci/devices/0000:00:02.0", pci);
    let disk = format!("{pci}/virtio1/block/vda");
    file(&format!("{disk}/size"), "2048\n");
    file(&format!("{disk}/queue/logical_block_size"), "4096\n");
    file(&format!("{disk}/removable"), "0\n");
    link("sys/class/block/vda", &disk);
    file(&format!("{disk}/vda1/partition"), "1\n");
    link("sys/class/block/vda1", &format!("{disk}/vda1"));
    file("sys/devices/virtual/block/loop0/size", "0\n");
    link("sys/class/block/loop0", "sys/devices/virtual/block/loop0");
    file("sys/devices/virtual/net/lo/address", "00:00:00:00:00:00\n");
    file("sys/devices/virtual/net/lo/operstate", "unknown\n");
    link("sys/class/net/lo", "sys/devices/virtual/net/lo");
    file(
        "usr/share/misc/pci.ids",
        "# list\n1af3  Other\n1af4  Red Hat, Inc.\n\t1041  Net\n\t1042  Virtio block\n1af5  X\n",
    );
    root
}

#[test]
fn devices_hang_on_the_nearest_one_above() {
    let root = host();
    let found: Vec<(String, Option<String>)> =
        devices(root.path()).into_iter().map(|device| (device.name, device.parent)).collect();
    let of = |name: &str, parent: &str| (name.to_owned(), Some(parent.to_owned()));
    assert_eq!(
        found,
        [
            of("block_vda", "pci_0000_00_02_0"),
            ("computer".to_owned(), None),
            of("net_lo_00_00_00_00_00_00", "computer"),
            of("pci_0000_00_02_0", "computer"),
        ]
    );
}

#[test]
fn documents_are_libvirts() {
    let root = fs::canonicalize(host().keep()).unwrap();
    let xml = |name: &str| device(&root, name).unwrap().to_xml(&root);
    assert_eq!(
        xml("block_vda"),
        "<device>\n  <name>block_vda</name>\n  <path>/sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda</path>\n  \
         <devnode type='dev'>/dev/vda</devnode>\n  <parent>pci_0000_00_02_0</parent>\n  <capability type='storage'>\n    \
         <block>/dev/vda</block>\n    <drive_type>disk</drive_type>\n    <size>1048576</size>\n    \
         <logical_block_size>4096</logical_block_size>\n    <num_blocks>256</num_blocks>\n  </capability>\n</device>\n"
    );
    let pci = xml("pci_0000_00_02_0");
    assert!(
        pci.contains(
            "<product id='0x1042'>Virtio block</product>\n    <vendor id='0x1af4'>Red Hat, Inc.</vendor>"
        ),
        "{pci}"
    );
    assert!(xml("net_lo_00_00_00_00_00_00").contains("<link state='unknown'/>"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_card_and_its_virtual_functions_name_each_other() {
    let root = fs::canonicalize(host().keep()).unwrap();
    let (card, function) = ("sys/devices/pci0000:00/0000:00:03.0", "sys/devices/pci0000:00/0000:00:03.2");
    for (number, path) in [card, function].into_iter().enumerate() {
        fs::create_dir_all(root.join(path)).unwrap();
        fs::write(root.join(path).join("class"), format!("0x02000{number}\n")).unwrap();
        let name = path.rsplit('/').next().unwrap();
        symlink(root.join(path), root.join("sys/bus/pci/devices").join(name)).unwrap();
    }
    fs::write(root.join(card).join("sriov_totalvfs"), "7\n").unwrap();
    let xml = |name: &str| device(&root, name).unwrap().to_xml(&root);
    let none = "<capability type='virt_functions' maxCount='7'/>";
    assert!(xml("pci_0000_00_03_0").contains(none), "{}", xml("pci_0000_00_03_0"));
    symlink(root.join(function), root.join(card).join("virtfn0")).unwrap();
    symlink(root.join(card), root.join(function).join("physfn")).unwrap();
    let one = "<capability type='virt_functions' maxCount='7'>\n      \
               <address domain='0x0000' bus='0x00' slot='0x03' function='0x2'/>";
    assert!(xml("pci_0000_00_03_0").contains(one), "{}", xml("pci_0000_00_03_0"));
    let of = "<capability type='phys_function'>\n      \
              <address domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>";
    assert!(xml("pci_0000_00_03_2").contains(of), "{}", xml("pci_0000_00_03_2"));
    fs::remove_dir_all(root).unwrap();
}
