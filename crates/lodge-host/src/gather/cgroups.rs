//! Which cgroups are mounted where.

use std::path::PathBuf;

use crate::facts::Cgroups;

use super::text;

pub(super) fn cgroups() -> Cgroups {
    let mut found = parse(&text("/proc/self/mounts"));
    if let Some(v2) = &found.v2 {
        let controllers = text(v2.join("cgroup.controllers"));
        found.v2_controllers = controllers.split_whitespace().map(str::to_owned).collect();
    }
    found
}

/// `/proc/self/mounts`: device, directory, type, options.
fn parse(mounts: &str) -> Cgroups {
    const CONTROLLERS: [&str; 8] =
        ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];
    let mut found = Cgroups::default();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(directory), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        match kind {
            "cgroup2" if found.v2.is_none() => found.v2 = Some(PathBuf::from(directory)),
            "cgroup" => {
                let known = options.split(',').filter(|option| CONTROLLERS.contains(option));
                found.v1_controllers.extend(known.map(str::to_owned));
            }
            _ => {}
        }
    }
    found.v1_controllers.sort();
    found.v1_controllers.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_hybrid_layout_has_both() {
        let found = parse(
            "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0\n\
             cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n\
             cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n",
        );
        assert_eq!(found.v2.as_deref().and_then(|path| path.to_str()), Some("/sys/fs/cgroup/unified"));
        assert_eq!(found.v1_controllers, ["cpu", "cpuacct"]);
    }
}
