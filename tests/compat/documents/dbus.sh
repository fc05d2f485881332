# libvirt-dbus on a bus of its own, asked by gdbus.
libvirt-dbus --session &
service=$!
ask() {
    path=$1
    shift
    gdbus call --session --dest org.libvirt --object-path "$path" --method "$@" 2>&1
}
tries=0
until ask /org/libvirt/QEMU org.libvirt.Connect.ListDomains 0 >/dev/null || [ $tries -gt 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
ask /org/libvirt/QEMU org.libvirt.Connect.ListDomains 0
ask /org/libvirt/QEMU org.libvirt.Connect.ListNetworks 0
ask /org/libvirt/QEMU org.libvirt.Connect.ListStoragePools 0
ask /org/libvirt/QEMU org.libvirt.Connect.DomainLookupByName g1
ask /org/libvirt/QEMU org.libvirt.Connect.DomainLookupByName nonesuch
guest=/org/libvirt/QEMU/domain/_11111111_2222_4333_8444_555555555501
ask $guest org.libvirt.Domain.Create 0
ask $guest org.libvirt.Domain.GetState 0
ask $guest org.freedesktop.DBus.Properties.Get org.libvirt.Domain Name
ask $guest org.freedesktop.DBus.Properties.Get org.libvirt.Domain Active
ask $guest org.freedesktop.DBus.Properties.Get org.libvirt.Domain Id
ask $guest org.freedesktop.DBus.Properties.Get org.libvirt.Domain Persistent
ask $guest org.libvirt.Domain.Suspend
ask $guest org.libvirt.Domain.GetState 0
ask $guest org.libvirt.Domain.Resume
ask $guest org.libvirt.Domain.GetMetadata 1 nonsense 0
ask $guest org.libvirt.Domain.Destroy 0
ask $guest org.libvirt.Domain.GetState 0
kill $service 2>/dev/null
exit 0
