//! The cases: a document, and claims made for it out of fixed numbers or real descriptors.

use lodge_model::domain::Domain;
use lodge_model::domain::address::Place;
use lodge_model::domain::chardev::CharKind;
use lodge_model::domain::disk::{DiskDevice, DiskSource, SourceKind};
use lodge_model::domain::graphics::{InputKind, ListenKind};
use lodge_model::domain::hostdev::HostdevKind;
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_model::domain::served::ServedImage;
use lodge_model::domain::tpm::TpmBackendKind;
use lodge_model::xml::YesNo;
use lodge_qemu::{
    Accelerator, Claims, FdNumber, HostdevClaim, Link, LinkBytes, NicClaim, ScreenClaim, Served,
    assign_aliases,
};

use crate::documents::{
    DISKS, FAR_NETS, GROWING, HOSTS, I440FX, INPUTS, IOMMU, KINDS, LUNS, MODULES, NETS, PCI, PEOPLE, RHEL8,
    SERVED, SMALL, STREAMS, USB2, VHOST_USER, document, q35,
};

/// A document with a name.
pub struct Case {
    pub name: &'static str,
    pub xml: String,
}

/// Every case that a real QEMU starts as well.
pub fn cases() -> Vec<Case> {
    let case = |name, xml| Case { name, xml };
    vec![
        case("rhel8", RHEL8.to_owned()),
        case("disks", document("pc-q35-7.2", "<iothreads>1</iothreads>", DISKS)),
        case("i440fx", document("pc", "<clock offset='localtime'/>", I440FX)),
        case("streams", q35(STREAMS)),
        case("people", q35(PEOPLE)),
        case("ends", document("q35", BESIDE_ENDS, ENDS)),
        case("small", document("q35", "<genid>8d0b5a2c-3f4e-4d5c-9a6b-7c8d9e0f1a2b</genid>", SMALL)),
        case("usb2", q35(USB2)),
        case("pci", q35(PCI)),
        case("kinds", q35(KINDS)),
        case("nets", q35(NETS)),
        case("iommu", document("q35", "", IOMMU)),
        case(
            "modules",
            document("q35", GROWING, MODULES).replace("<memory unit='MiB'>64", "<memory unit='MiB'>240"),
        ),
        case("numa", document("q35", NUMA, "<memballoon model='none'/>")),
        case(
            "limits",
            document("q35", GROUPS, LIMITS)
                .replace("<acpi/>", "<acpi/><smm state='on'><tseg unit='MiB'>48</tseg></smm>"),
        ),
        case("dbus", q35(DBUS)),
        case("virtio", document("q35", OVERRIDES, VIRTIO)),
        case("machine", document("q35", MACHINE, "<sound model='virtio'/><memballoon model='none'/>")),
    ]
}

/// Cases that need parts of a host that a test does not have; their arguments are looked at, not started.
pub fn unstarted_cases() -> Vec<Case> {
    let backing = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
    let tpm = |backend| {
        let tpm = format!(
            "<tpm model='tpm-tis'><backend type='{backend}</backend></tpm><memballoon model='none'/>"
        );
        document("pc", "", &tpm)
    };
    vec![
        Case { name: "inputs", xml: document("q35", "", INPUTS) },
        Case { name: "hosts", xml: document("q35", backing, HOSTS) },
        Case { name: "luns", xml: q35(LUNS) },
        Case { name: "served", xml: q35(SERVED) },
        Case { name: "vhost-user", xml: document("q35", backing, VHOST_USER) },
        Case { name: "far-nets", xml: document("q35", backing, FAR_NETS) },
        Case { name: "tpm-passthrough", xml: tpm("passthrough'><device path='/dev/tpm0'/>") },
        Case { name: "audio", xml: q35(AUDIO) },
        Case { name: "secured", xml: q35(SECURED) },
        Case { name: "nvme", xml: q35(NVME) },
        Case { name: "drawn", xml: q35(DRAWN) },
        Case { name: "drawn-spice", xml: q35(DRAWN_SPICE) },
        Case { name: "tpm-external", xml: tpm("external'><source type='unix' path='/run/tpm,1.sock'/>") },
    ]
}

/// Memory in a file, the clock of a place.
pub const BESIDE_ENDS: &str = "
  <memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>
  <clock offset='timezone' timezone='Europe/Paris'/>";

/// Ends of streams beside the usual ones, and a screen with all that a viewer has to say.
pub const ENDS: &str = "
  <controller type='usb' index='0' model='qemu-xhci'/>
  <controller type='virtio-serial' index='0'/>
  <serial type='udp'><source mode='connect' host='127.0.0.1' service='9'/><source mode='bind' host='127.0.0.1' service='0'/>
    <target type='isa-serial' port='0'/></serial>
  <serial type='null'><target type='isa-debug' port='1'><model name='isa-debugcon'/></target>
    <address type='isa' iobase='0x402'/></serial>
  <channel type='null'><target type='guestfwd' address='10.0.2.1' port='4600'/></channel>
  <channel type='qemu-vdagent'><source><clipboard copypaste='yes'/><mouse mode='server'/></source>
    <target type='virtio' name='com.redhat.spice.0'/></channel>
  <redirdev bus='usb' type='tcp'><source mode='connect' host='127.0.0.1' service='9'>
    <reconnect enabled='yes' timeout='3'/></source><protocol type='raw'/></redirdev>
  <rng model='virtio'><backend model='egd' type='unix'><source mode='bind' path='SCRATCH/egd'/></backend></rng>
  <graphics type='vnc' port='-1' autoport='yes' websocket='-1' passwd='secret' passwdValidTo='2031-01-02T03:04:05'
    connected='keep'><listen type='address' address='127.0.0.1'/></graphics>
  <audio id='1' type='file' path='SCRATCH/a.wav' timerPeriod='50'><output mixingEngine='yes' fixedSettings='yes' voices='1'
    bufferLength='100'><settings frequency='44100' channels='2' format='s16'/></output></audio>";

/// Back ends of sound that need a server or a device of the host's.
pub const AUDIO: &str = "
  <audio id='1' type='alsa'><input dev='/dev/dsp0'/><output dev='/dev/dsp1'/></audio>
  <audio id='2' type='oss' tryMMap='yes' exclusive='yes' dspPolicy='3'>
    <input dev='/dev/dsp0' bufferCount='50' tryPoll='yes'/><output dev='/dev/dsp0'/></audio>
  <audio id='3' type='pulseaudio' serverName='acme.example.org'>
    <input name='fish' streamName='food' latency='100'/><output name='f' latency='200'/></audio>
  <audio id='4' type='sdl' driver='pulseaudio'><input bufferCount='40'/></audio>
  <audio id='5' type='jack'><input serverName='fish' clientName='food' connectPorts='yum,nom' exactName='yes'/></audio>
  <audio id='6' type='pipewire' runtimeDir='/run/user/1000'><input name='fish' streamName='food' latency='100'/></audio>
  <sound model='ich9'><codec type='micro'/><audio id='3'/></sound>";

/// A screen that a viewer on D-Bus gets handed, with its sound.
pub const DBUS: &str = "
  <graphics type='dbus' p2p='yes'><gl enable='no'/><audio id='1'/></graphics>
  <audio id='1' type='dbus'/>
  <video><model type='virtio' heads='1'/></video>";

/// Namespaces of the host's NVMe controllers.
pub const NVME: &str = "
  <disk type='nvme' device='disk'>
    <driver name='qemu' type='qcow2' cache='none' discard='unmap'/>
    <source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>
    <target dev='vda' bus='virtio'/>
  </disk>
  <disk type='nvme' device='disk'>
    <driver name='qemu' type='raw'/>
    <source type='pci' namespace='2'><address domain='0x0001' bus='0x02' slot='0x1f' function='0x7'/></source>
    <target dev='sda' bus='sata'/><readonly/>
  </disk>";

/// Screens that a card of the host's draws.
pub const DRAWN: &str = "
  <graphics type='egl-headless'><gl rendernode='/dev/dri/renderD128'/></graphics>
  <graphics type='vnc' port='-1' autoport='yes'/>
  <video><model type='virtio' heads='1' primary='yes'><acceleration accel3d='yes'/></model></video>
  <video><model type='virtio' heads='2'><acceleration accel3d='yes'/></model></video>";
pub const DRAWN_SPICE: &str = "
  <graphics type='spice'><listen type='socket' socket='/run/guest/spice.sock'/><gl enable='yes'/></graphics>
  <video><model type='virtio' heads='1' primary='yes'><acceleration accel3d='yes'/></model></video>";

/// Streams and a screen that go by TLS; `PORT` is the first stream's.
pub const SECURED: &str = "
  <serial type='tcp'><source mode='bind' host='127.0.0.1' service='PORT' tls='yes'/><protocol type='raw'/></serial>
  <serial type='tcp'><source mode='connect' host='127.0.0.1' service='9' tls='yes'><reconnect enabled='yes' timeout='60'/>
    </source><protocol type='telnet'/></serial>
  <graphics type='spice' autoport='yes' defaultMode='secure'><listen type='address' address='127.0.0.1'/>
    <channel name='cursor' mode='insecure'/><channel name='inputs' mode='any'/></graphics>";

/// Elements beside `<devices>`.
pub const MACHINE: &str = "
  <currentMemory unit='MiB'>64</currentMemory>
  <memoryBacking><source type='memfd'/><access mode='shared'/><allocation mode='immediate' threads='1'/></memoryBacking>
  <sysinfo type='smbios'><system><entry name='manufacturer'>Lodge, Inc</entry></system>
    <oemStrings><entry>one</entry><entry>two</entry></oemStrings></sysinfo>
  <sysinfo type='fwcfg'><entry name='opt/org.example/x'>y</entry></sysinfo>
  <cpu mode='custom' match='exact'><model>Nehalem</model><topology sockets='1' dies='1' cores='1' threads='1'/>
    <feature policy='disable' name='sse4.2'/></cpu>
  <clock offset='absolute' start='951782400'><timer name='rtc' track='guest' tickpolicy='catchup'/>
    <timer name='hpet' present='yes'/></clock>
  <on_reboot>destroy</on_reboot>
  <pm><suspend-to-mem enabled='yes'/></pm>";

/// Two cells of memory, one without processors, with distances and speeds; room for modules.
pub const NUMA: &str = "
  <maxMemory slots='4' unit='MiB'>256</maxMemory>
  <memoryBacking><source type='memfd'/></memoryBacking>
  <cpu><numa>
    <cell id='0' cpus='0' memory='32' unit='MiB'><distances><sibling id='1' value='21'/></distances></cell>
    <cell id='1' memory='32' unit='MiB' memAccess='shared'>
      <distances><sibling id='0' value='21'/></distances>
      <cache level='1' associativity='direct' policy='writeback'>
        <size value='10' unit='KiB'/><line value='8' unit='B'/></cache></cell>
    <interconnects>
      <latency initiator='0' target='0' type='access' value='5'/>
      <latency initiator='0' target='1' type='access' value='15'/>
      <bandwidth initiator='0' target='0' type='access' value='204800' unit='KiB'/>
      <bandwidth initiator='0' target='1' type='access' value='102400' unit='KiB'/>
    </interconnects>
  </numa></cpu>";

/// Limits that two disks share, and a larger room for system management mode.
pub const GROUPS: &str = "
  <iothreads>2</iothreads>
  <throttlegroups><throttlegroup><group_name>g</group_name><total_bytes_sec>1000000</total_bytes_sec>
    <total_bytes_sec_max>2000000</total_bytes_sec_max></throttlegroup></throttlegroups>";

/// Limits with bursts, a part of a file, queues on threads of their own, a card that leaves nothing to its other end.
pub const LIMITS: &str = "
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2' queues='2'><metadata_cache><max_size unit='KiB'>1024</max_size></metadata_cache>
      <iothreads><iothread id='1'><queue id='0'/></iothread><iothread id='2'><queue id='1'/></iothread></iothreads>
    </driver>
    <source file='/images/a.qcow2'/><target dev='vda' bus='virtio'/>
    <iotune><read_iops_sec>500</read_iops_sec><read_iops_sec_max>900</read_iops_sec_max>
      <size_iops_sec>4096</size_iops_sec><read_iops_sec_max_length>3</read_iops_sec_max_length></iotune>
    <throttlefilters><throttlefilter group='g'/></throttlefilters>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw'/>
    <source file='/images/b.raw'><slices><slice type='storage' offset='1048576' size='2097152'/></slices></source>
    <target dev='sda' bus='sata'/><geometry cyls='16' heads='16' secs='16'/>
    <throttlefilters><throttlefilter group='g'/></throttlefilters>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw'/><source file='/images/c.raw'/><target dev='vdc' bus='virtio'/>
    <iotune><total_iops_sec>400</total_iops_sec><total_iops_sec_max>900</total_iops_sec_max><group_name>the two</group_name>
      <total_iops_sec_max_length>2</total_iops_sec_max_length></iotune>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw'/><source file='/images/d.raw'/><target dev='sdb' bus='sata'/>
    <iotune><total_iops_sec>400</total_iops_sec><total_iops_sec_max>900</total_iops_sec_max><group_name>the two</group_name>
      <total_iops_sec_max_length>2</total_iops_sec_max_length></iotune>
  </disk>
  <interface type='network'><mac address='52:54:00:00:00:05'/><source network='default'/><model type='virtio'/>
    <driver><host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off' mrg_rxbuf='off'/>
      <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/></driver></interface>";

/// QEMU's own namespace, and a bound on TCG's memory.
pub const OVERRIDES: &str = "
  <iothreads>1</iothreads>
  <qemu:override xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <qemu:device alias='ua-random'><qemu:frontend>
      <qemu:property name='max-bytes' type='unsigned' value='4096'/>
      <qemu:property name='packed' type='remove'/>
      <qemu:property name='event_idx' type='bool' value='false'/></qemu:frontend></qemu:device>
  </qemu:override>
  <qemu:deprecation xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' behavior='omit'/>";

/// What every virtio device can be told, at every sort of device.
pub const VIRTIO: &str = "
  <controller type='scsi' index='0' model='virtio-scsi'><driver iothread='1' packed='on'/></controller>
  <controller type='virtio-serial' index='0'><driver packed='on'/></controller>
  <disk type='file' device='disk' model='virtio-non-transitional'>
    <driver name='qemu' type='qcow2' discard_no_unref='on' iommu='on' ats='on' packed='on' page_per_vq='on'/>
    <source file='/images/a.qcow2'/><target dev='vda' bus='virtio'/>
  </disk>
  <interface type='network'><mac address='52:54:00:00:00:04'/><source network='default'/><model type='virtio-non-transitional'/>
    <driver rss='on' rss_hash_report='on' packed='on' iommu='on'/></interface>
  <input type='tablet' bus='virtio'><driver packed='on'/></input>
  <sound model='virtio' streams='1'><driver packed='on'/></sound>
  <sound model='usb' multichannel='yes'/>
  <controller type='usb' index='0' model='qemu-xhci'/>
  <video><driver iommu='on'/><model type='virtio' heads='1'/></video>
  <memballoon model='virtio'><driver packed='on'/></memballoon>
  <rng model='virtio'><rate bytes='1024'/><backend model='random'>/dev/urandom</backend><driver packed='on' ats='on'/>
    <alias name='ua-random'/></rng>";

/// What the host side would have resolved.
pub trait Host {
    fn fd(&mut self, what: &str, format: &str, read_only: bool) -> FdNumber;
    fn port(&mut self) -> u16;
    fn path(&mut self, name: &str) -> String;
}

/// Numbers from 30, in the order asked.
pub struct Fixed(pub i32);

impl Host for Fixed {
    fn fd(&mut self, _: &str, _: &str, _: bool) -> FdNumber {
        self.0 += 1;
        FdNumber::fixed(self.0)
    }

    fn port(&mut self) -> u16 {
        5901
    }

    fn path(&mut self, name: &str) -> String {
        format!("/run/guest/{name}")
    }
}

pub fn parse(xml: &str) -> Domain {
    let mut domain = Domain::parse(xml).unwrap_or_else(|faults| panic!("{faults}\n{xml}"));
    assign_aliases(&mut domain);
    domain
}

/// Claims for all that `domain` has; a qcow2 disk gets a backing file.
pub fn claims(domain: &Domain, accelerator: Accelerator, host: &mut dyn Host) -> Claims {
    let mut claims = Claims::new(accelerator, host.fd("monitor.sock", "socket", false));
    for disk in domain.devices.disks.iter().filter(|disk| disk.source.is_some()) {
        let read_only = disk.device == DiskDevice::Cdrom || disk.readonly && disk.kind == SourceKind::Network;
        let name = &disk.target.dev;
        if disk.kind == SourceKind::VhostUser {
            if let Some(socket) = disk.vhost_user_socket() {
                let alias = disk.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
                claims.helpers.insert(alias, host.fd(socket, "connected", false));
            }
            continue;
        }
        if disk.nvme().is_some() {
            let alias = disk.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
            claims.hostdevs.insert(alias, HostdevClaim::Ready);
            continue;
        }
        let layers = disk.served_layers();
        let mut chain = Vec::new();
        if layers.local > 0 {
            chain.push(Link::file(host.fd(name, disk.format(), read_only), disk.format(), read_only));
        }
        if disk.kind == SourceKind::Block {
            chain = vec![Link { bytes: LinkBytes::Device(host.fd(name, "raw", false)), ..chain.remove(0) }];
        }
        if disk.format() == "qcow2" && layers.images.is_empty() {
            chain.push(Link::file(host.fd("base", "qcow2", true), "qcow2", true));
        }
        for ServedImage { source, format } in layers.images {
            let read_only = read_only || !chain.is_empty();
            let served = served(source, host, &mut claims);
            chain.push(Link::new(LinkBytes::Served(Box::new(served)), format, read_only));
        }
        claims.disks.insert(name.clone(), chain);
    }
    for interface in &domain.devices.interfaces {
        nic(interface, host, &mut claims);
    }
    for stream in domain.devices.serials.iter().chain(&domain.devices.channels) {
        let alias = stream.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        let has_path = stream.source().is_some_and(|source| source.path.is_some());
        if stream.kind == CharKind::Unix && !has_path {
            claims.sockets.insert(alias.clone(), host.fd("agent.sock", "socket", false));
        }
        if stream.kind == CharKind::Pty && alias == "serial0" {
            claims.logs.insert(alias, host.fd("console.log", "log", false));
        }
    }
    for id in lodge_qemu::memory_files(domain) {
        claims.memory.insert(id, host.fd("memory", "memory", false));
    }
    for (at, graphics) in domain.devices.graphics.iter().enumerate() {
        if graphics.needs_render_node() {
            let node = host.fd("renderD128", "device", false);
            claims.render_nodes.insert(format!("graphics{at}"), node);
        }
        let on_socket = graphics.listens.iter().any(|listen| listen.kind == ListenKind::Socket);
        let screen = if on_socket {
            ScreenClaim { socket: Some(host.path("vnc.sock")), ..ScreenClaim::default() }
        } else {
            let websocket = graphics.websocket.map(|_| host.port());
            let is_automatic = graphics.autoport.is_some_and(YesNo::is_yes);
            let tls_port = (is_automatic && graphics.wants_security()).then(|| host.port());
            let certificates = tls_port.map(|_| host.path("tls"));
            let port = graphics.needs_plain_port().then(|| host.port());
            ScreenClaim { port, websocket, tls_port, certificates, ..ScreenClaim::default() }
        };
        claims.screens.push(screen);
    }
    claims.stream_certificates = lodge_qemu::secured_streams(domain).map(|_| host.path("tls"));
    kinds(domain, host, &mut claims);
    if domain.name.starts_with("rhel") {
        claims.seed = Some(host.fd("seed.iso", "raw", true));
        claims.fallback_reason = Some("this host's KVM is emulated".to_owned());
    }
    claims
}

/// What a start makes ready for a disk's server.
fn served(source: DiskSource, host: &mut dyn Host, claims: &mut Claims) -> Served {
    let mut secret = |wanted: bool| wanted.then(|| host.fd("secret", "secret", true));
    let login = secret(source.foreign.tree("auth").is_some());
    let cookies = secret(source.cookie_line().is_some());
    let first = source.hosts.first().and_then(|first| first.socket.as_deref());
    let socket = (source.protocol.as_deref() == Some("nbd")).then_some(first).flatten();
    let socket = socket.map(|path| host.fd(path, "connected", false));
    let certificates = source.foreign.attribute("tls").map(|_| "/etc/pki/qemu".to_owned());
    if source.protocol.as_deref() == Some("ssh") {
        claims.ssh_home = Some("/proc/self/fd/99".to_owned());
    }
    Served { source, login, cookies, socket, certificates, passphrase: None }
}

fn nic(interface: &Interface, host: &mut dyn Host, claims: &mut Claims) {
    let alias = interface.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    let driver = interface.driver.as_deref();
    let mut claim = NicClaim::default();
    match interface.kind {
        InterfaceKind::VhostUser => {
            claims.sockets.insert(alias.clone(), host.fd("switch", "socket", false));
            claims.helpers.insert(alias, host.fd("switch", "socket", false));
        }
        InterfaceKind::Hostdev => {
            claims.hostdevs.insert(alias, HostdevClaim::Ready);
        }
        InterfaceKind::Vdpa => claim.device = Some(host.fd("vdpa", "device", false)),
        InterfaceKind::User => {
            if interface.backend.as_deref().is_some_and(|backend| backend.kind.as_deref() == Some("passt")) {
                claims.helpers.insert(alias, host.fd("passt", "pair", false));
            }
        }
        _ => {
            let queues = driver.and_then(|driver| driver.queues).unwrap_or(1);
            claim.taps = (0..queues).map(|_| host.fd("tap", "tap", false)).collect();
            if driver.is_some_and(|driver| driver.name.as_deref() == Some("vhost")) {
                claim.vhosts = (0..queues).map(|_| host.fd("vhost", "tap", false)).collect();
            }
        }
    }
    claims.nics.push(claim);
}

/// What the engine has of helpers and of the host's devices.
fn kinds(domain: &Domain, host: &mut dyn Host, claims: &mut Claims) {
    let devices = &domain.devices;
    let alias = |place: &Place| place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    for filesystem in
        devices.filesystems.iter().filter(|other| other.is_virtiofs() && other.socket().is_none())
    {
        claims.helpers.insert(alias(&filesystem.place), host.fd("virtiofs", "helper", false));
    }
    for tpm in &devices.tpms {
        match tpm.backend.kind {
            TpmBackendKind::Emulator => {
                claims.helpers.insert(alias(&tpm.place), host.fd("swtpm", "helper", false));
            }
            TpmBackendKind::Passthrough => {
                claims.tpm = Some((host.fd("tpm0", "device", false), host.fd("cancel", "device", false)));
            }
            TpmBackendKind::External => {}
        }
    }
    for input in
        devices.inputs.iter().filter(|input| matches!(input.kind, InputKind::Evdev | InputKind::Passthrough))
    {
        claims.inputs.insert(alias(&input.place), host.fd("event", "device", false));
    }
    for hostdev in devices.hostdevs.iter().filter(|hostdev| hostdev.source.startup_policy.is_none()) {
        let claim = match hostdev.kind {
            HostdevKind::Pci | HostdevKind::Mdev => HostdevClaim::Ready,
            _ => HostdevClaim::Opened(host.fd("device", "device", false)),
        };
        claims.hostdevs.insert(alias(&hostdev.place), claim);
    }
    if devices.pstore.is_some() {
        claims.pstore = Some(host.fd("pstore", "shared", false));
    }
}
