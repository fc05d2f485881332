"""Statistics: which names there are, and of which type; values are the guest's own."""
import libvirt

c = libvirt.open()
c.networkLookupByName("default").create()
import subprocess
subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "64M"], check=True)
d = c.defineXML(open("full.xml").read())


def shape(value):
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [shape(x) for x in value]
    return type(value).__name__


def show(what, call):
    try:
        print(what, shape(call()))
    except libvirt.libvirtError as error:
        print(what, error.get_error_code(), error)


for state in ["stopped", "running"]:
    print(state)
    show("info", d.info)
    show("bulk", lambda: [(x[0].name(), x[1]) for x in c.getAllDomainStats()])
    for name in ["STATE", "CPU_TOTAL", "BALLOON", "VCPU", "INTERFACE", "BLOCK", "PERF", "IOTHREAD", "MEMORY", "DIRTYRATE", "VM"]:
        bit = getattr(libvirt, "VIR_DOMAIN_STATS_" + name, None)
        if bit is not None:
            show(name, lambda: [x[1] for x in c.domainListGetStats([d], bit)])
    show("memory", d.memoryStats)
    show("block", lambda: d.blockStats("vda"))
    show("block flags", lambda: d.blockStatsFlags("vda"))
    show("block info", lambda: d.blockInfo("vda"))
    show("interface", lambda: d.interfaceStats("52:54:00:00:00:11"))
    show("vcpus", d.vcpus)
    show("cpu", lambda: d.getCPUStats(True))
    show("job", d.jobStats)
    show("interfaces", lambda: d.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE))
    show("scheduler", d.schedulerParameters)
    show("memory parameters", d.memoryParameters)
    show("blkio", d.blkioParameters)
    show("numa", d.numaParameters)
    show("throttle", lambda: d.blockIoTune("vda"))
    show("bandwidth", lambda: d.interfaceParameters("52:54:00:00:00:11"))
    show("iothreads", d.ioThreadInfo)
    show("security", d.securityLabel)
    show("disk errors", d.diskErrors)
    show("time", d.getTime)
    if state == "stopped":
        d.create()
show("node", c.getInfo)
show("node cpu", lambda: c.getCPUStats(-1))
show("node memory", lambda: c.getMemoryStats(-1))
show("node parameters", c.getMemoryParameters)
show("free", c.getFreeMemory)
show("cells", lambda: c.getCellsFreeMemory(0, 1))
show("devices", lambda: c.numOfDevices(None, 0) > 0)
d.destroy()
