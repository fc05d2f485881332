//! What this host can do: CPU, KVM proven by running code, QEMU, cgroups, firewall.
