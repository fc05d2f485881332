"""Streams: up, down, sparse, aborted, abandoned; a console both ways."""
import os
import time
import libvirt

c = libvirt.open()
p = c.storagePoolCreateXML(open("pool.xml").read(), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
v = p.createXML("<volume><name>v</name><capacity unit='MiB'>8</capacity><allocation>0</allocation></volume>")
data = os.urandom(3000000)


def upload(offset=0, flags=0):
    stream = c.newStream()
    v.upload(stream, offset, 0, flags)
    return stream


def download(offset=0, length=0):
    stream = c.newStream()
    v.download(stream, offset, length)
    got = bytearray()
    stream.recvAll(lambda s, chunk, o: got.extend(chunk) and None, None)
    stream.finish()
    return bytes(got)


s = upload()
left = memoryview(data)
while left:
    left = left[s.send(bytes(left[:100000])):]
s.finish()
back = download(0, len(data))
print("same", back == data, len(back))
print("part", download(1000, 5000) == data[1000:6000])
print("whole length", len(download()))
s = upload()
s.send(b"x" * 1000)
s.abort()
print("aborted; the daemon lives:", c.isAlive())
s = upload(4096)
s.send(b"y" * 1000)
s.finish()
print("at an offset", download(4096, 1000) == b"y" * 1000)
s = c.newStream()
v.download(s, 0, 0)
s.recv(1000)
s.abort()
print("a download aborted")
for wrong in [(v.download, (1 << 40, 0)), (v.upload, (1 << 40, 0))]:
    try:
        s = c.newStream()
        wrong[0](s, *wrong[1])
        print("accepted")
        s.abort()
    except libvirt.libvirtError as error:
        print(error.get_error_code(), error)
try:
    c.newStream().finish()
except libvirt.libvirtError as error:
    print(error.get_error_code())
other = libvirt.open()
w = other.storageVolLookupByPath(v.path())
s = other.newStream()
w.upload(s, 0, 0)
s.send(b"z" * 100000)
del s, w, other
print("abandoned; still", c.storageVolLookupByPath(v.path()).name())
d = c.createXML(open("g1.xml").read())
s = c.newStream(libvirt.VIR_STREAM_NONBLOCK)
d.openConsole(None, s)
try:
    d.openConsole(None, c.newStream(), libvirt.VIR_DOMAIN_CONSOLE_SAFE)
except libvirt.libvirtError as error:
    print(error.get_error_code(), error)
print("sent", s.send(b"hello\n"))
s.abort()
time.sleep(0.2)
s = c.newStream()
d.openConsole(None, s)
s.abort()
s = c.newStream()
try:
    print("screenshot", d.screenshot(s, 0))
except libvirt.libvirtError as error:
    print(error.get_error_code(), error)
d.destroy()
p.destroy()
