//! A real passt in a network namespace of its own: found to serve, passing a port on, ending with its guest.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream as Pair;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lodge_model::MacAddr;
use lodge_model::domain::Domain;
use lodge_qemu::helper::passt::{arguments, greet};
use lodge_qemu::helper::{Helper, HelperError, HelperSpec};
use lodge_qemu::{Accelerator, Descriptors, guest_credentials};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::documents::q35;

const PASST: &str = "/usr/bin/passt";
const SOON: Duration = Duration::from_secs(20);
const MAC: &str = "52:54:00:00:00:01";

/// Runs `test` in a network namespace with a way out, or says why not.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let has = |name| lodge_sys::tool::find(name).is_some();
    if !rustix::process::geteuid().is_root() || !Path::new(PASST).exists() || !has("ip") {
        eprintln!("skipped: root, passt and iproute2 are needed");
        return;
    }
    let thread = std::thread::spawn(move || {
        #[expect(deprecated, reason = "NEWNET takes nothing away that other threads rely on")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
        for words in [
            "link set lo up",
            "link add near0 type veth peer name far0",
            "link set near0 up",
            "link set far0 up",
            "address add 10.7.0.1/24 dev near0",
            "route add default via 10.7.0.2",
        ] {
            assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "{words}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Starts one for an interface with `rest` in it; what it said if it does not serve.
async fn started(dir: &Path, rest: &str) -> Result<(Helper, UnixStream), HelperError> {
    let xml =
        format!("<interface type='user'><mac address='{MAC}'/><backend type='passt'/>{rest}</interface>");
    let domain = Domain::parse(&q35(&xml)).unwrap();
    let mut descriptors = Descriptors::default();
    let (theirs, ours) = Pair::pair().unwrap();
    let fd = descriptors.pass(theirs);
    let helper = Helper::start(HelperSpec {
        name: "net0-passt".into(),
        program: PASST.into(),
        arguments: arguments(&domain.devices.interfaces[0], fd).unwrap(),
        descriptors,
        environment: Vec::new(),
        directory: dir.to_owned(),
        log: dir.join("log"),
        credentials: guest_credentials(domain.uuid.unwrap(), Accelerator::Tcg),
        cgroup: None,
        takes_users: false,
    })?;
    ours.set_nonblocking(true).unwrap();
    let mut ours = UnixStream::from_std(ours).unwrap();
    let mac: MacAddr = MAC.parse().unwrap();
    let ready = async {
        greet(&mut ours, mac).await?;
        io::Result::Ok(ours)
    };
    let ours = helper.serves(ready, SOON).await?;
    Ok((helper, ours))
}

/// The next frame to the guest.
async fn frame(guest: &mut UnixStream) -> Vec<u8> {
    let read = async {
        let length = guest.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        guest.read_exact(&mut frame).await.unwrap();
        frame
    };
    tokio::time::timeout(SOON, read).await.expect("a frame in time")
}

#[test]
fn a_port_of_the_hosts_leads_to_the_guests() {
    in_namespace(|| async {
        let dir = tempfile::tempdir().unwrap();
        let forward =
            "<portForward proto='tcp' address='127.0.0.1'><range start='8080' to='80'/></portForward>";
        let (helper, mut guest) = started(dir.path(), forward).await.unwrap();
        let _caller = TcpStream::connect("127.0.0.1:8080").unwrap();
        TcpStream::connect("127.0.0.1:8081").unwrap_err();
        // Ethernet, IPv4 to the address that passt gives the guest (the host's own), TCP to port 80 with SYN alone.
        loop {
            let frame = frame(&mut guest).await;
            if frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6 {
                assert_eq!(frame[30..34], [10, 7, 0, 1]);
                assert_eq!((&frame[36..38], frame[47]), (&[0, 80][..], 2));
                break;
            }
        }
        drop(guest);
        tokio::time::timeout(SOON, helper.process().ended()).await.unwrap().unwrap();
        TcpStream::connect("127.0.0.1:8080").unwrap_err();
    });
}

#[test]
fn one_that_cannot_serve_says_why() {
    in_namespace(|| async {
        let dir = tempfile::tempdir().unwrap();
        let error = started(dir.path(), "<source dev='nosuch'/>").await.unwrap_err().to_string();
        assert!(error.contains("nosuch"), "{error}");
        let _taken = std::net::TcpListener::bind("127.0.0.1:8080").unwrap();
        let forward = "<portForward proto='tcp' address='127.0.0.1'><range start='8080'/></portForward>";
        let error = started(dir.path(), forward).await.unwrap_err().to_string();
        assert!(error.contains("8080") || error.contains("bind"), "{error}");
    });
}
