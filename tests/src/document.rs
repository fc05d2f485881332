//! Documents of small guests for tests.

/// A guest without a disk: its firmware finds nothing to boot and waits, which is life enough for most tests.
pub fn tiny(name: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <serial type='pty'/>
    <memballoon model='none'/>
  </devices>
</domain>
"
    )
}

/// The same with more devices, given as elements.
pub fn tiny_with(name: &str, devices: &str) -> String {
    tiny(name).replace("  </devices>", &format!("{devices}\n  </devices>"))
}

/// A NAT network of its own bridge and subnet `192.168.N.0/24`.
pub fn nat_network(name: &str, bridge: &str, subnet: u8) -> String {
    format!(
        "<network>
  <name>{name}</name>
  <forward mode='nat'/>
  <bridge name='{bridge}' stp='on' delay='0'/>
  <ip address='192.168.{subnet}.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.{subnet}.2' end='192.168.{subnet}.254'/></dhcp>
  </ip>
</network>
"
    )
}
