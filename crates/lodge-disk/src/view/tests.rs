//! A view in a jail, with real programs on it.

use std::{io::Read as _, path::Path, sync::Arc};

use lodge_sys::{
    fuse,
    process::Ending,
    spawn::{Command, Jail},
};

use super::*;
use crate::testing::Memory;

fn can_run() -> bool {
    let can = rustix::process::geteuid().is_root() && Path::new(fuse::DEVICE).exists();
    if !can {
        eprintln!("skipped: needs root and {}", fuse::DEVICE);
    }
    can
}

/// What a shell in a jail with this view says.
fn shell(view: &View, script: &str) -> (String, i32) {
    let fuse::Unplaced { connection, mount } = fuse::mount().unwrap();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut jail = Jail::new(1 << 30, 64);
    jail.mounts(mount, Path::new("/view"));
    let mut command = Command::new("/bin/sh");
    command.env("PATH", "/usr/bin:/usr/sbin").args(["-c", script]).output(write).jail(jail);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(connection, view));
        let process = command.spawn().unwrap_or_else(|error| panic!("{error}: {:?}", error.io()));
        let mut said = String::new();
        std::fs::File::from(read).read_to_string(&mut said).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Ending::Status(status) = runtime.block_on(process.ended()).unwrap() else { panic!("no status") };
        server.join().unwrap().unwrap();
        (said, status.code().unwrap_or(-1))
    })
}

fn view(bytes: usize) -> (View, Arc<Memory>) {
    let disk = Arc::new(Memory::new(vec![7; bytes]));
    let files = vec![
        File { name: "disk", content: disk.clone(), writable: true },
        File { name: "sealed", content: disk.clone(), writable: false },
    ];
    (View { files, inputs: vec![b"zero".as_slice().into(), b"one".as_slice().into()] }, disk)
}

#[test]
fn files_have_their_content_and_no_other_name_is_there() {
    if !can_run() {
        return;
    }
    let (view, _) = view(10_000);
    let (said, _) =
        shell(&view, "read -r a < /view/0; read -r b < /view/1; echo $a $b; [ -e /view/2 ] || echo none");
    assert_eq!(said, "zero one\nnone\n");
    let (said, _) = shell(&view, "exec stat -c '%s %a' /view/disk /view/sealed /view/1");
    assert_eq!(said, "10000 666\n10000 444\n3 444\n");
}

#[test]
fn what_is_written_is_written_and_nothing_grows_or_shrinks() {
    if !can_run() {
        return;
    }
    let (view, disk) = view(600_000);
    let dd = "exec dd if=/dev/zero of=/view/disk bs=1000 seek=1 count=400 conv=notrunc,fsync";
    assert_eq!(shell(&view, dd).1, 0);
    let expected = [vec![7; 1000], vec![0; 400_000], vec![7; 199_000]].concat();
    assert!(disk.all() == expected);
    for refused in [
        "exec dd if=/dev/zero of=/view/disk bs=1000 seek=600 count=1 conv=notrunc",
        "exec truncate -s 5 /view/disk",
        "exec dd if=/dev/zero of=/view/sealed bs=1000 count=1 conv=notrunc",
        "exec dd if=/dev/zero of=/view/0 bs=1 count=1 conv=notrunc",
        "exec dd if=/dev/zero of=/view/new bs=1 count=1",
        "exec rm /view/disk",
    ] {
        let (said, code) = shell(&view, refused);
        assert_ne!(code, 0, "{refused}: {said}");
    }
    assert!(disk.all() == expected);
}
