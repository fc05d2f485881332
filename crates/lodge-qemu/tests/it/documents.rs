//! Documents for the tests: the seed's own, and small ones about one thing each.

/// What virt-manager makes for a RHEL 8 guest.
pub const RHEL8: &str = include_str!("../../../../examples/rhel8.0.xml");

/// A q35 guest with these features and devices.
pub fn q35(devices: &str) -> String {
    document("pc-q35-7.2", "", devices)
}

/// A guest of machine `machine`, with `top` beside and `devices` inside `<devices>`.
pub fn document(machine: &str, top: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>small, but fine</name><uuid>11111111-2222-3333-4444-555555555555</uuid>\
         <memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='{machine}'>hvm</type></os><features><acpi/></features>{top}\
         <devices>{devices}</devices></domain>"
    )
}

/// Disks that servers have, a protocol each, and a file of this host above one.
pub const SERVED: &str = "
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw' cache='none' discard='unmap'/>
    <source protocol='nbd' name='export' tls='yes' tlsHostname='cert.example'>
      <host name='nbd.example' port='10810'/><reconnect delay='10'/></source>
    <target dev='vda' bus='virtio'/>
    <iotune><read_iops_sec>500</read_iops_sec></iotune>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='nbd'><host transport='unix' socket='/run/nbd,1.sock'/></source>
    <target dev='vdb' bus='virtio'/><shareable/>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2'/>
    <source file='/images/above.qcow2'/>
    <backingStore type='network'><format type='qcow2'/>
      <source protocol='https' name='images/a b.qcow2' query='v=1&amp;w=2'><host name='www.example'/>
        <ssl verify='no'/><cookies><cookie name='a'>secret</cookie></cookies>
        <readahead size='65536'/><timeout seconds='6'/></source>
      <backingStore type='network'><format type='raw'/>
        <source protocol='ftp' name='base'><host name='::1' port='2121'/></source></backingStore></backingStore>
    <target dev='vdc' bus='virtio'/>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='ssh' name='srv/disk.img'><host name='ssh.example'/>
      <knownHosts path='/etc/lodge/known'/><identity username='me' keyfile='/etc/lodge/key'/></source>
    <target dev='sda' bus='scsi'/>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <auth username='me'><secret type='iscsi' usage='libvirtiscsi'/></auth>
    <source protocol='iscsi' name='iqn.2013-07.com.example:iscsi-pool/2'><host name='iscsi.example'/>
      <initiator><iqn name='iqn.2013-07.com.example:client'/></initiator></source>
    <target dev='sdb' bus='scsi'/>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='rbd' name='pool/image' namespace='space'>
      <host name='mon1.example' port='6321'/><host name='mon2.example'/>
      <snapshot name='snap'/><config file='/etc/ceph/other.conf'/>
      <auth username='me'><secret type='ceph' uuid='2a5b08e4-3dca-4ff9-9a1d-40389758d081'/></auth></source>
    <target dev='sdc' bus='scsi'/><readonly/>
  </disk>
  <disk type='network' device='cdrom'>
    <driver name='qemu' type='raw'/>
    <source protocol='http' name='boot.iso'><host name='www.example' port='8080'/></source>
    <target dev='sdd' bus='scsi'/><readonly/>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='nfs' name='/export/disk.img'><host name='nfs.example'/><identity user='+1000' group='+1001'/></source>
    <target dev='sde' bus='scsi'/>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='gluster' name='volume/disk.img'><host name='one.example'/>
      <host transport='unix' socket='/run/glusterd'/></source>
    <target dev='sdf' bus='scsi'/>
  </disk>";

/// Disks that another process serves.
pub const VHOST_USER: &str = "
  <disk type='vhostuser' device='disk'>
    <driver name='qemu' type='raw' queues='2' queue_size='256' packed='on'/>
    <source type='unix' path='/run/vhost-blk,0.sock'/><target dev='vda' bus='virtio'/><boot order='1'/>
  </disk>
  <disk type='vhostuser' device='disk'>
    <driver name='qemu' type='raw'/>
    <source type='unix' path='/run/vhost-blk,1.sock'><reconnect enabled='yes' timeout='10'/></source>
    <target dev='vdb' bus='virtio'/>
  </disk>";

/// Devices of the host's and of an iSCSI server's, handed through.
pub const LUNS: &str = "
  <disk type='block' device='lun'>
    <driver name='qemu' type='raw' cache='none'/><source dev='/dev/sdz'/><target dev='sda' bus='scsi'/><shareable/>
  </disk>
  <disk type='network' device='lun' sgio='filtered' rawio='no'>
    <driver name='qemu' type='raw' error_policy='stop'/>
    <source protocol='iscsi' name='iqn.2013-07.com.example:pool/1'><host name='iscsi.example' port='3261'/></source>
    <target dev='sdb' bus='scsi'/>
  </disk>";

/// Every way a disk can hang on a q35.
pub const DISKS: &str = "
  <controller type='scsi' index='0' model='virtio-scsi'><driver queues='2'/></controller>
  <controller type='usb' index='0' model='qemu-xhci'/>
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap' detect_zeroes='unmap'
            error_policy='enospace' queues='2' iothread='1'/>
    <source file='/images/top.qcow2'/><target dev='vda' bus='virtio'/>
    <blockio logical_block_size='512' physical_block_size='4096'/>
    <iotune><total_bytes_sec>10485760</total_bytes_sec><read_iops_sec>500</read_iops_sec></iotune>
    <serial>WD-1, a</serial><boot order='2'/>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2' copy_on_read='on'/>
    <source file='/images/b.qcow2'/><target dev='sda' bus='scsi'/><wwn>5000c50015ea71ad</wwn>
    <vendor>LODGE</vendor><product>DISK</product>
  </disk>
  <disk type='file' device='cdrom'><target dev='sdb' bus='scsi'/><readonly/></disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw' cache='writethrough'/><source file='/images/c.raw'/><target dev='sdc' bus='sata'/>
  </disk>
  <disk type='file' device='cdrom'>
    <driver name='qemu' type='raw'/><source file='/images/d.iso'/><target dev='sdd' bus='sata'/><readonly/>
    <boot order='1'/>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw' cache='unsafe'/><source file='/images/e.raw'/>
    <target dev='sde' bus='usb' removable='on'/>
  </disk>";

/// An old machine as people still have them.
pub const I440FX: &str = "
  <controller type='usb' index='0' model='piix3-uhci'/>
  <controller type='ide' index='0'/>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw'/><source file='/images/a.raw'/><target dev='hda' bus='ide'/>
  </disk>
  <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
  <disk type='file' device='floppy'>
    <driver name='qemu' type='raw'/><source file='/images/f.img'/><target dev='fda' bus='fdc'/>
  </disk>
  <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><model type='e1000'/></interface>
  <serial type='pty'/><console type='pty'/>
  <graphics type='vnc' port='-1' autoport='yes' keymap='de' passwd='secret' sharePolicy='force-shared'>
    <listen type='address' address='0.0.0.0'/>
  </graphics>
  <sound model='ac97'/>
  <video><model type='cirrus' vram='16384' heads='1'/></video>
  <memballoon model='none'/>";

/// Streams of every sort.
pub const STREAMS: &str = "
  <controller type='virtio-serial' index='0' ports='8'/>
  <controller type='usb' index='0' model='qemu-xhci'/>
  <serial type='file'><source path='SCRATCH/serial,0.log' append='on'/><target port='0'/></serial>
  <serial type='unix'><source mode='bind' path='SCRATCH/serial1'/><target port='1'/></serial>
  <serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/><protocol type='telnet'/>
    <target type='pci-serial' port='0'/></serial>
  <serial type='null'><target type='usb-serial' port='0'/></serial>
  <parallel type='null'/>
  <console type='pty'><target type='serial' port='0'/></console>
  <console type='pty'><target type='virtio' port='1'/></console>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  <channel type='pty'><target type='virtio' name='org.example.0'/>
    <address type='virtio-serial' controller='0' bus='0' port='5'/></channel>";

/// Screens, sound, inputs.
pub const PEOPLE: &str = "
  <controller type='usb' index='0' model='qemu-xhci' ports='8'/>
  <hub type='usb'><address type='usb' bus='0' port='1'/></hub>
  <input type='mouse' bus='usb'><address type='usb' bus='0' port='1.1'/></input>
  <input type='keyboard' bus='usb'/>
  <input type='tablet' bus='virtio'/>
  <input type='keyboard' bus='ps2'/>
  <graphics type='vnc' port='5999' autoport='no'><listen type='socket'/></graphics>
  <sound model='ich6'><codec type='micro'/><codec type='output'/></sound>
  <sound model='usb'><audio id='2'/></sound>
  <audio id='1' type='none'/>
  <audio id='2' type='file' path='SCRATCH/out.wav'/>
  <video><model type='bochs' vram='16384'><resolution x='800' y='600'/></model></video>
  <video><model type='virtio' heads='2' edid='on' primary='no'/></video>";

/// Small devices.
pub const SMALL: &str = "
  <watchdog model='i6300esb' action='poweroff'/>
  <memballoon model='virtio' autodeflate='on' freePageReporting='on'><stats period='5'/></memballoon>
  <rng model='virtio'><rate bytes='1024' period='2000'/><backend model='builtin'/></rng>
  <panic model='isa'/><panic model='pvpanic'/>";

/// USB 2 with companions, as older guests want it.
pub const USB2: &str = "
  <controller type='usb' index='0' model='ich9-ehci1'>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x1d' function='0x7'/></controller>
  <controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x1d' function='0x0' multifunction='on'/></controller>
  <controller type='usb' index='0' model='ich9-uhci2'><master startport='2'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x1d' function='0x1'/></controller>
  <input type='tablet' bus='usb'><address type='usb' bus='0' port='1'/></input>";

/// PCI Express with a bridge, an old bus behind it, and a switch.
pub const PCI: &str = "
  <controller type='pci' index='0' model='pcie-root'><pcihole64 unit='KiB'>1048576</pcihole64></controller>
  <controller type='pci' index='1' model='pcie-root-port'><target chassis='1' port='0x8' hotplug='off'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0' multifunction='on'/></controller>
  <controller type='pci' index='2' model='pcie-to-pci-bridge'>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></controller>
  <controller type='pci' index='3' model='pcie-root-port'><target chassis='3' port='0x9'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x1'/></controller>
  <controller type='pci' index='4' model='pcie-switch-upstream-port'>
    <address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></controller>
  <controller type='pci' index='5' model='pcie-switch-downstream-port'><target chassis='5' port='0x0'/>
    <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/></controller>
  <interface type='ethernet'><mac address='52:54:00:00:00:02'/><model type='rtl8139'/><rom enabled='no'/>
    <address type='pci' domain='0x0000' bus='0x02' slot='0x03' function='0x0'/></interface>
  <interface type='network'><mac address='52:54:00:00:00:03'/><source network='default'/><model type='virtio'/>
    <link state='down'/><mtu size='1400'/><boot order='1'/>
    <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></interface>";

/// What QEMU alone serves of the smaller kinds.
pub const KINDS: &str = "
  <controller type='usb' index='0' model='qemu-xhci'/>
  <controller type='ccid' index='0'/>
  <filesystem type='mount' accessmode='mapped' fmode='0640' dmode='0750' multidevs='remap'>
    <driver type='path' wrpolicy='immediate'/><source dir='SCRATCH'/><target dir='share'/><readonly/></filesystem>
  <filesystem type='mount' accessmode='squash' model='virtio-non-transitional'><source dir='SCRATCH'/>
    <target dir='other'/></filesystem>
  <filesystem type='mount'><driver type='mtp'/><source dir='SCRATCH'/><target dir='phone'/></filesystem>
  <smartcard mode='passthrough' type='tcp'><source mode='bind' host='127.0.0.1' service='0'/></smartcard>
  <memballoon model='none'/>
  <shmem name='LODGE-SHARED' role='master'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>
  <crypto model='virtio' type='qemu'><backend model='builtin' queues='1'/><driver packed='on'/></crypto>
  <iommu model='virtio'/>
  <pstore backend='acpi-erst'><path>SCRATCH/pstore.raw</path><size unit='KiB'>64</size></pstore>";

/// Intel's IOMMU, with devices that go through it.
pub const IOMMU: &str = "
  <iommu model='intel'><driver intremap='on' caching_mode='on' eim='off' iotlb='on' aw_bits='48' dma_translation='on'/></iommu>
  <crypto model='virtio' type='qemu'><backend model='builtin'/><driver iommu='on' ats='on'/></crypto>
  <memballoon model='none'/>";

/// Memory that can grow, and modules of all sorts in it.
pub const GROWING: &str = "<maxMemory slots='4' unit='MiB'>1024</maxMemory>";

/// The modules.
pub const MODULES: &str = "
  <memory model='dimm' access='private'><target><size unit='MiB'>16</size></target>
    <address type='dimm' slot='0' base='0x100000000'/></memory>
  <memory model='nvdimm'><source><path>SCRATCH/nvdimm</path></source>
    <target><size unit='MiB'>16</size><label><size unit='KiB'>128</size></label></target>
    <address type='dimm' slot='2'/></memory>
  <memory model='virtio-mem'><target><size unit='MiB'>128</size><block unit='MiB'>2</block>
    <requested unit='MiB'>4</requested></target></memory>
  <memory model='virtio-pmem' access='shared'><source><path>SCRATCH/pmem</path></source>
    <target><size unit='MiB'>16</size></target></memory>
  <memballoon model='none'/>";

/// The host's keyboards and mice.
pub const INPUTS: &str = "
  <input type='evdev'><source dev='/dev/input/event1' grab='all' grabToggle='shift-shift' repeat='on'/></input>
  <input type='evdev'><source dev='/dev/input/event2'/></input>
  <input type='passthrough' bus='virtio'><source evdev='/dev/input/event3'/><driver iommu='on'/></input>
  <memballoon model='none'/>";

/// What needs parts of a host that a test does not have: only written, not started.
pub const HOSTS: &str = "
  <controller type='usb' index='0' model='qemu-xhci'/>
  <controller type='scsi' index='0' model='virtio-scsi'/>
  <controller type='ccid' index='0'/>
  <filesystem type='mount'><driver type='virtiofs' queue='1024'/><source dir='/srv'/><target dir='a'/><boot order='2'/></filesystem>
  <filesystem type='mount'><driver type='virtiofs'/><source socket='/run/fs,1.sock'/><target dir='b'/></filesystem>
  <smartcard mode='host-certificates'><certificate>one</certificate><certificate>two</certificate>
    <certificate>three</certificate></smartcard>
  <redirdev bus='usb' type='spicevmc'/>
  <redirfilter><usbdev class='0x08' vendor='0x1234' product='0xbeef' version='2.0' allow='yes'/><usbdev allow='no'/></redirfilter>
  <graphics type='spice' port='-1' autoport='yes'/>
  <hostdev mode='subsystem' type='usb'><source guestReset='uninitialized'><vendor id='0x1234'/><product id='0xbeef'/></source>
    <boot order='1'/><address type='usb' bus='0' port='2'/></hostdev>
  <hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='1'/><product id='2'/></source></hostdev>
  <hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/><source><address bus='6' slot='2' function='1'/></source>
    <teaming type='transient' persistent='ua-nic'/><rom bar='off'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/></hostdev>
  <hostdev mode='subsystem' type='pci'><source><address bus='6' slot='2' function='2'/></source><address type='unassigned'/></hostdev>
  <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/></source>
    <readonly/><address type='drive' controller='0' bus='0' target='0' unit='1'/></hostdev>
  <hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn.1992-01.com.example/1'><host name='example.com'/>
    <initiator><iqn name='iqn.2020-07.com.example:test'/></initiator></source>
    <address type='drive' controller='0' bus='0' target='0' unit='2'/></hostdev>
  <hostdev mode='subsystem' type='scsi_host' model='virtio-non-transitional'>
    <source protocol='vhost' wwpn='naa.5123456789abcde0'/></hostdev>
  <hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on' ramfb='on'>
    <source><address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dc'/></source></hostdev>
  <memballoon model='none'/>
  <lease><lockspace>a</lockspace><key>b</key><target path='/c'/></lease>
  <shmem name='bells' role='peer'><model type='ivshmem-doorbell'/><server/><msi vectors='16' ioeventfd='on'/></shmem>
  <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>";

/// Interfaces whose other end QEMU makes itself, and one of passt's.
pub const NETS: &str = "
  <interface type='user'><mac address='52:54:00:00:00:11'/>
    <ip family='ipv4' address='172.17.2.0' prefix='24'/><ip family='ipv6' address='2001:db8:ac10:fd01::' prefix='64'/>
    <model type='virtio'/></interface>
  <interface type='user'><mac address='52:54:00:00:00:12'/><ip address='10.9.0.0'/><model type='e1000'/>
    <backend type='default'/></interface>
  <interface type='user'><mac address='52:54:00:00:00:13'/><backend type='passt' logFile='/var/log/p'/>
    <portForward proto='tcp'><range start='8080' to='80'/></portForward><mtu size='1400'/><model type='virtio'/>
    <teaming type='persistent'/></interface>
  <interface type='server'><mac address='52:54:00:00:00:14'/><source address='127.0.0.1' port='17001'/>
    <model type='virtio'/><link state='down'/></interface>
  <interface type='client'><mac address='52:54:00:00:00:15'/><source address='127.0.0.1' port='17001'/>
    <model type='rtl8139'/></interface>
  <interface type='udp'><mac address='52:54:00:00:00:16'/>
    <source address='127.0.0.1' port='17002'><local address='127.0.0.1' port='17003'/></source>
    <model type='virtio'/></interface>";

/// Interfaces whose other end is the host's or another program's.
pub const FAR_NETS: &str = "
  <interface type='direct' trustGuestRxFilters='yes'><mac address='52:54:00:00:00:21'/>
    <source dev='eth0' mode='bridge'/><model type='virtio'/><driver name='vhost' queues='2'/></interface>
  <interface type='bridge'><mac address='52:54:00:00:00:22'/><source bridge='br0'/><model type='virtio'/>
    <tune><sndbuf>1600</sndbuf></tune><mtu size='9000'/><bandwidth><inbound average='1000'/></bandwidth></interface>
  <interface type='ethernet'><mac address='52:54:00:00:00:23'/><source><ip address='192.0.2.1' prefix='24'/></source>
    <target dev='mine0'/><model type='e1000e'/><guest dev='eth7'/></interface>
  <interface type='vhostuser'><mac address='52:54:00:00:00:24'/><source type='unix' path='/run/a,1' mode='server'/>
    <model type='virtio'/><driver queues='4'/></interface>
  <interface type='vhostuser'><mac address='52:54:00:00:00:25'/><source type='unix' path='/run/b,2' mode='client'/>
    <model type='virtio'/></interface>
  <interface type='vhostuser'><mac address='52:54:00:00:00:26'/>
    <source type='unix' path='/run/c,3' mode='client'><reconnect enabled='yes' timeout='10'/></source>
    <model type='virtio'/></interface>
  <interface type='vdpa'><mac address='52:54:00:00:00:27'/><source dev='/dev/vhost-vdpa-0'/>
    <model type='virtio'/><driver queues='2'/></interface>
  <interface type='mcast'><mac address='52:54:00:00:00:28'/><source address='230.0.0.1' port='5558'/>
    <model type='virtio'/></interface>
  <interface type='bridge'><mac address='52:54:00:00:00:29'/><source bridge='br0'/><model type='virtio'/>
    <vlan><tag id='42'/></vlan><virtualport type='openvswitch'><parameters interfaceid='09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f'/>
    </virtualport><coalesce><rx><frames max='32'/></rx></coalesce><teaming type='persistent'/><alias name='ua-b'/></interface>
  <interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:2a'/>
    <source><address type='pci' domain='0' bus='6' slot='16' function='0'/></source><vlan><tag id='42'/></vlan>
    <teaming type='transient' persistent='ua-b'/></interface>";
