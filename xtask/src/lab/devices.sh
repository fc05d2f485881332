#!/bin/bash
# The first process of a host whose devices go to guests and come back: see devices.rs. Every line says what was tried.
export PATH=/lab:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root LIBVIRT_DEFAULT_URI=qemu:///system
mount -t proc proc /proc; mount -t sysfs sys /sys 2>/dev/null; mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp; mkdir -p /run/lock /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t cgroup2 cgroup /sys/fs/cgroup
/lib/systemd/systemd-udevd --daemon
for module in sg evdev e1000e igb igbvf usb-storage vhost_scsi target_core_file vhost_net kvm_amd; do modprobe $module; done
udevadm trigger; udevadm settle
mount -t configfs config /sys/kernel/config
ip link set lo up
cd /tmp

failed=0
ok() { echo "ok: $*"; }
bad() { echo "FAILED: $*"; failed=1; }
# What a command says has these words in it.
says() { # WORDS COMMAND…
    local words=$1 said; shift
    said=$("$@" 2>&1)
    case $said in *"$words"*) ok "$* says '$words'" ;; *) bad "$*: no '$words' in: $said" ;; esac
}
# It does, or will in a minute: what is waited for is the kernel's or QEMU's to do.
comes() { # WORDS COMMAND…
    local words=$1 deadline=$((SECONDS + 60)); shift
    until [[ $("$@" 2>&1) == *"$words"* ]]; do
        if ((SECONDS > deadline)); then says "$words" "$@"; return; fi
        sleep 0.2
    done
    ok "$* says '$words'"
}
works() { # COMMAND…
    local said
    if said=$("$@" 2>&1); then ok "$*"; else bad "$*: $said"; fi
}
ready() { lodge list --all >/dev/null 2>&1 && echo ready; }
begin() {
    lodge daemon >>/run/daemon.log 2>&1 & daemon=$!
    comes ready ready
}
# Dies as it would by the kernel's hand.
die() { kill -9 "$daemon"; wait "$daemon" 2>/dev/null; ok "the daemon is killed"; }
domain() { # NAME DEVICES
    cat >"/tmp/$1.xml" <<EOF
<domain type='${KIND:-qemu}'><name>$1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><controller type='usb' model='qemu-xhci'/><controller type='scsi' model='virtio-scsi'/>$2</devices></domain>
EOF
    works virsh define "/tmp/$1.xml"
}
pid_of() { pgrep -f "guest=$1," | head -1; }
driver() { basename "$(readlink "/sys/bus/pci/devices/$1/driver")"; }

begin

echo "-- PCI"
card=$(basename "$(ls -d /sys/bus/pci/drivers/e1000e/0000:* | head -1)")
group=$(basename "$(readlink "/sys/bus/pci/devices/$card/iommu_group")")
IFS=:. read -r _ bus slot function <<<"$card"
nic="<source><address bus='0x$bus' slot='0x$slot' function='0x$function'/></source></hostdev>"
domain unmanaged "<hostdev mode='subsystem' type='pci' managed='no'>$nic"
says "must be manually detached" virsh start unmanaged
for name in net1 net2; do domain $name "<hostdev mode='subsystem' type='pci' managed='yes'>$nic"; done
works virsh start net1
says vfio-pci driver "$card"
# Not by its bus: the firmware has not numbered those yet.
says "host = \"$card\"" virsh qemu-monitor-command net1 --hmp "info qtree"
says "Uid:	$(stat -c %u "/dev/vfio/$group")" cat "/proc/$(pid_of net1)/status"
says "in use by domain net1" virsh start net2
die; begin
says "in use by domain net1" virsh start net2
works virsh destroy net1
says e1000e driver "$card"
comes e ls "/sys/bus/pci/devices/$card/net"
works virsh start net2
die; kill -9 "$(pid_of net2)"
says vfio-pci driver "$card"
begin
comes e1000e driver "$card"
says "0 0" stat -c "%u %g" /dev/vfio/vfio
works virsh start net1
works virsh destroy net1
echo "-- by hand"
node="pci_${card//[:.]/_}"
says "<name>$node</name>" virsh nodedev-dumpxml "$node"
works virsh nodedev-detach "$node"
says vfio-pci driver "$card"
works virsh nodedev-reset "$node"
works virsh start unmanaged
for act in reattach reset detach; do says "in use by driver QEMU, domain unmanaged" virsh nodedev-$act "$node"; done
works virsh destroy unmanaged
says vfio-pci driver "$card"
works virsh nodedev-reattach "$node"
says e1000e driver "$card"
says "is not a PCI device" virsh nodedev-detach computer
domain ahci "<hostdev mode='subsystem' type='pci' managed='yes'><source><address bus='0' slot='0x1f' function='2'/></source></hostdev>"
says "cannot be given alone" virsh start ahci

echo "-- virtual functions"
pf=$(basename "$(ls -d /sys/bus/pci/drivers/igb/0000:*/net/* | head -1)")
ip link set "$pf" up
echo 2 >"/sys/class/net/$pf/device/sriov_numvfs"
vf=$(basename "$(readlink "/sys/class/net/$pf/device/virtfn0")")
comes igbvf driver "$vf"
# Its own driver has chosen an address by then.
comes e ls "/sys/bus/pci/devices/$vf/net"
vf0() { ip link show "$pf" | grep "vf 0 "; }
# What the host's keeper has set must be there again afterwards.
works ip link set "$pf" vf 0 mac 52:54:00:00:00:aa
works ip link set "$pf" vf 0 vlan 7
before=$(vf0); echo "before: $before"
IFS=:. read -r _ bus slot function <<<"$vf"
own="<address type='pci' domain='0' bus='0x$bus' slot='0x$slot' function='0x$function'/>"
vfcard="<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:88'/><source>$own</source><vlan><tag id='42'/></vlan></interface>"
for name in vf1 vf2; do domain $name "$vfcard"; done
ip link set "$pf" down
says "the PF is not online" virsh start vf1
ip link set "$pf" up
works virsh start vf1
says vfio-pci driver "$vf"
says "52:54:00:00:00:88" vf0
says "vlan 42" vf0
says "host = \"$vf\"" virsh qemu-monitor-command vf1 --hmp "info qtree"
says "in use by domain vf1" virsh start vf2
die; kill -9 "$(pid_of vf1)"
says "vlan 42" vf0
begin
comes igbvf driver "$vf"
says "$before" vf0
works virsh start vf2
says "vlan 42" vf0
works virsh destroy vf2
says "$before" vf0
comes igbvf driver "$vf"
says "<capability type='virt_functions' maxCount='7'>" virsh nodedev-dumpxml "pci_$(basename "$(readlink "/sys/class/net/$pf/device")" | tr :. __)"
says "<capability type='phys_function'>" virsh nodedev-dumpxml "pci_${vf//[:.]/_}"
cat >/tmp/pool.xml <<EOF
<network><name>pool</name><forward mode='hostdev' managed='yes'><pf dev='$pf'/></forward><vlan><tag id='43'/></vlan></network>
EOF
works virsh net-define /tmp/pool.xml
works virsh net-start pool
lent="<mac address='52:54:00:00:00:9'/><source network='pool'/><model type='virtio'/></interface>"
for n in 1 2 3; do domain lent$n "<interface type='network'>${lent//:9/:9$n}"; done
works virsh start lent1
says "vlan 43" vf0
says "52:54:00:00:00:91" vf0
says "<interface type='hostdev' managed='yes'>" virsh dumpxml lent1
says "<interface type='network'>" virsh dumpxml --inactive lent1
works virsh start lent2
says "none are available" virsh start lent3
works virsh destroy lent1
works virsh start lent3
for n in 2 3; do works virsh destroy lent$n; done
says "$before" vf0
IFS=:. read -r _ bus slot function <<<"$card"
own="<address type='pci' domain='0' bus='0x$bus' slot='0x$slot' function='0x$function'/>"
domain whole "<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:89'/><source>$own</source></interface>"
says "SR-IOV Virtual Functions only" virsh start whole
says e1000e driver "$card"

echo "-- what only such a kernel does for a tap"
ip link add br0 type bridge vlan_filtering 1; ip link set br0 up
limits="<bandwidth><inbound average='1000'/><outbound average='128'/></bandwidth>"
tap="<interface type='bridge'><source bridge='br0'/><vlan><tag id='42'/></vlan>$limits<target dev='lab0'/><model type='virtio'/>"
domain tagged "$tap</interface>"
works virsh start tagged
says "42 PVID Egress Untagged" bridge vlan show dev lab0
says "police" tc filter show dev lab0 parent ffff:
says "rate 1024Kbit" tc filter show dev lab0 parent ffff:
says "rate 8Mbit" tc class show dev lab0
says "sfq" tc qdisc show dev lab0
works virsh destroy tagged
trunk="<vlan trunk='yes'><tag id='42'/><tag id='47' nativeMode='untagged'/></vlan>"
domain trunk "<interface type='bridge'><source bridge='br0'/>$trunk<target dev='lab1'/><model type='virtio'/></interface>"
works virsh start trunk
says "47 PVID Egress Untagged" bridge vlan show dev lab1
says "42" bridge vlan show dev lab1
works virsh destroy trunk

echo "-- Open vSwitch"
if command -v ovs-vsctl >/dev/null; then
    modprobe -q openvswitch
    mkdir -p /run/openvswitch /etc/openvswitch /var/log/openvswitch
    works /usr/share/openvswitch/scripts/ovs-ctl start --system-id=lab
    works ovs-vsctl add-br ovs0
    cat >/tmp/ovs.xml <<EOF
<network><name>ovs</name><forward mode='bridge'/><bridge name='ovs0'/><virtualport type='openvswitch'/>
<portgroup name='office'><vlan><tag id='42'/></vlan><virtualport><parameters profileid='menial'/></virtualport></portgroup></network>
EOF
    works virsh net-define /tmp/ovs.xml
    works virsh net-start ovs
    domain switched "<interface type='network'><source network='ovs' portgroup='office'/><target dev='lab2'/><model type='virtio'/></interface>"
    works virsh start switched
    says lab2 ovs-vsctl list-ports ovs0
    says 42 ovs-vsctl get port lab2 tag
    says menial ovs-vsctl get interface lab2 external_ids
    says "$(virsh domuuid switched | head -1)" ovs-vsctl get interface lab2 external_ids
    die; begin
    says lab2 ovs-vsctl list-ports ovs0
    works virsh net-destroy ovs
    works virsh net-start ovs
    says lab2 ovs-vsctl list-ports ovs0
    works virsh destroy switched
    says "ports: ." echo "ports: $(ovs-vsctl list-ports ovs0)."
    works virsh net-destroy ovs
    works virsh net-undefine ovs
    sed "s/'openvswitch'/'802.1Qbh'/" /tmp/ovs.xml >/tmp/qbh.xml
    says "<virtualport type='802.1Qbh'> is not supported" virsh net-define /tmp/qbh.xml
else
    echo "skipped: Open vSwitch is not installed"
fi

echo "-- vhost-net"
# The daemon has looked at this host's KVM at its start. Where it is not usable, no guest's packets go by the kernel.
KIND=kvm domain vhost2 "$tap<driver name='vhost'/></interface>"
if said=$(virsh start vhost2 2>&1); then
    says "vhost-$(pid_of vhost2)" ps -eo comm
    says "/dev/vhost-net" ls -l "/proc/$(pid_of vhost2)/fd"
    works virsh destroy vhost2
else
    case $said in *"KVM is not usable"*) echo "skipped: $said" ;; *) bad "virsh start vhost2: $said" ;; esac
fi

echo "-- vDPA"
if modprobe -q vdpa_sim_net && modprobe -q vhost_vdpa; then
    works vdpa dev add name v0 mgmtdev vdpasim_net
    comes vhost-vdpa-0 ls /dev
    domain vdpa1 "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/><model type='virtio'/></interface>"
    works virsh start vdpa1
    says "vhost-vdpa" virsh qemu-monitor-command vdpa1 --hmp "info network"
    works virsh destroy vdpa1
else
    echo "skipped: this kernel has no vdpa_sim_net"
fi

echo "-- USB"
interface() { basename "$(readlink /sys/bus/usb/devices/*/"$(basename "$(dirname "$(grep -l LODGE1 /sys/bus/usb/devices/*/serial)")"):1.0/driver")"; }
says usb-storage interface
stick="<hostdev mode='subsystem' type='usb'><source><vendor id='0x46f4'/><product id='0x0001'/></source></hostdev>"
domain usb1 "$stick"; domain usb2 "$stick"
works virsh start usb1
comes usbfs interface
says "<address bus='" virsh dumpxml usb1
says "in use by domain usb1" virsh start usb2
works virsh destroy usb1
comes usb-storage interface
domain many "<hostdev mode='subsystem' type='usb'><source><vendor id='0x0627'/><product id='0x0001'/></source></hostdev>"
says "Multiple USB devices" virsh start many
domain optional "<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='1'/><product id='2'/></source></hostdev>"
works virsh start optional
says "missing='yes'" virsh dumpxml optional
says "cannot be hot plugged yet" virsh attach-device optional /dev/stdin --live <<<"$stick"
works virsh destroy optional

echo "-- SCSI"
host=$(basename "$(ls -d /sys/bus/scsi/devices/*:0:3:0)"); host=${host%%:*}
unit="<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host$host'/><address bus='0' target='3' unit='0'/></source>"
domain scsi1 "$unit</hostdev>"; domain scsi2 "$unit</hostdev>"; domain scsi3 "$unit<readonly/><shareable/></hostdev>"
works virsh start scsi1
says "scsi-generic" virsh qemu-monitor-command scsi1 --hmp "info qtree"
says "in use by domain scsi1" virsh start scsi2
works virsh destroy scsi1
works virsh start scsi3
works virsh destroy scsi3

echo "-- vhost-scsi"
target=/sys/kernel/config/target naa=naa.5001405000000001
truncate -s 4M /run/unit
mkdir -p "$target/core/fileio_0/unit"
echo "fd_dev_name=/run/unit,fd_dev_size=4194304" >"$target/core/fileio_0/unit/control"
echo 1 >"$target/core/fileio_0/unit/enable"
mkdir -p "$target/vhost/$naa/tpgt_1/lun/lun_0"
echo -n naa.5001405000000002 >"$target/vhost/$naa/tpgt_1/nexus"
ln -s "$target/core/fileio_0/unit" "$target/vhost/$naa/tpgt_1/lun/lun_0/unit"
domain vhost1 "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='$naa'/></hostdev>"
works virsh start vhost1
works virsh destroy vhost1

echo "-- inputs"
events() { grep -A6 "QEMU USB $1" /proc/bus/input/devices | grep -o 'event[0-9]*'; }
keyboard=$(events Keyboard | head -1) tablet=$(events Tablet | head -1)
domain seat "<input type='evdev'><source dev='/dev/input/$keyboard' grab='all' grabToggle='scrolllock' repeat='on'/></input>
<input type='passthrough' bus='virtio'><source evdev='/dev/input/$tablet'/></input>"
works virsh start seat
says "virtio-input-host" virsh qemu-monitor-command seat --hmp "info qtree"
works virsh destroy seat
domain wrong "<input type='evdev'><source dev='/dev/null'/></input>"
says "device of another sort" virsh start wrong

echo "-- TPM"
# A guest's tpm-crb takes less at once than this host's tpm-tis gives.
tpm="<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
domain tpm1 "$tpm"; domain tpm2 "$tpm"
works virsh start tpm1
says "passthrough" virsh qemu-monitor-command tpm1 --hmp "info tpm"
says "in use by domain tpm1" virsh start tpm2
works lodge explain tpm1
works virsh destroy tpm1

. /lab/nvme.sh
. /lab/filters.sh

says 0 echo "$(ls /run/lodge/hostdevs | wc -l)"
((failed)) && tail -50 /run/daemon.log
echo "LAB RESULT $failed"
sync; echo o > /proc/sysrq-trigger; sleep 60
