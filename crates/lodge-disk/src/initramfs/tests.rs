use std::io::Write as _;

use lodge_model::guest_disk::{FileNode, FilePath, LZ4_CHUNK_BYTES, LZ4_MARK, Newc, Owner, stored_as_lz4};

use super::*;

const ROOTS: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };
const OLD: &str = "31938919-8d22-4c54-817f-679cfd936f0e";

fn archive(build: impl FnOnce(&mut Newc)) -> Vec<u8> {
    let mut archive = Newc::default();
    build(&mut archive);
    archive.end()
}

/// What dracut makes, in small.
fn dracut() -> Vec<u8> {
    archive(|archive| {
        archive.directory(b"etc", ROOTS);
        archive.file(b"etc/cmdline.d/95root-dev.conf", ROOTS, format!(" root=UUID={OLD}").as_bytes());
        archive.file(b"etc/other", ROOTS, &vec![b'x'; 300_000]);
        archive.link(b"etc/link", format!("/dev/disk/by-uuid/{OLD}").as_bytes());
        archive.directory(format!("etc/systemd/{OLD}.d").as_bytes(), ROOTS);
        archive.file(format!("./etc/systemd/{OLD}.d/timeout.conf").as_bytes(), ROOTS, b"[Unit]\n");
        // A word in two pieces of what is read.
        let mut large = vec![b'y'; PIECE - 10];
        large.extend_from_slice(OLD.to_uppercase().as_bytes());
        large.resize(400_000, b'y');
        archive.file(b"usr/bin/large", ROOTS, &large);
    })
}

const PIECE: usize = 64 << 10;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = liblzma::write::XzEncoder::new(Vec::new(), 1);
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// As `lz4 -l` has it.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut packed = LZ4_MARK.to_vec();
    for chunk in bytes.chunks(LZ4_CHUNK_BYTES) {
        let block = lz4_flex::block::compress(chunk);
        packed.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        packed.extend_from_slice(&block);
    }
    packed
}

fn look(bytes: &[u8]) -> Archive {
    let read_at = |offset: u64, most: usize| {
        let rest = &bytes[usize::try_from(offset).unwrap()..];
        Ok(rest[..rest.len().min(most)].to_vec())
    };
    read(&read_at, bytes.len() as u64, &[OLD.to_owned()])
}

fn names(archive: &Archive) -> Vec<String> {
    archive.members.keys().map(ToString::to_string).collect()
}

fn bytes_at<'a>(archive: &'a Archive, at: &str) -> Option<&'a [u8]> {
    match archive.members.get(&FilePath::new(at).unwrap())? {
        FileNode::File { bytes, .. } | FileNode::Link(bytes) => Some(bytes),
        FileNode::Directory(_) | FileNode::Other => None,
    }
}

#[test]
fn what_names_a_word_is_found_however_it_is_packed() {
    let early = archive(|archive| {
        archive.file(b"kernel/x86/microcode/GenuineIntel.bin", ROOTS, &[7; 1000]);
    });
    let main = dracut();
    for packed in [main.clone(), gzip(&main), xz(&main), zstd(&main), lz4(&main)] {
        let mut whole = early.clone();
        whole.resize(whole.len().next_multiple_of(512), 0);
        whole.extend_from_slice(&packed);
        let found = look(&whole);
        assert_eq!(found.fault, None);
        assert_eq!(
            names(&found),
            [
                "/etc/cmdline.d/95root-dev.conf".to_owned(),
                "/etc/link".to_owned(),
                format!("/etc/systemd/{OLD}.d"),
                format!("/etc/systemd/{OLD}.d/timeout.conf"),
                "/usr/bin/large".to_owned()
            ]
        );
        assert_eq!(bytes_at(&found, &format!("/etc/systemd/{OLD}.d/timeout.conf")), Some(&b"[Unit]\n"[..]));
        // Of a large file there is its beginning, and its size.
        let large = found.members.get(&FilePath::new("/usr/bin/large").unwrap()).unwrap();
        assert!(matches!(large, FileNode::File { bytes, size: 400_000, .. } if bytes.len() < 400_000));
    }
}

#[test]
fn what_is_added_behind_it_replaces_what_was_before() {
    let main = dracut();
    let more = archive(|archive| {
        archive.file(b"etc/cmdline.d/95root-dev.conf", ROOTS, b" root=UUID=new");
        archive.link(b"etc/link", b"/dev/null");
        archive.file(b"usr/bin/large", ROOTS, b"");
    });
    for packed in [main.clone(), gzip(&main), xz(&main), zstd(&main)] {
        let mut whole = packed;
        whole.resize(whole.len().next_multiple_of(4), 0);
        whole.extend_from_slice(&more);
        let found = look(&whole);
        assert_eq!(found.fault, None);
        assert_eq!(
            names(&found),
            [format!("/etc/systemd/{OLD}.d"), format!("/etc/systemd/{OLD}.d/timeout.conf")]
        );
        assert_eq!(found.tail, Tail::Open);
    }
    // Behind lz4 there is only lz4, at any byte.
    let mut large = main.clone();
    large.resize((9 << 20) + 4, 0);
    for before in [&main, &large] {
        let unpacked = before.len() as u64;
        let mut whole = lz4(before);
        assert_eq!(look(&whole).tail, Tail::Lz4 { unpacked });
        whole.extend(stored_as_lz4(&more));
        let found = look(&whole);
        assert_eq!((found.fault, names(&look(&whole)).len()), (None, 2));
        assert_eq!(found.tail, Tail::Lz4 { unpacked: unpacked + more.len() as u64 });
    }
    for behind in [&more[..], &[0; 8], b"\xff\xff\xff\x7f"] {
        let whole = [&lz4(&main)[..], behind].concat();
        assert!(look(&whole).fault.is_some(), "{}", behind.escape_ascii());
    }
}

#[test]
fn all_names_of_one_file_have_its_bytes() {
    // As cpio writes them: the bytes stand with the last name.
    let mut whole = archive(|archive| {
        archive.file(b"a", ROOTS, b"");
        archive.file(format!("{OLD}/b").as_bytes(), ROOTS, b"");
        archive.file(b"c", ROOTS, OLD.as_bytes());
    });
    let starts: Vec<usize> = (0..whole.len() - 6).filter(|at| whole[*at..].starts_with(b"070701")).collect();
    for start in &starts[..3] {
        // One inode of three links.
        whole[start + 6..start + 14].copy_from_slice(b"0000002A");
        whole[start + 38..start + 46].copy_from_slice(b"00000003");
    }
    let found = look(&whole);
    assert_eq!((found.fault.as_deref(), names(&found).len()), (None, 3));
    for at in ["/a".to_owned(), format!("/{OLD}/b"), "/c".to_owned()] {
        assert_eq!(bytes_at(&found, &at), Some(OLD.as_bytes()), "{at}");
    }
}

#[test]
fn what_is_no_initramfs_is_told() {
    let main = dracut();
    let cut = &gzip(&main)[..200];
    let mut odd = vec![0; 2];
    odd.extend_from_slice(&main);
    let mut config = main.clone();
    config.extend_from_slice(b"#BOOTCONFIG\n");
    let up = archive(|archive| {
        archive.file(b"etc/../fstab", ROOTS, OLD.as_bytes());
    });
    let mut long = main.clone();
    long[94..102].copy_from_slice(b"FFFFFFFF");
    let many: Vec<u8> = (0..300).flat_map(|_| archive(|_| {})).collect();
    for (bytes, said) in [
        (&b"\x04\x22\x4d\x18whatever"[..], "packed by lz4 in frames"),
        (b"\x02\x21\x4c\x18\x05\0\0\0what", "cannot be read"),
        (b"\x02\x21\x4c\x18\x05\0\0\0never", "cannot be read"),
        (b"\x89LZO\0\r\n", "packed by lzo"),
        (b"BZh9", "packed by bzip2"),
        (b"\x5d\0\0\0\x04", "packed by lzma"),
        (b"no archive", "at byte 0 there is no archive"),
        (cut, "in the middle of a member"),
        (&odd, "at byte 2 there is no archive"),
        (&main[..main.len() - 300], "in the middle of a member"),
        (&config, "there is no archive"),
        (&up, "a path that is none"),
        (&long, "too long"),
        (&many, "more parts"),
    ] {
        let fault = look(bytes).fault.unwrap_or_default();
        assert!(fault.contains(said), "{said}: {fault}");
    }
    assert_eq!(look(b"").fault, None);
    assert_eq!(look(&[0; 5000]).fault, None);
}

#[test]
fn a_damaged_one_breaks_nothing() {
    let mut random = fastrand::Rng::with_seed(7);
    let main = dracut();
    for packed in [main.clone(), gzip(&main), xz(&main), zstd(&main), lz4(&main)] {
        for _ in 0..200 {
            let mut bad = packed.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bad.len().min(2000));
                bad[at] = random.u8(..);
            }
            bad.truncate(random.usize(..=bad.len()));
            super::fuzz(&bad);
        }
    }
}
