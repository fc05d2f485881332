//! Plugging a device into a running guest.

use std::os::fd::OwnedFd;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::address::{Alias, Place};
use lodge_model::domain::controller::ControllerKind;
use lodge_model::domain::devices::Devices;
use lodge_model::domain::disk::{Disk, DiskBus, DiskDevice};
use lodge_model::domain::graphics::{InputBus, InputKind};
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_qemu::qmp::Monitor;
use lodge_qemu::{Accelerator, Claims, Descriptors, FdNumber, Link, device_arguments, plug};
use lodge_store::saga::Failure;

use super::{Given, alone, inventory, medium};
use crate::control::{Refusal, Running, Sort, amend};
use crate::event::EventKind;
use crate::ports::{AttachedNic, ClaimedDisk, Passphrase};
use crate::start::{Served, Told, claim_card, number_chain, pass, plain, serve_card, told};

/// Plugs `given` in.
pub(super) async fn attach(running: &mut Running, given: Given) -> Result<(), Refusal> {
    if let Some(disk) = given.devices.disks.first() {
        let removable = matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy);
        let there = running.document.devices.disks.iter().any(|other| other.target.dev == disk.target.dev);
        if removable && there {
            return medium::change(running, &given, false).await;
        }
    }
    admit(running, &given)?;
    let devices = placed(running, &given)?;
    let with = alone(running, devices);
    let claimed = Claimed::take(running, &with).await?;
    let outcome = claimed.plug(running, &with).await;
    match outcome {
        Ok(devices) => {
            running
                .tell
                .extend(alias_of(&devices, &given.element).map(|device| EventKind::DeviceAdded { device }));
            inventory::put(&mut running.document.devices, devices);
            Ok(())
        }
        Err(refusal) => {
            give_back(running, &with, &claimed.nics).await;
            Err(refusal)
        }
    }
}

pub(super) fn admit(running: &Running, given: &Given) -> Result<(), Refusal> {
    let devices = &running.document.devices;
    match given.element.as_str() {
        "disk" => {
            let Some(disk) = given.devices.disks.first() else { return Ok(()) };
            if let Some(other) = devices.disks.iter().find(|other| other.target.dev == disk.target.dev) {
                let source = |path: Option<&str>| path.unwrap_or("(null)").to_owned();
                let (first, second) = (source(other.path()), source(disk.path()));
                let target = &disk.target.dev;
                let text = format!("target '{target}' duplicated for disk sources '{first}' and '{second}'");
                return Err(Refusal::new(Sort::Xml, text).of_domain());
            }
            if disk.device != DiskDevice::Disk {
                let text = format!("disk device type '{}' cannot be hotplugged", disk.device);
                return Err(Refusal::unsupported(text));
            }
            if disk.transient {
                return Err(Refusal::unsupported(
                    "transient disks cannot be hotplugged; they are made at a start",
                ));
            }
            Ok(())
        }
        "interface" => given.devices.interfaces.first().map_or(Ok(()), admit_card),
        "input"
            if given
                .devices
                .inputs
                .iter()
                .any(|input| matches!(input.kind, InputKind::Evdev | InputKind::Passthrough)) =>
        {
            Err(Refusal::unsupported(
                "event devices of the host's cannot be hot plugged yet; a start gives them",
            ))
        }
        "hostdev" => {
            let text = "devices of the host's cannot be hot plugged yet; --config gives it at the next start";
            Err(Refusal::unsupported(text))
        }
        "input" => match given.devices.inputs.first().and_then(|input| input.bus) {
            Some(InputBus::Usb | InputBus::Virtio) => Ok(()),
            _ => Err(Refusal::unsupported("input device on bus 'ps2' cannot be hot plugged.")),
        },
        "controller" => match given.devices.controllers.first().map(|controller| controller.kind) {
            Some(ControllerKind::Scsi | ControllerKind::VirtioSerial) | None => Ok(()),
            Some(kind) => Err(Refusal::unsupported(format!("'{kind}' controller cannot be hot plugged."))),
        },
        "rng" | "watchdog" => Ok(()),
        other => Err(Refusal::unsupported(format!("live attach of device '{other}' is not supported"))),
    }
}

/// libvirt's words for what it does not do either.
fn admit_card(card: &Interface) -> Result<(), Refusal> {
    let source = card.source.as_deref();
    match card.kind {
        // QEMU would stand still until the switch came.
        InterfaceKind::VhostUser if source.is_some_and(|source| source.mode.as_deref() == Some("server")) => {
            Err(Refusal::new(
                Sort::ConfigUnsupported,
                "hotplug of an interface of type vhostuser that waits for its switch (mode='server') is not supported",
            ))
        }
        InterfaceKind::Network
        | InterfaceKind::User
        | InterfaceKind::Bridge
        | InterfaceKind::Ethernet
        | InterfaceKind::Direct
        | InterfaceKind::Vdpa
        | InterfaceKind::VhostUser => Ok(()),
        InterfaceKind::Hostdev => Err(Refusal::new(
            Sort::ConfigUnsupported,
            "hotplug of interface type of hostdev is not supported yet",
        )),
        kind => {
            Err(Refusal::unsupported(format!("hotplug of interface type of {kind} is not implemented yet")))
        }
    }
}

/// The device with its address and alias, and the controllers it needs that are not there yet.
fn placed(running: &Running, given: &Given) -> Result<Devices, Refusal> {
    let mut full = running.document.clone();
    inventory::put(&mut full.devices, given.devices.clone());
    amend::complete(&running.shared, &mut full)?;
    let now = &running.document.devices;
    let mut devices = Devices { emulator: now.emulator.clone(), ..Devices::default() };
    let same = |other: &lodge_model::domain::controller::Controller,
                new: &lodge_model::domain::controller::Controller| {
        other.kind == new.kind && other.index == new.index
    };
    for controller in &full.devices.controllers {
        if now.controllers.iter().any(|other| same(other, controller)) {
            continue;
        }
        if controller.kind == ControllerKind::Pci {
            return Err(Refusal::internal("No more available PCI slots").of_domain());
        }
        devices.controllers.push(controller.clone());
    }
    // Completing moves disks and controllers, and leaves all others where they were: the new one is the last.
    match given.element.as_str() {
        "disk" => {
            let target = given.devices.disks.first().map(|disk| disk.target.dev.clone()).unwrap_or_default();
            devices.disks.extend(full.devices.disks.iter().find(|disk| disk.target.dev == target).cloned());
        }
        "interface" => devices.interfaces.extend(full.devices.interfaces.last().cloned()),
        "input" => devices.inputs.extend(full.devices.inputs.last().cloned()),
        "rng" => devices.rngs.extend(full.devices.rngs.last().cloned()),
        "watchdog" => devices.watchdogs.extend(full.devices.watchdogs.last().cloned()),
        _ => {}
    }
    if let Some(disk) = devices.disks.first()
        && !matches!(disk.target.bus, Some(DiskBus::Virtio | DiskBus::Scsi | DiskBus::Usb))
    {
        let bus = disk.target.bus.unwrap_or_default();
        return Err(Refusal::unsupported(format!("disk bus '{bus}' cannot be hotplugged.")));
    }
    name(&running.document, &mut devices);
    Ok(devices)
}

/// Aliases that no device of the guest has.
fn name(document: &Domain, devices: &mut Devices) {
    let free = |stem: &str| {
        (0..=u16::MAX)
            .map(|number| format!("{stem}{number}"))
            .find(|name| super::find::by_alias(document, name).is_none())
    };
    let give = |place: &mut Place, stem: &str| {
        if place.alias.as_ref().is_none_or(|alias| !alias.is_users()) {
            place.alias = free(stem).map(Alias::new);
        }
    };
    devices.interfaces.iter_mut().for_each(|device| give(&mut device.place, "net"));
    devices.inputs.iter_mut().for_each(|device| give(&mut device.place, "input"));
    devices.rngs.iter_mut().for_each(|device| give(&mut device.place, "rng"));
    devices.watchdogs.iter_mut().for_each(|device| give(&mut device.place, "watchdog"));
    // Disks' and controllers' aliases follow from their places.
    let mut only = document.clone();
    *only.devices = std::mem::take(devices);
    lodge_qemu::assign_aliases(&mut only);
    *devices = *only.devices;
}

/// The alias of the device that came; not of a controller that came along.
fn alias_of(devices: &Devices, element: &str) -> Option<String> {
    let place = match element {
        "disk" => devices.disks.first().map(|device| &device.place),
        "interface" => devices.interfaces.first().map(|device| &device.place),
        "input" => devices.inputs.first().map(|device| &device.place),
        "rng" => devices.rngs.first().map(|device| &device.place),
        "watchdog" => devices.watchdogs.first().map(|device| &device.place),
        _ => devices.controllers.first().map(|device| &device.place),
    };
    place?.alias.as_ref().map(|alias| alias.name.clone())
}

/// What the host gives for a device.
pub(super) struct Claimed {
    claims: Claims,
    descriptors: Descriptors,
    /// Names of the taps that were made.
    pub nics: Vec<String>,
    bridges: Vec<Option<String>>,
    /// What each disk's chain is made of, by the disk's target.
    chains: Vec<(String, Vec<Told>)>,
}

impl Claimed {
    /// Takes what the devices of `with` need of the host.
    pub async fn take(running: &Running, with: &Domain) -> Result<Self, Refusal> {
        let ports = &running.shared.ports;
        let mut descriptors = Descriptors::default();
        let mut claims = Claims::new(accelerator(running), FdNumber::fixed(-1));
        let mut chains = Vec::new();
        let passphrases = ports.volumes.passphrases(with).await;
        for Passphrase { target, depth, file } in passphrases.map_err(|error| match error.kind {
            Kind::NotFound => Refusal::new(Sort::NoSecret, crate::error::chain(&error)),
            _ => error.into(),
        })? {
            claims.passphrases.insert((target, depth), descriptors.pass(file));
        }
        if !with.devices.disks.is_empty() {
            for disk in ports.volumes.claim_more(running.id, with).await? {
                if let Some(served) = disk.served.last().filter(|served| served.format != "raw") {
                    // What its header names can only be seen once QEMU has opened it: a start looks, see `start/served.rs`.
                    let format = &served.format;
                    let text =
                        format!("a server's image of format '{format}' cannot be plugged in; a raw one can");
                    give_back(running, with, &[]).await;
                    return Err(Refusal::unsupported(text));
                }
                if disk.served.iter().any(|served| served.source.foreign.attribute("tls") == Some("yes")) {
                    give_back(running, with, &[]).await;
                    let text = "the certificates for TLS are given to QEMU at its start only";
                    return Err(Refusal::unsupported(text));
                }
                chains.push((disk.target.clone(), told(&disk)));
                let ClaimedDisk { target, chain, served } = disk;
                let mut chain: Vec<Link> =
                    chain.into_iter().map(|link| pass(link, &mut descriptors)).collect();
                chain.extend(served.into_iter().map(|link| plain(link, &mut descriptors)));
                claims.disks.insert(target, chain);
            }
        }
        let mut taken = Self { claims, descriptors, nics: Vec::new(), bridges: Vec::new(), chains };
        for at in 0..with.devices.interfaces.len() {
            let AttachedNic { ifname, fds, bridge } = ports.nics.attach_more(running.id, with, at).await?;
            taken.nics.extend(ifname);
            taken.bridges.push(bridge);
            if let Err(failure) = taken.card(running, with, at, fds).await {
                give_back(running, with, &taken.nics).await;
                let sort =
                    if failure.kind == Kind::Unsupported { Sort::ConfigUnsupported } else { Sort::Failed };
                return Err(Refusal::new(sort, failure.message));
            }
        }
        Ok(taken)
    }

    /// The rest of what a card needs, whose queues are `taps`.
    async fn card(
        &mut self,
        running: &Running,
        with: &Domain,
        at: usize,
        taps: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let card = &with.devices.interfaces[at];
        let claim = claim_card(card, "/interface", taps, accelerator(running), &mut self.descriptors)?;
        self.claims.nics.push(claim);
        if let Some(Served { alias, socket }) = serve_card(&running.shared, running.id, with).await? {
            self.claims.helpers.insert(alias, self.descriptors.pass(socket));
        }
        Ok(())
    }

    /// Says it to QEMU; gives the devices as they are now.
    async fn plug(&self, running: &Running, with: &Domain) -> Result<Devices, Refusal> {
        let capabilities = running.shared.config.capabilities_of(&running.document);
        let first = next_node(&running.monitor).await?;
        let line = device_arguments(with, capabilities, &self.claims, first);
        let line = line.map_err(|refusals| Refusal::new(Sort::ConfigUnsupported, refusals.to_string()))?;
        plug(&running.monitor, &line, &self.descriptors).await?;
        let mut devices = (*with.devices).clone();
        devices.emulator = None;
        devices.disks.iter_mut().for_each(|disk| self.number(disk, first));
        let names = self.nics.iter().map(Some).chain(std::iter::repeat(None));
        for ((card, name), bridge) in devices.interfaces.iter_mut().zip(names).zip(&self.bridges) {
            match name {
                Some(name) => card.target.get_or_insert_default().dev.clone_from(name),
                None => card.target = None,
            }
            if let Some(bridge) = bridge {
                card.source.get_or_insert_default().bridge = Some(bridge.clone());
            }
        }
        Ok(devices)
    }

    /// Puts the numbers of its nodes into a disk's element.
    fn number(&self, disk: &mut Disk, first: usize) {
        if let Some((_, links)) = self.chains.iter().find(|(target, _)| *target == disk.target.dev) {
            number_chain(disk, links, first);
        }
    }

    /// Gives QEMU the nodes of `disk`, the only one of `with`, without its device: for a medium. The topmost's name.
    pub async fn nodes(
        &self,
        running: &Running,
        with: &Domain,
        disk: &mut Disk,
    ) -> Result<Option<String>, Refusal> {
        let capabilities = running.shared.config.capabilities_of(&running.document);
        let first = next_node(&running.monitor).await?;
        let line = device_arguments(with, capabilities, &self.claims, first);
        let mut line =
            line.map_err(|refusals| Refusal::new(Sort::ConfigUnsupported, refusals.to_string()))?;
        line.arguments.retain(|argument| argument.option != "-device");
        plug(&running.monitor, &line, &self.descriptors).await?;
        self.number(disk, first);
        let top = line.arguments.iter().rev().find(|argument| argument.option == "-blockdev");
        let top = top
            .and_then(|argument| serde_json::from_str::<serde_json::Value>(argument.value.as_deref()?).ok());
        Ok(top.and_then(|node| node.get("node-name")?.as_str().map(str::to_owned)))
    }
}

/// Gives back what [`Claimed::take`] took.
pub(super) async fn give_back(running: &Running, with: &Domain, nics: &[String]) {
    let ports = &running.shared.ports;
    if !with.devices.disks.is_empty()
        && let Err(error) = ports.volumes.release_some(running.id, with).await
    {
        tracing::warn!(domain = %running.id, %error, "a disk's lock was not given back");
    }
    for nic in nics {
        if let Err(error) = ports.nics.detach_one(nic).await {
            tracing::warn!(domain = %running.id, nic, %error, "a tap was not taken away");
        }
    }
}

pub(crate) fn accelerator(running: &Running) -> Accelerator {
    match running.document.kind {
        lodge_model::domain::DomainKind::Kvm if running.shared.config.accelerator.kvm => Accelerator::Kvm,
        _ => Accelerator::Tcg,
    }
}

/// A number that no node of the guest's has or, as far as this daemon knows, had; nor any after it.
pub(crate) async fn next_node(monitor: &Monitor) -> Result<usize, Refusal> {
    let nodes = monitor.block_nodes().await?;
    let number = |name: &str| name.strip_prefix("libvirt-")?.split('-').next()?.parse::<usize>().ok();
    let there = nodes.iter().filter_map(|node| number(&node.node_name)).max().unwrap_or(0);
    Ok(there.max(monitor.newest_node()) + 1)
}
