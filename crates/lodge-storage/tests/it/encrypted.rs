//! Encrypted volumes, with qemu-img and qemu-io as the oracle: only the passphrase opens them.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use lodge_model::Bytes;
use lodge_storage::{
    MakeOptions, PoolError, PoolHandle, Pools, ResizeOptions, SecretName, SecretValue, Secrets,
};
use uuid::Uuid;

use crate::{
    pool::running,
    world::{World, can_run, run, text},
};

const MIB: u64 = 1 << 20;
const SECRET: Uuid = Uuid::from_u128(7);
pub const PASSPHRASE: &str = "correct horse, battery=staple";
const OTHER: Uuid = Uuid::from_u128(9);
const OTHERS_PASSPHRASE: &str = "tr0ub4dor&3";

/// Secrets by UUID and by what they are for.
#[derive(Debug, Default)]
pub struct Kept {
    by_usage: HashMap<String, Uuid>,
}

impl Secrets for Kept {
    fn value(&self, name: &SecretName) -> Result<SecretValue, PoolError> {
        let found = match name {
            SecretName::Uuid(uuid) => Some(*uuid),
            SecretName::Usage(usage) => self.by_usage.get(usage).copied(),
        };
        match found {
            Some(SECRET) => Ok(SecretValue(PASSPHRASE.into())),
            Some(OTHER) => Ok(SecretValue(OTHERS_PASSPHRASE.into())),
            _ => Err(PoolError::NoSecret("no such secret".to_owned())),
        }
    }

    fn of_volume(&self, path: &Path) -> Option<Uuid> {
        self.by_usage.get(text(path)).copied()
    }
}

async fn place(usage: &[&str]) -> (World, Pools, PoolHandle) {
    let world = World::new().await;
    let path = |name: &&str| (text(&world.dir.path().join("p").join(name)).to_owned(), SECRET);
    let kept = Kept { by_usage: usage.iter().map(path).collect() };
    let pools = Pools::open_with(&world.store, &world.storage, Arc::new(kept)).await.unwrap();
    let pool = running(&pools, "p", &world.dir.path().join("p")).await;
    (world, pools, pool)
}

fn xml(name: &str, format: &str, secret: &str) -> String {
    format!(
        "<volume><name>{name}</name><capacity unit='MiB'>4</capacity><allocation>0</allocation><target>\
         <format type='{format}'/><encryption format='luks'>{secret}\
         <cipher name='aes' size='256' mode='xts' hash='sha256'/></encryption></target></volume>"
    )
}

pub fn by_uuid() -> String {
    format!("<secret type='passphrase' uuid='{SECRET}'/>")
}

/// What qemu-io does with an image that the passphrase opens. The passphrase is in a file of the test's own.
fn qemu_io(world: &World, image: &str, command: &str) -> String {
    qemu_io_with(PASSPHRASE, world, image, &[command])
}

fn qemu_io_with(passphrase: &str, world: &World, image: &str, commands: &[&str]) -> String {
    let key = world.dir.path().join("key");
    fs::write(&key, passphrase).unwrap();
    let object = format!("secret,id=k,file={}", text(&key));
    let commands = commands.iter().flat_map(|command| ["-c", command]);
    let words: Vec<&str> = ["--object", &object, "--image-opts", image].into_iter().chain(commands).collect();
    run("qemu-io", &words)
}

#[tokio::test]
async fn a_raw_volume_is_a_luks_container() {
    if !can_run() {
        return;
    }
    let (world, pools, pool) = place(&["v"]).await;
    let made =
        pools.create_volume(&pool, &xml("v", "raw", &by_uuid()), MakeOptions::default()).await.unwrap();
    let path = world.dir.path().join("p/v");
    assert!(fs::read(&path).unwrap().starts_with(b"LUKS\xba\xbe\0\x01"));
    assert_eq!(made.capacity, 4 * MIB);
    let image = format!("driver=luks,key-secret=k,file.filename={}", text(&path));
    qemu_io(&world, &image, "write -P 7 0 64k");
    let said = qemu_io(&world, &image, "read -P 7 0 64k");
    assert!(said.contains("read 65536/65536"), "{said}");
    // Nobody sees what was written.
    let stored = fs::read(&path).unwrap();
    assert!(!stored.windows(512).any(|bytes| bytes == [7; 512]));
    // Anew from its header, with the secret that is for its path.
    pools.refresh(&pool).await.unwrap();
    let seen = pools.look_at(&pool, "v").await.unwrap();
    assert_eq!(seen.capacity, 4 * MIB);
    assert!(
        seen.xml().contains(&format!(
            "<encryption format='luks'>\n      <secret type='passphrase' uuid='{SECRET}'/>"
        ))
    );
    pools.resize_volume(&pool, "v", Bytes(8 * MIB), ResizeOptions::default()).await.unwrap();
    assert_eq!(pools.look_at(&pool, "v").await.unwrap().capacity, 8 * MIB);
    assert!(qemu_io(&world, &image, "read -P 7 0 64k").contains("read 65536/65536"));
}

#[tokio::test]
async fn a_qcow2_has_luks_inside_and_its_copy_too() {
    if !can_run() {
        return;
    }
    let (world, pools, pool) = place(&["v", "w"]).await;
    let usage = text(&world.dir.path().join("p/v")).to_owned();
    let by_usage = format!("<secret type='passphrase' usage='{usage}'/>");
    pools.create_volume(&pool, &xml("v", "qcow2", &by_usage), MakeOptions::default()).await.unwrap();
    let image = |name: &str| {
        format!(
            "driver=qcow2,encrypt.key-secret=k,file.filename={}",
            text(&world.dir.path().join("p").join(name))
        )
    };
    qemu_io(&world, &image("v"), "write -P 9 1M 64k");
    pools.refresh(&pool).await.unwrap();
    let xml = pools.look_at(&pool, "v").await.unwrap().xml();
    let copy = xml.replace("<name>v</name>", "<name>w</name>");
    pools.clone_volume(&pool, &copy, (&pool, "v"), MakeOptions::default()).await.unwrap();
    assert!(qemu_io(&world, &image("w"), "read -P 9 1M 64k").contains("read 65536/65536"));
    pools.resize_volume(&pool, "w", Bytes(8 * MIB), ResizeOptions::default()).await.unwrap();
    assert_eq!(pools.look_at(&pool, "w").await.unwrap().capacity, 8 * MIB);
    assert!(qemu_io(&world, &image("w"), "read -P 9 1M 64k").contains("read 65536/65536"));
    assert!(qemu_io(&world, &image("w"), "write -P 8 7M 64k").contains("wrote 65536/65536"));
    let smaller = ResizeOptions { shrink: true, ..ResizeOptions::default() };
    pools.resize_volume(&pool, "w", Bytes(4 * MIB), smaller).await.unwrap();
    assert!(qemu_io(&world, &image("w"), "read -P 9 1M 64k").contains("read 65536/65536"));
}

/// What is read of a copy is what was written to its source, whatever either is opened with.
#[tokio::test]
async fn a_copy_is_encrypted_decrypted_or_gets_another_passphrase() {
    if !can_run() {
        return;
    }
    let (world, pools, pool) = place(&["raw-locked", "qcow2-locked"]).await;
    let image = |name: &str, format: &str, secret: Option<Uuid>| {
        let opens = match (format, secret) {
            ("raw", Some(_)) => "driver=luks,key-secret=k".to_owned(),
            (_, Some(_)) => "driver=qcow2,encrypt.key-secret=k".to_owned(),
            (_, None) => format!("driver={format}"),
        };
        format!("{opens},file.filename={}", text(&world.dir.path().join("p").join(name)))
    };
    let document = |name: &str, format: &str, secret: Option<Uuid>| {
        let encryption = secret.map_or(String::new(), |uuid| {
            format!("<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption>")
        });
        format!(
            "<volume><name>{name}</name><capacity unit='MiB'>4</capacity><allocation>0</allocation>\
             <target><format type='{format}'/>{encryption}</target></volume>"
        )
    };
    let words = |secret: Option<Uuid>| if secret == Some(OTHER) { OTHERS_PASSPHRASE } else { PASSPHRASE };
    let sources = [("raw", None), ("qcow2", None), ("raw", Some(SECRET)), ("qcow2", Some(SECRET))];
    for (format, secret) in sources {
        let name = format!("{format}{}", if secret.is_some() { "-locked" } else { "" });
        let wanted = document(&name, format, secret);
        pools.create_volume(&pool, &wanted, MakeOptions::default()).await.unwrap();
        // A new LUKS container has no zeros where nothing was written.
        let writes = ["write -P 5 0 64k", "write -P 0 64k 2M", "write -P 6 3M 64k"];
        qemu_io_with(words(secret), &world, &image(&name, format, secret), &writes);
    }
    pools.refresh(&pool).await.unwrap();
    let ways = [
        ("raw", "raw", Some(SECRET)),
        ("qcow2", "qcow2", Some(OTHER)),
        ("raw-locked", "qcow2", Some(OTHER)),
        ("qcow2-locked", "raw", None),
    ];
    for (at, (from, format, secret)) in ways.into_iter().enumerate() {
        let name = format!("copy{at}");
        let wanted = document(&name, format, secret);
        pools.clone_volume(&pool, &wanted, (&pool, from), MakeOptions::default()).await.unwrap();
        let reads = ["read -P 5 0 64k", "read -P 0 64k 2M", "read -P 6 3M 64k"];
        let said = qemu_io_with(words(secret), &world, &image(&name, format, secret), &reads);
        assert_eq!(said.matches("read ").count(), 3, "{from} {format} {secret:?}: {said}");
        assert!(!said.contains("failed"), "{from} {format} {secret:?}: {said}");
    }
    // It is made whole or not at all.
    let none = document("none", "raw", Some(Uuid::from_u128(1)));
    pools.clone_volume(&pool, &none, (&pool, "raw"), MakeOptions::default()).await.unwrap_err();
    let names = crate::world::names(&world.dir.path().join("p"));
    assert!(names.iter().all(|name| name != "none" && !name.starts_with('.')), "{names:?}");
}

#[tokio::test]
async fn without_its_secret_nothing_is_made() {
    let (world, pools, pool) = place(&[]).await;
    let other = format!("<secret type='passphrase' uuid='{}'/>", Uuid::from_u128(8));
    let error =
        pools.create_volume(&pool, &xml("v", "raw", &other), MakeOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "no such secret");
    let error = pools.create_volume(&pool, &xml("v", "raw", ""), MakeOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "no secret provided for luks encryption");
    assert!(crate::world::names(&world.dir.path().join("p")).is_empty());
}
