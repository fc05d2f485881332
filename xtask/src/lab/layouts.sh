#!/bin/bash
# Installs a tree of Debian's packages on a disk, as Debian's installer would have done: layouts.sh TREE KEY DISK LAYOUT.
# In a mount namespace of its own. The host's kernel mounts only what was made here a moment ago.
set -euo pipefail
tree=$1 key=$2 disk=$3 layout=$4
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
root=$(mktemp -d)
loops=()
leave() {
    set +e
    umount -R "$root" "$tree/dev" "$tree/proc" "$tree/sys" 2>/dev/null
    [ -z "${dev:-}" ] || { umount "$dev"; rmdir "$dev"; }
    # The last first: volumes before the disk that they lie on.
    [ -z "${whole:-}" ] || partx -d "$whole"
    for ((at = ${#loops[@]} - 1; at >= 0; at--)); do losetup -d "${loops[at]}"; done
    rmdir "$root"
}
trap leave EXIT

rm -f "$disk"
truncate -s 3G "$disk"
case $layout in
    ext4-bios-file | ext4-bios-dracut*)
        parted -s "$disk" mklabel msdos mkpart primary ext4 1MiB 2800MiB set 1 boot on mkpart primary linux-swap 2800MiB 3000MiB ;;
    xfs-uefi-missing | xfs-uefi-dracut)
        parted -s "$disk" mklabel gpt mkpart esp fat32 1MiB 65MiB set 1 esp on mkpart root xfs 65MiB 3000MiB ;;
    btrfs-bios-link)
        parted -s "$disk" mklabel gpt mkpart bios 1MiB 2MiB set 1 bios_grub on mkpart root btrfs 2MiB 3000MiB ;;
    lvm-uefi-file)
        parted -s "$disk" mklabel gpt mkpart esp fat32 1MiB 65MiB set 1 esp on mkpart boot ext2 65MiB 465MiB \
            mkpart pv 465MiB 3000MiB set 3 lvm on ;;
    *) echo "there is no layout $layout" >&2; exit 1 ;;
esac
whole=$(losetup --show -f "$disk"); loops+=("$whole")
# By hand: a kernel may know no partition tables, and tell its loop devices of partitions all the same.
partx -a "$whole"
name=${whole#/dev/}
# What the installed system's programs see of /dev: these nodes, and the links that udev would make.
dev=$(mktemp -d)
mount -t tmpfs -o mode=755,dev tmpfs "$dev"
mkdir -p "$dev/disk/by-uuid" "$dev/block" "$dev/pts" "$dev/shm"
node() {
    local numbers
    numbers=$(cat "/sys/class/block/$1/dev")
    mknod "$dev/$1" b "${numbers%:*}" "${numbers#*:}"
    ln -s "../$1" "$dev/block/$numbers"
}
node "$name"
for part in /sys/class/block/"$name"p*; do node "${part##*/}"; done
for pair in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do set -- $pair; mknod -m 666 "$dev/$1" c "$2" "$3"; done
ln -s /proc/self/fd "$dev/fd"
part() { echo "/dev/${name}p$1"; }
# A file system, with the link that udev would make.
make() { # DEVICE COMMAND…
    local device=$1; shift
    "$@" "$device" >/dev/null
    ln -sf "../../${device#/dev/}" "$dev/disk/by-uuid/$(blkid -p -s UUID -o value "$device")"
}
uuid() { blkid -p -s UUID -o value "$1"; }

esp= boot= swap= root_name= options=defaults
case $layout in
    ext4-*)
        top=$(part 1) swap=$(part 2) options=errors=remount-ro
        make "$top" mkfs.ext4 -q; make "$swap" mkswap -q
        mount "$top" "$root" ;;
    xfs-*)
        esp=$(part 1) top=$(part 2)
        make "$esp" mkfs.fat -F 32 -s 1; make "$top" mkfs.xfs -q
        mount "$top" "$root" ;;
    btrfs-*)
        top=$(part 2) options=subvol=@rootfs
        make "$top" mkfs.btrfs -q
        mount "$top" "$root"; btrfs subvolume create "$root/@rootfs" >/dev/null; umount "$root"
        mount -o subvol=@rootfs "$top" "$root" ;;
    lvm-*)
        esp=$(part 1) boot=$(part 2)
        make "$esp" mkfs.fat -F 32 -s 1; make "$boot" mkfs.ext4 -q
        # Without the host's device mapper: the volumes are made in LVM's metadata, and are where it puts them.
        mount --bind "$dev" "$tree/dev"; mount -t proc proc "$tree/proc"; mount -t sysfs sys "$tree/sys"
        lvm() {
            LVM_SUPPRESS_FD_WARNINGS=1 chroot "$tree" lvm "$@" --config 'global{activation=0} backup{backup=0 archive=0} devices{use_devicesfile=0}'
        }
        # Its warnings are of the device mapper that it is told not to use.
        {
            lvm pvcreate "/dev/${name}p3"
            lvm vgcreate vg0 "/dev/${name}p3"
            lvm lvcreate -an -Zn -Wn -n root -l 560 vg0
            lvm lvcreate -an -Zn -Wn -n swap_1 -l 50 vg0
        } >/dev/null 2>&1
        start=$(($(cat "/sys/class/block/${name}p3/start") * 512))
        volume() { # NAME EXTENTS: the volume as a device
            local at
            at=$(lvm lvs --noheadings -o devices "vg0/$1" 2>/dev/null | tr -dc '(0-9)' | sed 's/.*(\([0-9]*\))$/\1/')
            losetup --show -f -o $((start + (1 << 20) + (at << 22))) --sizelimit $(($2 << 22)) "$disk"
        }
        top=$(volume root 560); loops+=("$top")
        swap=$(volume swap_1 50); loops+=("$swap")
        umount "$tree/dev" "$tree/proc" "$tree/sys"
        for device in "$top" "$swap"; do node "${device#/dev/}"; done
        options=errors=remount-ro root_name=/dev/mapper/vg0-root
        make "$top" mkfs.ext4 -q; make "$swap" mkswap -q
        mount "$top" "$root" ;;
esac
[ -z "$boot" ] || { mkdir -p "$root/boot"; mount "$boot" "$root/boot"; }
[ -z "$esp" ] || mkdir -p "$root/boot/efi"
cp -a "$tree/." "$root/"

type=${layout%%-*}; [ "$type" != lvm ] || type=ext4
{
    echo "${root_name:-UUID=$(uuid "$top")} / $type $options 0 1"
    [ -z "$boot" ] || echo "UUID=$(uuid "$boot") /boot ext4 defaults 0 2"
    [ -z "$esp" ] || echo "UUID=$(uuid "$esp") /boot/efi vfat umask=0077 0 1"
    case $layout in
        lvm-*) echo "/dev/mapper/vg0-swap_1 none swap sw 0 0" ;;
        *) [ -z "$swap" ] || echo "UUID=$(uuid "$swap") none swap sw 0 0" ;;
    esac
} >"$root/etc/fstab"
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
mkdir -p "$root/var/lib/dbus"
case $layout in
    *-file | *-dracut*) tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"; cp "$root/etc/machine-id" "$root/var/lib/dbus/" ;;
    *-link) tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"; ln -s /etc/machine-id "$root/var/lib/dbus/machine-id" ;;
esac
echo "$layout" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$layout" >"$root/etc/hosts"
printf '[Match]\nName=en*\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/20-wired.network"
install -d -m 700 "$root/root/.ssh"
install -m 600 "$key" "$root/root/.ssh/authorized_keys"
rm -f "$root"/etc/ssh/ssh_host_*
printf '%s\n' 'GRUB_DEFAULT=0' 'GRUB_TIMEOUT=0' 'GRUB_DISTRIBUTOR=Debian' 'GRUB_CMDLINE_LINUX_DEFAULT=""' \
    'GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"' 'GRUB_DISABLE_OS_PROBER=true' >"$root/etc/default/grub"

mount --bind "$dev" "$root/dev"; mount -t proc proc "$root/proc"; mount -t sysfs sys "$root/sys"; mount -t tmpfs run "$root/run"
inside() { chroot "$root" "$@"; }
inside ssh-keygen -q -A
case $layout in
    *-dracut*)
        # As Fedora has it: for this machine alone, with what is on its command line built in. Its drivers are those of a
        # machine that is none yet.
        case $layout in *-lz4) packed=lz4 ;; ext4-*) packed=gzip ;; *) packed=zstd ;; esac
        printf '%s\n' 'hostonly="yes"' 'hostonly_cmdline="yes"' 'add_drivers+=" virtio_blk virtio_pci ext4 xfs "' \
            "compress=\"$packed\"" >"$root/etc/dracut.conf.d/lab.conf"
        inside dracut --quiet --force --kver "$(ls "$root/lib/modules")" ${swap:+--add-device "$swap"}
        inside lsinitrd -f etc/cmdline.d/95root-dev.conf "/boot/initrd.img-$(ls "$root/lib/modules")" | grep -q "$(uuid "$top")" ;;
    lvm-*) echo "RESUME=/dev/mapper/vg0-swap_1" >"$root/etc/initramfs-tools/conf.d/resume"; inside update-initramfs -u >/dev/null ;;
    *) [ -z "$swap" ] || { echo "RESUME=UUID=$(uuid "$swap")" >"$root/etc/initramfs-tools/conf.d/resume"; inside update-initramfs -u >/dev/null; } ;;
esac
if [ -n "$esp" ]; then
    # As `grub-install --uefi-secure-boot --force-extra-removable` does it; the host's kernel may not mount a FAT.
    mkdir -p "$root/boot/grub/x86_64-efi" "$dev/EFI/debian" "$dev/EFI/BOOT"
    cp "$root"/usr/lib/grub/x86_64-efi/*.{mod,lst} "$root/boot/grub/x86_64-efi/"
    signed=$root/usr/lib/shim
    for program in shim fb mm; do cp "$signed/${program}x64.efi.signed" "$dev/EFI/debian/${program}x64.efi"; done
    cp "$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$dev/EFI/debian/grubx64.efi"
    cp "$signed/BOOTX64.CSV" "$dev/EFI/debian/"
    cp "$dev"/EFI/debian/*x64.efi "$dev/EFI/BOOT/"; mv "$dev/EFI/BOOT/shimx64.efi" "$dev/EFI/BOOT/BOOTX64.EFI"
    if [ -n "$boot" ]; then at=$(uuid "$boot") prefix=/grub; else at=$(uuid "$top") prefix=/boot/grub; fi
    printf '%s\n' "search.fs_uuid $at root" "set prefix=(\$root)'$prefix'" 'configfile $prefix/grub.cfg' >"$dev/EFI/debian/grub.cfg"
    mcopy -s -i "$esp" "$dev/EFI" ::
    rm -r "$dev/EFI"
else
    inside grub-install --target=i386-pc "/dev/$name" >/dev/null
fi
# grub-mkconfig would take a loop device for the file behind it.
printf '#!/bin/sh\necho "$1: ($1)"\n' >"$dev/losetup"; chmod 755 "$dev/losetup"
mount --bind "$dev/losetup" "$root/usr/sbin/losetup"
inside update-grub >/dev/null 2>&1
[ -z "$root_name" ] || sed -i "s,root=UUID=$(uuid "$top"),root=$root_name," "$root/boot/grub/grub.cfg"
grep -q "root=${root_name:-UUID=$(uuid "$top")}" "$root/boot/grub/grub.cfg"
