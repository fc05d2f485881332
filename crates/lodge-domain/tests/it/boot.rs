//! Direct boot: a kernel and an initial disk that only root may read, for a QEMU that is not root.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use lodge_domain::{CreateOptions, DestroyOptions, Domains, Ticket};

use crate::support::{QEMU, World, config, has_qemu};

/// The least that QEMU takes as a Linux: boot protocol 2.4, whose real-mode part writes `seen` to the serial port and
/// stands still.
fn kernel() -> Vec<u8> {
    let mut image = vec![0u8; 8192];
    image[0x1f1] = 4;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x0204u16.to_le_bytes());
    image[0x211] = 1;
    // The highest address that an initial disk may have.
    image[0x22c..0x230].copy_from_slice(&0x37ff_ffffu32.to_le_bytes());
    // It is entered 512 bytes in, where a jump leads over the header.
    image[0x200..0x202].copy_from_slice(&[0xeb, 0x7e]);
    let mut code = vec![0xba, 0xf8, 0x03];
    for letter in b"seen\n" {
        code.extend([0xb0, *letter, 0xee]);
    }
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]);
    image[0x280..0x280 + code.len()].copy_from_slice(&code);
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_for_roots_eyes_boots_and_stays_roots() {
    if !has_qemu() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: needs root to start QEMU as another user");
    }
    let world = World::new();
    let (linux, initrd) = (world.dir.path().join("linux"), world.dir.path().join("initrd"));
    for (path, bytes) in [(&linux, kernel()), (&initrd, vec![b'x'; 100_000])] {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut config = config(world.dir.path()).await;
    config.own_users = true;
    let domains = Domains::open(config, world.fakes.ports()).await.unwrap();
    let text = format!(
        "<domain type='qemu'><name>inst</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{}</kernel><initrd>{}</initrd>\
         <cmdline>console=ttyS0</cmdline></os>\
         <devices><emulator>{QEMU}</emulator><serial type='pty'/></devices></domain>",
        linux.display(),
        initrd.display()
    );
    let guest = domains.create(&text, CreateOptions::default(), Ticket::default()).await.unwrap();
    let log = world.root().guest(guest.id().0).join("console.log");
    wait_for(&log, "seen").await;
    for path in [&linux, &initrd] {
        let of = path.metadata().unwrap();
        assert_eq!((of.uid(), of.mode() & 0o777), (0, 0o600), "{}", path.display());
    }
    guest.destroy(DestroyOptions::default()).await.unwrap();
    domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_runs_as_the_user_of_its_label_and_the_live_document_tells() {
    if !has_qemu() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: needs root to start QEMU as another user");
    }
    let world = World::new();
    let mut config = config(world.dir.path()).await;
    config.own_users = true;
    let domains = Domains::open(config, world.fakes.ports()).await.unwrap();
    for (name, label, user) in [
        ("own", "", None),
        (
            "other",
            "<seclabel type='static' model='dac' relabel='yes'><label>+4242:+4243</label></seclabel>",
            Some("4242"),
        ),
        (
            "root",
            "<seclabel type='static' model='dac' relabel='yes'><label>root:root</label></seclabel>",
            Some("0"),
        ),
    ] {
        let document = crate::support::tiny_with(name, label, "");
        let guest = domains.create(&document, CreateOptions::default(), Ticket::default()).await.unwrap();
        let pid = guest.snapshot().vmm.as_ref().unwrap().process.pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let of = |line: &str| {
            let found = status.lines().find_map(|known| known.strip_prefix(line)).unwrap();
            found.split_whitespace().next().unwrap().to_owned()
        };
        let uid = of("Uid:");
        assert!(user.is_none_or(|user| user == uid), "{name}: {uid}");
        assert_eq!(of("CapEff:"), "0000000000000000", "{name}");
        let live = guest.xml(lodge_domain::XmlOptions::default()).await.unwrap();
        let shown = match name {
            "own" => format!("<label>+{uid}:+{uid}</label>"),
            "other" => "<imagelabel>+4242:+4243</imagelabel>".to_owned(),
            _ => "<label>root:root</label>".to_owned(),
        };
        assert!(live.contains(&shown), "{live}");
        guest.destroy(DestroyOptions::default()).await.unwrap();
    }
    domains.close(Duration::from_secs(5)).await;
}

/// Screens that no address is said of, where the host wants sockets, and one that asks for a socket and names none.
#[tokio::test(flavor = "multi_thread")]
async fn a_screen_without_an_address_listens_on_a_socket_of_its_own() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    for (name, auto, screen) in [
        ("auto", true, "<graphics type='vnc'/>"),
        ("asked", false, "<graphics type='vnc'><listen type='socket'/></graphics>"),
    ] {
        let mut config = config(world.dir.path()).await;
        config.own_users = rustix::process::geteuid().is_root();
        let mut settings = lodge_domain::Settings::default();
        settings.vnc.auto_socket = auto;
        config.settings = std::sync::Arc::new(settings);
        let domains = Domains::open(config, world.fakes.ports()).await.unwrap();
        let document = crate::support::tiny_with(name, "", screen);
        let guest = domains.create(&document, CreateOptions::default(), Ticket::default()).await.unwrap();
        let live = guest.xml(lodge_domain::XmlOptions::default()).await.unwrap();
        let path =
            live.split("<listen type='socket' socket='").nth(1).and_then(|rest| rest.split('\'').next());
        let path = path.unwrap_or_else(|| panic!("{live}")).to_owned();
        let mut screen =
            std::os::unix::net::UnixStream::connect(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut hello = [0; 4];
        std::io::Read::read_exact(&mut screen, &mut hello).unwrap();
        assert_eq!(&hello, b"RFB ");
        guest.destroy(DestroyOptions::default()).await.unwrap();
        domains.close(Duration::from_secs(5)).await;
    }
}

async fn wait_for(log: &Path, word: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        if said.contains(word) {
            return;
        }
        assert!(Instant::now() < deadline, "it said {said:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
