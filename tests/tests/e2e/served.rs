//! A guest on disks that a server has: it boots from them and writes there; a server that is gone or silent is told, and
//! holds nobody else up.

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lodge_tests::{Host, counter, document::tiny_with, skip, turn};

use super::snapshots::count_past;

/// Real-mode code before the counter's: writes the boot sector into the disk's second one (INT 13h, 3).
const WRITE: [u8; 17] =
    [0x31, 0xc0, 0x8e, 0xc0, 0xbb, 0x00, 0x7c, 0xb9, 0x02, 0x00, 0xb6, 0x00, 0xb8, 0x01, 0x03, 0xcd, 0x13];
pub const SECTOR: usize = 512;

/// A disk whose guest writes its own boot sector once more, and then counts.
pub fn writing_disk() -> Vec<u8> {
    let mut disk = counter::disk(1 << 20);
    disk.copy_within(..SECTOR - 2 - WRITE.len(), WRITE.len());
    disk[..WRITE.len()].copy_from_slice(&WRITE);
    disk[SECTOR - 2..SECTOR].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// A qemu-nbd; it goes with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Serves `image`; `reached`: whether one gets there.
    fn start(image: &Path, arguments: &[&str], reached: impl Fn() -> bool) -> Result<Self> {
        let mut command = Command::new("qemu-nbd");
        command.args(["--persistent", "-f", "raw", "-x", "disk"]).args(arguments).arg(image);
        let mut server = Self(command.stdout(Stdio::null()).spawn().context("qemu-nbd")?);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !reached() {
            if let Some(status) = server.0.try_wait()? {
                bail!("qemu-nbd ended with {status}");
            }
            ensure!(Instant::now() < deadline, "qemu-nbd does not serve");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn image(host: &Host) -> Result<PathBuf> {
    let image = host.root().join("served.raw");
    fs::write(&image, writing_disk())?;
    Ok(image)
}

fn define(host: &Host, source: &str) -> Result<()> {
    let disk = format!(
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/>{source}<target dev='vda' bus='virtio'/></disk>"
    );
    let document = host.file("count.xml", &tiny_with("count", &disk))?;
    host.lodge(&["define", &document])?.ok()?;
    Ok(())
}

#[test]
fn a_guest_boots_from_a_servers_disk_and_writes_there() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let image = image(&host)?;
    let socket = host.root().join("nbd,1.sock");
    let path = socket.to_string_lossy().into_owned();
    let server =
        Server::start(&image, &["-k", &path], || UnixStream::connect(&socket).is_ok()).context("unix")?;
    define(
        &host,
        &format!("<source protocol='nbd' name='disk'><host transport='unix' socket='{path}'/></source>"),
    )?;
    host.lodge(&["start", "count"])?.ok()?;
    count_past(&host, 10)?;
    let bytes = fs::read(&image)?;
    ensure!(bytes[..SECTOR] == bytes[SECTOR..2 * SECTOR], "the guest's write did not reach the server");

    let sizes = host.json(&["domblkinfo", "count", "vda"])?;
    ensure!(sizes["capacity"].as_u64() == Some(1 << 20), "{sizes}");
    let blocks = host.json(&["domblklist", "count"])?;
    ensure!(blocks[0]["source"].as_str().is_some_and(|source| source.starts_with("nbd://")), "{blocks}");
    let live = host.lodge(&["dumpxml", "count"])?.ok()?.stdout;
    ensure!(live.contains("protocol='nbd'") && live.contains("index='1'"), "{live}");
    let explained = host.lodge(&["explain", "count"])?.ok()?.stdout;
    ensure!(explained.contains("\"driver\":\"nbd\""), "{explained}");
    for (act, words) in [
        (
            &["snapshot-create-as", "count", "s1", "--disk-only"][..],
            "cannot generate external snapshot name for disk 'vda' without source",
        ),
        (&["blockpull", "count", "vda"], "is not of this host alone"),
    ] {
        host.lodge(act)?.fails_saying(&[words])?;
    }

    // Its server goes: the guest's processors may wait, but nobody else, and not the plug.
    drop(server);
    host.lodge(&["list"])?.ok()?;
    host.lodge(&["destroy", "count"])?.ok()?;
    host.lodge(&["clone", "count", "other"])?.fails_saying(&["lies on another host"])?;
    host.lodge(&["start", "count"])?
        .fails_saying(&["cannot connect to the disk's server at", "nbd,1.sock"])?;
    Ok(())
}

#[test]
fn a_server_is_reached_by_tcp_and_tls_or_its_silence_is_told() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let image = image(&host)?;
    let Some(certificates) = certificates(&host)? else {
        skip("there is no openssl to make certificates with");
        return Ok(());
    };
    let port = free_port()?.to_string();
    let credentials = format!("tls-creds-x509,id=t,endpoint=server,verify-peer=off,dir={certificates}");
    let listen = ["-b", "127.0.0.1", "-p", &port];
    let reached = || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
    let tls = [&listen[..], &["--object", &credentials, "--tls-creds", "t"]].concat();
    let server = Server::start(&image, &tls, reached).context("tls")?;
    let source = |tls: &str| {
        format!("<source protocol='nbd' name='disk'{tls}><host name='127.0.0.1' port='{port}'/></source>")
    };
    define(&host, &source(" tls='yes'"))?;
    host.lodge(&["start", "count"])?.ok()?;
    count_past(&host, 10)?;
    host.lodge(&["destroy", "count"])?.ok()?;
    // Who does not speak TLS is not let in, and hears why.
    host.lodge(&["undefine", "count"])?.ok()?;
    define(&host, &source(""))?;
    host.lodge(&["start", "count"])?.fails_saying(&["TLS"])?;
    drop(server);
    host.lodge(&["start", "count"])?.fails_saying(&["Connection refused"])?;

    // One that takes the connection and says nothing.
    let silent = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    let starting = std::thread::scope(|scope| {
        let starting = scope.spawn(|| host.lodge_for(Duration::from_mins(3), &["start", "count"]));
        let (_connection, _) = silent.accept()?;
        // Meanwhile others are served.
        host.lodge(&["define", &host.file("other.xml", &tiny_with("other", ""))?])?.ok()?;
        host.lodge(&["start", "other"])?.ok()?;
        starting.join().map_err(|_| anyhow::anyhow!("the start panicked"))?
    })?;
    starting.fails_saying(&["gave no answer", "that of 'vda', nbd://127.0.0.1"])?;
    Ok(())
}

/// A directory with a server's certificates; the authority's is where Lodge looks for it.
pub fn certificates(host: &Host) -> Result<Option<String>> {
    let dir = host.root().join("certificates");
    fs::create_dir_all(&dir)?;
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (ca, ca_key) = (at("ca-cert.pem"), at("ca-key.pem"));
    let (cert, key) = (at("server-cert.pem"), at("server-key.pem"));
    let new = |subject: &str, key: &str, cert: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject]);
        command.args(["-keyout", key, "-out", cert]).args(more).stderr(Stdio::null()).status()
    };
    match new("/CN=authority", &ca_key, &ca, &[]) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        made => ensure!(made?.success(), "openssl made no authority"),
    }
    let signed = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "subjectAltName=IP:127.0.0.1"];
    let plain = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let made = new("/CN=server", &key, &cert, &[&signed[..], &plain[..]].concat())?;
    ensure!(made.success(), "openssl made no certificate");
    let pki = host.root().join("etc/pki/qemu");
    fs::create_dir_all(&pki)?;
    fs::copy(&ca, pki.join("ca-cert.pem"))?;
    Ok(Some(dir.to_string_lossy().into_owned()))
}
