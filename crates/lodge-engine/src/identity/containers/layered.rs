//! Containers whose roots are layers over each other: Docker's (`overlay2`), Podman's and CRI-O's (`overlay`).
//!
//! Which layers, their own files say; both programs write a `lower` beside each layer: short names, with colons between.
//! What lies where was looked up in moby's `daemon/graphdriver/overlay2` and containers/storage's `drivers/overlay`, and in
//! what Docker 20.10 and Podman 4.3 make.
//! Deliberately absent: containerd's own snapshots, also Docker's where it has its images there (told), containers of users
//! in their homes, and volumes.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Found, Lies, below, is_missing, text, text_of, values};

/// Podman has all its containers in one file.
const RECORDS_BYTES: u64 = 32 << 20;
/// Podman's drivers that lay nothing over anything: what is the image's and what the container's cannot be told apart.
const WHOLE: [&str; 3] = ["vfs", "btrfs", "zfs"];

/// Of Docker's `config.v2.json`.
#[derive(Debug, Deserialize)]
struct DockerRecord {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Driver", default)]
    driver: String,
}

/// Of Podman's `containers.json`.
#[derive(Debug, Deserialize)]
struct PodmanRecord {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    layer: String,
}

impl Found {
    /// dockerd(8): `containers/ID`, and the layer of each in `image/overlay2/layerdb/mounts/ID/mount-id`.
    pub(super) fn docker(&mut self, host: &Path) {
        let said = text(&host.join("etc/docker/daemon.json")).ok();
        let said = said.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        let said = said.as_ref().and_then(|settings| settings["data-root"].as_str());
        let home = below(host, said.unwrap_or("/var/lib/docker"));
        for (id, place) in self.names(&home.join("containers")) {
            let record = match text(&place.join("config.v2.json")) {
                Ok(record) => record,
                // One that is being removed.
                Err(error) if is_missing(&error) => continue,
                Err(error) => {
                    self.gap("docker", &id, &format!("its record: {error}"));
                    continue;
                }
            };
            let Ok(record) = serde_json::from_str::<DockerRecord>(&record) else {
                self.gap("docker", &id, "its record is not understood");
                continue;
            };
            let name = record.name.trim_start_matches('/');
            let name = if name.is_empty() { id.clone() } else { name.to_owned() };
            if record.driver != "overlay2" {
                let driver = record.driver.escape_debug();
                self.gap("docker", &name, &format!("its layers are `{driver}`'s, which are not looked into"));
                continue;
            }
            let layer = text(&home.join("image/overlay2/layerdb/mounts").join(&id).join("mount-id"));
            self.layered("docker", name, &home.join("overlay2"), host, layer);
        }
    }

    /// containers-storage.conf(5): `overlay-containers/containers.json`, of those that go when they end (`--rm`) too.
    pub(super) fn podman(&mut self, host: &Path) {
        let settings = text(&host.join("etc/containers/storage.conf")).unwrap_or_default();
        let said = values(&settings, "graphroot").pop();
        let said = said.as_deref().map(|value| value.trim_matches(['"', '\'']));
        let home = below(host, said.unwrap_or("/var/lib/containers/storage"));
        for driver in WHOLE {
            if self.records(&home.join(format!("{driver}-containers"))).next().is_some() {
                let why = format!("there are some whose layers are `{driver}`'s, which are not looked into");
                self.gaps.push(format!("containers of podman: {why}"));
            }
        }
        for record in self.records(&home.join("overlay-containers")) {
            let name = record.names.into_iter().next().unwrap_or(record.id);
            self.layered("podman", name, &home.join("overlay"), host, Ok(record.layer));
        }
    }

    fn records(&mut self, place: &Path) -> impl Iterator<Item = PodmanRecord> + use<> {
        let mut all: Vec<PodmanRecord> = Vec::new();
        for file in ["containers.json", "volatile-containers.json"] {
            let path = place.join(file);
            let read = text_of(&path, RECORDS_BYTES);
            match read.and_then(|text| Ok(serde_json::from_str::<Vec<PodmanRecord>>(&text)?)) {
                Ok(records) => all.extend(records),
                Err(error) if is_missing(&error) => {}
                Err(error) => self.gaps.push(format!("containers of podman: {}: {error}", path.display())),
            }
        }
        all.into_iter()
    }

    /// One whose own layer is there, with those below it.
    fn layered(
        &mut self,
        kind: &'static str,
        name: String,
        home: &Path,
        host: &Path,
        layer: io::Result<String>,
    ) {
        match layer.and_then(|layer| layers(home, host, layer.trim())) {
            Ok(layers) => self.take(kind, name, Lies::Layers(layers)),
            Err(error) => self.gap(kind, &name, &format!("its layers: {error}")),
        }
    }
}

/// The directories of a layer and of those below it, in their order.
fn layers(home: &Path, host: &Path, layer: &str) -> io::Result<Vec<PathBuf>> {
    let is_name = !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_name {
        return Err(io::Error::other(format!("`{}` is no name of one", layer.escape_debug())));
    }
    let own = home.join(layer);
    let lower = match text(&own.join("lower")) {
        Ok(lower) => lower,
        // One that stands on nothing.
        Err(error) if is_missing(&error) => String::new(),
        Err(error) => return Err(error),
    };
    let mut all = vec![own.join("diff")];
    for name in lower.trim().split(':').filter(|name| !name.is_empty()) {
        let below_it = match name.strip_prefix('/') {
            // Of another store, that is given to all.
            Some(_) => below(host, name),
            None => home.join(name),
        };
        all.push(below_it);
    }
    Ok(all)
}
