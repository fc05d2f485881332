//! What a program in a jail can see and do.

use std::fs::File;
use std::io::Read;

use super::*;
use crate::process::Ending;
use crate::spawn::Command;

/// What a program in a jail said, and its exit status.
fn jailed(program: &str, args: &[&str], jail: Jail) -> (String, i32) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let program = fs::canonicalize(program).unwrap();
    let mut command = Command::new(program);
    command.args(args).output(write).jail(jail);
    let process = command.spawn().unwrap_or_else(|error| panic!("{error}: {:?}", error.io()));
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(process.ended()).unwrap() {
        Ending::Status(status) => (said, status.code().unwrap_or(-1)),
        Ending::Unknown => panic!("our own child has a status"),
    }
}

fn jail() -> Jail {
    Jail::new(1 << 30, 64)
}

#[test]
fn it_sees_the_files_it_was_given_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (given, other) = (dir.path().join("given"), dir.path().join("other"));
    fs::write(&given, "mine\n").unwrap();
    fs::write(&other, "not mine\n").unwrap();
    let mut jail = jail();
    jail.reads(&given);
    let script = format!(
        "read -r word < {}; echo $word; [ -e {} ] || echo none; [ -e /etc/passwd ] || echo none; \
         [ -e /proc/self ] || echo none; echo {}/*",
        given.display(),
        other.display(),
        dir.path().display()
    );
    let (said, _) = jailed("/bin/sh", &["-c", &script], jail);
    assert_eq!(said, format!("mine\nnone\nnone\nnone\n{}\n", given.display()));
}

#[test]
fn it_writes_only_where_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let (ro, rw) = (dir.path().join("ro"), dir.path().join("rw"));
    fs::write(&ro, "old").unwrap();
    fs::write(&rw, "old").unwrap();
    let mut jail = jail();
    jail.reads(&ro).writes(&rw);
    let script = format!(
        "(echo new) > {}; echo new > {} && echo wrote; echo new > {}/fresh && echo wrote; \
         echo new > /usr/fresh && echo wrote; :",
        rw.display(),
        ro.display(),
        dir.path().display()
    );
    // The first runs in a shell of its own, which a jail has none of.
    let (said, _) = jailed("/bin/sh", &["-c", &script], jail.clone());
    assert!(said.to_lowercase().contains("cannot fork"), "{said}");
    let (said, _) = jailed("/bin/sh", &["-c", &script.replace("(echo new)", "echo new")], jail);
    assert!(!said.contains("wrote"), "{said}");
    assert_eq!((fs::read(&ro).unwrap(), fs::read(&rw).unwrap()), (b"old".to_vec(), b"new\n".to_vec()));
    assert!(!dir.path().join("fresh").exists());
}

#[test]
fn it_is_nobody_without_network_mounts_or_namespaces() {
    let (said, _) = jailed("/usr/bin/id", &["-u"], jail());
    let expected = if rustix::process::geteuid().is_root() { "65534\n" } else { "0\n" };
    assert_eq!(said, expected);
    for (program, args) in [
        ("/bin/bash", &["-c", "exec 3<>/dev/tcp/127.0.0.1/22"][..]),
        ("/bin/mount", &["-t", "tmpfs", "none", "/usr"]),
        ("/usr/bin/unshare", &["--user", "true"]),
        ("/usr/sbin/chroot", &["/usr", "true"]),
        ("/bin/mknod", &["/dev/sda", "b", "8", "0"]),
    ] {
        let (said, code) = jailed(program, args, jail());
        assert_ne!(code, 0, "{program}: {said}");
        assert!(
            ["not permitted", "Read-only", "denied", "superuser"].iter().any(|why| said.contains(why)),
            "{program}: {said}"
        );
    }
}

#[test]
fn memory_has_an_end() {
    let (said, code) = jailed("/bin/sh", &["-c", "x=x; while :; do x=$x$x; done"], Jail::new(64 << 20, 64));
    assert_ne!(code, 0, "{said}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_and_no_jail() {
    let mut jail = jail();
    jail.reads(Path::new("/nonexistent/disk"));
    let mut command = Command::new("/bin/true");
    command.jail(jail);
    assert_eq!(command.spawn().unwrap_err().io().unwrap().kind(), io::ErrorKind::NotFound);
}
