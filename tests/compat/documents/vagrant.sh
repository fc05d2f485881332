# A box for vagrant without a distribution: the kernel of Debian's installer with its modules, busybox and dropbear, all
# in memory. Its disk is empty. Makes tiny.box, and the Vagrantfile in project/.
set -e
images=/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64
boot=$PWD/box-boot
mkdir -p guest box project "$boot"

cd guest
mkdir -p bin sbin etc/dropbear home/vagrant/.ssh proc sys dev tmp root usr/bin usr/sbin run modules
cp /bin/busybox bin/busybox
for applet in $(busybox --list); do [ -e "bin/$applet" ] || ln -s busybox "bin/$applet"; done
for program in /usr/sbin/dropbear /usr/bin/scp; do
    cp --parents -L $program $(ldd $program | grep -o '/[^ ]*') .
done
modules='virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net'
mkdir ../installer
(cd ../installer && zcat "$images/initrd.gz" | cpio -id --quiet '*.ko')
for module in $modules; do
    find ../installer -name "$module.ko" -exec cp {} modules/ ';'
done
rm -r ../installer
echo "$modules" >modules/order
cat >init <<'INIT'
#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts
mount -t devpts none /dev/pts
for module in $(cat /modules/order); do
    insmod /modules/$module.ko
done
hostname box
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -s /etc/address
dropbear -R
while :; do sleep 1000; done
INIT
cat >etc/address <<'ADDRESS'
#!/bin/sh
[ "$1" = bound ] && ip address add "$ip/$mask" dev "$interface" && ip route add default via "$router"
ADDRESS
# What vagrant asks of sudo and of a distribution.
printf '#!/bin/sh\n[ "$1" = -E ] && shift\n[ "$1" = -H ] && shift\nexec "$@"\n' >bin/sudo
printf '#!/bin/sh\nsync\n(sleep 1; poweroff -f) >/dev/null 2>&1 </dev/null &\n' >sbin/shutdown
chmod +x bin/sudo sbin/shutdown etc/address init
echo 'vagrant:x:0:0:vagrant:/home/vagrant:/bin/sh' >etc/passwd
echo 'vagrant::1:0:99999:7:::' >etc/shadow
echo 'root:x:0:' >etc/group
echo /bin/sh >etc/shells
echo 'a box' >etc/boxed
cp "$(dpkg -L vagrant | grep '/keys/vagrant.pub$')" home/vagrant/.ssh/authorized_keys
chmod 700 home/vagrant home/vagrant/.ssh
chmod 600 home/vagrant/.ssh/authorized_keys
find . | cpio -o -H newc --quiet | gzip -1 >"$boot/initrd"
cd ..
cp "$images/linux" "$boot/linux"

qemu-img create -q -f qcow2 box/box.img 64M
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}' >box/metadata.json
cat >box/Vagrantfile <<VAGRANTFILE
Vagrant.configure("2") do |config|
  config.vm.guest = :linux
  config.ssh.shell = "sh"
  config.ssh.insert_key = false
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.vm.boot_timeout = 120
  config.vm.provider :libvirt do |libvirt|
    libvirt.driver = "qemu"
    libvirt.cpu_mode = "custom"
    libvirt.cpu_model = "qemu64"
    libvirt.memory = 256
    libvirt.kernel = "$boot/linux"
    libvirt.initrd = "$boot/initrd"
    libvirt.cmd_line = "quiet net.ifnames=0"
  end
end
VAGRANTFILE
tar -C box -cf tiny.box metadata.json Vagrantfile box.img
cat >project/Vagrantfile <<'VAGRANTFILE'
Vagrant.configure("2") do |config|
  config.vm.box = "tiny"
  config.vm.define "web"
  config.vm.provision "shell", inline: "cat /etc/boxed", privileged: false
end
VAGRANTFILE
