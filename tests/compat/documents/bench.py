"""What a client waits for, measured with the one client both daemons have. Prints a name and a number per line."""
import gc
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import time

import libvirt
import libvirt_qemu

CONNECTIONS = 16
STREAMED_MIB = 512
# Forked from this process, with the event loop's thread in it, a client would now and then inherit a held lock.
CLIENTS = multiprocessing.get_context("forkserver")
GUEST = open("g1.xml").read().replace("<uuid>11111111-2222-4333-8444-555555555501</uuid>", "")
DAEMON = int(os.environ["HOUSE_DAEMON_PID"])
calls = int(sys.argv[1])


def told(name, number):
    print("%s\t%f" % (name, number), flush=True)


def best(times, act):
    least = 1e9
    for _ in range(times):
        begun = time.monotonic()
        act()
        least = min(least, time.monotonic() - begun)
    return least * 1000


def rss_kb():
    with open("/proc/%d/status" % DAEMON) as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def descriptors():
    return len(os.listdir("/proc/%d/fd" % DAEMON))


def empty_calls(count, ready, go):
    connection = libvirt.open("qemu:///system")
    call = connection.getLibVersion
    ready.release()
    go.wait()
    for _ in range(count):
        call()


def many_calls(connections, count):
    """Calls per second of so many clients, each a process."""
    ready, go = CLIENTS.Semaphore(0), CLIENTS.Event()
    each = count // connections
    clients = [CLIENTS.Process(target=empty_calls, args=(each, ready, go)) for _ in range(connections)]
    for client in clients:
        client.start()
    for _ in clients:
        ready.acquire()
    begun = time.monotonic()
    go.set()
    for client in clients:
        client.join()
    return each * connections / (time.monotonic() - begun)


def loop():
    libvirt.virEventRegisterDefaultImpl()

    def turn():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=turn, daemon=True).start()


def event_delay(connection):
    """Milliseconds between QEMU's own stamp on RESUME and the lifecycle callback in the client."""
    said, heard = [], []
    monitor = libvirt_qemu.qemuMonitorEventRegister if hasattr(libvirt_qemu, "qemuMonitorEventRegister") else None
    guest = connection.lookupByName("b0")
    delays = []
    both = threading.Event()

    def lifecycle(conn, dom, event, detail, opaque):
        if event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
            heard.append(time.time())
            both.set()

    registered = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
    if monitor:
        monitor(connection, None, "RESUME", lambda c, d, e, secs, micros, details, o: said.append(secs + micros / 1e6), None, 0)
    guest.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    for _ in range(20):
        both.clear()
        said.clear()
        heard.clear()
        asked = time.time()
        guest.resume()
        both.wait(10)
        time.sleep(0.05)
        delays.append((heard[0] - (said[0] if said else asked)) * 1000)
        guest.suspend()
    connection.domainEventDeregisterAny(registered)
    guest.destroy()
    return sorted(delays)[len(delays) // 2]


def streams(connection):
    """Milliseconds by virsh for a volume's bytes up and down, and by cp, in memory: no disk in it."""
    pool = "<pool type='dir'><name>streams</name><target><path>/var/lib/libvirt/images</path></target></pool>"
    volume = "<volume><name>streamed</name><capacity unit='MiB'>%d</capacity><allocation>0</allocation></volume>"
    pool = connection.storagePoolDefineXML(pool)
    pool.create()
    pool.createXML(volume % STREAMED_MIB)
    with open("streamed", "wb") as source:
        for _ in range(STREAMED_MIB):
            source.write(os.urandom(1 << 20))

    def virsh(verb, file):
        command = ["virsh", "-q", "-c", "qemu:///system", verb, "streamed", file, "--pool", "streams"]
        return best(5, lambda: subprocess.run(command, check=True))

    told("upload", virsh("vol-upload", "streamed"))
    told("download", virsh("vol-download", "down"))
    subprocess.run(["cmp", "streamed", "down"], check=True)
    told("cp", best(5, lambda: subprocess.run(["cp", "streamed", "down"], check=True)))
    for file in "streamed", "down":
        os.unlink(file)
    pool.storageVolLookupByName("streamed").delete()
    pool.destroy()
    pool.undefine()


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    loop()
    connection = libvirt.open("qemu:///system")
    many_calls(1, 2000)
    rss_before, fds_before = rss_kb(), descriptors()
    told("calls 1", many_calls(1, calls // 20))
    told("calls 16", many_calls(CONNECTIONS, calls // 5))
    begun = time.monotonic()
    for number in range(500):
        connection.defineXML(GUEST.replace("<name>g1<", "<name>b%d<" % number))
    told("define", 500 / (time.monotonic() - begun))
    command = ["virsh", "-c", "qemu:///system", "list", "--all"]
    told("virsh list 500", best(10, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)))
    told("virsh uri", best(10, lambda: subprocess.run(command[:3] + ["uri"], check=True, stdout=subprocess.DEVNULL)))
    told("list and state 500", best(10, lambda: [(d.name(), d.state()) for d in connection.listAllDomains()]))
    told("stats 500", best(10, connection.getAllDomainStats))
    guests = connection.listAllDomains()
    begun = time.monotonic()
    for guest in guests:
        guest.XMLDesc()
    told("xml", len(guests) / (time.monotonic() - begun))
    for number in range(500, 1000):
        connection.defineXML(GUEST.replace("<name>g1<", "<name>b%d<" % number))
    told("list 1000", best(30, connection.listAllDomains))
    starts, destroys = [], []
    guest = connection.lookupByName("b1")
    for _ in range(5):
        starts.append(best(1, guest.create))
        destroys.append(best(1, guest.destroy))
    told("start", min(starts))
    told("destroy", min(destroys))
    told("event", event_delay(connection))
    streams(connection)
    before = rss_kb()
    held = [libvirt.open("qemu:///system") for _ in range(1000)]
    told("connections 1000 MB", (rss_kb() - before) / 1000)
    for one in held:
        one.close()
    del held
    gc.collect()
    many_calls(CONNECTIONS, calls // 10)
    rss, fds = rss_kb(), descriptors()
    many_calls(CONNECTIONS, calls)
    told("growth over calls KB", rss_kb() - rss)
    told("descriptors over calls", descriptors() - fds)
    told("rss MB", rss_kb() / 1000)
    told("rss at first MB", rss_before / 1000)
    told("descriptors over all", descriptors() - fds_before)


if __name__ == "__main__":
    main()
