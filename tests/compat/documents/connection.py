"""What a connection says of itself, read-write and read-only."""
import libvirt

for c in [libvirt.open(), libvirt.open("qemu:///system"), libvirt.openReadOnly()]:
    print(c.getURI(), c.getType(), c.isSecure(), c.isEncrypted(), c.isAlive(), c.getVersion(), c.getLibVersion(), len(c.getHostname()) > 0)
    print(c.getMaxVcpus(None), c.getMaxVcpus("qemu"), c.numOfDomains(), c.numOfDefinedDomains(), c.close())
