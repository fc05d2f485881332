//! Pools: their life, their files, and what is taken up after a restart.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use lodge_storage::{BuildOptions, PoolEvent, PoolHandle, Pools};

use crate::world::{World, names};

/// A directory pool's document.
pub fn document(name: &str, path: &Path) -> String {
    format!("<pool type='dir'><name>{name}</name><target><path>{}</path></target></pool>", path.display())
}

/// Defines, builds and starts a pool.
pub async fn running(pools: &Pools, name: &str, path: &Path) -> PoolHandle {
    let pool = pools.define(&document(name, path), false).await.unwrap().handle();
    pools.start(&pool, Some(BuildOptions::default())).await.unwrap();
    pool
}

fn told(events: &mut tokio::sync::broadcast::Receiver<lodge_storage::PoolHappening>) -> Vec<PoolEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).map(|(_, _, event)| event).collect()
}

#[tokio::test]
async fn a_pool_lives_as_libvirts_do() {
    let world = World::new().await;
    let pools = world.pools().await;
    let mut events = pools.subscribe();
    let dir = world.dir.path().join("p");
    let pool = pools.define(&document("p", &dir), false).await.unwrap().handle();
    let error = pools.start(&pool, None).await.unwrap_err().to_string();
    assert_eq!(error, format!("cannot open directory '{}': No such file or directory", dir.display()));
    pools.build(&pool, BuildOptions::default()).await.unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o711);
    let overwrite = BuildOptions { overwrite: true, ..BuildOptions::default() };
    let error = pools.build(&pool, overwrite).await.unwrap_err().to_string();
    assert_eq!(error, "No source device specified when formatting pool 'p'");
    pools.start(&pool, None).await.unwrap();
    let error = |result: Result<(), lodge_storage::PoolError>| result.unwrap_err().to_string();
    assert_eq!(error(pools.start(&pool, None).await), "storage pool 'p' is already active");
    assert_eq!(error(pools.undefine(&pool).await), "storage pool 'p' is still active");
    assert_eq!(error(pools.delete(&pool).await), "storage pool 'p' is still active");
    pools.refresh(&pool).await.unwrap();
    pools.set_autostart(&pool, true).await.unwrap();
    let view = pools.find("p").unwrap();
    assert!(view.is_active && view.is_persistent && view.autostart && view.capacity > view.available);
    let link = world.dir.path().join("etc/libvirt/storage/autostart/p.xml");
    assert!(fs::read_link(link).unwrap().ends_with("etc/libvirt/storage/p.xml"));
    pools.destroy(&pool).await.unwrap();
    assert_eq!(error(pools.refresh(&pool).await), "storage pool 'p' is not active");
    pools.delete(&pool).await.unwrap();
    pools.undefine(&pool).await.unwrap();
    assert!(pools.list().is_empty() && !dir.exists());
    assert_eq!(names(&world.dir.path().join("etc/libvirt/storage")), ["autostart"]);
    use PoolEvent::{Created, Defined, Deleted, Refreshed, Started, Stopped, Undefined};
    assert_eq!(told(&mut events), [Defined, Created, Started, Refreshed, Stopped, Deleted, Undefined]);
}

#[tokio::test]
async fn what_ran_runs_after_a_restart_and_transient_pools_too() {
    let world = World::new().await;
    let pools = world.pools().await;
    let kept = running(&pools, "kept", &world.dir.path().join("kept")).await;
    let passing = document("passing", &world.dir.path().join("passing"));
    pools.create(&passing, Some(BuildOptions::default()), false).await.unwrap();
    fs::write(world.dir.path().join("kept/a"), "x").unwrap();
    fs::write(world.dir.path().join("kept/.lodge-tmp.disk.1.1"), "x").unwrap();
    drop(pools);
    let world = world.restarted().await;
    let pools = world.pools().await;
    let active: Vec<_> = pools.list().into_iter().map(|p| (p.name, p.is_active, p.is_persistent)).collect();
    assert_eq!(active, [("kept".to_owned(), true, true), ("passing".to_owned(), true, false)]);
    assert_eq!(pools.volume_count(&kept).unwrap(), 1);
    let passing = pools.find("passing").unwrap().handle();
    pools.destroy(&passing).await.unwrap();
    assert!(pools.find("passing").is_err());
}

#[tokio::test]
async fn a_refresh_sees_files_that_came_and_went_and_a_vanished_directory_stops_the_pool() {
    let world = World::new().await;
    let pools = world.pools().await;
    let dir = world.dir.path().join("p");
    let pool = running(&pools, "p", &dir).await;
    fs::write(dir.join("a"), "1").unwrap();
    fs::write(dir.join("b"), "1").unwrap();
    let volumes = || pools.volumes(&pool).unwrap().iter().map(|v| v.name.clone()).collect::<Vec<_>>();
    assert!(volumes().is_empty());
    pools.refresh(&pool).await.unwrap();
    assert_eq!(volumes(), ["a", "b"]);
    fs::remove_file(dir.join("a")).unwrap();
    pools.refresh(&pool).await.unwrap();
    assert_eq!(volumes(), ["b"]);
    fs::remove_dir_all(&dir).unwrap();
    let error = pools.refresh(&pool).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot open directory"), "{error}");
    assert!(!pools.find("p").unwrap().is_active);
}

#[tokio::test]
async fn the_default_pool_is_made_when_needed_and_gives_way_to_a_users() {
    let world = World::new().await;
    let pools = world.pools().await;
    assert!(pools.list().is_empty());
    let ours = pools.ensure_default().await.unwrap();
    assert!(ours.is_active && ours.is_persistent && ours.autostart);
    assert_eq!(pools.ensure_default().await.unwrap().id, ours.id);
    fs::write(world.storage.pool_dir().join("web1.qcow2"), "x").unwrap();
    // What virt-manager does.
    let users = pools.define(&document("default", &world.storage.pool_dir()), false).await.unwrap();
    assert!(users.id != ours.id && !users.is_active);
    pools.build(&users.handle(), BuildOptions::default()).await.unwrap();
    pools.start(&users.handle(), None).await.unwrap();
    assert_eq!(pools.volume_count(&users.handle()).unwrap(), 1);
    assert_eq!(pools.ensure_default().await.unwrap().id, users.id);
    // And a user's own does not give way.
    let error = pools.define(&document("default", &world.storage.pool_dir()), false).await.unwrap_err();
    assert_eq!(error.to_string(), format!("pool 'default' already exists with uuid {}", users.id));
}

#[tokio::test]
async fn a_directory_that_hangs_delays_no_other_pool() {
    let world = World::new().await;
    let pools = world.pools().await;
    let slow = running(&pools, "slow", &world.dir.path().join("slow")).await;
    let quick = running(&pools, "quick", &world.dir.path().join("quick")).await;
    // As an NFS server that does not answer: whoever has the turn keeps it.
    let _stuck = pools.stick(&slow).await;
    let other = tokio::time::timeout(Duration::from_secs(20), async {
        pools.refresh(&quick).await.unwrap();
        let xml = "<volume><name>v</name><capacity>4096</capacity></volume>";
        pools.create_volume(&quick, xml, lodge_storage::MakeOptions::default()).await.unwrap();
        pools.delete_volume(&quick, "v", false).await.unwrap();
        (pools.list().len(), pools.xml(&slow, false).unwrap().len())
    });
    let (count, length) = other.await.expect("the other pool goes on");
    assert!(count == 2 && length > 0);
}

#[tokio::test]
async fn ten_thousand_files_are_looked_at_and_known_ones_only_by_their_stamps() {
    let world = World::new().await;
    let pools = world.pools().await;
    let dir = world.dir.path().join("p");
    let pool = running(&pools, "p", &dir).await;
    for number in 0..10_000 {
        fs::write(dir.join(format!("v{number}")), b"x").unwrap();
    }
    pools.refresh(&pool).await.unwrap();
    assert_eq!(pools.volume_count(&pool).unwrap(), 10_000);
    fs::remove_file(dir.join("v7")).unwrap();
    pools.refresh(&pool).await.unwrap();
    assert_eq!(pools.volume_count(&pool).unwrap(), 9999);
}
