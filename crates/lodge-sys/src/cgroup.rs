//! Where a guest's process is counted: its own cgroup, on v1, hybrid and v2 hosts.
