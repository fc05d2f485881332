//! Status files that libvirtd 11.3 wrote of running guests, with what `virsh dumpxml --security-info` said of the
//! same guests at the same moment. Of `<qemuCaps>` a few lines were kept.

use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{PausedReason, RunningReason, State, VirtState};
use lodge_model::domain::status::{DomainStatus, StatusFacts};
use lodge_model::network::status::NetworkStatus;
use lodge_model::xml::WriteOptions;

use crate::corpus::difference;

const LIVE: WriteOptions = WriteOptions { inactive: false, security_info: true, migratable: false };

const STATUS: &str = include_str!("../status/web1.status.xml");
const SHOWN: &str = include_str!("../status/web1.live.xml");

fn facts() -> StatusFacts {
    StatusFacts {
        state: State::Paused { reason: PausedReason::User }.virt(),
        pid: 4711,
        monitor: "/run/lodge/guests/x/monitor.sock".to_owned(),
        lib_dir: "/run/lodge/guests/x/lib".to_owned(),
        channel_dir: "/run/lodge/guests/x/channels".to_owned(),
        user: Some((1_879_048_193, 1_879_048_193)),
        capabilities: vec!["tcg".to_owned(), "vnc".to_owned()],
        taken: Vec::new(),
    }
}

#[test]
fn a_status_is_read_whole_and_written_again() {
    let status = DomainStatus::parse(STATUS).unwrap();
    assert_eq!(DomainStatus::parse(&status.to_xml()).unwrap(), status);
    assert!(status.faults().is_none());
    assert!(!status.is_ours());
    assert_eq!(status.domid(), Some(1));
    assert_eq!(status.state(), State::Running { reason: RunningReason::Booted });
    let monitor = status.monitor.unwrap();
    assert_eq!(monitor.path, "/var/lib/libvirt/qemu/domain-1-web1/monitor.sock");
    assert_eq!(status.lib_dir.unwrap().path, "/var/lib/libvirt/qemu/domain-1-web1");
    assert_eq!(status.channel_dir.unwrap().path, "/run/libvirt/qemu/channel/1-web1");
}

#[test]
fn the_live_document_in_it_is_the_one_that_virsh_shows() {
    let live = DomainStatus::parse(STATUS).unwrap().live().unwrap();
    if let Some(difference) = difference(&live.to_xml(&LIVE), SHOWN) {
        panic!("{difference}");
    }
}

#[test]
fn every_state_is_written_in_words_that_are_read_again() {
    let mut status = DomainStatus::parse(STATUS).unwrap();
    for state in VirtState::ALL {
        for reason in 0..15 {
            status.set_state((*state, reason));
            let (read, number) = status.virt_state();
            assert_eq!(read, *state);
            assert!(number == reason || number == 0, "{state} {reason} was read as {number}");
        }
    }
    status.set_state(State::Paused { reason: PausedReason::StartingUp }.virt());
    assert_eq!((status.state.as_str(), status.reason.as_deref()), ("paused", Some("starting up")));
}

#[test]
fn what_only_libvirtd_needs_outlives_a_stay_with_lodge() {
    let before = DomainStatus::parse(STATUS).unwrap();
    let live = before.live().unwrap();
    let facts = StatusFacts { pid: before.pid, user: None, ..facts() };
    let status = DomainStatus::of(&live, &facts, Some(&before));
    assert!(status.is_ours());
    assert_eq!(status.monitor, before.monitor);
    assert_eq!(status.qemu_caps, before.qemu_caps);
    assert_eq!(status.domain, before.domain);
    assert_eq!(status.nodename, before.nodename);
    assert_eq!(status.state(), State::Paused { reason: PausedReason::User });
}

#[test]
fn a_run_of_lodges_own_has_all_that_libvirtd_looks_for() {
    let mut live = Domain::parse(SHOWN).unwrap();
    live.seclabels.clear();
    let status = DomainStatus::of(&live, &facts(), None);
    assert_eq!(status.pid, 4711);
    assert_eq!(DomainStatus::parse(&status.to_xml()).unwrap(), status);
    let text = status.to_xml();
    for word in [
        "<domstatus state='paused' reason='user' pid='4711'>",
        "<monitor path='/run/lodge/guests/x/monitor.sock' type='unix'/>",
        "<nodename type='format' name='libvirt-2-format'/>",
        "<nodename type='storage' name='libvirt-4-storage'/>",
        "<qom name='/machine/peripheral/virtio-disk0/virtio-backend'/>",
        "<flag name='vnc'/>",
        "<qom name='sata0-0-0'/>",
        "<source bridge='virbr0'/>",
        "<label>+1879048193:+1879048193</label>",
        "<seclabel model='dac' relabel='no'/>",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    // What libvirtd shows of it is what Lodge showed, but for the labels.
    let mut shown = status.live().unwrap();
    shown.seclabels.clear();
    for disk in &mut shown.devices.disks {
        disk.source.iter_mut().for_each(|source| source.seclabels.clear());
    }
    if let Some(difference) = difference(&shown.to_xml(&LIVE), &live.to_xml(&LIVE)) {
        panic!("{difference}");
    }
}

#[test]
fn a_status_of_another_run_tells_nothing() {
    let before = DomainStatus::parse(STATUS).unwrap();
    let status = DomainStatus::of(&before.live().unwrap(), &facts(), Some(&before));
    assert_eq!(status.pid, 4711);
    assert_ne!(status.qemu_caps, before.qemu_caps);
}

#[test]
fn a_networks_status_is_read_whole_and_written_again() {
    let text = include_str!("../status/default.network.xml");
    let status = NetworkStatus::parse(text).unwrap();
    let body = text.split_once("-->\n\n").unwrap().1;
    if let Some(difference) = difference(&status.to_xml(), body) {
        panic!("{difference}");
    }
    assert_eq!(status.network.name, "default");
    let undo = status.firewall.unwrap();
    assert_eq!(undo.backend.as_deref(), Some("iptables"));
    let first = undo.groups[0].actions[0].args.as_ref().unwrap();
    assert_eq!(first.items[..4], ["--table", "mangle", "--delete", "LIBVIRT_PRT"]);
    let fresh = NetworkStatus::of(&status.network);
    assert_eq!(NetworkStatus::parse(&fresh.to_xml()).unwrap(), fresh);
}

/// libvirtd gives a PCI device back to its driver only if its status says that it took it from one.
#[test]
fn whose_a_pci_device_was_is_told_and_read_back() {
    let device = "<hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/><source>\
                  <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source><alias name='hostdev0'/></hostdev>";
    let text = DomainStatus::parse(STATUS).unwrap().live().unwrap().to_xml(&LIVE);
    let text = text.replace(
        "</devices>",
        &format!(
            "{device}{}</devices>",
            device.replace("bus='0x01'", "bus='0x02'").replace("hostdev0", "hostdev1")
        ),
    );
    let live = Domain::parse(&text).unwrap();
    let facts = StatusFacts { taken: vec!["hostdev1".to_owned()], ..facts() };
    let status = DomainStatus::of(&live, &facts, None);
    let written = status.to_xml();
    assert_eq!(written.matches("<origstates>").count(), 1, "{written}");
    let read = DomainStatus::parse(&written).unwrap();
    assert_eq!(read.taken(), ["hostdev1"]);
    let shown = read.live().unwrap().devices.hostdevs;
    assert_eq!(shown, live.devices.hostdevs, "nobody else sees it");
    // What a libvirt daemon had noted stays.
    let again = DomainStatus::of(&live, &StatusFacts { taken: Vec::new(), ..facts }, Some(&read));
    assert_eq!(again.taken(), ["hostdev1"]);
}
