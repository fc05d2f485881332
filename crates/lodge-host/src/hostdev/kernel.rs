//! The few acts on the host: everything else of [`hostdev`](super) only reads. Tests put a kernel of their own here.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use lodge_model::MacAddr;
use lodge_sys::tool::Tool;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage, LinkVfInfo, VfInfo, VfInfoMac, VfInfoVlan,
};

use super::User;
use super::note::Setting;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) trait Kernel: Send + Sync {
    /// Writes one of sysfs's attributes.
    fn write(&self, path: &Path, text: &str) -> io::Result<()>;
    /// Loads a module; whether it is there then is for the caller to see.
    fn load(&self, module: &str);
    /// Waits until the host has named the nodes of what is new, and has given them their owners.
    fn settle(&self);
    /// Changes a node's owner.
    fn give(&self, path: &Path, owner: (u32, u32)) -> io::Result<()>;
    /// Whether the interface `card` is on, and what it has set for its virtual function `number`.
    fn function(&self, card: &str, number: u32) -> io::Result<(bool, Setting)>;
    /// Sets the address of a virtual function.
    fn set_address(&self, card: &str, number: u32, mac: MacAddr) -> io::Result<()>;
    /// Sets the VLAN of a virtual function; 0: none.
    fn set_vlan(&self, card: &str, number: u32, vlan: u32, priority: u32) -> io::Result<()>;
    /// A descriptor by which `user` (none: whoever has it) can open the character device at `path`.
    fn node(&self, path: &Path, major: u32, user: Option<User>) -> io::Result<OwnedFd>;
}

/// The kernel that runs.
pub(super) struct Linux;

impl Kernel for Linux {
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        // One write: each is an act of the kernel's.
        OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
    }

    fn load(&self, module: &str) {
        run(Tool::new("modprobe", PATIENCE).args(["-q", "--", module]));
    }

    fn settle(&self) {
        if Path::new("/run/udev/control").exists() {
            run(Tool::new("udevadm", PATIENCE).args(["settle", "--timeout=10"]));
        }
    }

    fn give(&self, path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))
    }

    fn function(&self, card: &str, number: u32) -> io::Result<(bool, Setting)> {
        let message = netlink(async |handle: rtnetlink::Handle| link(&handle, card).await)?;
        let lists = message.attributes.iter().filter_map(|attribute| match attribute {
            LinkAttribute::VfInfoList(functions) => Some(functions),
            _ => None,
        });
        let mut setting = Setting { mac: MacAddr::default(), vlan: 0, priority: 0 };
        let mut is_known = false;
        for info in lists.flatten().flat_map(|LinkVfInfo(infos)| infos) {
            match info {
                VfInfo::Mac(found) if found.vf_id == number => {
                    setting.mac.0.copy_from_slice(&found.mac[..6]);
                    is_known = true;
                }
                VfInfo::Vlan(found) if found.vf_id == number => {
                    (setting.vlan, setting.priority) = (found.vlan_id, found.qos);
                }
                _ => {}
            }
        }
        if is_known {
            return Ok((message.header.flags.contains(LinkFlags::Up), setting));
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "the card's driver tells nothing of it"))
    }

    fn set_address(&self, card: &str, number: u32, mac: MacAddr) -> io::Result<()> {
        set(card, VfInfo::Mac(VfInfoMac::new(number, &mac.0)))
    }

    fn set_vlan(&self, card: &str, number: u32, vlan: u32, priority: u32) -> io::Result<()> {
        set(card, VfInfo::Vlan(VfInfoVlan::new(number, vlan, priority)))
    }

    fn node(&self, path: &Path, major: u32, user: Option<User>) -> io::Result<OwnedFd> {
        match user {
            None => lodge_sys::device::reach(path, major),
            Some(User { uid, gid }) => lodge_sys::device::reach_as(path, major, uid, gid),
        }
    }
}

/// Runs a program to its end, on a thread that may block.
fn run(tool: Tool) {
    if let Err(error) = tokio::runtime::Handle::current().block_on(tool.run()) {
        tracing::warn!(%error, "not done for a device of the host's");
    }
}

/// One act by netlink, on a thread that may block. The kernel acts while it is told (rtnetlink waits for other changes of
/// interfaces in `sendmsg`), so the connection stays on this thread: elsewhere it would hold up what else runs there.
fn netlink<T>(act: impl AsyncFnOnce(rtnetlink::Handle) -> Result<T, rtnetlink::Error>) -> io::Result<T> {
    tokio::runtime::Handle::current().block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::pin!(connection);
        let done = tokio::select! {
            done = tokio::time::timeout(PATIENCE, act(handle)) => done?,
            () = connection => return Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        };
        done.map_err(|error| match &error {
            rtnetlink::Error::NetlinkError(message) => message.code.map_or_else(
                || io::Error::other(error.to_string()),
                |code| io::Error::from_raw_os_error(-code.get()),
            ),
            _ => io::Error::other(error.to_string()),
        })
    })
}

/// An interface with what it has set for its virtual functions.
async fn link(handle: &rtnetlink::Handle, name: &str) -> Result<LinkMessage, rtnetlink::Error> {
    // Without their counters: the answer for a card with many would be too long for one message.
    let mask = vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats];
    let get = handle.link().get().set_filter_mask(AddressFamily::Unspec, mask).match_name(name);
    let mut answer = get.execute();
    answer.try_next().await?.ok_or(rtnetlink::Error::RequestFailed)
}

fn set(card: &str, info: VfInfo) -> io::Result<()> {
    netlink(async |handle: rtnetlink::Handle| {
        let index = link(&handle, card).await?.header.index;
        let list = LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info])]);
        let message = LinkUnspec::new_with_index(index).append_extra_attribute(list).build();
        handle.link().change(message).execute().await
    })
}

/// Opens a node without waiting for anybody.
pub(super) fn open(path: &Path, read: bool, write: bool) -> io::Result<OwnedFd> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(read).write(write).custom_flags(nonblock).open(path)?;
    // Who gets it does wait.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file.into())
}
