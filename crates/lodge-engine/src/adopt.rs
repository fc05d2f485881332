//! Moving a host from libvirt's daemons to Lodge, and back.
//!
//! Definitions, autostart marks, pools, secrets and saved guests need no act: the files are the same. What runs is
//! taken over when the daemon starts, or here, if a libvirt daemon had it until now. While one runs, it keeps what it
//! has: two daemons on one QEMU would end it.

use std::collections::BTreeMap;

use lodge_api::{AdoptOptions, AdoptedDomain, AdoptedFile, AdoptedNetwork, Adoption, LibvirtDaemon};
use lodge_model::Kind;
use lodge_store::definitions::Collection;
use lodge_store::drivers::occupants;
use lodge_store::{Driver, Occupant, Root, Store};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// Takes libvirt's drivers, as far as no libvirt daemon has them. Returns those that have.
pub(crate) fn take_drivers(store: &Store) -> Vec<Occupant> {
    let mut others = Vec::new();
    for driver in Driver::ALL {
        match store.drivers().take(driver) {
            Ok(Ok(())) => {}
            Ok(Err(occupant)) => {
                tracing::warn!(
                    driver = driver.directory(),
                    program = occupant.program,
                    pid = occupant.pid,
                    "a libvirt daemon runs; what it has is left to it. Stop it and run `lodge adopt`"
                );
                others.push(occupant);
            }
            Err(error) => {
                tracing::error!(driver = driver.directory(), %error, "libvirt's lock could not be taken");
            }
        }
    }
    others
}

impl Engine {
    /// What there is to take over. Changes nothing.
    #[crate::boxed]
    pub async fn adoption(&self, _caller: &Caller) -> Result<Adoption> {
        let (root, ours) = (self.store.root().clone(), self.store.drivers().clone());
        let adoption = tokio::task::spawn_blocking(move || {
            let mut adoption = survey(&root);
            // Our own hold of a driver is no libvirt daemon.
            adoption.daemons = daemons(
                occupants(&root)
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|occupant| !ours.is_ours(occupant.driver)),
            );
            adoption
        });
        Ok(adoption.await.expect("reading files does not panic"))
    }

    /// Takes over what libvirt daemons that have ended left, or (`back`) gives the networks back to them.
    #[crate::boxed]
    pub async fn adopt(&self, caller: &Caller, options: AdoptOptions) -> Result<Adoption> {
        caller.may_change()?;
        if options.back {
            return self.give_back(caller).await;
        }
        let store = self.store.clone();
        let others = tokio::task::spawn_blocking(move || take_drivers(&store)).await;
        let others = others.expect("taking locks does not panic");
        if let Some(refusal) = refusal(&daemons(others)) {
            return Err(refusal);
        }
        let before = self.adoption(caller).await?;
        let networks = self.networks.take_over_libvirts().await;
        let domains = self.domains.take_over_libvirts().await?;
        self.follow_all().await;
        let mut after = Adoption { done: true, ..before };
        for network in &mut after.networks {
            network.problem = networks
                .iter()
                .find(|taken| taken.name == network.name)
                .and_then(|taken| taken.error.clone());
        }
        for domain in &mut after.domains {
            domain.ours |= !domains.iter().any(|taken| taken.name == domain.name);
        }
        Ok(after)
    }

    async fn give_back(&self, caller: &Caller) -> Result<Adoption> {
        let mut given = self.adoption(caller).await?;
        given.problems.extend(self.networks.give_back().await);
        Ok(Adoption { done: true, ..given })
    }
}

/// Why nothing is taken while these run, and what to do.
fn refusal(daemons: &[LibvirtDaemon]) -> Option<EngineError> {
    let first = daemons.first()?;
    let named = daemons.iter().map(|daemon| {
        let pid = daemon.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        format!("{}{pid} has {}", daemon.program, daemon.drivers.join(", "))
    });
    let message = format!("a libvirt daemon still runs: {}", named.collect::<Vec<_>>().join("; "));
    let units = |daemon: &LibvirtDaemon| {
        let name = &daemon.program;
        format!("{name}.socket {name}-ro.socket {name}-admin.socket {name}.service")
    };
    let all: Vec<String> = daemons.iter().map(units).collect();
    let stop =
        first.pid.map_or_else(String::new, |pid| format!(", or `kill {pid}` where there is no systemd"));
    Some(EngineError::new(Kind::Busy, message).with_hint(format!(
        "stop it first with `systemctl stop {}`{stop}: its guests run on. Then `lodge adopt` again",
        all.join(" ")
    )))
}

fn daemons(occupants: impl IntoIterator<Item = Occupant>) -> Vec<LibvirtDaemon> {
    let mut by_process: BTreeMap<(Option<u32>, String), Vec<String>> = BTreeMap::new();
    for Occupant { driver, pid, program } in occupants {
        by_process.entry((pid, program)).or_default().push(driver.directory().to_owned());
    }
    by_process.into_iter().map(|((pid, program), drivers)| LibvirtDaemon { program, pid, drivers }).collect()
}

/// Reads what there is under `root`, with no daemon's help. Changes nothing.
pub fn survey(root: &Root) -> Adoption {
    let mut found = Adoption {
        daemons: daemons(occupants(root).unwrap_or_default()),
        pools: files(root, Collection::Pools),
        secrets: files(root, Collection::Secrets),
        ..Adoption::default()
    };
    domains(root, &mut found);
    networks(root, &mut found);
    found
}

fn domains(root: &Root, found: &mut Adoption) {
    let running = lodge_domain::running_guests(root).unwrap_or_default();
    for (path, why) in running.unreadable {
        found.problems.push(format!("the running guest of `{}` cannot be taken over: {why}", path.display()));
    }
    let mut running: BTreeMap<String, _> =
        running.running.into_iter().map(|guest| (guest.name.clone(), guest)).collect();
    for file in files(root, Collection::Domains) {
        let guest = running.remove(&file.name);
        let text = || std::fs::read_to_string(root.domains().join(format!("{}.xml", file.name))).ok();
        let defined = guest.as_ref().map(|guest| guest.id.to_string()).or_else(|| {
            let document = lodge_model::domain::Domain::parse(&text()?).ok()?;
            document.uuid.map(|id| id.to_string())
        });
        let Some(uuid) = defined else {
            found.problems.push(format!("the definition of guest `{}` is no valid document", file.name));
            continue;
        };
        let saved = root.managed_saves().join(format!("{}.save", file.name)).exists();
        found.domains.push(adopted(guest.as_ref(), uuid, file, true, saved));
    }
    for (name, guest) in running {
        let file = AdoptedFile { name, autostart: false };
        found.domains.push(adopted(Some(&guest), guest.id.to_string(), file, false, false));
    }
}

fn adopted(
    guest: Option<&lodge_domain::RunningGuest>,
    uuid: String,
    file: AdoptedFile,
    persistent: bool,
    managed_save: bool,
) -> AdoptedDomain {
    AdoptedDomain {
        name: file.name,
        uuid,
        persistent,
        autostart: file.autostart,
        managed_save,
        domid: guest.map(|guest| guest.domid),
        pid: guest.map(|guest| guest.pid),
        ours: guest.is_some_and(|guest| guest.is_ours),
    }
}

fn networks(root: &Root, found: &mut Adoption) {
    let running = lodge_network::libvirt::running_networks(root).unwrap_or_default();
    for (path, why) in running.unreadable {
        found
            .problems
            .push(format!("the running network of `{}` cannot be taken over: {why}", path.display()));
    }
    // Not /sys: that is of the network namespace it was mounted in.
    let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let is_up = |bridge: &Option<String>| {
        let mut names =
            interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
        bridge.as_deref().is_some_and(|bridge| names.any(|name| name == bridge))
    };
    let mut running: BTreeMap<String, _> =
        running.running.into_iter().map(|network| (network.document.name.clone(), network)).collect();
    for file in files(root, Collection::Networks) {
        let network = running.remove(&file.name);
        let bridge = network.as_ref().and_then(|network| network.bridge.clone());
        found.networks.push(AdoptedNetwork {
            name: file.name,
            persistent: true,
            active: is_up(&bridge),
            autostart: file.autostart,
            bridge,
            dnsmasq_pid: network.and_then(|network| network.dnsmasq),
            problem: None,
        });
    }
    for (name, network) in running {
        found.networks.push(AdoptedNetwork {
            name,
            active: is_up(&network.bridge),
            bridge: network.bridge,
            dnsmasq_pid: network.dnsmasq,
            ..AdoptedNetwork::default()
        });
    }
}

/// The definitions of a directory, by name.
fn files(root: &Root, collection: Collection) -> Vec<AdoptedFile> {
    let dir = collection.dir(root);
    let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
    let named = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let is_document = path.extension().is_some_and(|extension| extension == "xml") && path.is_file();
        let name = path.file_stem().filter(|_| is_document)?.to_str()?.to_owned();
        let autostart = dir.join("autostart").join(format!("{name}.xml")).symlink_metadata().is_ok();
        Some(AdoptedFile { name, autostart })
    };
    let mut files: Vec<AdoptedFile> = entries.filter_map(named).collect();
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_runs_is_named_with_what_to_do() {
        let occupant = |driver| Occupant { driver, pid: Some(33), program: "libvirtd".to_owned() };
        let daemons = daemons([occupant(Driver::Qemu), occupant(Driver::Network)]);
        let refusal = refusal(&daemons).unwrap();
        assert_eq!(refusal.kind(), Kind::Busy);
        assert_eq!(refusal.to_string(), "a libvirt daemon still runs: libvirtd (pid 33) has qemu, network");
        let hint = refusal.hint().unwrap();
        assert!(hint.contains("systemctl stop libvirtd.socket") && hint.contains("kill 33"), "{hint}");
    }

    #[test]
    fn a_survey_reads_what_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        assert_eq!(survey(&root), Adoption::default());
        std::fs::create_dir_all(root.domains().join("autostart")).unwrap();
        let document = "<domain type='qemu'><name>web1</name><uuid>11111111-2222-4333-8444-555555555501</uuid>\
                        <memory>1</memory><os><type>hvm</type></os></domain>";
        std::fs::write(root.domains().join("web1.xml"), document).unwrap();
        std::os::unix::fs::symlink("../web1.xml", root.domains().join("autostart/web1.xml")).unwrap();
        std::fs::write(root.domains().join("broken.xml"), "<domain>").unwrap();
        std::fs::create_dir_all(root.pools()).unwrap();
        std::fs::write(root.pools().join("default.xml"), "<pool/>").unwrap();
        let found = survey(&root);
        assert_eq!(found.domains.len(), 1);
        assert!(found.domains[0].autostart && found.domains[0].persistent && found.domains[0].pid.is_none());
        assert_eq!(found.problems, ["the definition of guest `broken` is no valid document"]);
        assert_eq!(found.pools[0].name, "default");
    }
}
