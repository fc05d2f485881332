# One daemon in a house of its own: mount, network, process and cgroup namespaces, an empty /run, and /etc, /usr and
# /var over which changes are thrown away. Arguments: the side, the directory of files for it, and what to run inside.
# What ends with this script: every process started in the house, its mounts and its network.
set -e
side=$1 files=$2
shift 2

# A cgroup of our own in each hierarchy, shown as the root inside, so that houses beside each other never meet.
if [ "$HOUSE_CGROUP" ]; then
    for root in /sys/fs/cgroup/*; do
        [ -d "$root/$HOUSE_CGROUP" ] && mount --bind "$root/$HOUSE_CGROUP" "$root"
    done
fi

mount -t tmpfs -o mode=755 none /run
mkdir -m 1777 /run/lock
mkdir /run/house
mount -t tmpfs -o mode=755,size=3g none /run/house
# What is unpacked and not installed is there in here: what would listen on the host, above all.
unpacked=
[ -d "$HOUSE_UNPACKED/usr" ] && unpacked=$HOUSE_UNPACKED/usr:
for top in etc usr var; do
    lower=/$top
    [ $top = usr ] && lower=$unpacked/usr
    mkdir "/run/house/$top" "/run/house/$top.work"
    mount -t overlay -o "lowerdir=$lower,upperdir=/run/house/$top,workdir=/run/house/$top.work" overlay "/$top"
done
[ "$unpacked" ] && cp -rn "$HOUSE_UNPACKED/etc/." /etc/
mkdir -p /var/lib/libvirt /var/lib/lodge /var/cache/libvirt /var/log/libvirt
rm -rf /etc/libvirt/qemu /var/lib/lodge/* /etc/lodge /var/log/libvirt/*
mount -t tmpfs -o mode=755,size=4g none /var/lib/libvirt
mkdir -m 711 /var/lib/libvirt/images /var/lib/libvirt/boot
# Of QEMU's capabilities both daemons keep what they found; found once is enough for all houses.
mkdir -p "$files/cache/$side"
case $side in
    libvirtd) mount --bind "$files/cache/$side" /var/cache/libvirt ;;
    lodge) mkdir -p /var/cache/lodge && mount --bind "$files/cache/$side" /var/cache/lodge ;;
esac
mkdir -p /etc/libvirt/qemu/networks
cp "$files/documents/default.xml" /etc/libvirt/qemu/networks/default.xml
ip link set lo up

mkdir /run/house/work /run/house/home
cp "$files"/documents/* /run/house/work/
cd /run/house/work

# Not exec: this shell is the house's process 1 and reaps what is left to it, daemonised QEMU above all.
"$@" &
wait $!
