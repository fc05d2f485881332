"""Descriptors both ways: a screen's socket, and files handed in."""
import os
import socket
import subprocess
import libvirt

libvirt.registerErrorHandler(lambda *a: None, None)
c = libvirt.open()
subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "64M"], check=True)
n = c.networkLookupByName("default")
n.isActive() or n.create()
d = c.defineXML(open("full.xml").read())
d.create()


def tried(what, call):
    try:
        print(what, call())
    except libvirt.libvirtError as e:
        print(what, e.get_error_code(), e.get_error_message())


def greeting(s):
    s.settimeout(10)
    return s.recv(12)


tried("graphics, theirs", lambda: greeting(socket.socket(fileno=d.openGraphicsFD(0))))


def ours():
    a, b = socket.socketpair()
    d.openGraphics(0, b.fileno())
    b.close()
    return greeting(a)


tried("graphics, ours", ours)
tried("no such screen", lambda: d.openGraphicsFD(7))
tried("no socket", lambda: d.openGraphics(0, os.open("g1.xml", os.O_RDONLY)))
tried("with files", lambda: d.createWithFiles([0]))
d.destroy()
d.undefine()
