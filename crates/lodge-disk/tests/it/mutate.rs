//! Bytes that real tools made, of which a few are others: read, edited or refused, never a panic, never without end.
//!
//! For what is small enough to be one slice: the fuzzers' targets with seeds and a mutator, where there is no libFuzzer.
//! `LODGE_FUZZ_ROUNDS` makes it longer, `LODGE_FUZZ_SEED` other; `LODGE_FUZZ_SECONDS` goes on until then.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use lodge_disk::fuzz;
use tempfile::TempDir;

use crate::fs::{
    image::{empty, run, text, write},
    mutate::{Dice, Round, number},
};

const SECTOR: usize = 512;
/// One round is that of a small file: what takes longer does not end.
const ROUND: Duration = Duration::from_secs(20);

fn rounds(seeds: &[Vec<u8>], rounds: u64, target: fn(&[u8])) {
    for seed in seeds {
        target(seed);
    }
    let (count, first) = (number("LODGE_FUZZ_ROUNDS", rounds), number("LODGE_FUZZ_SEED", 1));
    let (least, began) = (Duration::from_secs(number("LODGE_FUZZ_SECONDS", 0)), Instant::now());
    for seed in first.. {
        if seed >= first + count && began.elapsed() >= least {
            break;
        }
        let round = Round(seed);
        let mut dice = Dice::new(seed);
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        // What is not zero is mostly what is read.
        let sectors: Vec<usize> =
            (0..bytes.len().div_ceil(SECTOR)).filter(|n| is_some(&bytes[n * SECTOR..])).collect();
        for _ in 0..=dice.below(4) {
            let start = sectors.get(dice.below(sectors.len())).map_or(0, |number| number * SECTOR);
            let end = bytes.len().min(start + SECTOR);
            dice.change(&mut bytes[start..end]);
        }
        if dice.below(20) == 0 {
            bytes.truncate(dice.below(bytes.len()));
        }
        let began = Instant::now();
        target(&bytes);
        assert!(began.elapsed() < ROUND, "{:?}", began.elapsed());
        drop(round);
    }
}

fn is_some(bytes: &[u8]) -> bool {
    bytes.iter().take(SECTOR).any(|byte| *byte != 0)
}

fn made(folder: &TempDir, name: &str, kibibytes: u64, program: &str, args: &[&str]) -> Vec<u8> {
    let path = empty(folder, name, 1);
    fs::File::options().write(true).open(&path).unwrap().set_len(kibibytes << 10).unwrap();
    run(program, &[args, &[text(&path)]].concat());
    fs::read(path).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[test]
fn an_ext_with_a_few_other_bytes_is_edited_or_refused() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("from");
    for number in 0..80 {
        write(&from, &format!("many/a name {number}"), b"x");
    }
    write(&from, "file", &vec![1; 30_000]);
    std::os::unix::fs::symlink("x".repeat(100), from.join("link")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    for (file, size) in [("file", 50), ("many", 700)] {
        rustix::fs::setxattr(from.join(file), "user.note", &vec![3; size], flags).unwrap();
    }
    let make = |name: &str, options: &[&str]| {
        let args = [&["-q", "-F", "-b", "1024", "-N", "128", "-d", text(&from)], options].concat();
        made(&folder, name, 600, "mke2fs", &args)
    };
    let seeds = [
        make("sums", &["-t", "ext4", "-O", "metadata_csum,^metadata_csum_seed,^has_journal,^orphan_file"]),
        make("none", &["-t", "ext4", "-O", "^metadata_csum,^has_journal"]),
        make("old", &["-t", "ext2"]),
    ];
    rounds(&seeds, 3000, fuzz::ext);
    rounds(&seeds, 300, fuzz::tree);
}

#[test]
fn a_device_with_a_few_other_bytes_has_another_identity_or_is_refused() {
    let folder = TempDir::new().unwrap();
    let luks = |version| {
        let options = ["luksFormat", "--batch-mode", "--type", version, "--pbkdf", "pbkdf2"];
        let quick = ["--pbkdf-force-iterations", "1000", "--key-file", "/etc/hostname"];
        let mut bytes = made(&folder, version, 32 << 10, "cryptsetup", &[&options[..], &quick].concat());
        bytes.truncate(64 << 10);
        bytes
    };
    let mut btrfs = made(&folder, "btrfs", 128 << 10, "mkfs.btrfs", &["-q", "-f"]);
    btrfs.truncate(128 << 10);
    let seeds = [
        made(&folder, "gpt", 256, "sgdisk", &["-a", "1", "-n", "1:40:+20", "-n", "2:64:+20"]),
        made(&folder, "fat", 256, "mkfs.vfat", &[]),
        made(&folder, "swap", 128, "mkswap", &[]),
        luks("luks1"),
        luks("luks2"),
        btrfs,
        fixture("lvm-pv1.bin"),
    ];
    rounds(&seeds, 2000, fuzz::identities);
    rounds(&seeds, 1000, fuzz::layout);
}

#[test]
fn a_qcow2_with_a_few_other_bytes_is_read_or_refused() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("from");
    fs::write(&from, (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let make = |name: &str, options: &[&str]| {
        let path = folder.path().join(name);
        run("qemu-img", &[&["convert", "-O", "qcow2"], options, &[text(&from), text(&path)]].concat());
        fs::read(path).unwrap()
    };
    let seeds = [
        make("plain", &[]),
        make("packed", &["-c"]),
        make("small", &["-o", "cluster_size=512"]),
        make("old", &["-o", "compat=0.10"]),
    ];
    rounds(&seeds, 2000, fuzz::qcow2);
}

#[test]
fn words_of_others_are_understood_or_refused() {
    let frame = |text: &str| {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    let mut request = vec![0; 80];
    request[4] = 16;
    request[16] = 2;
    let seeds = [
        frame(r#"{"Edit":[{"File":{"Write":{"path":"/etc/hostname","bytes":[1,2],"owner":null}}}]}"#),
        frame(r#"{"Tool":"ExtScript"}"#),
        frame(r#"{"Done":{"Ok":["changed"]}}"#),
        frame(r#"{"disks":[{"name":"vda","writable":true,"layers":[[3,"qcow2"]]}],"log":4,"root":"/x","id":1}"#),
        br#"{"Read":{"device":null,"path":"/etc/fstab","offset":7}}"#.to_vec(),
        b"{\"Files\":{\"nodes\":[[\"/a\",{\"File\":{\"length\":3,\"size\":3,\"owner\":{\"uid\":0,\"gid\":0,\"mode\":420}}}]],\"gaps\":[]}}\nabc"
            .to_vec(),
        request,
        b"[    1.0] kernel\r\nlodge-workshop: failed 3 mount 22\r\n".to_vec(),
        [b"lodge redo log 1".as_slice(), &[1, 0, 0, 0], &(1_u64 << 20).to_le_bytes(), &[1, 0, 0, 0, 0], &[0; 44]]
            .concat(),
        b"UUID=1234 / ext4 defaults,subvol=@ 0 1\n/dev/mapper/a\\040b /x\\011y xfs ro 0 0\n".to_vec(),
    ];
    rounds(&seeds, 20_000, fuzz::words);
}
