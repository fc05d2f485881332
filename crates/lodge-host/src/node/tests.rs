//! Hosts that are not this one, made of files.

use super::*;

/// A tree of files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("written");
    }
    root
}

/// Two cells, two threads a core, four processors, one of them off.
fn two_cells(online: &str) -> tempfile::TempDir {
    let cpu = |cpu: u32, file: &str| format!("sys/devices/system/cpu/cpu{cpu}/topology/{file}");
    let mut files = vec![
        ("sys/devices/system/cpu/online".to_owned(), online.to_owned()),
        ("sys/devices/system/cpu/present".to_owned(), "0-3\n".to_owned()),
        ("sys/devices/system/node/node0/cpulist".to_owned(), "0-1\n".to_owned()),
        ("sys/devices/system/node/node1/cpulist".to_owned(), "2-3\n".to_owned()),
        ("sys/devices/system/node/node0/distance".to_owned(), "10 21\n".to_owned()),
        (
            "sys/devices/system/node/node0/meminfo".to_owned(),
            "Node 0 MemTotal: 4096 kB\nNode 0 MemFree: 1024 kB\n".to_owned(),
        ),
        ("sys/devices/system/node/node1/meminfo".to_owned(), "Node 1 MemFree: 8 kB\n".to_owned()),
        ("proc/meminfo".to_owned(), "MemTotal:        8192 kB\nMemFree: 1032 kB\n".to_owned()),
        ("proc/cpuinfo".to_owned(), "processor\t: 0\ncpu MHz\t\t: 2596.120\n".to_owned()),
        ("proc/stat".to_owned(), "cpu  10 1 5 100 7 2 1 0 0 0\ncpu0 1 0 0 0 0 0 0\n".to_owned()),
        ("sys/kernel/mm/ksm/pages_to_scan".to_owned(), "100\n".to_owned()),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages".to_owned(), "0\n".to_owned()),
        (
            "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages".to_owned(),
            "1\n".to_owned(),
        ),
    ];
    for number in 0..4 {
        let socket = number / 2;
        files.push((cpu(number, "physical_package_id"), format!("{socket}\n")));
        files.push((cpu(number, "core_id"), "0\n".to_owned()));
        files.push((cpu(number, "cluster_id"), "-1\n".to_owned()));
        files.push((cpu(number, "thread_siblings_list"), format!("{}-{}\n", socket * 2, socket * 2 + 1)));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    tree(&files)
}

#[test]
fn cells_sockets_cores_and_threads_are_counted() {
    let root = two_cells("0-3\n");
    let node = Node::at(root.path());
    let summary = node.summary();
    assert_eq!((summary.cpus, summary.mhz, summary.memory_kib), (4, 2596, 8192));
    assert_eq!((summary.cells, summary.sockets, summary.cores, summary.threads), (2, 1, 1, 2));
    let cells = node.cells();
    assert_eq!(cells.first().map(|cell| cell.distances.clone()), Some(vec![(0, 10), (1, 21)]));
    assert_eq!(
        node.place(3).map(|place| (place.socket, place.cluster, place.siblings)),
        Some((1, 65535, "2-3".to_owned()))
    );
}

#[test]
fn a_shape_that_does_not_explain_the_count_is_not_told() {
    let root = two_cells("0,2-3\n");
    let summary = Node::at(root.path()).summary();
    assert_eq!((summary.cells, summary.sockets, summary.cores, summary.threads), (1, 1, 3, 1));
}

#[test]
fn times_pages_and_free_memory_are_read() {
    let root = two_cells("0-3\n");
    let node = Node::at(root.path());
    let times = node.cpu_times(None).unwrap();
    assert_eq!((times.user_ns, times.kernel_ns, times.iowait_ns), (110_000_000, 80_000_000, 70_000_000));
    assert!(node.cpu_times(Some(9)).is_err());
    assert_eq!(node.cells_free_bytes(0, 9).unwrap(), [1024 * 1024, 8 * 1024]);
    assert!(node.cells_free_bytes(2, 1).is_err());
    let pages = node.cell_pages(0);
    assert_eq!(pages, [PageSize { kib: 4, count: 512 }, PageSize { kib: 2048, count: 1 }]);
    assert_eq!(node.free_pages(0, 4).unwrap(), 256);
    assert!(node.free_pages(0, 64).is_err());
}

#[test]
fn settings_of_merging_are_written_all_or_none() {
    let root = two_cells("0-3\n");
    let node = Node::at(root.path());
    let bad = [("shm_pages_to_scan".to_owned(), 5), ("shm_full_scans".to_owned(), 1)];
    assert!(node.set_merging(&bad).is_err());
    assert_eq!(node.merging().first().map(|setting| setting.value), Some(100));
    node.set_merging(&bad[..1]).unwrap();
    assert_eq!(node.merging().first().map(|setting| setting.value), Some(5));
    node.set_pages(Some(0), 2048, 2, true).unwrap();
    assert_eq!(node.cell_pages(0).last(), Some(&PageSize { kib: 2048, count: 3 }));
    assert!(node.set_pages(None, 4, 1, false).is_err());
}
