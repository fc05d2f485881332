//! SSH host keys: what clients know a machine by.
//!
//! New ones are made here, offline, also where the distribution makes none at boot (Debian's `ssh-keygen -A` runs
//! when the package is configured and never again), so a clone answers its first connection with a key of its own
//! that the host knows beforehand. Ed25519 and ECDSA cost nothing; RSA is the caller's to make ([`Wish::host_keys`])
//! and is left out where none is given: no client of the last ten years needs it.
//!
//! cloud-init takes a clone for a new instance, and would delete the host keys that it finds and make its own. It is
//! told to leave them; a template is told nothing.

use std::collections::BTreeMap;

use lodge_model::guest_disk::{FileNode, FilePath, Owner};
use ssh_key::{
    Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey, PublicKey,
    private::{EcdsaKeypair, Ed25519Keypair, KeypairData},
    rand_core::{CryptoRng, RngCore},
};

use super::{
    Family, Fresh, Identity, Item, Kind, PlanError, Purpose, State, Wish,
    draft::Draft,
    seen::{self, Seen, Sight},
    text::{self, Separator},
};

const KEYS: &[&str] = &["/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_key"];
const CERTIFICATES: &[&str] = &["/etc/ssh/ssh_host_*-cert.pub"];
const CONFIGS: &[&str] =
    &["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf", "/usr/etc/ssh/sshd_config"];
const SSHD: &[&str] =
    &["/usr/sbin/sshd", "/usr/bin/sshd", "/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];

pub(crate) const WANTED: &[&str] = &[
    "/etc/ssh/*",
    "/etc/ssh/sshd_config.d/*.conf",
    "/usr/etc/ssh/sshd_config",
    // Where images with a read-only /etc keep them.
    "/var/lib/ssh/*",
    "/var/lib/ssh-keys/*",
    "/etc/dropbear/*",
    LEFT_ALONE,
];

/// cloud-init's configuration of this machine's host keys; what its user-data says goes before it. In cloud-init's
/// reference: module "SSH".
const LEFT_ALONE: &str = "/etc/cloud/cloud.cfg.d/95-host-keys.cfg";
const LEAVE_ALONE: &str = "# This machine's host keys were made before its first boot, and are known to its host.\nssh_deletekeys: false\n";

/// The types that are made here, with the names of their files.
const MADE: &[(&str, &str)] = &[
    ("ssh-ed25519", "/etc/ssh/ssh_host_ed25519_key"),
    ("ecdsa-sha2-nistp256", "/etc/ssh/ssh_host_ecdsa_key"),
];

const PRIVATE: Owner = Owner { uid: 0, gid: 0, mode: 0o600 };
const PUBLIC: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    let kind = Kind::SSH_HOST_KEY;
    let mut has_any = false;
    for path in key_paths(seen) {
        let item = match seen.sight_at(&seen.settle(&path)) {
            // What a configuration names and is not there, sshd passes over.
            Sight::Missing => continue,
            Sight::Unknown(why) => Item::absent(kind.clone(), path.to_string(), State::Unknown).noting(why),
            Sight::File { bytes, .. } if bytes.trim_ascii().is_empty() => {
                Item::absent(kind.clone(), path.to_string(), State::Empty)
            }
            Sight::File { bytes, .. } => known_by(seen, &path, bytes),
            Sight::Link(_) | Sight::Thing => Item::absent(kind.clone(), path.to_string(), State::Unreadable)
                .noting("it is no file that was read"),
        };
        has_any = true;
        found.push(item);
    }
    if !has_any && has_sshd(seen) {
        found.push(Item::absent(kind, MADE[0].1, State::Missing));
    }
    for (path, node) in seen.matching_any(CERTIFICATES) {
        if let FileNode::File { bytes, .. } = node {
            let print = seen::fingerprint(bytes);
            found.push(Item::present(Kind::SSH_HOST_CERTIFICATE, path.to_string(), print));
        }
    }
}

fn has_sshd(seen: &Seen<'_>) -> bool {
    SSHD.iter().any(|path| seen.files.node(path).is_some())
}

/// The paths of host keys: those that are there, and those that a configuration names.
fn key_paths(seen: &Seen<'_>) -> Vec<FilePath> {
    let mut paths: Vec<FilePath> = seen.matching_any(KEYS).into_keys().cloned().collect();
    paths.extend(named_paths(seen));
    paths.sort();
    paths.dedup();
    paths
}

fn named_paths(seen: &Seen<'_>) -> Vec<FilePath> {
    let mut paths = Vec::new();
    for path in seen.matching_any(CONFIGS).into_keys() {
        let Some(text) = path.as_str().and_then(|path| seen.text(path)) else { continue };
        let values = text.lines().filter_map(|line| text::line_value(line, "HostKey", Separator::Blank));
        paths.extend(values.filter_map(|value| FilePath::new(text::unquote(value)).ok()));
    }
    paths
}

/// The fingerprint that clients see. A key in an old form shows it in its public half alone.
fn known_by(seen: &Seen<'_>, path: &FilePath, bytes: &[u8]) -> Item {
    let kind = Kind::SSH_HOST_KEY;
    let place = path.to_string();
    if let Ok(key) = PrivateKey::from_openssh(bytes) {
        let print = key.fingerprint(HashAlg::Sha256).to_string();
        return Item::present(kind, place, print).noting(key.algorithm().as_str().to_owned());
    }
    let public = path.as_str().and_then(|path| seen.text(&format!("{path}.pub")));
    match public.and_then(|line| PublicKey::from_openssh(line.trim()).ok()) {
        Some(key) => Item::present(kind, place, key.fingerprint(HashAlg::Sha256).to_string())
            .noting(key.algorithm().as_str().to_owned()),
        None => Item::present(kind, place, seen::fingerprint(bytes)).noting("a key of unknown form"),
    }
}

pub(crate) fn plan(
    seen: &Seen<'_>,
    before: &Identity,
    wish: &Wish,
    draft: &mut Draft<'_>,
) -> Result<(), PlanError> {
    if !wish.does("ssh-hostkeys") {
        return Ok(());
    }
    let mut new = if wish.purpose == Purpose::Generalise { BTreeMap::new() } else { new_keys(wish)? };
    if !has_sshd(seen) && before.of(&Kind::SSH_HOST_KEY).all(|item| item.value.is_none()) {
        return Ok(());
    }
    remove_certificates(before, draft);
    let olds: Vec<&Item> =
        before.of(&Kind::SSH_HOST_KEY).filter(|item| item.state != State::Missing).collect();
    let named = named_paths(seen);
    let mut placed = 0;
    for item in &olds {
        let Ok(path) = FilePath::new(item.place.as_str()) else { continue };
        if item.state == State::Unknown {
            draft.flag(&item.kind, item.place.clone(), "it could not be read and was not changed");
            continue;
        }
        let key = kind_of(&path, item).and_then(|algorithm| new.remove(algorithm));
        let reason = match (&key, wish.purpose) {
            (Some(_), _) => "no two machines may have one key",
            (None, Purpose::Generalise) => "each machine made of the template gets its own",
            (None, _) => "no new key of this type was given; RSA keys are made only where they are asked for",
        };
        placed += usize::from(key.is_some());
        replace(&path, item, key, reason, draft);
    }
    // The default places are read only where no configuration names others.
    for (algorithm, default) in MADE {
        let path = named.iter().find(|path| kind_by_name(path) == Some(algorithm)).cloned();
        let path = if named.is_empty() { FilePath::new(*default).ok() } else { path };
        if let Some(path) = path
            && let Some(key) = new.remove(*algorithm)
        {
            placed += 1;
            write(&path, None, &key, "the distribution may make none", draft);
        }
    }
    tell_cloud_init(seen, wish, draft);
    if wish.purpose == Purpose::Generalise {
        tell_who_makes_keys(seen, draft);
    } else if placed == 0
        && let (Some(path), Some((_, key))) = (named.first(), new.pop_first())
    {
        // sshd takes any type in any file, and without a key it does not start.
        let old =
            olds.iter().find(|item| item.place == path.to_string()).and_then(|item| item.value.as_deref());
        write(path, old, &key, "the configuration names only keys that were not given", draft);
    }
    Ok(())
}

fn remove_certificates(before: &Identity, draft: &mut Draft<'_>) {
    for item in before.of(&Kind::SSH_HOST_CERTIFICATE) {
        if let Ok(path) = FilePath::new(item.place.as_str()) {
            draft.remove(path);
            let reason = "it certifies a key that is gone";
            draft.change(&item.kind, item.place.clone(), item.value.as_deref(), None, reason);
            draft.flag(&item.kind, item.place.clone(), "have the new host key certified");
        }
    }
}

fn tell_cloud_init(seen: &Seen<'_>, wish: &Wish, draft: &mut Draft<'_>) {
    let Ok(path) = FilePath::new(LEFT_ALONE) else { return };
    if wish.purpose == Purpose::Generalise {
        if draft.has(&path) {
            draft.remove(path);
        }
    } else if seen.system.has_cloud_init {
        draft.write(path, LEAVE_ALONE.as_bytes().to_vec(), Some(PUBLIC));
    }
}

fn tell_who_makes_keys(seen: &Seen<'_>, draft: &mut Draft<'_>) {
    if seen.system.family == Some(Family::Debian) && !seen.system.has_cloud_init {
        let why = "nothing in this guest makes new host keys at boot: clones get theirs from here, \
                   other copies need `ssh-keygen -A`";
        draft.flag(&Kind::SSH_HOST_KEY, MADE[0].1, why);
    }
}

/// Which of the made types a file is for: what it holds, or else what its name says.
fn kind_of(path: &FilePath, item: &Item) -> Option<&'static str> {
    let note = item.note.as_deref().unwrap_or_default();
    let held = match note {
        "ssh-ed25519" => Some("ssh-ed25519"),
        "ssh-rsa" => Some("ssh-rsa"),
        note if note.starts_with("ecdsa-") => Some("ecdsa-sha2-nistp256"),
        _ => None,
    };
    held.or_else(|| kind_by_name(path))
}

fn kind_by_name(path: &FilePath) -> Option<&'static str> {
    let name = String::from_utf8_lossy(path.name()).to_lowercase();
    [("ed25519", "ssh-ed25519"), ("ecdsa", "ecdsa-sha2-nistp256"), ("rsa", "ssh-rsa")]
        .into_iter()
        .find(|(word, _)| name.contains(word))
        .map(|(_, kind)| kind)
}

fn replace(path: &FilePath, item: &Item, key: Option<PrivateKey>, reason: &str, draft: &mut Draft<'_>) {
    if let Some(key) = key {
        return write(path, item.value.as_deref(), &key, reason, draft);
    }
    draft.remove(path.clone());
    if let Some(public) = public_half(path) {
        draft.remove(public);
    }
    draft.change(&item.kind, item.place.clone(), item.value.as_deref(), None, reason);
}

fn public_half(path: &FilePath) -> Option<FilePath> {
    FilePath::new([path.as_bytes(), b".pub"].concat()).ok()
}

fn write(path: &FilePath, old: Option<&str>, key: &PrivateKey, reason: &str, draft: &mut Draft<'_>) {
    let (Ok(private), Ok(public)) = (key.to_openssh(LineEnding::LF), key.public_key().to_openssh()) else {
        draft.flag(&Kind::SSH_HOST_KEY, path.to_string(), "the new key cannot be written in OpenSSH's form");
        return;
    };
    draft.write(path.clone(), private.as_bytes().to_vec(), Some(PRIVATE));
    if let Some(half) = public_half(path) {
        draft.write(half, format!("{public}\n").into_bytes(), Some(PUBLIC));
    }
    let print = key.fingerprint(HashAlg::Sha256).to_string();
    draft.change(&Kind::SSH_HOST_KEY, path.to_string(), old, Some(&print), reason);
}

/// One new key per type.
fn new_keys(wish: &Wish) -> Result<BTreeMap<&'static str, PrivateKey>, PlanError> {
    let mut keys = BTreeMap::new();
    let comment = match &wish.host_name {
        Some(name) => format!("root@{name}"),
        None => "root".to_owned(),
    };
    let seed = wish.fresh.bytes("ssh-host-key ed25519");
    let ed25519 = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    let mut source = Source { fresh: &wish.fresh, purpose: "ssh-host-key ecdsa", drawn: 0 };
    let ecdsa = EcdsaKeypair::random(&mut source, EcdsaCurve::NistP256).map(KeypairData::Ecdsa);
    for (name, data) in [("ssh-ed25519", Ok(ed25519)), ("ecdsa-sha2-nistp256", ecdsa)] {
        if let Ok(key) = data.and_then(|data| PrivateKey::new(data, &comment)) {
            keys.insert(name, key);
        }
    }
    for (number, text) in wish.host_keys.iter().enumerate() {
        let key = PrivateKey::from_openssh(text).map_err(|_| PlanError::HostKey { number: number + 1 })?;
        let name = match key.algorithm() {
            Algorithm::Ed25519 => "ssh-ed25519",
            Algorithm::Ecdsa { .. } => "ecdsa-sha2-nistp256",
            Algorithm::Rsa { .. } => "ssh-rsa",
            _ => return Err(PlanError::HostKey { number: number + 1 }),
        };
        keys.insert(name, key);
    }
    Ok(keys)
}

/// A stream of one seed's bytes, as the key makers want it.
struct Source<'a> {
    fresh: &'a Fresh,
    purpose: &'a str,
    drawn: u64,
}

impl RngCore for Source<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.fresh.fill(&format!("{} {}", self.purpose, self.drawn), bytes);
        self.drawn += 1;
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), ssh_key::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Source<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_the_seeds_and_read_back() {
        let wish = |seed| Wish::new(Purpose::Clone, Fresh::new([seed; 32]));
        let print = |seed: u8| -> Vec<String> {
            let keys = new_keys(&wish(seed)).unwrap();
            keys.values().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect()
        };
        assert_eq!(print(1).len(), 2);
        assert_eq!(print(1), print(1));
        assert!(print(1).iter().all(|print1| !print(2).contains(print1)));
        for key in new_keys(&wish(1)).unwrap().values() {
            let text = key.to_openssh(LineEnding::LF).unwrap();
            let again = PrivateKey::from_openssh(text.as_bytes()).unwrap();
            assert_eq!(again.fingerprint(HashAlg::Sha256), key.fingerprint(HashAlg::Sha256));
        }
    }

    #[test]
    fn a_key_of_the_callers_that_is_none_is_named() {
        let mut wish = Wish::new(Purpose::Clone, Fresh::new([0; 32]));
        wish.host_keys = vec!["-----BEGIN NOTHING-----".into()];
        assert_eq!(new_keys(&wish).map(|_| ()), Err(PlanError::HostKey { number: 1 }));
    }
}
