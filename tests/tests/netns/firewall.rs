//! Who reaches whom.

use super::guest::Guest;
use super::serve::started;
use super::space::{in_space, run};

/// A namespace that plays the world outside: 198.51.100.2, knowing no route to any guest.
fn uplink() -> Guest {
    let world = Guest::apart();
    let name = &world.name;
    run("ip", &["link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", name]);
    run("ip", &["address", "add", "198.51.100.1/24", "dev", "up0"]);
    run("ip", &["link", "set", "up0", "up"]);
    run("ip", &["route", "add", "default", "via", "198.51.100.2"]);
    world.run("ip", &["address", "add", "198.51.100.2/24", "dev", "eth0"]);
    world.run("ip", &["link", "set", "eth0", "up"]);
    world
}

#[test]
fn guests_reach_the_world_by_the_hosts_address_and_are_not_reached() {
    in_space(|space| async move {
        let world = uplink();
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let guest = Guest::on("lt0", "52:54:00:00:00:0a");
        let ip = guest.ask(&[]).unwrap().ip;
        assert!(guest.reaches("198.51.100.2"), "{}", run("nft", &["list", "ruleset"]));

        let mut server =
            world.command("busybox", &["nc", "-l", "-p", "8080", "-e", "/bin/cat"]).spawn().unwrap();
        let echoed = guest.run("sh", &["-c", "for i in 1 2 3 4 5 6 7 8 9; do echo hello | busybox nc -w 3 198.51.100.2 8080 && exit 0; busybox usleep 100000; done; exit 1"]);
        assert_eq!(echoed, "hello\n");
        let _ = server.kill();
        server.wait().unwrap();

        world.run("ip", &["route", "add", "10.9.1.0/24", "via", "198.51.100.1"]);
        assert!(!world.reaches(&ip), "nobody outside may begin");
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn networks_do_not_reach_each_other_and_an_isolated_one_reaches_nobody() {
    in_space(|space| async move {
        let world = uplink();
        let networks = space.open().await;
        let one = started(&networks, "one", "lt0", 1).await;
        let two = started(&networks, "two", "lt1", 2).await;
        let isolated = "<network><name>alone</name><bridge name='lt2' stp='off'/><ip address='10.9.3.1' prefix='24'>\
                        <dhcp><range start='10.9.3.10' end='10.9.3.20'/></dhcp></ip></network>";
        let alone = networks.define(isolated).await.unwrap().id;
        networks.start(alone).await.unwrap();
        let a = Guest::on("lt0", "52:54:00:00:00:0a");
        let b = Guest::on("lt1", "52:54:00:00:00:0b");
        let (c, d) = (Guest::on("lt2", "52:54:00:00:00:0c"), Guest::on("lt2", "52:54:00:00:00:0d"));
        let (_, b_ip) = (a.ask(&[]).unwrap(), b.ask(&[]).unwrap().ip);
        let (c_given, d_given) = (c.ask(&[]).unwrap(), d.ask(&[]).unwrap());
        assert_eq!(c_given.router, "", "an isolated network has no way out to tell");
        assert!(a.reaches("198.51.100.2"));
        assert!(!a.reaches(&b_ip), "another network's guest");
        assert!(c.reaches(&d_given.ip), "the same network's guest");
        c.run("ip", &["route", "add", "default", "via", "10.9.3.1"]);
        assert!(!c.reaches("198.51.100.2") && !c.reaches(&b_ip));
        drop(world);
        for id in [one, two, alone] {
            networks.stop(id).await.unwrap();
        }
        assert!(!run("nft", &["list", "ruleset"]).contains("lodge"), "the table goes with the last network");
    });
}

#[test]
fn rules_that_were_taken_away_come_back() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let whole = run("nft", &["-s", "list", "ruleset"]);
        assert!(whole.contains("masquerade"));
        run("nft", &["flush", "ruleset"]);
        networks.reconcile().await.unwrap();
        assert_eq!(run("nft", &["-s", "list", "ruleset"]), whole);
        // One rule more is put right as well; another's table is not ours to touch.
        let table = format!("lodge_{}", space.root.tag());
        run("nft", &["insert", "rule", "inet", &table, "forward", "drop"]);
        run("nft", &["add", "table", "inet", "foreign"]);
        networks.reconcile().await.unwrap();
        assert!(run("nft", &["-s", "list", "ruleset"]).contains(&whole));
        assert!(run("nft", &["list", "tables"]).contains("foreign"));
        networks.stop(id).await.unwrap();
        run("nft", &["delete", "table", "inet", "foreign"]);
    });
}
