//! What a definition says of limits, pins and I/O threads holds from the start on, and what cannot hold is refused.

use std::path::PathBuf;

use lodge_domain::control::tune::{Controller, Limits};
use lodge_domain::control::vcpu::iothread::Iothread;
use lodge_domain::{DefineOptions, DestroyOptions, DomainError, Handle, StartOptions, Ticket, chain};

use crate::support::{World, has_qemu, tiny_with};

const TUNED: &str = "<iothreads>2</iothreads>\
    <iothreadids><iothread id='4'><poll max='1234'/></iothread><iothread id='2'/></iothreadids>\
    <cputune><shares>500</shares><period>50000</period><quota>20000</quota><emulator_quota>30000</emulator_quota>\
    <vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='1'/><iothreadpin iothread='4' cpuset='0'/>\
    <vcpusched vcpus='0' scheduler='batch'/></cputune>\
    <memtune><hard_limit unit='MiB'>300</hard_limit></memtune>";

fn relative(world: &World, guest: &Handle) -> PathBuf {
    PathBuf::from(format!("lodge/{}/guests/{}", world.root().tag(), guest.id()))
}

/// A line of a thread's `status`.
fn status(pid: u32, thread: u32, line: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap();
    let found = text.lines().find_map(|known| known.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tuned_guest_is_tuned_from_its_start() {
    if !has_qemu() {
        return;
    }
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return eprintln!("skipped: needs two processors to tell pins apart");
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny_with("web1", TUNED, ""), DefineOptions::default()).await.unwrap();
    if Limits::of(&PathBuf::from("."), Controller::Memory).is_err() {
        return eprintln!("skipped: this host has no memory cgroup");
    }
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let pid = guest.snapshot().vmm.as_ref().unwrap().process.pid;
    let monitor = guest.monitor().unwrap();
    let threads: Vec<Iothread> = monitor.execute("query-iothreads", ()).await.unwrap();
    let mut known: Vec<_> =
        threads.iter().map(|thread| (thread.number().unwrap(), thread.poll_max_ns)).collect();
    known.sort_unstable();
    assert_eq!((known.len(), known[1]), (2, (4, 1234)));
    let fourth = threads.iter().find(|thread| thread.number() == Some(4)).unwrap().thread_id;
    // One of which nothing is said is not confined to the processors of QEMU's own threads.
    let second = threads.iter().find(|thread| thread.number() == Some(2)).unwrap().thread_id;
    assert_ne!(status(pid, second, "Cpus_allowed_list"), "1");
    let vcpu = monitor.vcpus().await.unwrap()[0].thread_id;
    let pins = [(vcpu, "0"), (fourth, "0"), (pid, "1")];
    for (thread, processors) in pins {
        assert_eq!(status(pid, thread, "Cpus_allowed_list"), processors, "thread {thread}");
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{vcpu}/stat")).unwrap();
    // SCHED_BATCH, see proc_pid_stat(5).
    assert_eq!(stat.rsplit_once(") ").unwrap().1.split(' ').nth(38), Some("3"));
    let relative = relative(&world, &guest);
    let cpu = Limits::of(&relative, Controller::Cpu).unwrap();
    let of_vcpu = cpu.threads("vcpu0").unwrap().bandwidth();
    assert_eq!((of_vcpu.period_us, of_vcpu.quota_us), (Some(50_000), Some(20_000)));
    assert_eq!(cpu.threads("emulator").unwrap().bandwidth().quota_us, Some(30_000));
    assert!(cpu.threads("iothread4").is_none(), "nothing was said of its time");
    if !cpu.unified {
        let file = |file: &str| cpu.threads("vcpu0").unwrap().read(file).unwrap();
        assert_eq!(file("tasks"), vcpu.to_string());
        assert_eq!(cpu.number("cpu.shares"), Some(500));
        let memory = Limits::of(&relative, Controller::Memory).unwrap();
        assert_eq!(memory.number("memory.limit_in_bytes"), Some(300 << 20));
        assert_eq!(memory.read("cgroup.procs").unwrap(), pid.to_string());
    }
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(world.cgroups().is_empty(), "{:?}", world.cgroups());
}

#[tokio::test(flavor = "multi_thread")]
async fn numad_is_asked_where_a_guest_is_to_be() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let document = tiny_with("auto", "", "").replacen("<vcpu>", "<vcpu placement='auto'>", 1);
    let guest = domains.define(&document, DefineOptions::default()).await.unwrap();
    let started = guest.start(StartOptions::default(), Ticket::default()).await;
    if lodge_sys::tool::find("numad").is_none() {
        let text = chain(&started.unwrap_err());
        assert!(text.contains("Failed to query numad for the advisory nodeset"), "{text}");
        return;
    }
    started.unwrap();
    let pid = guest.snapshot().vmm.as_ref().unwrap().process.pid;
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(words.contains("\"host-nodes\":["), "{words}");
    let live = guest.xml(lodge_domain::XmlOptions::default()).await.unwrap();
    assert!(live.contains("<vcpu placement='auto'>1</vcpu>"), "{live}");
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_counted_in_the_partition_that_it_names() {
    if !has_qemu() {
        return;
    }
    let layout = lodge_sys::cgroup::Layout::read().unwrap();
    let name = format!("lodge-test{}.partition", std::process::id());
    let mounts: std::collections::BTreeSet<PathBuf> =
        layout.v2.into_iter().chain(layout.v1.into_iter().map(|(_, mount)| mount)).collect();
    let groups: Vec<PathBuf> = mounts.into_iter().map(|mount| mount.join(&name)).collect();
    if groups.is_empty() || groups.iter().any(|group| std::fs::create_dir(group).is_err()) {
        for group in &groups {
            let _ = std::fs::remove_dir(group);
        }
        return eprintln!("skipped: no cgroups can be made here");
    }
    let world = World::new();
    let domains = world.open().await;
    let top = format!(
        "<resource><partition>/{name}</partition></resource><memtune><hard_limit unit='MiB'>300</hard_limit></memtune>"
    );
    let guest = domains.define(&tiny_with("web1", &top, ""), DefineOptions::default()).await.unwrap();
    let started = guest.start(StartOptions::default(), Ticket::default()).await;
    let pid = guest.snapshot().vmm.as_ref().map(|vmm| vmm.process.pid);
    let within = pid.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap());
    let relative = PathBuf::from(&name).join(format!("lodge-{}", guest.id()));
    let limits = Limits::of(&relative, Controller::Memory);
    let limit =
        limits.map(|limits| limits.number("memory.limit_in_bytes").or_else(|| limits.number("memory.max")));
    let destroyed = guest.destroy(DestroyOptions::default()).await;
    let left: Vec<bool> = groups.iter().map(|group| std::fs::remove_dir(group).is_err()).collect();
    started.unwrap();
    destroyed.unwrap();
    assert!(within.unwrap().contains(&format!("/{}", relative.display())));
    assert_eq!(limit.ok().flatten(), Some(300 << 20));
    assert_eq!(left, vec![false; left.len()], "the guest's directories are gone, and the partition was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_from_the_start_on_and_where_a_running_guest_is_told_to() {
    use lodge_domain::control::Scope;
    use lodge_domain::control::tune::{Setting, perf};
    if !has_qemu() {
        return;
    }
    let clock = lodge_sys::perf::Counter::of_process(lodge_sys::perf::Event::software(0), std::process::id());
    if let Err(error) = clock {
        return eprintln!("skipped: this kernel counts nothing here: {error}");
    }
    let world = World::new();
    let domains = world.open().await;
    let top = "<perf><event name='cpu_clock' enabled='yes'/><event name='page_faults' enabled='no'/></perf>";
    let guest = domains.define(&tiny_with("web1", top, ""), DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let names =
        |guest: &Handle| guest.counters().unwrap().read().iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(&guest), ["cpu_clock"]);
    let clock = |guest: &Handle| guest.counters().unwrap().read()[0].1;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while clock(&guest) < 1_000_000 {
        assert!(std::time::Instant::now() < deadline, "a firmware takes more than a millisecond");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let change = |name: &str, on| {
        perf::set(vec![(name.to_owned(), Setting::Flag(on))], Scope { live: true, config: false })
    };
    guest.change(change("task_clock", true)).await.unwrap();
    assert_eq!(names(&guest), ["cpu_clock", "task_clock"]);
    assert!(clock(&guest) >= 1_000_000, "what is counted goes on");
    let refused = chain(&guest.change(change("mbmt", true)).await.unwrap_err());
    assert!(refused.contains("unable to enable host cpu perf event for mbmt"), "{refused}");
    guest.change(change("cpu_clock", false)).await.unwrap();
    assert_eq!(names(&guest), ["task_clock"]);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(guest.counters().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_caches_is_a_guests_own_for_its_run_and_across_daemons() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let host = lodge_sys::resctrl::play(world.dir.path()).unwrap();
    let open = || async {
        let config = lodge_domain::DomainsConfig { resctrl: host.clone(), ..world.config().await };
        lodge_domain::Domains::open(config, world.fakes.ports()).await.unwrap()
    };
    let domains = open().await;
    let top = "<cputune><cachetune vcpus='0'><cache id='0' level='3' type='both' size='6' unit='MiB'/>\
        <monitor level='3' vcpus='0'/></cachetune><memorytune vcpus='1'><monitor vcpus='1'/></memorytune></cputune>";
    let document = tiny_with("web_1", top, "").replacen("type='qemu'", "type='kvm'", 1);
    let document = document.replacen("<vcpu>1</vcpu>", "<vcpu current='1'>2</vcpu>", 1);
    let guest = domains.define(&document, DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let domid = guest.snapshot().vmm.as_ref().unwrap().domid;
    let (own, watched) =
        (format!("qemu-{domid}-web1-vcpus_0"), format!("mon_groups/qemu-{domid}-web1-vcpus_1"));
    let read = |path: &str| std::fs::read_to_string(host.groups().join(path)).unwrap();
    assert_eq!(read(&format!("{own}/schemata")), "L3:0=7000\n");
    let first = guest.monitor().unwrap().vcpus().await.unwrap()[0].thread_id;
    assert_eq!(read(&format!("{own}/tasks")), format!("{first}\n"));
    let live = guest.xml(lodge_domain::XmlOptions::default()).await.unwrap();
    assert!(live.contains("<cachetune vcpus='0' id='vcpus_0'>"), "{live}");
    let data = host.groups().join(&own).join("mon_data/mon_L3_00");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("llc_occupancy"), "4096\n").unwrap();
    let usage = guest.resource_usage();
    assert_eq!((usage.len(), usage[0].name.as_str()), (1, "vcpus_0"), "of the other nothing is counted");
    assert_eq!(usage[0].counts, [(0, vec![4096])]);
    let change = lodge_domain::control::vcpu::set_count(2, lodge_domain::control::Scope::LIVE);
    guest.change(change).await.unwrap();
    let second = guest.monitor().unwrap().vcpus().await.unwrap();
    let second = second.iter().find(|vcpu| vcpu.cpu_index == 1).unwrap().thread_id;
    assert_eq!(
        read(&format!("{watched}/tasks")),
        format!("{second}\n"),
        "one that is plugged in is put there"
    );
    drop(guest);
    domains.close(std::time::Duration::from_secs(5)).await;
    let domains = open().await;
    let guest = domains.by_name("web_1").unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(!host.groups().join(&own).exists() && !host.groups().join(&watched).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_refused_and_nothing_is_left() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    for (name, top, wanted) in [
        ("cells", "<numatune><memory mode='strict' nodeset='63'/></numatune>", "NUMA node 63 is unavailable"),
        (
            "throttled",
            "<blkiotune><device><path>/dev/null</path><read_iops_sec>5</read_iops_sec></device></blkiotune>",
            "Path '/dev/null' must be a block device: Invalid argument",
        ),
        (
            "cached",
            "<cputune><cachetune vcpus='0'><monitor level='3' vcpus='0'/></cachetune></cputune>",
            "/domain/cputune/cachetune: Resource control is not supported on this host",
        ),
        ("wrapped", "<keywrap><cipher name='aes' state='on'/></keywrap>", "/domain/keywrap"),
        (
            "absent",
            "<resource><partition>/lodge-nobodys</partition></resource>",
            "/domain/resource/partition: '/lodge-nobodys' is not there",
        ),
        ("relative", "<resource><partition>web</partition></resource>", "'web' must start with '/'"),
        (
            "counted",
            "<perf><event name='cmt' enabled='yes'/></perf>",
            "unable to enable host cpu perf event for cmt",
        ),
        (
            "labelled",
            "<seclabel type='dynamic' model='selinux' relabel='yes'/>",
            "Security driver model 'selinux' is not available",
        ),
    ] {
        let document = tiny_with(name, top, "");
        // Parts of the cache are for KVM only: of another type the document is refused before.
        let document =
            if name == "cached" { document.replacen("type='qemu'", "type='kvm'", 1) } else { document };
        let guest = domains.define(&document, DefineOptions::default()).await.unwrap();
        let refused: DomainError = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
        let text = chain(&refused);
        assert!(text.contains(wanted), "{name}: {text}");
        assert!(world.processes().is_empty() && world.cgroups().is_empty(), "{name}: {}", world.leavings());
    }
}
