//! The workshop with Debian's kernel for clouds, which it takes from the disk that it edits.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use lodge_disk::{
    edit::{EditError, Editor, Outcome, worker_main},
    fs::{
        FileSystem, FsError,
        btrfs::{Btrfs, Subvolume},
        xfs::Xfs,
    },
    source::{DiskImage, Layer, LayerFormat},
};
use lodge_model::guest_disk::{Edit, FileEdit, FilePath, Owner};
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use crate::fs::image::{Image, Mount, empty, run, text, write};

const LABEL: &str = "security.selinux";
/// Of a file that is replaced.
const ATTRIBUTES: [(&str, &[u8]); 3] = [
    (LABEL, b"system_u:object_r:hostname_etc_t:s0\0"),
    ("user.note", b"kept"),
    // rw-, one more user may read, r--, mask r--, r--.
    (
        "system.posix_acl_access",
        b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff",
    ),
];
const OF_DIRECTORY: &[u8] = b"system_u:object_r:etc_t:s0\0";

/// A tree with Debian's kernel and modules, fetched once. None, and why, where it cannot be had.
fn kernel() -> Option<&'static Path> {
    static TREE: OnceLock<Option<PathBuf>> = OnceLock::new();
    TREE.get_or_init(fetch).as_deref()
}

fn fetch() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop-kernel");
    let (tree, ready) = (place.join("tree"), place.join("ready"));
    if ready.exists() {
        return Some(tree);
    }
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&tree).unwrap();
    let script = "cd \"$1\" && name=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -1) &&
        apt-get -q download \"$name\" && dpkg-deb -x \"$name\"_*.deb tree && rm -- \"$name\"_*.deb &&
        mkdir -p tree/usr && mv tree/lib tree/usr/lib && ln -s usr/lib tree/lib && depmod -b tree \"${name#linux-image-}\" &&
        touch ready";
    let done = Command::new("sh").args(["-c", script, "sh", text(&place)]).output().unwrap();
    if done.status.success() {
        return Some(tree);
    }
    eprintln!("skipped: no kernel to be had: {}", String::from_utf8_lossy(&done.stderr));
    None
}

/// What the guests have beside a kernel.
fn fill(at: &Path, kernel: &Path) {
    run(
        "cp",
        &[
            "-a",
            "--",
            text(&kernel.join("boot")),
            text(&kernel.join("usr")),
            text(&kernel.join("lib")),
            text(at),
        ],
    );
    write(at, "etc/os-release", b"ID=debian\n");
    write(at, "etc/hostname", b"old\n");
    for (name, value) in ATTRIBUTES {
        rustix::fs::setxattr(at.join("etc/hostname"), name, value, XattrFlags::empty()).unwrap();
    }
    rustix::fs::setxattr(at.join("etc"), LABEL, OF_DIRECTORY, XattrFlags::empty()).unwrap();
    std::os::unix::fs::chown(at.join("etc/hostname"), Some(12), Some(34)).unwrap();
    write(at, "etc/grown", b"some");
    symlink("/run/elsewhere", at.join("etc/machine-id")).unwrap();
    // A link that leads out of the tree leads to its top.
    symlink("../../../../etc", at.join("etc/way")).unwrap();
    for number in 0..300 {
        write(at, &format!("etc/ssh/keys/{}/{number}", number % 7), b"key");
    }
}

fn path(text: &str) -> FilePath {
    FilePath::new(text).unwrap()
}

fn edits() -> Vec<FileEdit> {
    let owner = |mode| Some(Owner { uid: 1, gid: 2, mode });
    vec![
        FileEdit::Write { path: path("/etc/hostname"), bytes: b"new\n".to_vec(), owner: None },
        FileEdit::Write { path: path("/etc/machine-id"), bytes: b"0123\n".to_vec(), owner: owner(0o444) },
        FileEdit::Write {
            path: path("/etc/way/new/far/file"),
            bytes: vec![b'x'; 3 << 20],
            owner: owner(0o600),
        },
        FileEdit::Write { path: path("/etc/empty"), bytes: Vec::new(), owner: None },
        FileEdit::Append { path: path("/etc/way/grown"), at: 4, bytes: vec![b'y'; 3 << 20] },
        FileEdit::Link { path: path("/etc/link"), to: b"../run/link".to_vec() },
        FileEdit::Directory { path: path("/etc/way/home/.ssh"), owner: owner(0o700) },
        FileEdit::Own { path: path("/etc/way/home"), owner: Owner { uid: 3, gid: 4, mode: 0o711 } },
        FileEdit::Own { path: path("/etc/empty"), owner: Owner { uid: 5, gid: 6, mode: 0o640 } },
        FileEdit::Remove(path("/etc/ssh/keys")),
        FileEdit::Remove(path("/nothing/here")),
    ]
}

fn check(fs: &dyn FileSystem) {
    let read = |name: &str| fs.read(&path(name), 0, 4 << 20).unwrap();
    let owner = |name: &str| {
        let owner = fs.node(&path(name)).unwrap().owner;
        (owner.uid, owner.gid, owner.mode)
    };
    assert_eq!((read("/etc/hostname"), owner("/etc/hostname")), (b"new\n".to_vec(), (12, 34, 0o644)));
    assert_eq!((read("/etc/machine-id"), owner("/etc/machine-id")), (b"0123\n".to_vec(), (1, 2, 0o444)));
    assert_eq!((read("/etc/new/far/file"), owner("/etc/new/far")), (vec![b'x'; 3 << 20], (0, 0, 0o755)));
    assert_eq!(read("/etc/grown"), [b"some".to_vec(), vec![b'y'; 3 << 20]].concat());
    assert_eq!((read("/etc/empty"), owner("/etc/empty")), (Vec::new(), (5, 6, 0o640)));
    assert_eq!((owner("/etc/home/.ssh"), owner("/etc/home")), ((1, 2, 0o700), (3, 4, 0o711)));
    assert_eq!(fs.link(&path("/etc/link")).unwrap(), b"../run/link");
    assert!(matches!(fs.node(&path("/etc/ssh/keys")), Err(FsError::NotFound)));
    assert!(fs.list(&path("/etc/ssh"), 10).unwrap().is_empty());
    let names = fs.list(&path("/etc"), 20).unwrap();
    assert!(names.iter().all(|entry| !entry.name.starts_with(b".lodge")), "{names:?}");
    assert!(fs.warnings().is_empty(), "{:?}", fs.warnings());
}

/// A jail's user must be able to reach the file.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    run("chmod", &["755", text(folder.path())]);
    folder
}

/// Not a test: what the tests start as the confined process. Its last argument is the socket.
#[test]
fn become_the_worker() {
    if std::env::var_os("LODGE_TEST_WORKER").is_some() {
        let code = worker_main(std::env::args().next_back());
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

/// Edits a disk's overlay through the confined process, and unpacks what came of it.
async fn through_the_editor(
    folder: &TempDir,
    image: &Path,
    edits: Vec<FileEdit>,
) -> Result<(Vec<Outcome>, PathBuf), EditError> {
    let (empty, top) = (folder.path().join("empty"), folder.path().join("top"));
    fs::create_dir_all(&empty).unwrap();
    if !top.exists() {
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(image), text(&top)]);
    }
    let own = std::env::current_exe().unwrap();
    let args = ["LODGE_TEST_WORKER=1", text(&own), "workshop::become_the_worker", "--exact"];
    let args = args.map(str::to_owned).into();
    let editor = Editor { program: "/usr/bin/env".into(), args, empty_root: empty, user: 65534 };
    let file = |path: &Path, write| fs::File::options().read(true).write(write).open(path).unwrap();
    let layers = vec![
        Layer { file: file(&top, true), format: LayerFormat::Qcow2 },
        Layer { file: file(image, false), format: LayerFormat::Raw },
    ];
    let disk = DiskImage { name: "vda".to_owned(), layers, writable: true };
    let outcomes = editor.edit(vec![disk], edits.into_iter().map(Edit::File).collect(), None).await?;
    let flat = folder.path().join("flat");
    run("qemu-img", &["convert", "-O", "raw", text(&top), text(&flat)]);
    Ok((outcomes, flat))
}

const CHANGED: [Outcome; 11] = [
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Changed,
    Outcome::Already,
];

/// What a replaced file has beside its bytes, as the kernel sees it. `below`: the guest's root in the file system.
fn check_attributes(flat: &Path, below: &str) {
    let Some(mount) = Mount::new(flat, "ro") else { return };
    for (name, wanted) in ATTRIBUTES {
        let mut value = [0; 64];
        let file = mount.path().join(below).join("etc/hostname");
        let length = rustix::fs::getxattr(file, name, &mut value[..]).unwrap();
        assert_eq!(value[..length].escape_ascii().to_string(), wanted.escape_ascii().to_string(), "{name}");
    }
    let file = mount.path().join(below).join("etc/new/far/file");
    let mut label = [0; 64];
    let length = rustix::fs::getxattr(file, LABEL, &mut label[..]).unwrap();
    assert_eq!(&label[..length], OF_DIRECTORY);
    mount.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_a_kernel_says_so() {
    let folder = folder();
    let image = empty(&folder, "xfs", 300);
    run("mkfs.xfs", &["-q", "-f", text(&image)]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    write(mount.path(), "etc/os-release", b"ID=debian\n");
    write(mount.path(), "etc/way/grown", b"some");
    mount.end();
    let error = through_the_editor(&folder, &image, edits()).await.unwrap_err();
    assert!(matches!(error, EditError::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains("no kernel that can edit xfs was found in the tree"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_a_subvolume_of_a_btrfs_is_edited_in_its_overlay() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let image = empty(&folder, "btrfs", 500);
    run("mkfs.btrfs", &["-q", "-f", text(&image)]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    run("btrfs", &["subvolume", "create", text(&mount.path().join("@"))]);
    fill(&mount.path().join("@"), kernel);
    write(mount.path(), "@/etc/fstab", b"/dev/vda / btrfs subvol=@ 0 0\n");
    mount.end();

    let (outcomes, flat) = through_the_editor(&folder, &image, edits()).await.unwrap();
    assert_eq!(outcomes, CHANGED);
    check(
        &Btrfs::open(Image::open(&flat))
            .unwrap()
            .subvolume(&Subvolume::from_option("subvol=@").unwrap())
            .unwrap(),
    );
    run("btrfs", &["check", "--readonly", text(&flat)]);
    check_attributes(&flat, "@");
    let (again, _) = through_the_editor(&folder, &image, edits()).await.unwrap();
    assert_eq!(again, [Outcome::Already; 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_xfs_is_edited_in_its_overlay() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let image = empty(&folder, "xfs", 500);
    run("mkfs.xfs", &["-q", "-f", text(&image)]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    fill(mount.path(), kernel);
    write(mount.path(), "etc/fstab", b"/dev/vda / xfs defaults 0 0\n");
    mount.end();

    let (outcomes, flat) = through_the_editor(&folder, &image, edits()).await.unwrap();
    assert_eq!(outcomes, CHANGED);
    check(&Xfs::open(Image::open(&flat)).unwrap());
    run("xfs_repair", &["-n", text(&flat)]);
    check_attributes(&flat, "");
    let (again, _) = through_the_editor(&folder, &image, edits()).await.unwrap();
    assert_eq!(again, [Outcome::Already; 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_xfs_that_was_not_unmounted_is_edited_in_its_overlay() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let (image, copy) = (empty(&folder, "xfs", 500), folder.path().join("copy"));
    run("mkfs.xfs", &["-q", "-f", text(&image)]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    fill(mount.path(), kernel);
    // A freeze brings all to its place; a sync leaves it in the log.
    for act in ["-f", "-u"] {
        run("fsfreeze", &[act, text(mount.path())]);
    }
    // Only in the log: whoever does not replay it does not see the file.
    write(mount.path(), "etc/late", b"late");
    fs::File::open(mount.path().join("etc/late")).unwrap().sync_all().unwrap();
    run("cp", &["--sparse=always", text(&image), text(&copy)]);
    mount.end();
    assert!(!Xfs::open(Image::open(&copy)).unwrap().warnings().is_empty());
    let before = fs::metadata(&copy).unwrap().modified().unwrap();

    let (outcomes, flat) = through_the_editor(&folder, &copy, edits()).await.unwrap();
    assert_eq!(outcomes, CHANGED);
    let after = Xfs::open(Image::open(&flat)).unwrap();
    check(&after);
    assert_eq!(after.read(&path("/etc/late"), 0, 10).unwrap(), b"late");
    run("xfs_repair", &["-n", text(&flat)]);
    assert_eq!(fs::metadata(&copy).unwrap().modified().unwrap(), before);
    let (again, _) = through_the_editor(&folder, &copy, edits()).await.unwrap();
    assert_eq!(again, [Outcome::Already; 11]);
}
