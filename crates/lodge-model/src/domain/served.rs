//! Images of a disk that a server has (`<disk type='network'>`, `<backingStore type='network'>`): which layers of its
//! chain they are, and how one logs in there.
//!
//! Deliberately absent: what of it QEMU can do, and secrets' values.

use uuid::Uuid;

use super::disk::{BackingStore, Disk, DiskSource, SourceKind};
use crate::secret::UsageKind;
use crate::xml::Kept;

/// An image that a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedImage {
    /// Where it is; `<auth>` is in it, also the one that stands beside it in `<disk>`.
    pub source: DiskSource,
    /// Its format.
    pub format: String,
}

/// The layers of a disk by where they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServedLayers {
    /// How many files and devices of this host come before what servers have.
    pub local: usize,
    /// The images that servers have, the uppermost first.
    pub images: Vec<ServedImage>,
    /// Something of this host's is to be below them.
    pub is_mixed: bool,
}

/// How one logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// As whom.
    pub user: String,
    /// With which secret.
    pub secret: LoginSecret,
    /// What the secret must be for.
    pub usage: UsageKind,
}

/// Which secret is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginSecret {
    /// By its UUID.
    Uuid(Uuid),
    /// By what it is for.
    Usage(String),
}

/// An `<auth>` that cannot be used, in libvirt's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLogin(pub String);

impl Disk {
    /// Its layers, as far as the document tells them.
    pub fn served_layers(&self) -> ServedLayers {
        let mut layers = ServedLayers::default();
        let own = self.source.as_deref().map(|source| (self.kind, source, self.format()));
        let below =
            std::iter::successors(self.backing_store.as_deref(), |store| store.backing_store.as_deref());
        for (kind, source, format) in own.into_iter().chain(below.filter_map(of_store)) {
            if kind != SourceKind::Network {
                if layers.images.is_empty() {
                    layers.local += 1;
                } else {
                    layers.is_mixed = true;
                }
                continue;
            }
            let mut source = source.clone();
            if layers.local == 0
                && layers.images.is_empty()
                && source.foreign.tree("auth").is_none()
                && let Some(auth) = self.auth.tree("auth")
            {
                source.foreign.set_tree(&auth);
            }
            layers.images.push(ServedImage { source, format: format.to_owned() });
        }
        layers
    }
}

fn of_store(store: &BackingStore) -> Option<(SourceKind, &DiskSource, &str)> {
    let format = store.format.as_ref().map_or("raw", |format| format.kind.as_str());
    Some((store.kind?, store.source.as_deref()?, format))
}

impl Disk {
    /// The socket of the process that serves it by vhost-user, unless one connects there again when it breaks.
    pub fn vhost_user_socket(&self) -> Option<&str> {
        let source = self.source.as_deref().filter(|_| self.kind == SourceKind::VhostUser)?;
        let again = source.foreign.tree("reconnect");
        let again = again.is_some_and(|tree| tree.attribute("enabled") == Some("yes"));
        source.foreign.attribute("path").filter(|_| !again)
    }
}

impl DiskSource {
    /// How one logs in to its server.
    pub fn login(&self) -> Result<Option<Login>, BadLogin> {
        let Some(auth) = self.foreign.tree("auth") else { return Ok(None) };
        let bad = |text: &str| Err(BadLogin(text.to_owned()));
        let Some(user) = auth.attribute("username").filter(|user| !user.is_empty()) else {
            return bad("missing username for auth");
        };
        let secret =
            auth.child("secret").ok_or_else(|| BadLogin("Missing <secret> element in auth".to_owned()))?;
        let usage = if self.protocol.as_deref() == Some("rbd") { UsageKind::Ceph } else { UsageKind::Iscsi };
        if let Some(word) = secret.attribute("type").filter(|word| *word != usage.as_str()) {
            let text = format!("expected secret type '{}', but found '{word}'", usage.as_str());
            return Err(BadLogin(text));
        }
        let secret = match (secret.attribute("uuid"), secret.attribute("usage")) {
            (Some(_), Some(_)) => return bad("either secret uuid or usage expected, not both"),
            (Some(uuid), None) => {
                let uuid = uuid.parse().map_err(|_| BadLogin(format!("invalid secret uuid '{uuid}'")))?;
                LoginSecret::Uuid(uuid)
            }
            (None, Some(usage)) => LoginSecret::Usage(usage.to_owned()),
            (None, None) => return bad("missing secret uuid or usage attribute"),
        };
        Ok(Some(Login { user: user.to_owned(), secret, usage }))
    }

    /// The cookies for its server, as one header line has them: `a=b; c=d`.
    pub fn cookie_line(&self) -> Option<String> {
        let cookies = self.cookies.tree("cookies")?;
        let one = |cookie: &Kept| format!("{}={}", cookie.attribute("name").unwrap_or_default(), cookie.text);
        let all: Vec<String> = cookies.all("cookie").map(one).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Where a server has it, for people: `nbd://example.org:10809/export`.
    pub fn address(&self) -> String {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let hosts = self.hosts.iter().map(|host| match (&host.socket, &host.name, host.port) {
            (Some(socket), ..) => socket.clone(),
            (None, Some(name), Some(port)) => format!("{name}:{port}"),
            (None, name, _) => name.clone().unwrap_or_default(),
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("{protocol}://{hosts}/{}", self.name.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;

    fn disk(xml: &str) -> Disk {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices>{xml}</devices></domain>"
        );
        Domain::parse(&text).unwrap().devices.disks.remove(0)
    }

    const BASE: &str = "<backingStore type='network'><format type='raw'/><source protocol='nbd' name='base'>\
                        <host name='h' port='1'/></source></backingStore>";

    #[test]
    fn layers_are_told_by_where_they_are() {
        let local = disk(&format!("<disk type='file'><source file='/a'/>{BASE}<target dev='vda'/></disk>"));
        let layers = local.served_layers();
        assert_eq!((layers.local, layers.images.len(), layers.is_mixed), (1, 1, false));
        assert_eq!(layers.images[0].source.address(), "nbd://h:1/base");

        let served = disk(
            "<disk type='network'><driver type='qcow2'/><auth username='u'><secret type='iscsi' usage='t'/></auth>\
             <source protocol='iscsi' name='iqn/1'><host name='h'/></source>\
             <backingStore type='file'><format type='raw'/><source file='/b'/></backingStore><target dev='vda'/></disk>",
        );
        let layers = served.served_layers();
        assert_eq!((layers.local, layers.images.len(), layers.is_mixed), (0, 1, true));
        let login = layers.images[0].source.login().unwrap().unwrap();
        assert_eq!((login.user.as_str(), login.secret), ("u", LoginSecret::Usage("t".to_owned())));

        let plain = disk("<disk type='file'><source file='/a'/><target dev='vda'/></disk>");
        assert_eq!(plain.served_layers(), ServedLayers { local: 1, ..ServedLayers::default() });
    }

    #[test]
    fn a_login_that_cannot_be_is_told() {
        let told = |auth: &str| {
            let disk = disk(&format!(
                "<disk type='network'><source protocol='rbd' name='p/i'>{auth}</source><target dev='vda'/></disk>"
            ));
            disk.source.unwrap().login().unwrap_err().to_string()
        };
        assert_eq!(told("<auth><secret type='ceph' usage='x'/></auth>"), "missing username for auth");
        assert_eq!(told("<auth username='a'/>"), "Missing <secret> element in auth");
        assert_eq!(
            told("<auth username='a'><secret type='iscsi' usage='x'/></auth>"),
            "expected secret type 'ceph', but found 'iscsi'"
        );
        assert_eq!(
            told("<auth username='a'><secret type='ceph'/></auth>"),
            "missing secret uuid or usage attribute"
        );
        assert_eq!(
            told("<auth username='a'><secret type='ceph' uuid='1'/></auth>"),
            "invalid secret uuid '1'"
        );
    }

    #[test]
    fn cookies_are_one_line() {
        let disk = disk(
            "<disk type='network'><source protocol='https' name='a'><host name='h'/><cookies>\
             <cookie name='a'>1</cookie><cookie name='b'>2</cookie></cookies></source><target dev='vda'/></disk>",
        );
        assert_eq!(disk.source.unwrap().cookie_line().as_deref(), Some("a=1; b=2"));
    }
}
