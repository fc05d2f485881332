use std::{path::Path, sync::Arc};

use super::*;
use crate::testing::{Memory, layer, run};

fn qemu_img(dir: &Path, args: &[&str]) {
    run(dir, "qemu-img", args);
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap() ^ seed).collect()
}

#[test]
fn a_chain_reads_as_its_top_and_only_the_top_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base.raw");
    std::fs::write(&base, pattern(1 << 20, 0)).unwrap();
    qemu_img(dir.path(), &["convert", "-c", "-O", "qcow2", "base.raw", "middle.qcow2"]);
    qemu_img(
        dir.path(),
        &["create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", "top.qcow2", "2M"],
    );
    let middle = dir.path().join("middle.qcow2");
    let before = std::fs::read(&middle).unwrap();
    let open = |writable| {
        let top = layer(&dir.path().join("top.qcow2"), LayerFormat::Qcow2, writable);
        let layers = vec![top, layer(&middle, LayerFormat::Qcow2, false)];
        DiskImage { name: "vda".to_owned(), layers, writable }.open().unwrap()
    };
    let disk = open(true);
    assert_eq!(disk.bytes(), 2 << 20);
    disk.write_at(70_001, b"changed").unwrap();
    disk.flush().unwrap();
    drop(disk);
    let disk = open(false);
    assert_eq!(disk.write_at(0, b"x").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    let mut all = vec![1; 2 << 20];
    disk.read_at(0, &mut all).unwrap();
    let mut wanted = pattern(1 << 20, 0);
    wanted[70_001..70_008].copy_from_slice(b"changed");
    wanted.resize(2 << 20, 0);
    assert!(all == wanted);
    let beyond = disk.read_at((2 << 20) - 3, &mut [0; 4]).unwrap_err();
    assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    assert!(std::fs::read(&middle).unwrap() == before);
    qemu_img(dir.path(), &["check", "-q", "top.qcow2"]);
}

#[test]
fn what_imago_cannot_read_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |options: &[&str]| {
        let create = [&["create", "-q", "-f", "qcow2"], options, &["x.qcow2", "4M"]].concat();
        qemu_img(dir.path(), &create);
        let layers = vec![layer(&dir.path().join("x.qcow2"), LayerFormat::Qcow2, false)];
        match (DiskImage { name: "vdb".to_owned(), layers, writable: false }).open() {
            Err(SourceError::Header { fault, layer: 0, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(&["-o", "compression_type=zstd"]), HeaderFault::Zstd);
    assert_eq!(refusal(&["-o", "extended_l2=on"]), HeaderFault::ExtendedL2);
    assert_eq!(refusal(&["-o", "data_file=x.data"]), HeaderFault::DataFile);
    let luks = [
        "--object",
        "secret,id=s,data=abc",
        "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
    ];
    assert_eq!(refusal(&luks), HeaderFault::Luks);
}

#[test]
fn nothing_that_an_image_names_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), vec![7; 1 << 20]).unwrap();
    qemu_img(dir.path(), &["create", "-q", "-f", "qcow2", "-b", "secret", "-F", "raw", "x.qcow2", "1M"]);
    let layers = vec![layer(&dir.path().join("x.qcow2"), LayerFormat::Qcow2, false)];
    let disk = DiskImage { name: "vda".to_owned(), layers, writable: false }.open().unwrap();
    let mut bytes = [1; 512];
    disk.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 512]);
}

#[test]
fn wrong_headers_are_faults_and_never_more() {
    let dir = tempfile::tempdir().unwrap();
    qemu_img(dir.path(), &["create", "-q", "-f", "qcow2", "x.qcow2", "1M"]);
    let good = std::fs::read(dir.path().join("x.qcow2")).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(dir.path().join("y.qcow2"), bytes).unwrap();
        let layers = vec![layer(&dir.path().join("y.qcow2"), LayerFormat::Qcow2, false)];
        DiskImage { name: "vda".to_owned(), layers, writable: false }.open()
    };
    assert!(matches!(open(b""), Err(SourceError::Header { fault: HeaderFault::Magic, .. })));
    assert!(matches!(open(&good[..30]), Err(SourceError::Header { fault: HeaderFault::Short, .. })));
    let mut huge = good.clone();
    huge[24..32].copy_from_slice(&(1_u64 << 60).to_be_bytes());
    assert!(matches!(open(&huge), Err(SourceError::Header { fault: HeaderFault::Tables { .. }, .. })));
    for at in 0..112 {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            if let Ok(disk) = open(&bytes) {
                let _ = disk.read_at(0, &mut [0; 4096]);
            }
        }
    }
}

#[test]
fn windows_and_maps_lead_where_they_should() {
    let (a, b) = (Memory::of(pattern(4096, 0)), Memory::of(pattern(4096, 0xff)));
    assert!(Part::new(a.clone(), 4000, 97).is_err());
    assert!(Part::new(a.clone(), u64::MAX, 2).is_err());
    let window: Arc<dyn Blocks> = Arc::new(Part::new(a.clone(), 1024, 2048).unwrap());
    let runs = vec![Run { of: window, start: 0 }, Run { of: b.clone(), start: 512 }];
    let striped = Segment::Striped { bytes: 2048, chunk_bytes: 512, runs: runs.clone() };
    let linear = Segment::Linear { bytes: 100, run: Run { of: b.clone(), start: 0 } };
    let map = Mapped::new(vec![striped, linear.clone()], true).unwrap();
    let (left, right) = (pattern(4096, 0), pattern(4096, 0xff));
    let wanted =
        [&left[1024..1536], &right[512..1024], &left[1536..2048], &right[1024..1536], &right[..100]].concat();
    let mut all = vec![0; 2148];
    map.read_at(0, &mut all).unwrap();
    assert!(all == wanted);
    map.write_at(500, &[9; 30]).unwrap();
    let mut ends = ([0; 12], [0; 18]);
    a.read_at(1524, &mut ends.0).unwrap();
    b.read_at(512, &mut ends.1).unwrap();
    assert_eq!(ends, ([9; 12], [9; 18]));
    assert!(map.read_at(2148, &mut [0]).is_err());
    assert!(Mapped::new(vec![linear], false).unwrap().write_at(0, &[0]).is_err());
    let too_long = Segment::Striped { bytes: 8192, chunk_bytes: 512, runs };
    assert!(Mapped::new(vec![too_long], false).is_err());
    let endless = Segment::Striped { bytes: 1, chunk_bytes: 0, runs: vec![Run { of: b, start: 0 }] };
    assert!(Mapped::new(vec![endless], false).is_err());
}
