"""Every kind of event while a guest lives, in the order it came, from a loop of our own."""
import threading
import time
import libvirt

libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=lambda: [libvirt.virEventRunDefaultImpl() for _ in iter(int, 1)], daemon=True).start()
c = libvirt.open()
c.setKeepAlive(5, 3)
seen = []


def lifecycle(conn, dom, event, detail, opaque):
    seen.append((opaque, dom.name(), event, detail))


def other(conn, dom, *rest):
    seen.append((rest[-1], dom.name()))


ids = [c.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, "all")]
d = c.defineXML(open("g1.xml").read())
ids.append(c.domainEventRegisterAny(d, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, "one"))
ids.append(c.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, other, "reboot"))
ids.append(c.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, other, "metadata"))
nets = c.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, lambda k, n, e, x, o: seen.append((o, n.name(), e)), "net")
pools = c.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, lambda k, p, e, x, o: seen.append((o, p.name(), e)), "pool")
secrets = c.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE, lambda k, s, e, x, o: seen.append((o, s.UUIDString(), e)), "secret")


def settle(what):
    """All that a step causes arrives within half a second of quiet."""
    count = -1
    while count != len(seen):
        count = len(seen)
        time.sleep(0.5)
    print(what, sorted(seen) if what.startswith("sorted") else seen)
    seen.clear()


settle("define")
d.create()
settle("start")
d.suspend()
d.resume()
settle("suspend, resume")
d.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<a/>", "k", "http://x.example/", libvirt.VIR_DOMAIN_AFFECT_LIVE)
settle("metadata")
d.reset()
settle("reset")
d.destroy()
settle("destroy")
d.undefine()
settle("undefine")
t = c.createXML(open("transient.xml").read())
t.destroy()
settle("transient")
n = c.networkDefineXML(open("net-isolated.xml").read())
n.create()
n.destroy()
n.undefine()
settle("network")
p = c.storagePoolCreateXML(open("pool.xml").read(), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
p.destroy()
settle("pool")
c.secretDefineXML(open("secret.xml").read()).undefine()
settle("secret")
for i in ids:
    c.domainEventDeregisterAny(i)
c.networkEventDeregisterAny(nets)
c.storagePoolEventDeregisterAny(pools)
c.secretEventDeregisterAny(secrets)
d = c.defineXML(open("g1.xml").read())
settle("nobody listens")
d.undefine()
try:
    c.domainEventDeregisterAny(99)
except libvirt.libvirtError as error:
    print(error.get_error_code(), error)
c.close()
