//! The same cases with a real QEMU: started by `launch` as in the product, asked, adopted, stopped.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_qemu::{
    AGENT_SOCKET, Accelerator, AdoptError, Capabilities, Descriptors, FdNumber, LaunchError, LaunchSpec,
    MONITOR_SOCKET, Stop, Vmm, adopt, command_line, guest_credentials, launch, listen,
};

use crate::cases::{Case, Host, cases, claims, parse};
use crate::documents::q35;
use crate::probe::{QEMU, has_qemu};

const PATIENCE: Duration = Duration::from_mins(1);

/// A directory with a guest's things in it, and the descriptors for them.
pub struct Real {
    pub dir: PathBuf,
    pub descriptors: Descriptors,
}

impl Host for Real {
    fn fd(&mut self, what: &str, format: &str, read_only: bool) -> FdNumber {
        let path = self.dir.join(what);
        match format {
            "socket" => return self.descriptors.pass(listen(&path).unwrap()),
            "connected" => {
                return self.descriptors.pass(std::os::unix::net::UnixStream::connect(what).unwrap());
            }
            "tap" => return self.descriptors.pass(File::open("/dev/null").unwrap()),
            // Whose other end is gone.
            "pair" => return self.descriptors.pass(std::os::unix::net::UnixStream::pair().unwrap().0),
            "shared" => {
                // Opened again by name, as the guest's user.
                std::fs::write(&path, vec![0; 64 << 10]).unwrap();
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
            }
            "memory" => {
                // QEMU makes it as long as it must be.
                let file = File::create(&path).unwrap();
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
            }
            "log" => {
                let file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
                return self.descriptors.pass(file);
            }
            "qcow2" => {
                let made = Command::new("qemu-img")
                    .args(["create", "-q", "-f", "qcow2"])
                    .arg(&path)
                    .arg("8M")
                    .status();
                assert!(made.unwrap().success());
            }
            _ => File::create(&path).unwrap().set_len(8 << 20).unwrap(),
        }
        self.descriptors.pass(OpenOptions::new().read(true).write(!read_only).open(&path).unwrap())
    }

    fn port(&mut self) -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn path(&mut self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }
}

/// Networks need a host's bridge: here QEMU's own user network stands for them.
pub fn with_user_network(xml: &str) -> String {
    let mut xml = xml.to_owned();
    for port in ["17001", "17002", "17003"] {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        xml = xml.replace(&format!("port='{port}'"), &format!("port='{free}'"));
    }
    // Which that one cannot have.
    xml = xml.replace("<mtu size='1400'/><boot", "<boot");
    for kind in ["network", "bridge", "ethernet"] {
        xml = xml.replace(&format!("<interface type='{kind}'>"), "<interface type='user'>");
    }
    xml
}

pub fn spec(dir: &Path, domain: &Domain, capabilities: &Capabilities) -> LaunchSpec {
    let id = domain.uuid.unwrap();
    let mut real = Real { dir: dir.to_owned(), descriptors: Descriptors::default() };
    let claims = claims(domain, Accelerator::Tcg, &mut real);
    let command_line =
        command_line(domain, capabilities, &claims).unwrap_or_else(|refusals| panic!("{refusals}"));
    let credentials = guest_credentials(id, Accelerator::Tcg);
    if let Some(credentials) = &credentials {
        std::os::unix::fs::chown(dir, Some(credentials.uid), Some(credentials.gid)).unwrap();
    }
    LaunchSpec {
        binary: capabilities.binary.clone(),
        id,
        directory: dir.to_owned(),
        command_line,
        descriptors: real.descriptors,
        accelerator: Accelerator::Tcg,
        credentials,
        cgroup: None,
        limited: false,
        processors: Vec::new(),
        patience: PATIENCE,
    }
}

/// The name of memory that the guest of this directory shares.
fn shared_name(dir: &Path) -> String {
    format!("lodge-test{}", dir.file_name().unwrap().to_str().unwrap())
}

pub async fn capabilities() -> Capabilities {
    Capabilities::probe(Path::new(QEMU), None).await.unwrap()
}

async fn launched(dir: &Path, xml: &str) -> (Vmm, DomainId) {
    let xml = with_user_network(&xml.replace("SCRATCH", dir.to_str().unwrap()));
    let xml = xml.replace("LODGE-SHARED", &shared_name(dir));
    let domain = parse(&xml);
    let spec = spec(dir, &domain, &capabilities().await);
    let id = spec.id;
    (launch(spec).await.unwrap_or_else(|error| panic!("{error}")), id)
}

#[tokio::test]
async fn a_real_qemu_takes_every_case() {
    if !has_qemu() {
        return;
    }
    let known = capabilities().await;
    for Case { name, xml } in cases() {
        if name == "rhel8" && known.machine("pc-q35-3.1").is_none() {
            println!("{name}: skipped, this QEMU has no pc-q35-3.1 any more");
            continue;
        }
        if name == "dbus" && !known.has_display("dbus") {
            println!("{name}: skipped, this QEMU has no D-Bus display");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let xml = xml.replace("<memory unit='KiB'>4194304", "<memory unit='KiB'>131072");
        let xml = xml.replace("<currentMemory unit='KiB'>4194304", "<currentMemory unit='KiB'>131072");
        let begun = Instant::now();
        let (vmm, _) = launched(dir.path(), &xml).await;
        let up = begun.elapsed();
        assert_eq!(vmm.monitor().status().await.unwrap().status.as_str(), "prelaunch", "{name}");
        vmm.monitor().cont().await.unwrap();
        assert!(vmm.monitor().status().await.unwrap().running, "{name}");
        assert!(!vmm.monitor().vcpus().await.unwrap().is_empty(), "{name}");
        let begun = Instant::now();
        vmm.stop(Stop::Kill).await.unwrap();
        println!("{name}: up in {up:?}, down in {:?}", begun.elapsed());
        let shared = Path::new("/dev/shm").join(shared_name(dir.path()));
        assert_eq!(shared.exists(), name == "kinds", "shared memory has its name on the host");
        if shared.exists() {
            std::fs::remove_file(shared).unwrap();
        }
    }
}

#[tokio::test]
async fn a_guest_is_adopted_by_a_later_daemon_and_only_if_it_is_that_one() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(adopt(dir.path(), DomainId::random(), PATIENCE).await, Err(AdoptError::Nothing { .. })));
    let (vmm, id) = launched(dir.path(), &q35("<serial type='pty'/>")).await;
    let identity = vmm.identity();
    drop(vmm);
    assert!(identity.alive(), "a QEMU does not hang on who started it");
    let stranger = adopt(dir.path(), DomainId::random(), PATIENCE).await.unwrap_err();
    assert!(matches!(stranger, AdoptError::Stranger { .. }), "{stranger}");
    let again = adopt(dir.path(), id, PATIENCE).await.unwrap();
    assert_eq!(again.identity(), identity);
    let pty =
        again.monitor().chardevs().await.unwrap().iter().find_map(|device| Some(device.pty()?.to_owned()));
    assert!(pty.is_some_and(|pty| pty.starts_with("/dev/pts/")));
    assert!(dir.path().join(MONITOR_SOCKET).exists() && !dir.path().join(AGENT_SOCKET).exists());
    again.stop(Stop::Quit(PATIENCE)).await.unwrap();
    assert!(!identity.alive());
    assert!(matches!(adopt(dir.path(), id, PATIENCE).await, Err(AdoptError::Nothing { .. })));
}

#[tokio::test]
async fn a_note_about_a_dead_process_is_no_guest() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (vmm, id) = launched(dir.path(), &q35("")).await;
    let note = std::fs::read(dir.path().join("vmm.json")).unwrap();
    vmm.stop(Stop::Graceful(PATIENCE)).await.unwrap();
    std::fs::write(dir.path().join("vmm.json"), note).unwrap();
    let gone = adopt(dir.path(), id, PATIENCE).await.unwrap_err();
    assert!(gone.is_surely_gone(), "{gone}");
    lodge_qemu::kill_noted(dir.path()).await.unwrap();
    assert!(!dir.path().join("vmm.json").exists());
    std::fs::write(dir.path().join("vmm.json"), "{").unwrap();
    assert!(matches!(adopt(dir.path(), id, PATIENCE).await, Err(AdoptError::Note { .. })));
}

#[tokio::test]
async fn a_qemu_that_dies_at_once_is_told_with_its_last_words() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let xml = q35("").replace("<memory unit='MiB'>64", "<memory unit='TiB'>900000");
    let error = launch(spec(dir.path(), &parse(&xml), &capabilities().await)).await.unwrap_err();
    let LaunchError::Ended { last_words, .. } = &error else { panic!("{error}") };
    assert!(!last_words.is_empty(), "{error}");
    println!("{error}");
    assert!(!dir.path().join("vmm.json").exists());

    let mut silent = spec(dir.path(), &parse(&q35("")), &capabilities().await);
    silent.binary = "/bin/cat".into();
    let error = launch(silent).await.unwrap_err();
    assert!(matches!(error, LaunchError::Ended { .. }), "{error}");

    let mut missing = spec(dir.path(), &parse(&q35("")), &capabilities().await);
    missing.binary = "/nonexistent/qemu".into();
    let error = launch(missing).await.unwrap_err();
    assert!(error.kind() == lodge_model::Kind::NotFound && error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn a_guest_is_saved_to_libvirts_format_and_restored() {
    use lodge_qemu::save_image::{SaveImageError, SavedGuest, Saving};
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let xml = q35("<controller type='virtio-serial' index='0'/><memballoon model='none'/>");
    let (vmm, _) = launched(dir.path(), &xml).await;
    vmm.monitor().cont().await.unwrap();
    vmm.monitor().stop().await.unwrap();
    let path = dir.path().join("guest.save");
    let saving = Saving::create(&path, &xml, true).unwrap();
    let mut seen = 0;
    saving.take_memory(vmm.monitor(), |progress| seen = progress.total).await.unwrap();
    assert!(seen >= 64 << 20, "{seen}");
    saving.finish().unwrap();
    vmm.stop(Stop::Kill).await.unwrap();

    let saved = SavedGuest::open(&path).unwrap();
    assert!(saved.was_running && saved.xml == xml);
    let domain = parse(&saved.xml);
    let incoming = |dir: &Path, known: &Capabilities| {
        let base = spec(dir, &domain, known);
        let mut real = Real { dir: dir.to_owned(), descriptors: Descriptors::default() };
        let mut claims = claims(&domain, Accelerator::Tcg, &mut real);
        claims.incoming = true;
        let command_line = command_line(&domain, known, &claims).unwrap();
        LaunchSpec { command_line, descriptors: real.descriptors, ..base }
    };
    let known = capabilities().await;
    let again = tempfile::tempdir().unwrap();
    let vmm = launch(incoming(again.path(), &known)).await.unwrap();
    assert_eq!(vmm.monitor().status().await.unwrap().status.as_str(), "inmigrate");
    saved.give_memory(vmm.monitor(), |_| {}).await.unwrap();
    vmm.monitor().cont().await.unwrap();
    assert!(vmm.monitor().status().await.unwrap().running);
    vmm.stop(Stop::Kill).await.unwrap();

    // A file that is cut off is told, not waited for.
    let size = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(size / 2).unwrap();
    let vmm = launch(incoming(again.path(), &known)).await.unwrap();
    let error = SavedGuest::open(&path).unwrap().give_memory(vmm.monitor(), |_| {}).await.unwrap_err();
    assert!(matches!(error, SaveImageError::Failed { .. } | SaveImageError::Monitor { .. }), "{error}");
    println!("{error}: {}", vmm.last_words());
    vmm.stop(Stop::Kill).await.unwrap();
}

/// A program beside QEMU; it goes with this.
struct Beside(std::process::Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn beside(program: &str, arguments: &[String], socket: &Path) -> Beside {
    let mut beside = Beside(Command::new(program).args(arguments).spawn().unwrap());
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        assert!(
            beside.0.try_wait().unwrap().is_none() && Instant::now() < deadline,
            "{program} serves nothing"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    beside
}

/// A server's image and one that stands on it, and a disk of another process'.
#[tokio::test]
async fn a_real_qemu_takes_disks_that_others_serve() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["served.raw", "other.raw"] {
        File::create(at(name)).unwrap().set_len(1 << 20).unwrap();
    }
    let (nbd, vhost) = (at("nbd,1.sock"), at("vhost.sock"));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let serve =
        words(&["-t", "-e", "4", "-f", "raw", "-x", "disk", "-k", &text(&nbd), &text(&at("served.raw"))]);
    let _nbd = beside("qemu-nbd", &serve, &nbd);
    let file = format!("driver=file,node-name=disk,filename={}", text(&at("other.raw")));
    let export = format!(
        "type=vhost-user-blk,id=e,node-name=disk,writable=on,addr.type=unix,addr.path={}",
        text(&vhost)
    );
    let serve = words(&["--blockdev", &file, "--export", &export]);
    let _vhost = beside("qemu-storage-daemon", &serve, &vhost);
    let source = format!(
        "<source protocol='nbd' name='disk'><host transport='unix' socket='{}'/></source>",
        text(&nbd)
    );
    let disks = format!(
        "<disk type='network'><driver name='qemu' type='raw' discard='unmap'/>{source}<target dev='vda' bus='virtio'/>\
           <iotune><read_iops_sec>500</read_iops_sec></iotune></disk>\
         <disk type='file'><driver name='qemu' type='qcow2'/><source file='/above'/><target dev='vdb' bus='virtio'/>\
           <backingStore type='network'><format type='raw'/>{source}</backingStore></disk>\
         <disk type='vhostuser'><driver name='qemu' type='raw'/><source type='unix' path='{}'/>\
           <target dev='vdc' bus='virtio'/></disk>",
        text(&vhost)
    );
    let shared = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
    let guest = dir.path().join("guest");
    std::fs::create_dir(&guest).unwrap();
    let (vmm, _) = launched(&guest, &crate::documents::document("q35", shared, &disks)).await;
    assert_eq!(vmm.monitor().status().await.unwrap().status.as_str(), "prelaunch");
    let nodes = vmm.monitor().block_nodes().await.unwrap();
    assert_eq!(nodes.iter().filter(|node| node.drv == "nbd").count(), 2, "{nodes:?}");
    vmm.monitor().cont().await.unwrap();
    vmm.stop(Stop::Kill).await.unwrap();
}

/// An authority's certificate, a server's and a client's in `dir`; whether there is an openssl to make them.
fn certificates(dir: &Path) -> bool {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (ca, ca_key) = (at("ca-cert.pem"), at("ca-key.pem"));
    let new = |subject: &str, name: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject]);
        let (key, cert) = (at(&format!("{name}-key.pem")), at(&format!("{name}-cert.pem")));
        command.args(["-keyout", &key, "-out", &cert]).args(more).stderr(std::process::Stdio::null()).status()
    };
    match new("/CN=authority", "ca", &[]) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
        made => assert!(made.unwrap().success()),
    }
    let signed = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "subjectAltName=IP:127.0.0.1"];
    let plain = ["-addext", "basicConstraints=critical,CA:FALSE"];
    for (subject, name) in [("/CN=server", "server"), ("/CN=client", "client")] {
        assert!(new(subject, name, &[&signed[..], &plain[..]].concat()).unwrap().success());
    }
    for entry in std::fs::read_dir(dir).unwrap() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(entry.unwrap().path(), mode).unwrap();
    }
    true
}

/// What openssl says of a connection to `port`, with a certificate of a client's or without.
fn handshake(dir: &Path, port: u16, with_own: bool) -> String {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-CAfile", &at("ca-cert.pem")]);
    command.args(["-verify_return_error", "-tls1_2"]);
    if with_own {
        command.args(["-cert", &at("client-cert.pem"), "-key", &at("client-key.pem")]);
    }
    let said = command.stdin(std::process::Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr)
}

#[tokio::test]
async fn a_real_qemu_speaks_tls_at_streams_and_at_a_screen() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    std::fs::create_dir(&tls).unwrap();
    std::fs::set_permissions(&tls, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    if !certificates(&tls) {
        return println!("skipped: there is no openssl to make certificates with");
    }
    if !capabilities().await.has_spice() {
        return println!("skipped: this QEMU has no SPICE");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let xml = q35(&crate::cases::SECURED.replace("PORT", &port.to_string()));
    let (vmm, _) = launched(dir.path(), &xml).await;
    assert_eq!(vmm.monitor().status().await.unwrap().status.as_str(), "prelaunch");
    let screen: serde_json::Value =
        vmm.monitor().execute("query-spice", serde_json::json!({})).await.unwrap();
    let screen = screen["tls-port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
    // QEMU serves its streams while the guest stands still; openssl waits for nothing but the other end.
    let seen = tokio::task::spawn_blocking(move || {
        [handshake(&tls, port, true), handshake(&tls, port, false), handshake(&tls, screen, false)]
    });
    let [known, unknown, viewer] = tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
    assert!(known.contains("Verify return code: 0"), "{known}");
    assert!(viewer.contains("Verify return code: 0"), "{viewer}");
    // Who shows no certificate is turned away.
    let is_cut = |said: &str| said.contains("alert") || said.contains("unexpected eof");
    assert!(is_cut(&unknown) && !is_cut(&known) && !is_cut(&viewer), "{unknown}\n{known}\n{viewer}");
    vmm.stop(Stop::Kill).await.unwrap();
}

/// A viewer is handed one end of a connection, and QEMU speaks D-Bus at the other.
#[tokio::test]
async fn a_real_qemu_lets_a_viewer_in_on_d_bus() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    if !has_qemu() {
        return;
    }
    if !capabilities().await.has_display("dbus") {
        return println!("skipped: this QEMU has no D-Bus display (qemu-system-modules-opengl)");
    }
    let dir = tempfile::tempdir().unwrap();
    let (vmm, _) = launched(dir.path(), &q35(crate::cases::DBUS)).await;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    vmm.monitor().give_fd("viewer", theirs.into()).await.unwrap();
    let viewer = serde_json::json!({ "protocol": "@dbus-display", "fdname": "viewer" });
    vmm.monitor().execute::<serde::de::IgnoredAny>("add_client", viewer).await.unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    ours.write_all(b"\0AUTH\r\n").unwrap();
    let mut answer = [0; 64];
    let length = ours.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"REJECTED"), "{:?}", &answer[..length]);
    vmm.stop(Stop::Kill).await.unwrap();
}
