//! Command lines as files in `snapshots/`: which element became which argument. `UPDATE_EXPECT=1` writes them anew.

use expect_test::{ExpectFile, expect, expect_file};
use lodge_qemu::{Accelerator, Capabilities, Refusals, command_line};

use crate::cases::{Fixed, cases, claims, parse, unstarted_cases};
use crate::documents::{RHEL8, document, q35};

/// QEMU 10.0.2 of Debian as `Capabilities::probe` found it, with fewer machines and processor models.
fn everything() -> Capabilities {
    serde_json::from_str(include_str!("capabilities.json")).unwrap()
}

fn without_spice() -> Capabilities {
    let mut capabilities = everything();
    capabilities.chardevs.retain(|name| !name.starts_with("spice"));
    capabilities.devices.retain(|name| !name.starts_with("qxl") && name != "usb-redir");
    capabilities
}

fn shown(xml: &str, accelerator: Accelerator, capabilities: &Capabilities) -> Result<String, Refusals> {
    let domain = parse(xml);
    let claims = claims(&domain, accelerator, &mut Fixed(30));
    let line = command_line(&domain, capabilities, &claims)?;
    let mut text = line.explain();
    for command in &line.commands {
        text += &format!("then: {command:?}\n");
    }
    for warning in &line.warnings {
        text += &format!("warning: {warning}\n");
    }
    Ok(text)
}

fn check(text: Result<String, Refusals>, file: &ExpectFile) {
    match text {
        Ok(text) => file.assert_eq(&text),
        Err(refusals) => panic!("refused: {refusals}"),
    }
}

#[test]
fn every_case_under_tcg() {
    for case in cases().into_iter().chain(unstarted_cases()) {
        let file = format!("{}/tests/it/snapshots/{}.txt", env!("CARGO_MANIFEST_DIR"), case.name);
        check(shown(&case.xml, Accelerator::Tcg, &everything()), &expect_file![file]);
    }
}

#[test]
fn the_seeds_own_document_where_there_is_no_spice() {
    check(
        shown(RHEL8, Accelerator::Tcg, &without_spice()),
        &expect_file!["snapshots/rhel8-without-spice.txt"],
    );
}

#[test]
fn the_seeds_own_document_under_kvm() {
    check(shown(RHEL8, Accelerator::Kvm, &everything()), &expect_file!["snapshots/rhel8-kvm.txt"]);
}

#[test]
fn features_that_only_kvm_has() {
    let top = "
      <cpu mode='host-passthrough' migratable='off'><topology sockets='1' dies='1' cores='2' threads='2'/>
        <cache mode='passthrough'/><feature policy='require' name='vmx'/></cpu>
      <clock offset='utc'><timer name='kvmclock' present='no'/><timer name='pit' tickpolicy='delay'/>
        <timer name='hypervclock' present='yes'/></clock>";
    let xml = document("q35", top, "")
        .replace("type='qemu'", "type='kvm'")
        .replace("<vcpu>1</vcpu>", "<vcpu current='2'>4</vcpu>")
        .replace(
            "<features>",
            "<features><hyperv><relaxed state='on'/><spinlocks state='on' retries='8191'/>\
             <vendor_id state='on' value='Lodge'/></hyperv><kvm><hidden state='on'/></kvm><ioapic driver='qemu'/>",
        );
    check(shown(&xml, Accelerator::Kvm, &everything()), &expect_file!["snapshots/kvm-features.txt"]);
    check(
        shown(&xml, Accelerator::Tcg, &everything()),
        &expect_file!["snapshots/kvm-features-under-tcg.txt"],
    );
}

#[test]
fn firmware_huge_pages_queues_and_vsock() {
    use lodge_qemu::{FdNumber, Link, NicClaim};
    let devices = "<interface type='network'><mac address='52:54:00:00:00:09'/><source network='default'/>\
                   <model type='virtio'/><driver name='vhost' queues='2'/></interface>\
                   <vsock model='virtio'><cid auto='yes'/></vsock>";
    let top = "<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages><locked/></memoryBacking>\
               <qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
               <qemu:arg value='-name'/><qemu:arg value='own'/><qemu:env name='A' value='B'/></qemu:commandline>";
    let xml = document("q35", top, devices).replace(
        "hvm</type>",
        "hvm</type><loader readonly='yes' type='pflash' secure='yes'>/c</loader><nvram>/v</nvram>\
         <kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd><cmdline>console=ttyS0 root=/dev/vda</cmdline>\
         <bootmenu enable='yes' timeout='3000'/>",
    );
    let domain = parse(&xml);
    let mut claims = claims(&domain, Accelerator::Tcg, &mut Fixed(30));
    let fd = FdNumber::fixed;
    let (taps, vhosts) = (vec![fd(40), fd(41)], vec![fd(42), fd(43)]);
    claims.nics = vec![NicClaim { taps, vhosts, ..NicClaim::default() }];
    claims.vsock = Some((fd(44), 3));
    claims.firmware = Some(Link::file(fd(45), "raw", true));
    claims.nvram = Some(Link::file(fd(46), "raw", false));
    claims.incoming = true;
    let line = command_line(&domain, &everything(), &claims).unwrap();
    assert_eq!(line.environment, [("A".to_owned(), "B".to_owned())]);
    expect_file!["snapshots/firmware.txt"].assert_eq(&line.explain());
}

#[test]
fn what_the_host_says_of_screens_and_streams() {
    use lodge_qemu::{Password, ScreenClaim};
    let stream = "<serial type='tcp'><source mode='bind' host='::1' service='4000' tls='yes'/></serial>";
    let screen = |kind: &str| format!("<graphics type='{kind}' port='-1' autoport='yes'/>{stream}");
    let line = |kind: &str, own: &str, qemu: &Capabilities| {
        let domain = parse(&q35(&screen(kind).replace(" port=", &format!("{own} port="))));
        let mut claims = claims(&domain, Accelerator::Tcg, &mut Fixed(30));
        claims.stream_verify = false;
        claims.screens = vec![ScreenClaim {
            port: Some(5901),
            certificates: (kind == "vnc").then(|| "/own/tls".to_owned()),
            verify: true,
            password: Some(Password("common".into())),
            sasl: true,
            sasl_dir: Some("/etc/own".into()),
            ..ScreenClaim::default()
        }];
        command_line(&domain, qemu, &claims).unwrap()
    };
    let words = |line: &lodge_qemu::CommandLine| line.explain();
    let password = |line: &lodge_qemu::CommandLine| {
        line.commands.iter().find(|command| command.command == "set_password").unwrap().arguments.to_string()
    };
    let vnc = line("vnc", "", &everything());
    let shown = words(&vnc);
    assert!(shown.contains(":1,password=on,tls-creds=vnc-tls-creds0,sasl=on"), "{shown}");
    let object = r#""id":"vnc-tls-creds0","dir":"/own/tls","endpoint":"server","verify-peer":true"#;
    assert!(shown.contains(object), "{shown}");
    assert!(shown.contains(r#""endpoint":"server","verify-peer":false"#), "the stream's: {shown}");
    assert!(vnc.environment.contains(&("SASL_CONF_PATH".into(), "/etc/own".into())));
    assert!(password(&vnc).contains("common"));
    assert!(
        password(&line("vnc", " passwd='own'", &everything())).contains("\"own\""),
        "its own goes before"
    );
    let spice = words(&line("spice", "", &everything()));
    assert!(spice.contains(",sasl=on") && !spice.contains("disable-ticketing"), "{spice}");
    // Where SPICE is not there, who has a password is not served without.
    let own = line("spice", " passwd='own'", &without_spice());
    assert!(words(&own).contains(":1,password=on"), "{}", words(&own));
    assert!(password(&own).contains(r#""protocol":"vnc""#) && password(&own).contains("own"));
}

#[test]
fn memory_that_the_host_cannot_read_under_kvm() {
    use lodge_qemu::{FdNumber, SecurityClaim};
    let sev = "<launchSecurity type='sev' kernelHashes='yes'><policy>0x0001</policy><cbitpos>47</cbitpos>\
               <reducedPhysBits>1</reducedPhysBits><dhCert>AAAA</dhCert><session>BBBB</session></launchSecurity>";
    let snp = "<launchSecurity type='sev-snp' kernelHashes='yes' authorKey='no' vcek='no'><policy>0x00030000</policy>\
               <guestVisibleWorkarounds>AAAA</guestVisibleWorkarounds><idBlock>BBBB</idBlock><idAuth>CCCC</idAuth>\
               <hostData>DDDD</hostData></launchSecurity>";
    let tdx = "<launchSecurity type='tdx'><policy>0x10000001</policy><mrConfigId>AAAA</mrConfigId>\
               <mrOwner>BBBB</mrOwner><mrOwnerConfig>CCCC</mrOwnerConfig><quoteGenerationService/></launchSecurity>";
    let mut qemu = everything();
    let security = |xml: &str| document("q35", xml, "").replace("type='qemu'", "type='kvm'");
    let rom =
        |xml: String| xml.replace("hvm</type>", "hvm</type><loader type='rom' stateless='yes'>/c</loader>");
    let shown = |xml: &str, qemu: &Capabilities, claim: Option<SecurityClaim>| {
        let domain = parse(xml);
        let mut claims = claims(&domain, Accelerator::Kvm, &mut Fixed(30));
        claims.security = claim;
        command_line(&domain, qemu, &claims)
    };
    // A host that has it not is told of by name, all that is in the way.
    for (xml, words) in [
        (security(sev), "/domain/launchSecurity: this QEMU (10.0.2) has no `sev-guest`"),
        (security(tdx), "/domain/launchSecurity: this QEMU (10.0.2) has no `tdx-guest`"),
    ] {
        assert_eq!(shown(&xml, &qemu, None).unwrap_err().to_string(), words);
    }
    qemu.objects.extend(["sev-guest", "sev-snp-guest", "tdx-guest"].map(str::to_owned));
    let refused = shown(&security(sev), &qemu, None).unwrap_err().to_string();
    assert!(refused.contains("was not asked whether it can give 'sev'"), "{refused}");
    let fd = FdNumber::fixed;
    let claim = SecurityClaim { device: Some(fd(40)), bit: Some((51, 5)), ..SecurityClaim::default() };
    let refused = shown(&security(snp), &qemu, Some(claim)).unwrap_err().to_string();
    assert!(refused.contains("has its firmware as a ROM"), "{refused}");
    let owners = SecurityClaim { certificate: Some(fd(41)), session: Some(fd(42)), ..claim };
    let hosts = SecurityClaim::default();
    for (name, xml, claim) in [
        ("sev", security(sev), owners),
        ("sev-snp", rom(security(snp)), claim),
        ("tdx", rom(security(tdx)), hosts),
    ] {
        let line = shown(&xml, &qemu, Some(claim)).unwrap();
        assert!(line.locks_memory, "{name}");
        let file = format!("{}/tests/it/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        expect_file![file].assert_eq(&line.explain());
    }
}

#[test]
fn raw_commands_need_a_right_that_is_asked_for() {
    let unit = |rawio: &str| {
        q35(&format!(
            "<controller type='scsi' index='0' model='virtio-scsi'/>\
             <disk type='block' device='lun' rawio='{rawio}'><driver name='qemu' type='raw'/><source dev='/dev/sdb'/>\
             <target dev='sda' bus='scsi'/></disk>"
        ))
    };
    let given = "<controller type='scsi' index='0' model='virtio-scsi'/>\
                 <hostdev mode='subsystem' type='scsi' rawio='yes'><source><adapter name='scsi_host2'/>\
                 <address bus='0' target='3' unit='0'/></source><address type='drive' controller='0' unit='1'/></hostdev>";
    for (xml, wanted) in [(unit("yes"), true), (unit("no"), false), (q35(given), true)] {
        let domain = parse(&xml);
        let claims = claims(&domain, Accelerator::Tcg, &mut Fixed(30));
        let line = command_line(&domain, &everything(), &claims).unwrap();
        assert_eq!(line.passes_raw_commands, wanted, "{xml}");
    }
}

#[test]
fn what_is_thin_gives_back_what_is_trimmed_unless_the_document_says_otherwise() {
    let kept = |format: &str, driver: &str, is_full: bool| {
        let domain = parse(&q35(&format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'{driver}/><source file='/a'/>\
             <target dev='vda' bus='virtio'/></disk>"
        )));
        let mut claims = claims(&domain, Accelerator::Tcg, &mut Fixed(30));
        for link in claims.disks.values_mut().flatten() {
            link.is_full = is_full;
        }
        let line = command_line(&domain, &everything(), &claims).unwrap();
        let nodes = line.arguments.iter().filter(|one| one.option == "-blockdev").filter_map(|one| {
            let node: serde_json::Value = serde_json::from_str(one.value.as_deref()?).unwrap();
            let is_format = node["node-name"].as_str().is_some_and(|name| name.ends_with("-format"));
            is_format.then(|| {
                let word = |key: &str| node[key].as_str().unwrap_or("-").to_owned();
                format!("{} {}", word("discard"), word("detect-zeroes"))
            })
        });
        nodes.collect::<Vec<_>>().join(", ")
    };
    // A qcow2 is thin whatever its file has; below stands another one.
    assert_eq!(kept("qcow2", "", true), "unmap -, unmap -");
    assert_eq!(kept("qcow2", " discard='ignore'", false), "ignore -, ignore -");
    assert_eq!(kept("raw", "", false), "unmap -");
    assert_eq!(kept("raw", "", true), "- -");
    assert_eq!(kept("raw", " discard='unmap'", true), "unmap -");
    assert_eq!(kept("raw", " discard='ignore'", false), "ignore -");
    // What may not be unmapped is written, as libvirt has it.
    assert_eq!(kept("raw", " detect_zeroes='unmap'", true), "- on");
    assert_eq!(kept("raw", " detect_zeroes='unmap'", false), "unmap unmap");
}

#[test]
fn an_sdl_screen_is_shown_where_the_document_says() {
    let mut qemu = everything();
    let screen = "<graphics type='sdl' display=':0.0' xauth='/root/.Xauthority' fullscreen='yes'><gl enable='yes'/></graphics>\
                  <video><model type='virtio'><acceleration accel3d='yes'/></model></video>";
    let refusals = shown(&q35(screen), Accelerator::Tcg, &qemu).unwrap_err();
    assert_eq!(refusals.hint().as_deref(), Some("install the Debian package qemu-system-gui"), "{refusals}");
    qemu.displays.insert("sdl".to_owned());
    let domain = parse(&q35(screen));
    let line = command_line(&domain, &qemu, &claims(&domain, Accelerator::Tcg, &mut Fixed(30))).unwrap();
    let variables = [("DISPLAY", ":0.0"), ("XAUTHORITY", "/root/.Xauthority")];
    assert_eq!(line.environment, variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let displays: Vec<&str> = line
        .arguments
        .iter()
        .filter(|one| one.option == "-display")
        .filter_map(|one| one.value.as_deref())
        .collect();
    assert_eq!(displays, ["sdl,gl=on,full-screen=on"]);
    assert!(line.words().any(|word| word.contains("\"driver\":\"virtio-vga-gl\"")), "{}", line.explain());
}

/// What is asked for and cannot be given is refused by name, all of it at once, with what to do where that is known.
#[test]
fn refusals_name_the_element() {
    let mut table = String::new();
    let mut refuse = |what: &str, xml: &str, capabilities: &Capabilities| {
        let refusals = shown(xml, Accelerator::Tcg, capabilities).expect_err(what);
        assert_eq!(refusals.kind(), lodge_model::Kind::Unsupported);
        for refused in &refusals.0 {
            table += &format!("{what}: {}: {}\n", refused.element, refused.reason);
            if let Some(hint) = &refused.hint {
                table += &format!("    → {hint}\n");
            }
        }
    };
    let everything = everything();
    let video = |kind: &str| q35(&format!("<video><model type='{kind}'/></video>"));
    refuse("no such machine", &document("pc-q35-99.0", "", ""), &everything);
    refuse("another architecture", &q35("").replace("x86_64", "aarch64"), &everything);
    refuse("another hypervisor", &q35("").replace("type='qemu'", "type='xen'"), &everything);
    refuse("unknown processor", &document("q35", "<cpu><model>Z80</model></cpu>", ""), &everything);
    refuse(
        "wrong topology",
        &document("q35", "<cpu><topology sockets='2' cores='2' threads='1'/></cpu>", ""),
        &everything,
    );
    refuse("efi without firmware", &q35("").replace("<os>", "<os firmware='efi'>"), &everything);
    refuse(
        "ide on q35",
        &q35("<disk type='file'><source file='/a'/><target dev='hda' bus='ide'/></disk>"),
        &everything,
    );
    refuse(
        "two things",
        &q35(
            "<sound model='ich7'/><graphics type='sdl'/><rng model='virtio'><backend model='egd' type='udp'/></rng>",
        ),
        &everything,
    );
    let card = |kind: &str, rest: &str| {
        q35(&format!("<interface type='{kind}'><mac address='52:54:00:00:00:01'/>{rest}</interface>"))
    };
    refuse("another hypervisor's", &card("null", ""), &everything);
    refuse("another hypervisor's", &card("vds", ""), &everything);
    refuse("a card of the host's", &card("hostdev", ""), &everything);
    let virtio = "<model type='virtio'/>";
    refuse("queues", &card("user", &format!("{virtio}<driver queues='2'/>")), &everything);
    refuse(
        "an MTU",
        &card("direct", &format!("<source dev='eth0'/>{virtio}<mtu size='1400'/>")),
        &everything,
    );
    refuse("the host's words", &q35("").replace("</os>", "<smbios mode='host'/></os>"), &everything);
    refuse("two addresses", &card("user", "<ip address='10.0.0.0'/><ip address='10.1.0.0'/>"), &everything);
    refuse("a narrow network", &card("user", "<ip address='10.0.0.0' prefix='30'/>"), &everything);
    refuse("a program", &card("bridge", "<source bridge='b'/><downscript path='/a'/>"), &everything);
    let tag = "<vlan><tag id='3'/></vlan>";
    refuse("a tagged card", &card("direct", &format!("<source dev='eth0'/>{tag}")), &everything);
    let port = |kind: &str| format!("<virtualport type='{kind}'/>");
    refuse("a port", &card("bridge", &format!("<source bridge='b'/>{}", port("802.1Qbh"))), &everything);
    refuse("a port", &card("direct", &format!("<source dev='eth0'/>{}", port("openvswitch"))), &everything);
    let limit = "<bandwidth><inbound average='1'/></bandwidth>";
    refuse("no limit", &card("user", limit), &everything);
    let coalesce = "<source bridge='b'/><coalesce><tx><frames max='1'/></tx></coalesce>";
    refuse("other frames", &card("bridge", coalesce), &everything);
    let function = "<source><address type='pci' bus='6' slot='2' function='1'/></source>";
    let two = "<vlan><tag id='3'/><tag id='4'/></vlan><link state='down'/><teaming type='persistent'/>";
    let own = card("hostdev", &format!("{function}{two}{}", port("802.1Qbh")));
    refuse("a function", &own, &everything);
    let team = "<source bridge='b'/><teaming type='transient' persistent='ua-a'/>";
    refuse("a team", &card("bridge", team), &everything);
    refuse("a TPM", &q35("<tpm model='tpm-spapr'><backend type='emulator'/></tpm>"), &everything);
    refuse("gop video", &video("gop"), &everything);
    let screens = |text: &str| q35(&format!("{text}<video><model type='virtio'/></video>"));
    let drawn = |text: &str| {
        screens(text).replace("type='virtio'/>", "type='virtio'><acceleration accel3d='yes'/></model>")
    };
    refuse("3-D without who draws", &drawn("<graphics type='vnc'/>"), &everything);
    refuse(
        "two displays",
        &screens("<graphics type='dbus' p2p='yes'/><graphics type='dbus' p2p='yes'/>"),
        &everything,
    );
    refuse("no bus", &screens("<graphics type='dbus'/>"), &everything);
    refuse(
        "drawn far away",
        &screens("<graphics type='spice' port='5900'><gl enable='yes'/></graphics>"),
        &everything,
    );
    refuse(
        "secure and without a port",
        &screens("<graphics type='spice' port='5900'><channel name='main' mode='secure'/></graphics>"),
        &everything,
    );
    let mut poor = everything.clone();
    poor.devices.remove("i6300esb");
    refuse("a device not built in", &q35("<watchdog model='i6300esb'/>"), &poor);
    refuse(
        "secure, and no SPICE",
        &screens("<graphics type='spice' autoport='yes' defaultMode='secure'/>"),
        &without_spice(),
    );
    expect![[r"
        no such machine: /domain/os/type: this QEMU (10.0.2) has no machine `pc-q35-99.0`
            → `pc-q35-10.0` is its newest of this family: set it in <os><type machine='pc-q35-10.0'>
        another architecture: /domain/os/type: this host has no QEMU for architecture `aarch64`
            → install qemu-system-aarch64
        another hypervisor: /domain/@type: type='xen' is not supported; `kvm` and `qemu` are
        unknown processor: /domain/cpu/model: this QEMU (10.0.2) has no processor model `Z80`
            → `-cpu help` of the emulator lists those it has
        wrong topology: /domain/cpu/topology: the topology makes 4 processors, but <vcpu> says 1
        efi without firmware: /domain/os/loader: no firmware image was found for it
            → install the Debian package ovmf, or name a <loader>
        ide on q35: /domain/devices/disk[1]: machine q35 has no IDE
            → use bus='sata'
        two things: /domain/devices/graphics[1]: an SDL screen needs the X display that shows it
            → name it: <graphics type='sdl' display=':0' xauth='/home/me/.Xauthority'/>
        two things: /domain/devices/sound[1]: sound of model 'ich7' is not QEMU's
        two things: /domain/devices/rng[1]: type='udp' needs a <source mode='connect' service='…'/>
        another hypervisor's: /domain/devices/interface[1]: network device type 'null' is not supported by this hypervisor
        another hypervisor's: /domain/devices/interface[1]: network device type 'vds' is not supported by this hypervisor
        a card of the host's: /domain/devices/interface[1]: <source> names no PCI device
        queues: /domain/devices/interface[1]: Multiqueue network is not supported for: user
        an MTU: /domain/devices/interface[1]: setting MTU on interface type direct is not supported yet
        the host's words: /domain/os/smbios: the host's firmware says nothing of itself (there is no /sys/class/dmi)
            → use mode='emulate', or mode='sysinfo' with <sysinfo>
        two addresses: /domain/devices/interface[1]: <ip>: Only one IPv4 address per interface is allowed
        a narrow network: /domain/devices/interface[1]: <ip>: invalid prefix, must be in range of 4-27
        a program: /domain/devices/interface[1]: scripts are not supported on interfaces of type bridge
        a tagged card: /domain/devices/interface[1]: interface 52:54:00:00:00:01 - vlan tag not supported for this connection type
        a port: /domain/devices/interface[1]: <virtualport type='802.1Qbh'> is not supported; 'openvswitch' is
        a port: /domain/devices/interface[1]: <virtualport type='openvswitch'> is not supported on interfaces of type 'direct'
            → name the switch's bridge: <interface type='bridge'><source bridge='…'/>
        no limit: /domain/devices/interface[1]: <bandwidth> is not supported on interfaces of type 'user'
            → leave it out, or use type='network', 'bridge', 'ethernet' or 'direct'
        other frames: /domain/devices/interface[1]: <coalesce>: <rx><frames max='…'/></rx> is all that can be set
        a function: /domain/devices/interface[1]: virtualport type 802.1Qbh is currently not supported on interfaces of type hostdev
        a function: /domain/devices/interface[1]: vlan trunking is not supported by SR-IOV network devices
        a function: /domain/devices/interface[1]: <link state='down'/>: a card of the host's has a cable of its own
        a function: /domain/devices/interface[1]: the interface of a team that is a device of the host's is the one of type='transient'
        a team: /domain/devices/interface[1]: virtio-net teaming transient interface must be type='hostdev', not 'bridge'
        a TPM: /domain/devices/tpm[1]: a TPM of model 'tpm-spapr' is not a PC's
        gop video: /domain/devices/video[1]: video of type 'gop' is not QEMU's
        3-D without who draws: /domain/devices/video[1]: 3-D acceleration needs a screen that the host draws by OpenGL
            → add <graphics type='egl-headless'/>, or <gl enable='yes'/> to a screen of type spice, dbus or sdl
        two displays: /domain/devices/graphics[1]: QEMU has one display beside VNC and SPICE, and several are asked for
        two displays: /domain/devices/graphics[2]: QEMU has one display beside VNC and SPICE, and several are asked for
        no bus: /domain/devices/graphics[1]: no D-Bus of the guest's own is started for its screen
            → name one (address='unix:path=…'), or use p2p='yes'
        drawn far away: /domain/devices/graphics[1]: SPICE with OpenGL is for viewers on this host: it has no port
            → use <listen type='none'/> or <listen type='socket'/>
        secure and without a port: /domain/devices/graphics[1]: channels of SPICE are to be secure, and there is no port for them
            → give a tlsPort, or autoport='yes'
        a device not built in: /domain/devices/watchdog[1]: this QEMU (10.0.2) has no `i6300esb`
        secure, and no SPICE: /domain/devices/graphics[1]: SPICE is to be secure, and this QEMU has no SPICE
            → install the Debian package qemu-system-modules-spice
    "]].assert_eq(&table);
}

#[test]
fn a_missing_disk_tap_or_port_is_refused_not_forgotten() {
    let xml = q35("<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/></disk>\
         <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>\
         <graphics type='vnc'/><channel type='unix'><target type='virtio' name='a.b'/></channel>\
         <vsock><cid auto='yes'/></vsock>\
         <filesystem><driver type='virtiofs'/><source dir='/srv'/><target dir='a'/></filesystem>\
         <tpm model='tpm-crb'><backend type='emulator'/></tpm><tpm><backend type='passthrough'/></tpm>\
         <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>\
         <hostdev mode='subsystem' type='pci'><source><address bus='1'/></source></hostdev>\
         <hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.5123456789abcde0'/></hostdev>\
         <input type='evdev'><source dev='/dev/input/event1'/></input>\
         <disk type='nvme'><source type='pci' namespace='1'><address bus='1'/></source><target dev='vdb' bus='virtio'/></disk>\
         <pstore backend='acpi-erst'><path>/a</path><size>64</size></pstore>");
    let nothing = lodge_qemu::Claims::new(Accelerator::Tcg, lodge_qemu::FdNumber::fixed(3));
    let refusals = command_line(&parse(&xml), &everything(), &nothing).unwrap_err();
    expect![[r"
        /domain/devices/disk[1]: the source of disk 'vda' was not opened
        /domain/devices/disk[2]: the host's NVMe controller 0000:01:00.0 was not given to VFIO
        /domain/devices/filesystem[1]: its server, virtiofsd, was not started
        /domain/devices/interface[1]: no tap was made for it
        /domain/devices/channel[1]: no socket was made for it
        /domain/devices/tpm[1]: its emulator, swtpm, was not started
        /domain/devices/tpm[2]: the host's TPM was not opened
        /domain/devices/input[1]: the host's event device was not opened
        /domain/devices/graphics[1]: no port was chosen for it
        /domain/devices/hostdev[1]: the host's USB device was not opened
        /domain/devices/hostdev[2]: the host's PCI device 0000:01:00.0 was not given to VFIO
        /domain/devices/hostdev[3]: /dev/vhost-scsi was not opened
        /domain/devices/vsock: this host has no vhost-vsock, or no number was chosen for the guest
        /domain/devices/pstore: the file of the store was not made"]]
    .assert_eq(&refusals.to_string().replace("; ", "\n"));
}
