//! Disks made by real tools, and hostile ones.

use std::{fs::File, io::Write as _, os::unix::fs::FileExt as _, path::Path};

use super::*;
use crate::{
    source::{DiskImage, LayerFormat},
    testing::{Memory, layer, put, raw, run, sparse},
};

const MIB: u64 = 1 << 20;

fn gaps(devices: &Devices) -> Vec<String> {
    devices.gaps().iter().map(|gap| format!("{}: {}", gap.place, gap.why)).collect()
}

/// `blkid`'s word on a file: (TYPE, UUID, LABEL).
fn blkid(path: &Path) -> (String, String, String) {
    let text = run(Path::new("/"), "blkid", &["-p", "-o", "export", path.to_str().unwrap()]);
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_default().replace('\\', "")
    };
    (value("TYPE"), value("UUID"), value("LABEL"))
}

fn told(content: Option<Content>) -> (String, String, String) {
    let content = content.expect("something lies there");
    (content.kind, content.uuid.unwrap_or_default(), content.label.unwrap_or_default())
}

use lodge_model::guest_disk::{Content, PartitionTable};

#[test]
fn what_lies_in_a_device_is_told_as_blkid_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let makers: [(&str, &str, &[&str]); 11] = [
        ("mkfs.ext4", "ext4", &["-q", "-F", "-L", "four"]),
        ("mkfs.ext3", "ext3", &["-q", "-F"]),
        ("mkfs.ext2", "ext2", &["-q", "-F", "-L", "two"]),
        ("mkfs.xfs", "xfs", &["-q", "-f", "-L", "ex"]),
        ("mkfs.btrfs", "btrfs", &["-q", "-f", "-L", "bee tree"]),
        ("mkfs.vfat", "vfat", &["-F", "12", "-n", "TWELVE"]),
        ("mkfs.vfat", "vfat", &["-F", "16"]),
        ("mkfs.vfat", "vfat", &["-F", "32", "-n", "THIRTY TWO", "-i", "1234abcd"]),
        ("mkswap", "swap", &["-q", "-L", "swapped"]),
        ("mkswap", "swap", &["-q", "-p", "65536"]),
        ("mkfs.ext4", "ext4", &["-q", "-F", "-O", "^has_journal", "-b", "1024"]),
    ];
    for (index, (maker, kind, args)) in makers.into_iter().enumerate() {
        let size = if kind == "xfs" {
            320
        } else if args.contains(&"12") {
            4
        } else {
            128
        };
        let path = sparse(dir.path(), &format!("{index}"), size * MIB);
        run(dir.path(), maker, &[args, &[path.to_str().unwrap()]].concat());
        let (_, disk) = raw(&path, "vda");
        let content = probe::probe(disk.as_ref()).unwrap();
        assert_eq!(content.as_ref().map(|content| content.kind.as_str()), Some(kind), "{maker} {args:?}");
        if let Some(used) = content.as_ref().and_then(|content| content.used) {
            assert!(used.0 > 0 && used.0 < size * MIB, "{kind} {used:?}");
        }
        assert_eq!(told(content), blkid(&path), "{maker} {args:?}");
    }
}

#[test]
fn a_gpt_disk_through_a_chain_of_qcow2_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let image = sparse(dir.path(), "disk.raw", 64 * MIB);
    let name = image.to_str().unwrap();
    run(
        dir.path(),
        "sgdisk",
        &["-n1:2048:+8M", "-t1:ef00", "-c1:EFI System", "-n3:0:+40M", "-t3:8300", name],
    );
    let esp = sparse(dir.path(), "esp", 8 * MIB);
    run(dir.path(), "mkfs.vfat", &["-n", "ESP", esp.to_str().unwrap()]);
    let root = sparse(dir.path(), "root", 40 * MIB);
    run(dir.path(), "mkfs.ext4", &["-q", "-L", "root", root.to_str().unwrap()]);
    put(&image, MIB, &esp);
    put(&image, 9 * MIB, &root);
    run(dir.path(), "qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "-c", "disk.raw", "base.qcow2"]);
    run(
        dir.path(),
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"],
    );
    let layers =
        ["top.qcow2", "base.qcow2"].map(|file| layer(&dir.path().join(file), LayerFormat::Qcow2, false));
    let disk = DiskImage { name: "vda".into(), layers: layers.into(), writable: false }.open().unwrap();
    let devices = Devices::read(vec![("vda".into(), Arc::new(disk))]);
    assert_eq!(gaps(&devices), [""; 0]);
    let vda = devices.layout().device("vda").unwrap();
    let guid = run(dir.path(), "sgdisk", &["-p", name]);
    let guid = guid.lines().find_map(|line| line.strip_prefix("Disk identifier (GUID): ")).unwrap();
    assert_eq!(vda.table, Some(PartitionTable::Gpt(guid.parse().unwrap())));
    let shape: Vec<_> =
        vda.children.iter().map(|part| (part.name.as_str(), part.start, part.bytes.0)).collect();
    assert_eq!(shape, [("vda1", Some(Bytes(MIB)), 8 * MIB), ("vda3", Some(Bytes(9 * MIB)), 40 * MIB)]);
    let esp_part = vda.children[0].partition.as_ref().unwrap();
    assert_eq!(
        (esp_part.label.as_str(), esp_part.kind.as_str()),
        ("EFI System", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
    );
    let id = run(dir.path(), "sgdisk", &["-i1", name]);
    assert!(id.contains(&esp_part.uuid.to_uppercase()), "{id}");
    assert_eq!(told(vda.children[0].content.clone()), blkid(&esp));
    assert_eq!(told(vda.children[1].content.clone()), blkid(&root));
}

/// A line of a boot record: kind, first sector, count.
fn dos_line(disk: &File, record: u64, index: u64, kind: u8, first: u32, count: u32) {
    let mut line = [0; 16];
    line[4] = kind;
    line[8..12].copy_from_slice(&first.to_le_bytes());
    line[12..].copy_from_slice(&count.to_le_bytes());
    disk.write_all_at(&line, record + 446 + 16 * index).unwrap();
    disk.write_all_at(&[0x55, 0xaa], record + 510).unwrap();
}

#[test]
fn dos_tables_have_logical_partitions_and_may_not_run_in_circles() {
    let dir = tempfile::tempdir().unwrap();
    let image = sparse(dir.path(), "disk", 64 * MIB);
    let disk = File::options().write(true).open(&image).unwrap();
    disk.write_all_at(&0xdead_beef_u32.to_le_bytes(), 440).unwrap();
    dos_line(&disk, 0, 0, 0x83, 2048, 2048);
    dos_line(&disk, 0, 1, 0x05, 8192, 40000);
    dos_line(&disk, 8192 * 512, 0, 0x82, 64, 1000);
    dos_line(&disk, 8192 * 512, 1, 0x05, 4096, 4000);
    dos_line(&disk, (8192 + 4096) * 512, 0, 0x83, 64, 1000);
    let devices = Devices::read(vec![raw(&image, "nvme0n1")]);
    assert_eq!(gaps(&devices), [""; 0]);
    let disk_device = &devices.layout().disks[0];
    assert_eq!(disk_device.table, Some(PartitionTable::Dos(0xdead_beef)));
    let shape: Vec<_> = disk_device
        .children
        .iter()
        .map(|part| {
            (part.name.as_str(), part.start.unwrap().0 / 512, part.partition.as_ref().unwrap().uuid.as_str())
        })
        .collect();
    let wanted = [
        ("nvme0n1p1", 2048, "deadbeef-01"),
        ("nvme0n1p2", 8192, "deadbeef-02"),
        ("nvme0n1p5", 8256, "deadbeef-05"),
        ("nvme0n1p6", 12352, "deadbeef-06"),
    ];
    assert_eq!(shape, wanted);
    // The second record leads back to the first; a third partition lies over the first and beyond the end.
    dos_line(&disk, (8192 + 4096) * 512, 1, 0x05, 4096, 1);
    dos_line(&disk, 0, 2, 0x83, 3000, u32::MAX);
    let devices = Devices::read(vec![raw(&image, "vda")]);
    let said = gaps(&devices);
    assert!(said.iter().any(|gap| gap.contains("vda: its logical partitions lead in a circle")), "{said:?}");
    assert!(said.iter().any(|gap| gap == "vda: partitions 1 and 3 lie over one another"), "{said:?}");
    assert!(
        said.iter().any(|gap| gap.starts_with("vda3: ") && gap.contains("beyond the device's end")),
        "{said:?}"
    );
    assert!(devices.device("vda3").is_none() && devices.device("vda5").is_some());
}

#[test]
fn a_damaged_first_gpt_is_read_from_its_copy() {
    let dir = tempfile::tempdir().unwrap();
    let image = sparse(dir.path(), "disk", 32 * MIB);
    run(dir.path(), "sgdisk", &["-n1:2048:+8M", image.to_str().unwrap()]);
    let disk = File::options().write(true).open(&image).unwrap();
    disk.write_all_at(&[0xff; 4], 512 + 56).unwrap();
    let devices = Devices::read(vec![raw(&image, "vda")]);
    assert_eq!(gaps(&devices), ["vda: its first GPT is damaged, the copy at its end was read"]);
    assert!(devices.device("vda1").is_some());
    disk.write_all_at(&[0; 512], 32 * MIB - 512).unwrap();
    let devices = Devices::read(vec![raw(&image, "vda")]);
    assert!(gaps(&devices)[0].starts_with("vda: its GPT is damaged"), "{:?}", gaps(&devices));
    // A count that would be read for hours.
    disk.write_all_at(&u32::MAX.to_le_bytes(), 512 + 80).unwrap();
    let devices = Devices::read(vec![raw(&image, "vda")]);
    assert_eq!(gaps(&devices), ["vda: its GPT counts more entries than anybody makes"]);
}

/// Two PVs as `pvcreate`, `vgcreate` and `lvcreate` 2.03.16 left them, behind partitions' beginnings.
fn lvm_disks(dir: &Path) -> [std::path::PathBuf; 2] {
    [1, 2].map(|number| {
        let name = format!("pv{number}");
        let path = sparse(dir, &name, 96 * MIB);
        let fixture = format!("{}/tests/fixtures/lvm-{name}.bin", env!("CARGO_MANIFEST_DIR"));
        put(&path, 0, Path::new(&fixture));
        path
    })
}

#[test]
fn volumes_that_lvm_made_are_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = lvm_disks(dir.path());
    // Extents are 4 MiB from 1 MiB on. `root` is extents 0-4 and 9-10 of the first PV, `striped` takes turns of 64 KiB.
    let root = sparse(dir.path(), "root", 28 * MIB);
    run(dir.path(), "mkfs.ext4", &["-q", "-L", "root", root.to_str().unwrap()]);
    let marks = |from: u64, to: &Path, at: u64| {
        let bytes = std::fs::read(&root).unwrap();
        let (from, mib20, mib8) = (usize::try_from(from).unwrap(), 20 << 20, 8 << 20);
        let part = &bytes[from..from + if from == 0 { mib20 } else { mib8 }];
        File::options().write(true).open(to).unwrap().write_all_at(part, at).unwrap();
    };
    marks(0, &one, MIB);
    marks(20 * MIB, &one, MIB + 9 * 4 * MIB);
    for (path, at, byte) in [(&one, MIB + 5 * 4 * MIB, 1), (&two, MIB, 2)] {
        File::options().write(true).open(path).unwrap().write_all_at(&vec![byte; 65536], at).unwrap();
    }
    let devices = Devices::read(vec![raw(&one, "vda"), raw(&two, "vdb")]);
    assert_eq!(gaps(&devices), [""; 0]);
    let vda = &devices.layout().disks[0];
    let names = |device: &Device| device.children.iter().map(|child| child.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(vda), ["rhel--x-root", "rhel--x-striped", "rhel--x-swap_1"]);
    assert_eq!(names(&devices.layout().disks[1]), ["rhel--x-striped"]);
    let pv = vda.content.as_ref().unwrap();
    assert_eq!(pv.uuid.as_deref(), Some("i3ASi9-Zw3h-YXEL-5LyS-u8JF-QnKt-oFfN76"));
    let group = ("rhel-x".to_owned(), "TyJ0Yd-tCOb-v7bo-11OW-ZqVb-Dmsr-fPdGgU".to_owned());
    assert_eq!(pv.group, Some(group));
    assert_eq!(told(vda.children[0].content.clone()), blkid(&root));
    let mapped = devices.device("rhel--x-root").unwrap();
    let mut bytes = vec![0; 28 << 20];
    mapped.read_at(0, &mut bytes).unwrap();
    assert!(bytes == std::fs::read(&root).unwrap());
    let striped = devices.device("rhel--x-striped").unwrap();
    let mut bytes = vec![0; 3 * 65536];
    striped.read_at(0, &mut bytes).unwrap();
    let turns: Vec<bool> =
        (1..=3).zip(bytes.chunks(65536)).map(|(n, c)| c.iter().all(|b| *b == n % 3)).collect();
    assert_eq!(turns, [true; 3]);
    // Without the second PV the striped volume is told and not read.
    let devices = Devices::read(vec![raw(&one, "vda")]);
    let missing = "rhel--x-striped: its physical volume RYEjhK-UD23-FsWg-OHOx-DfS6-mr0g-NspbEH is not among the guest's disks";
    assert_eq!(gaps(&devices), [missing]);
    assert!(
        devices.layout().device("rhel--x-striped").is_some() && devices.device("rhel--x-striped").is_none()
    );
}

/// A PV whose metadata is `text`.
fn pv_with(text: &str, size: u64) -> Arc<dyn Blocks> {
    let mut bytes =
        std::fs::read(format!("{}/tests/fixtures/lvm-pv1.bin", env!("CARGO_MANIFEST_DIR"))).unwrap();
    bytes.resize(usize::try_from(size).unwrap(), 0);
    let text = text.replace("PV0", "i3ASi9-Zw3h-YXEL-5LyS-u8JF-QnKt-oFfN76");
    bytes[8192..8192 + text.len()].copy_from_slice(text.as_bytes());
    let area = &mut bytes[4096..4096 + 512];
    area[40..48].copy_from_slice(&4096_u64.to_le_bytes());
    area[48..56].copy_from_slice(&(text.len() as u64).to_le_bytes());
    area[56..60].copy_from_slice(&lvm::sum(text.as_bytes()).to_le_bytes());
    let sum = lvm::sum(&area[4..]);
    area[..4].copy_from_slice(&sum.to_le_bytes());
    Memory::of(bytes)
}

fn group_of(volumes: &str) -> String {
    format!(
        "vg {{\nid = \"a\"\nseqno = 9\nextent_size = 8192\nphysical_volumes {{\npv0 {{\nid = \"PV0\"\npe_start = 2048\npe_count = 15\n}}\n}}\nlogical_volumes {{\n{volumes}\n}}\n}}\n"
    )
}

#[test]
fn mirrors_are_read_by_one_leg_and_other_kinds_told_by_name() {
    let segment = |kind: &str, rest: &str| {
        format!(
            "segment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = 2\ntype = \"{kind}\"\n{rest}\n}}\n"
        )
    };
    let seen = "status = [\"READ\", \"WRITE\", \"VISIBLE\"]";
    let hidden = "status = [\"READ\", \"WRITE\"]";
    let leg = |at: u32| segment("striped", &format!("stripe_count = 1\nstripes = [\n\"pv0\", {at}\n]"));
    let text = group_of(&format!(
        "r1 {{ {seen}\n{} }}\nr1_rimage_0 {{ {hidden}\n{} }}\nm {{ {seen}\n{} }}\nthin {{ {seen}\n{} }}\nloop1 {{ {seen}\n{} }}\nloop2 {{ {seen}\n{} }}\nsnap {{ {seen}\n{} }}\nsnapshot0 {{ {hidden}\n{} }}\n",
        segment(
            "raid1",
            "device_count = 2\nraids = [\"r1_rmeta_0\", \"r1_rimage_0\", \"r1_rmeta_1\", \"r1_rimage_1\"]"
        ),
        leg(3),
        segment("mirror", "mirror_count = 2\nmirrors = [\"r1_rimage_0\", 0, \"x\", 0]"),
        segment("thin", "thin_pool = \"pool\""),
        segment("striped", "stripes = [\"loop2\", 0]"),
        segment("striped", "stripes = [\"loop1\", 0]"),
        leg(5),
        segment("snapshot", "origin = \"m\"\ncow_store = \"snap\""),
    ));
    let pv = pv_with(&text, 64 * MIB);
    pv.write_at(MIB + 3 * 4 * MIB, b"the mirror").unwrap();
    let devices = Devices::read(vec![("vda".into(), pv)]);
    let mut said = gaps(&devices);
    said.sort();
    let wanted = [
        "vg-loop1: its volumes stand on each other in a circle",
        "vg-loop2: its volumes stand on each other in a circle",
        "vg-snap: it is a snapshot, which is not read here",
        "vg-thin: it is of the type 'thin', which is not read here",
    ];
    assert_eq!(said, wanted);
    for name in ["vg-r1", "vg-m"] {
        let mirror = devices.device(name).unwrap();
        let mut bytes = [0; 10];
        mirror.read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"the mirror", "{name}");
        assert!(mirror.write_at(0, b"x").is_err());
    }
    assert!(devices.layout().device("vg-r1_rimage_0").is_none());
}

#[test]
fn lvm_texts_with_wrong_bytes_are_faults_and_never_more() {
    let text = group_of(
        "a { status = [\"VISIBLE\"]\nsegment1 { start_extent = 0\nextent_count = 2\ntype = \"striped\"\nstripes = [\"pv0\", 1] } }",
    );
    let mut told = 0;
    for at in 0..text.len() {
        for byte in [b'{', b'}', b'"', b'9', b'\\', b'#'] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            match lvm::group(pv_with(&String::from_utf8(bytes).unwrap(), 32 << 10).as_ref()) {
                Ok(group) => assert!(group.is_some()),
                Err(why) => {
                    assert!(why.starts_with("its LVM metadata area at byte 4096 is damaged: "), "{why}");
                    told += 1;
                }
            }
        }
    }
    assert!(told > 500, "{told}");
    let huge = group_of(
        "a { segment1 { type = \"striped\"\nextent_count = 9223372036854775807\nstart_extent = 0\nstripes = [\"pv0\", 9223372036854775807] } status = [\"VISIBLE\"] }",
    );
    let devices = Devices::read(vec![("vda".into(), pv_with(&huge, MIB))]);
    assert_eq!(gaps(&devices), ["vg-a: its size is beyond measure"]);
}

/// A superblock of version 1.2 as mdadm writes it.
fn md_member(role: u16, disks: u32, level: i32, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; 8 << 20];
    let sb = &mut bytes[4096..8192];
    let mut put = |at: usize, field: &[u8]| sb[at..at + field.len()].copy_from_slice(field);
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(16, &[7; 16]);
    put(32, name.as_bytes());
    put(72, &level.to_le_bytes());
    put(80, &8192_u64.to_le_bytes());
    put(88, &128_u32.to_le_bytes());
    put(92, &disks.to_le_bytes());
    put(128, &2048_u64.to_le_bytes());
    put(136, &8192_u64.to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    put(160, &u32::from(role).to_le_bytes());
    put(168, &[u8::try_from(role).unwrap() + 1; 16]);
    put(200, &5_u64.to_le_bytes());
    put(220, &4_u32.to_le_bytes());
    for number in 0..4_u16 {
        let slot = if u32::from(number) < disks { number } else { 0xffff };
        put(256 + 2 * usize::from(number), &slot.to_le_bytes());
    }
    let sum: u64 =
        sb[..264].chunks(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
    let sum = u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap();
    sb[216..220].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn arrays_are_put_together() {
    let members = |level| {
        [0_u16, 1].map(|role| {
            let mut bytes = md_member(role, 2, level, "host:0");
            bytes[1 << 20..][..65536].fill(u8::try_from(role).unwrap() + 1);
            (format!("vd{role}"), Memory::of(bytes))
        })
    };
    let mut first = [0; 2];
    let devices = Devices::read(members(0).into());
    assert_eq!(gaps(&devices), [""; 0]);
    let array = devices.device("md0").unwrap();
    assert_eq!(array.bytes(), 8 << 20);
    array.read_at(65535, &mut first).unwrap();
    assert_eq!(first, [1, 2]);
    for disk in &devices.layout().disks {
        assert_eq!(disk.children[0].name, "md0");
        assert_eq!(disk.content.as_ref().unwrap().label.as_deref(), Some("host:0"));
    }
    let devices = Devices::read(members(1).into());
    devices.device("md0").unwrap().read_at(65535, &mut first).unwrap();
    assert_eq!((first, devices.device("md0").unwrap().bytes()), ([1, 0], 4 << 20));
    // Of two members one holds parity: row by row the other one.
    let devices = Devices::read(members(5).into());
    assert_eq!(gaps(&devices), [""; 0]);
    let array = devices.device("md0").unwrap();
    array.read_at(65535, &mut first).unwrap();
    assert_eq!((first, array.bytes()), ([1, 0], 4 << 20));
    assert!(array.write_at(0, &[1]).is_err());
    let [one, _] = members(5);
    let missing = gaps(&Devices::read(vec![one]));
    assert!(missing[0].starts_with("md0: 1 of its 2 members are there; a raid5 is read"), "{missing:?}");
    let devices = Devices::read(members(8).into());
    assert!(gaps(&devices)[0].starts_with("md0: raid8 is not read here"), "{:?}", gaps(&devices));
    let [one, _] = members(0);
    let devices = Devices::read(vec![one]);
    assert_eq!(gaps(&devices), ["md0: 1 of its 2 members are there"]);
}

#[test]
fn any_bytes_are_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let image = sparse(dir.path(), "disk", 4 * MIB);
    run(dir.path(), "sgdisk", &["-n1:2048:+1M", image.to_str().unwrap()]);
    File::options().append(true).open(&image).unwrap().write_all(&[0; 512]).unwrap();
    let disk = std::fs::read(&image).unwrap();
    let pv = std::fs::read(format!("{}/tests/fixtures/lvm-pv1.bin", env!("CARGO_MANIFEST_DIR"))).unwrap();
    // A small generator: the same bytes each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap()
    };
    for good in [&disk[..1 << 20], &pv[..], &md_member(0, 2, 0, "x")[..65536]] {
        for _ in 0..400 {
            let mut bytes = good.to_vec();
            for _ in 0..=random() % 8 {
                let at = random() % bytes.len().min(20_000);
                bytes[at] = u8::try_from(random() % 256).unwrap();
            }
            bytes.truncate(random() % bytes.len() + 1);
            let devices = Devices::read(vec![("vda".into(), Memory::of(bytes))]);
            assert_eq!(devices.layout().disks.len(), 1);
        }
    }
}

/// Arrays that mdadm 4.2 and Linux 6.12 made of four members, 64 KiB chunks, and filled: each chunk with its number. Of each
/// member the first 2 MiB, one after the other.
#[test]
fn arrays_of_all_layouts_are_read_as_linux_wrote_them() {
    const CHUNK: usize = 64 << 10;
    let arrays: [(&str, usize); 17] = [
        ("r4", 48),
        ("r5la", 48),
        ("r5ra", 48),
        ("r5ls", 48),
        ("r5rs", 48),
        ("r5p0", 48),
        ("r5pn", 48),
        ("r6la", 32),
        ("r6ra", 32),
        ("r6ls", 32),
        ("r6rs", 32),
        ("r6p0", 32),
        ("r6pn", 32),
        ("r10n2", 32),
        ("r10n3", 21),
        ("r10f2", 32),
        ("r10o2", 32),
    ];
    for (name, chunks) in arrays {
        let fixture = format!("{}/tests/fixtures/md/{name}.xz", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = Vec::new();
        let mut unpacked = liblzma::read::XzDecoder::new(File::open(fixture).unwrap());
        std::io::Read::read_to_end(&mut unpacked, &mut bytes).unwrap();
        // Which member is which stands on them.
        let members = bytes.chunks(2 << 20).rev().enumerate();
        let disks: Vec<_> =
            members.map(|(number, member)| (format!("sd{number}"), Memory::of(member.to_vec()))).collect();
        let devices = Devices::read(disks.clone());
        assert_eq!(gaps(&devices), [""; 0], "{name}");
        let array =
            devices.layout().devices().into_iter().find(|device| device.kind == DeviceKind::Raid).unwrap();
        assert_eq!(array.bytes.0, (chunks * CHUNK) as u64, "{name}");
        let open = devices.device(&array.name).unwrap();
        let mut whole = vec![0; chunks * CHUNK];
        open.read_at(0, &mut whole).unwrap();
        for (number, chunk) in whole.chunks(CHUNK).enumerate() {
            let number = u32::try_from(number).unwrap();
            assert_eq!(chunk[..4], number.to_le_bytes(), "{name}: chunk {number}");
            assert!(chunk[4..].iter().all(|byte| u32::from(*byte) == number), "{name}: chunk {number}");
        }
        // In pieces that begin and end anywhere.
        let mut piece = vec![0; 3 * CHUNK];
        open.read_at(777, &mut piece).unwrap();
        assert!(piece == whole[777..777 + 3 * CHUNK], "{name}");
        // Never without a member, and never written.
        assert!(open.write_at(0, &[1]).is_err());
        let told = gaps(&Devices::read(disks[1..].to_vec()));
        assert!(told.len() == 1 && told[0].contains("3 of its 4 members are there"), "{name}: {told:?}");
    }
}
