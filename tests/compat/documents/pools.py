"""The old list calls, and what only they and few clients ask."""
import libvirt

c = libvirt.open()
print(c.numOfStoragePools(), c.listStoragePools(), c.numOfDefinedStoragePools(), c.listDefinedStoragePools())
p = c.storagePoolLookupByName("boxes")
print(p.numOfVolumes(), sorted(p.listVolumes()))
print(c.storagePoolLookupByTargetPath("/run/house/work/boxes").name(), c.storagePoolLookupByUUIDString(p.UUIDString()).name())
v = p.storageVolLookupByName("a.raw")
s = c.newStream()
v.upload(s, 0, 4)
s.send(b"abcd")
s.finish()
v.wipe(0)
print(open(v.path(), "rb").read(4), v.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[:2])
for wrong in [lambda: c.storagePoolLookupByTargetPath("/nonesuch"), lambda: v.wipe(1 << 20), lambda: p.storageVolLookupByName("nonesuch")]:
    try:
        print("accepted", wrong())
    except libvirt.libvirtError as error:
        print(error.get_error_code(), error.get_error_domain(), error)
