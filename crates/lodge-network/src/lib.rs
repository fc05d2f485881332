//! Virtual networks: bridges, leases, names, firewall, and netd.
