//! Encrypted volumes, with qemu-img and qemu-io as the oracle: only the passphrase opens them.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use lodge_model::Bytes;
use lodge_storage::{
    AfterCommit, Commit, Format, MakeOptions, PoolError, PoolHandle, Pools, ResizeOptions, SecretName,
    SecretValue, Secrets,
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
    place_with(&usage.iter().map(|name| (*name, SECRET)).collect::<Vec<_>>()).await
}

/// A pool, and which secrets are for which files of it.
async fn place_with(usage: &[(&str, Uuid)]) -> (World, Pools, PoolHandle) {
    let world = World::new().await;
    let path =
        |(name, secret): &(&str, Uuid)| (text(&world.dir.path().join("p").join(name)).to_owned(), *secret);
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
    // Whoever knows no secret neither takes its bytes for a disk's nor writes to it, however it is named above.
    let top = world.dir.path().join("p/top");
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(&path), text(&top), "16M"]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 8 1M 64k", text(&top)]);
    let (before, above) = (fs::read(&path).unwrap(), fs::read(&top).unwrap());
    let chain = world.storage.chain(&top, Format::Qcow2).await.unwrap();
    assert_eq!(chain.iter().map(|link| link.is_encrypted).collect::<Vec<_>>(), [false, true]);
    assert_eq!(chain[1].virtual_size, Bytes(8 * MIB));
    let commit = Commit { top: top.clone(), base: None, after: AfterCommit::Keep, behalf: None };
    let committed = world.storage.commit(&commit).await.map(drop).unwrap_err();
    let flattened = world.storage.flatten(&top, None).await.unwrap_err();
    for error in [committed, flattened] {
        assert!(error.to_string().contains("p/v` is encrypted"), "{error}");
        assert!(error.hint().unwrap().contains("blockpull"));
    }
    assert!(fs::read(&path).unwrap() == before && fs::read(&top).unwrap() == above);
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

/// One file of a chain as QEMU is told of it.
type Layer<'a> = (&'a str, &'a str, Option<Uuid>);

/// How `--image-opts` names a chain.
fn chain_of(world: &World, layers: &[Layer<'_>]) -> String {
    let layer = |(depth, (name, format, secret)): (usize, &Layer<'_>)| {
        let below = "backing.".repeat(depth);
        let key = secret.map(|secret| if secret == OTHER { "other" } else { "secret" });
        let (driver, key) = match (*format, key) {
            ("raw", Some(key)) => ("luks", format!(",{below}key-secret={key}")),
            (format, Some(key)) => (format, format!(",{below}encrypt.key-secret={key}")),
            (format, None) => (format, String::new()),
        };
        let path = world.dir.path().join("p").join(name);
        format!("{below}driver={driver},{below}file.filename={}{key}", text(&path))
    };
    layers.iter().enumerate().map(layer).collect::<Vec<_>>().join(",")
}

/// The passphrases for it.
fn keys(world: &World) -> [String; 4] {
    let key = |name: &str, words: &str| {
        let path = world.dir.path().join(name);
        fs::write(&path, words).unwrap();
        ["--object".to_owned(), format!("secret,id={name},file={}", text(&path))]
    };
    let [(a, b), (c, d)] = [("secret", PASSPHRASE), ("other", OTHERS_PASSPHRASE)].map(|(name, words)| {
        let [object, value] = key(name, words);
        (object, value)
    });
    [a, b, c, d]
}

fn with_keys(world: &World, program: &str, verb: &[&str], rest: &[&str]) -> String {
    let keys = keys(world);
    let words: Vec<&str> =
        verb.iter().copied().chain(keys.iter().map(String::as_str)).chain(rest.iter().copied()).collect();
    run(program, &words)
}

/// All that a guest would see.
fn seen(world: &World, layers: &[Layer<'_>]) -> Vec<u8> {
    let out = world.dir.path().join("seen");
    let (image, place) = (chain_of(world, layers), text(&out));
    with_keys(world, "qemu-img", &["convert", "-O", "raw"], &["--image-opts", &image, place]);
    fs::read(out).unwrap()
}

fn on(name: &str, world: &World, format: &str) -> String {
    let path = world.dir.path().join("p").join(name);
    format!("<backingStore><path>{}</path><format type='{format}'/></backingStore>", text(&path))
}

fn volume(name: &str, format: &str, secret: Option<Uuid>, below: &str) -> String {
    let encryption = secret.map_or(String::new(), |uuid| {
        format!("<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption>")
    });
    format!(
        "<volume><name>{name}</name><capacity unit='MiB'>4</capacity><allocation>0</allocation>\
         <target><format type='{format}'/>{encryption}</target>{below}</volume>"
    )
}

/// Bases of two kinds, and a disk on each that shows what it has itself, what lies below, and zeros above that.
#[tokio::test]
async fn a_copy_of_what_stands_on_another_file_shows_the_same_bytes() {
    if !can_run() {
        return;
    }
    let (world, pools, pool) =
        place_with(&[("raw", SECRET), ("qcow2", SECRET), ("on-raw", OTHER), ("on-qcow2", OTHER)]).await;
    let options = MakeOptions::default;
    let (secret, other) = (Some(SECRET), Some(OTHER));
    for format in ["raw", "qcow2"] {
        pools.create_volume(&pool, &volume(format, format, secret, ""), options()).await.unwrap();
        let image = chain_of(&world, &[(format, format, secret)]);
        with_keys(&world, "qemu-io", &[], &["--image-opts", &image, "-c", "write -q -P 5 0 4M"]);
    }
    let mut model = vec![5; 4 << 20];
    model[1 << 20..(1 << 20) + (100 << 10)].fill(6);
    model[2 << 20..(2 << 20) + (128 << 10)].fill(0);
    // A locked one on each, and a plain one.
    let tops = [("on-raw", "raw", other), ("on-qcow2", "qcow2", other), ("plain", "qcow2", None)];
    for (name, below, key) in tops {
        let xml = volume(name, "qcow2", key, &on(below, &world, below));
        pools.create_volume(&pool, &xml, options()).await.unwrap();
        let layers = [(name, "qcow2", key), (below, below, secret)];
        let image = chain_of(&world, &layers);
        let writes = ["-c", "write -q -P 6 1M 100k", "-c", "write -q -z 2M 128k"];
        with_keys(&world, "qemu-io", &[], &[&["--image-opts", image.as_str()][..], &writes].concat());
        assert!(seen(&world, &layers) == model, "{name}");
    }
    // QEMU wrote to them: what opens them is known by the secrets for their paths.
    pools.refresh(&pool).await.unwrap();
    let ways: [(&str, &str, Option<Uuid>, Option<&str>); 8] = [
        // The same bytes, another passphrase, plain: on the same file.
        ("on-qcow2", "qcow2", other, Some("qcow2")),
        ("on-qcow2", "qcow2", secret, Some("qcow2")),
        ("on-raw", "qcow2", secret, Some("raw")),
        ("on-raw", "qcow2", None, Some("raw")),
        ("plain", "qcow2", None, Some("qcow2")),
        // On nothing: all of it.
        ("on-raw", "raw", None, None),
        ("on-qcow2", "raw", other, None),
        ("plain", "qcow2", secret, None),
    ];
    for (at, (from, format, key, below)) in ways.into_iter().enumerate() {
        let name = format!("copy{at}");
        let ground = below.map_or(String::new(), |below| on(below, &world, below));
        let xml = volume(&name, format, key, &ground);
        pools.clone_volume(&pool, &xml, (&pool, from), options()).await.unwrap();
        let layers = std::iter::once((name.as_str(), format, key)).chain(below.map(|at| (at, at, secret)));
        assert!(seen(&world, &layers.collect::<Vec<_>>()) == model, "{from} {format} {key:?} {below:?}");
        let length = fs::metadata(world.dir.path().join("p").join(&name)).unwrap().len();
        // What lies below is not in it: 2 MiB are the key's.
        assert_eq!(below.is_none(), length >= 4 * MIB, "{name} has {length} bytes");
    }
    // Larger and smaller, with all that it stands on.
    pools.resize_volume(&pool, "copy1", Bytes(6 * MIB), ResizeOptions::default()).await.unwrap();
    assert_eq!(pools.look_at(&pool, "copy1").await.unwrap().capacity, 6 * MIB);
    let grown = seen(&world, &[("copy1", "qcow2", secret), ("qcow2", "qcow2", secret)]);
    assert!(grown[..4 << 20] == model[..] && grown[4 << 20..].iter().all(|byte| *byte == 0));
    // On another file it would show others.
    let wrong = volume("wrong", "qcow2", other, &on("raw", &world, "raw"));
    let error = pools.clone_volume(&pool, &wrong, (&pool, "on-qcow2"), options()).await.unwrap_err();
    assert_eq!(error.to_string(), "a different backing store cannot be specified.");
    let wrong = volume("wrong", "qcow2", other, &on("qcow2", &world, "qcow2"));
    let error = pools.clone_volume(&pool, &wrong, (&pool, "raw"), options()).await.unwrap_err();
    assert!(error.to_string().contains("its source stands on nothing"), "{error}");
    // Whoever knows no secret for what lies below is told so, and nothing is made; the same bytes need none.
    let pools = Pools::open_with(&world.store, &world.storage, Arc::new(Kept::default())).await.unwrap();
    pools.refresh(&pool).await.unwrap();
    let flat = volume("flat", "qcow2", None, "");
    for from in ["on-raw", "plain"] {
        let error = pools.clone_volume(&pool, &flat, (&pool, from), options()).await.unwrap_err();
        assert!(error.to_string().contains("secret"), "{from}: {error}");
    }
    let same = volume("same", "qcow2", None, &on("qcow2", &world, "qcow2"));
    pools.clone_volume(&pool, &same, (&pool, "plain"), options()).await.unwrap();
    assert!(seen(&world, &[("same", "qcow2", None), ("qcow2", "qcow2", secret)]) == model);
    let names = crate::world::names(&world.dir.path().join("p"));
    assert!(
        names.iter().all(|name| name != "flat" && name != "wrong" && !name.starts_with('.')),
        "{names:?}"
    );
}
