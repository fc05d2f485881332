//! A guest's disks as they are edited: devices, the tree that its fstab makes of them, and who edits what.

use std::{collections::BTreeSet, sync::Arc};

use lodge_model::guest_disk::{Device, DeviceEdit, DeviceKind, FilePath, PartitionTable};
use uuid::Uuid;

use super::{
    Outcome,
    carry_out::Ground,
    device::{
        Fault, GptChange, change_gpt, set_btrfs_uuid, set_luks_uuid, set_serial, set_signature,
        set_swap_uuid, set_xfs_uuid,
    },
    error::EditError,
    ext::Ext,
    lvm,
    tool::Tools,
};
use crate::{
    blocks::Blocks,
    fs::{self, FileSystem, FsError},
    layout::Devices,
    root::{Mount, Root},
};

/// The disks.
#[derive(Debug)]
pub(crate) struct Guest {
    disks: Vec<(String, Arc<dyn Blocks>)>,
    devices: Devices,
}

impl Guest {
    /// Looks at disks, each with its name.
    pub fn new(disks: Vec<(String, Arc<dyn Blocks>)>) -> Self {
        Self { devices: Devices::read(disks.clone()), disks }
    }

    fn device(&self, name: &str) -> Result<(&Device, Arc<dyn Blocks>), EditError> {
        let device = self.devices.layout().device(name);
        let Some(device) = device else { return Err(EditError::NoDevice { device: name.to_owned() }) };
        let blocks = self.devices.device(name).ok_or_else(|| {
            let gap = self.devices.gaps().iter().find(|gap| gap.place == name);
            let why = gap.map_or_else(|| "it cannot be read".to_owned(), |gap| gap.why.clone());
            EditError::Damaged { place: name.to_owned(), why }
        })?;
        Ok((device, blocks))
    }

    /// Devices with an ext file system, each once.
    fn exts(&self) -> Vec<&str> {
        let is_ext =
            |device: &&Device| device.content.as_ref().is_some_and(|content| content.kind.starts_with("ext"));
        let devices = self.devices.layout().devices();
        let names: BTreeSet<&str> =
            devices.into_iter().filter(is_ext).map(|device| device.name.as_str()).collect();
        names.into_iter().collect()
    }

    fn set_table(&self, name: &str, uuid: &str) -> Result<bool, EditError> {
        let (device, blocks) = self.device(name)?;
        match device.table {
            Some(PartitionTable::Gpt(_)) => {
                let guid = parse(name, uuid)?;
                told(name, change_gpt(&*blocks, GptChange::Disk(guid)))
            }
            Some(PartitionTable::Dos(_)) => {
                let signature = (uuid.len() == 8).then(|| u32::from_str_radix(uuid, 16).ok()).flatten();
                let signature = signature
                    .ok_or_else(|| bad(name, uuid, "a DOS signature has eight hexadecimal digits"))?;
                told(name, set_signature(&*blocks, signature))
            }
            None => Err(bad(name, uuid, "it has no partition table")),
        }
    }

    fn set_partition(&self, name: &str, uuid: &str) -> Result<bool, EditError> {
        let (device, _) = self.device(name)?;
        let layout = self.devices.layout();
        let parent = layout.devices().into_iter().find(|parent| {
            device.kind == DeviceKind::Partition && parent.children.iter().any(|child| child.name == name)
        });
        match (parent, &device.partition) {
            (Some(parent), Some(partition)) if matches!(parent.table, Some(PartitionTable::Gpt(_))) => {
                let (_, blocks) = self.device(&parent.name)?;
                let change = GptChange::Partition(partition.number, parse(name, uuid)?);
                told(&parent.name, change_gpt(&*blocks, change))
            }
            (Some(parent), Some(_)) => {
                let why = format!(
                    "a DOS partition is named after its disk: change the signature of {}",
                    parent.name
                );
                Err(bad(name, uuid, &why))
            }
            _ => Err(bad(name, uuid, "it is no partition")),
        }
    }

    fn set_content(
        &self,
        name: &str,
        (uuid, may_seed): (&str, bool),
        tools: &mut dyn Tools,
    ) -> Result<bool, EditError> {
        let (device, blocks) = self.device(name)?;
        let Some(content) = &device.content else {
            return Err(bad(name, uuid, "nothing that has a UUID is on it"));
        };
        match content.kind.as_str() {
            "ext2" | "ext3" | "ext4" => {
                Ext { device: name, blocks }.set_uuid(parse(name, uuid)?, may_seed, tools)
            }
            "xfs" => told(name, set_xfs_uuid(&blocks, name, parse(name, uuid)?, tools)?),
            "btrfs" => told(name, set_btrfs_uuid(&*blocks, parse(name, uuid)?)),
            "swap" => told(name, set_swap_uuid(&*blocks, parse(name, uuid)?)),
            "crypto_LUKS" => told(name, set_luks_uuid(&*blocks, parse(name, uuid)?)),
            "vfat" => {
                let digits = uuid.split_once('-').filter(|(high, low)| high.len() == 4 && low.len() == 4);
                let serial =
                    digits.and_then(|(high, low)| u32::from_str_radix(&format!("{high}{low}"), 16).ok());
                let serial =
                    serial.ok_or_else(|| bad(name, uuid, "a FAT has a serial number like 1234-ABCD"))?;
                told(name, set_serial(&*blocks, serial))
            }
            "LVM2_member" => {
                let old = content.uuid.as_deref().unwrap_or_default();
                let members = self.members(content.group.as_ref().map(|(name, _)| name.as_str()), name);
                lvm::set_pv(&members, name, old, uuid).map_or_else(|fault| told(name, Err(fault)), Ok)
            }
            kind => Err(EditError::Unsupported {
                place: name.to_owned(),
                why: format!("the UUID of {kind} is not changed by this program"),
            }),
        }
    }

    fn set_group(&self, group: &str, uuid: &str) -> Result<bool, EditError> {
        let members = self.members(Some(group), "");
        let devices = self.devices.layout().devices();
        let known = devices.iter().filter_map(|device| device.content.as_ref()?.group.as_ref());
        let old = known.filter(|(name, _)| name == group).map(|(_, uuid)| uuid).next();
        let Some(old) = old else { return Err(EditError::NoDevice { device: group.to_owned() }) };
        told(group, lvm::set_in_group(&members, old, uuid))
    }

    fn set_volume(&self, name: &str, uuid: &str) -> Result<bool, EditError> {
        let (device, _) = self.device(name)?;
        let Some(old) = &device.volume else { return Err(bad(name, uuid, "it is no logical volume")) };
        let holders = self.devices.layout().devices();
        let holds = |holder: &&Device| holder.children.iter().any(|child| child.name == name);
        let content = holders.into_iter().find(holds).and_then(|holder| holder.content.as_ref());
        let group = content.and_then(|content| content.group.as_ref()).map(|(group, _)| group.as_str());
        let members = self.members(group, "");
        told(name, lvm::set_in_group(&members, old, uuid))
    }

    /// The PVs of a group, and one more.
    fn members(&self, group: Option<&str>, one: &str) -> Vec<(String, Arc<dyn Blocks>)> {
        let is_member = |device: &Device| {
            let content = device.content.as_ref().filter(|content| content.kind == "LVM2_member");
            content.is_some_and(|content| {
                device.name == one
                    || (group.is_some() && content.group.as_ref().map(|(name, _)| name.as_str()) == group)
            })
        };
        let mut names: Vec<String> = Vec::new();
        for device in self.devices.layout().devices().into_iter().filter(|device| is_member(device)) {
            if !names.contains(&device.name) {
                names.push(device.name.clone());
            }
        }
        names.into_iter().filter_map(|name| Some((name.clone(), self.devices.device(&name)?))).collect()
    }
}

impl Ground for Guest {
    fn make_ready(&self, tools: &mut dyn Tools) -> Result<(), EditError> {
        for device in self.exts() {
            if let Some(blocks) = self.devices.device(device) {
                Ext { device, blocks }.replay(tools)?;
            }
        }
        Ok(())
    }

    fn mounts(&self) -> Result<Vec<Mount>, EditError> {
        // Looked at again, as journals may have been replayed since.
        let root = Root::open(Devices::read(self.disks.clone()));
        let mut unseen = Vec::new();
        for gap in root.gaps() {
            if let Ok(at) = FilePath::new(gap.place.as_str()) {
                unseen.push(Mount { at, device: "it".to_owned(), fs: Err(gap.why.clone()) });
            }
        }
        let why = root.gaps().iter().map(|gap| format!("{}: {}", gap.place, gap.why)).collect::<Vec<_>>();
        let mut mounts = root.into_mounts();
        if mounts.is_empty() {
            return Err(EditError::Unfit { place: "the guest's files".to_owned(), why: why.join("; ") });
        }
        unseen.retain(|gap| {
            mounts.iter().all(|mount| mount.at != gap.at) && gap.at.as_bytes() != b"/etc/fstab"
        });
        mounts.extend(unseen);
        Ok(mounts)
    }

    fn blocks(&self, device: &str) -> Result<Arc<dyn Blocks>, EditError> {
        Ok(self.device(device)?.1)
    }

    fn open(&self, name: &str) -> Result<Box<dyn FileSystem>, EditError> {
        let (device, blocks) = self.device(name)?;
        let opened = match &device.content {
            Some(content) => fs::open(content, blocks, None),
            None => Err(FsError::Unsupported("nothing that is known lies in it".to_owned())),
        };
        opened.map_err(|error| EditError::Damaged { place: name.to_owned(), why: error.to_string() })
    }

    fn edit_device(&self, edit: &DeviceEdit, tools: &mut dyn Tools) -> Result<Outcome, EditError> {
        let is_other = match edit {
            DeviceEdit::Table { device, uuid } => self.set_table(device, uuid),
            DeviceEdit::Partition { device, uuid } => self.set_partition(device, uuid),
            DeviceEdit::Content { device, uuid, may_seed } => {
                self.set_content(device, (uuid, *may_seed), tools)
            }
            DeviceEdit::Volume { device, uuid } => self.set_volume(device, uuid),
            DeviceEdit::Group { group, uuid } => self.set_group(group, uuid),
        }?;
        Ok(if is_other { Outcome::Changed } else { Outcome::Already })
    }
}

fn parse(device: &str, uuid: &str) -> Result<Uuid, EditError> {
    // As blkid writes them; other forms would be read back as another.
    let parsed = Uuid::parse_str(uuid).ok().filter(|parsed| !parsed.is_nil() && uuid.len() == 36);
    parsed.ok_or_else(|| bad(device, uuid, "it is no UUID"))
}

fn bad(device: &str, uuid: &str, why: &str) -> EditError {
    EditError::BadIdentity { device: device.to_owned(), uuid: uuid.to_owned(), why: why.to_owned() }
}

fn told(device: &str, outcome: Result<bool, Fault>) -> Result<bool, EditError> {
    let place = device.to_owned();
    outcome.map_err(|fault| match fault {
        Fault::Damaged(why) => EditError::Damaged { place, why },
        Fault::Unsupported(why) => EditError::Unsupported { place, why },
        Fault::BadIdentity(uuid, why) => EditError::BadIdentity { device: place, uuid, why },
        Fault::Io(error) => EditError::Disk { act: format!("read or write {place}"), why: error.to_string() },
    })
}
