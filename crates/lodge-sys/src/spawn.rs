//! Starting a process in its own session and cgroup, with descriptors instead of paths.
