# Three images of 8 MiB, each on the one before, each with bytes of its own.
rm -f base.qcow2 mid.qcow2 top.qcow2 copy.qcow2 copy.raw
qemu-img create -q -f qcow2 base.qcow2 8M
qemu-img create -q -f qcow2 -b /run/house/work/base.qcow2 -F qcow2 mid.qcow2
qemu-img create -q -f qcow2 -b /run/house/work/mid.qcow2 -F qcow2 top.qcow2
qemu-io -f qcow2 -c 'write -q -P 1 0 2M' base.qcow2
qemu-io -f qcow2 -c 'write -q -P 2 1M 2M' mid.qcow2
qemu-io -f qcow2 -c 'write -q -P 3 2M 2M' top.qcow2
