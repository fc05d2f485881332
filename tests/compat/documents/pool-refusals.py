"""Pools by the calls of old clients, and what is refused of them."""
import os
import libvirt

libvirt.registerErrorHandler(lambda context, error: None, None)
c = libvirt.open()


def told(what, act):
    try:
        print(what, act())
    except libvirt.libvirtError as error:
        print(what, error.get_error_code(), error.get_error_message())


POOL = "<pool type='dir'><name>%s</name><target><path>/run/house/work/%s</path></target></pool>"
p = c.storagePoolDefineXML(POOL % ("old", "old"))
print(c.numOfStoragePools(), c.listStoragePools(), c.numOfDefinedStoragePools(), c.listDefinedStoragePools())
p.build()
p.create()
print(c.numOfStoragePools(), c.listStoragePools(), c.numOfDefinedStoragePools(), c.listDefinedStoragePools())
print(c.storagePoolLookupByTargetPath("/run/house/work/old/").name())
told("no target", lambda: c.storagePoolLookupByTargetPath("/nonesuch"))
told("no uuid", lambda: c.storagePoolLookupByUUIDString("22222222-1111-1111-1111-111111111111"))
v = p.createXML("<volume><name>v</name><capacity unit='MiB'>1</capacity></volume>")
print(p.numOfVolumes(), p.listVolumes(), c.storageVolLookupByKey(v.key()).name(), v.storagePoolLookupByVolume().name())
told("no key", lambda: c.storageVolLookupByKey("nonesuch"))
print(v.wipe(), v.info(), v.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL))
for number in (9, 77):
    told("wipe", lambda: v.wipePattern(number))
for flags in (64,):
    told("info flags", lambda: v.infoFlags(flags))
    told("resize flags", lambda: v.resize(1, flags))
    told("make flags", lambda: p.createXML("<volume><name>w</name><capacity>1</capacity></volume>", flags))
    told("refresh flags", lambda: p.refresh(flags))
    told("define flags", lambda: c.storagePoolDefineXML(POOL % ("x", "x"), flags))
told("no size", lambda: v.resize(0))
told("no name", lambda: p.createXML("<volume><capacity>1</capacity></volume>"))
told("no capacity", lambda: p.createXML("<volume><name>w</name></volume>"))
told("raw on another", lambda: p.createXML(
    "<volume><name>w</name><capacity>1</capacity><backingStore><path>/x</path></backingStore></volume>"))
os.unlink("/run/house/work/old/v")
told("gone", lambda: v.info())
told("delete", lambda: v.delete())
p.destroy()
told("stopped", lambda: p.numOfVolumes())
told("delete", lambda: p.delete())
told("undefine", lambda: p.undefine())
told("forgotten", lambda: p.isActive())
