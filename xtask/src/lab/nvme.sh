# A part of devices.sh: the namespace of an NVMe controller as a guest's disk. Every line says what was tried.
echo "-- NVMe"
controller=$(basename "$(ls -d /sys/bus/pci/drivers/nvme/0000:* | head -1)")
IFS=:. read -r _ bus slot function <<<"$controller"
namespace() { # MANAGED
    echo "<disk type='nvme'><driver name='qemu' type='raw'/><source type='pci' managed='$1' namespace='1'>
<address domain='0x0000' bus='0x$bus' slot='0x$slot' function='0x$function'/></source><target dev='vda' bus='virtio'/></disk>"
}
comes nvme0n1 ls /dev
echo LODGE-NVME | dd of=/dev/nvme0n1 bs=512 conv=sync,fsync status=none
domain nvme0 "$(namespace no)"; domain nvme1 "$(namespace yes)"; domain nvme2 "$(namespace yes)"
says "must be manually detached" virsh start nvme0
works virsh start nvme1
says vfio-pci driver "$controller"
says '"drv":"nvme"' virsh qemu-monitor-command nvme1 '{"execute":"query-named-block-nodes"}'
# What the host had written there. QEMU prints it to its own log, a few KiB at once, and dots for signs.
works virsh qemu-monitor-command nvme1 --hmp 'qemu-io libvirt-1-format "read -v 0 8192"'
comes LODGE.NVME sh -c 'cat /run/lodge/guests/*/qemu.log'
says "in use by domain nvme1" virsh start nvme2
die; begin
says "in use by domain nvme1" virsh start nvme2
works virsh destroy nvme1
says nvme driver "$controller"
comes nvme0n1 ls /dev
works virsh start nvme2
die; kill -9 "$(pid_of nvme2)"
says vfio-pci driver "$controller"
begin
comes nvme driver "$controller"
