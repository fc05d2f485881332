//! Which act on the host is under way for a guest: what a driver does not finish is named, not only waited for.
//!
//! The kernel has no time limit for a change of driver: it waits until whoever has the device lets it go. Such an act
//! cannot be broken off, so it stays in a thread of its own, and who waits for it is told what it is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;

use lodge_model::{DomainId, MacAddr};

use super::kernel::Kernel;
use super::note::Setting;
use super::{User, lock};

/// Acts under way, by guest: one at a time each.
#[derive(Debug, Default)]
pub(super) struct Underway(Mutex<BTreeMap<DomainId, String>>);

impl Underway {
    /// What is being done for `domain`, for people.
    pub fn of(&self, domain: DomainId) -> String {
        let act = lock(&self.0).get(&domain).cloned();
        act.unwrap_or_else(|| "waiting for a thread that acts on the host's devices".to_owned())
    }
}

/// The kernel, told of each act for one guest.
pub(super) struct Watched<'a> {
    pub kernel: &'a dyn Kernel,
    pub underway: &'a Underway,
    pub domain: DomainId,
}

impl Watched<'_> {
    fn does<T>(&self, act: String, done: impl FnOnce(&dyn Kernel) -> T) -> T {
        lock(&self.underway.0).insert(self.domain, act);
        let done = done(self.kernel);
        lock(&self.underway.0).remove(&self.domain);
        done
    }
}

impl Kernel for Watched<'_> {
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let act = format!("writing `{}` to `{}`", text.trim_end(), path.display());
        self.does(act, |kernel| kernel.write(path, text))
    }

    fn load(&self, module: &str) {
        self.does(format!("loading the module {module}"), |kernel| kernel.load(module));
    }

    fn settle(&self) {
        self.does("waiting for udev".to_owned(), |kernel| kernel.settle());
    }

    fn give(&self, path: &Path, owner: (u32, u32)) -> io::Result<()> {
        let act = format!("changing the owner of `{}`", path.display());
        self.does(act, |kernel| kernel.give(path, owner))
    }

    fn function(&self, card: &str, number: u32) -> io::Result<(bool, Setting)> {
        let act = format!("asking card {card} about its virtual function {number}");
        self.does(act, |kernel| kernel.function(card, number))
    }

    fn set_address(&self, card: &str, number: u32, mac: MacAddr) -> io::Result<()> {
        let act = format!("setting the address of virtual function {number} of card {card}");
        self.does(act, |kernel| kernel.set_address(card, number, mac))
    }

    fn set_vlan(&self, card: &str, number: u32, vlan: u32, priority: u32) -> io::Result<()> {
        let act = format!("setting the VLAN of virtual function {number} of card {card}");
        self.does(act, |kernel| kernel.set_vlan(card, number, vlan, priority))
    }

    fn node(&self, path: &Path, major: u32, user: Option<User>) -> io::Result<OwnedFd> {
        let act = format!("reaching `{}`", path.display());
        self.does(act, |kernel| kernel.node(path, major, user))
    }
}
