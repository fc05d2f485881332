//! The UUID of an XFS, by xfsprogs' xfs_db: the superblock's in every group, and the log.

use std::sync::Arc;

use uuid::Uuid;

use super::Fault;
use crate::{
    blocks::Blocks,
    edit::{
        error::EditError,
        tool::{Act, Tools},
    },
    view::View,
};

const MAGIC: &[u8] = b"XFSB";
const UUID: u64 = 32;

/// Sets it; says whether it was otherwise.
pub(crate) fn set_uuid(
    device: &Arc<dyn Blocks>,
    name: &str,
    uuid: Uuid,
    tools: &mut dyn Tools,
) -> Result<Result<bool, Fault>, EditError> {
    let read = || -> Result<Uuid, Fault> {
        let (mut magic, mut bytes) = ([0; 4], [0; 16]);
        device.read_at(0, &mut magic)?;
        device.read_at(UUID, &mut bytes)?;
        if magic == MAGIC {
            Ok(Uuid::from_bytes(bytes))
        } else {
            Err(Fault::Damaged("it has no superblock of an XFS".to_owned()))
        }
    };
    match read() {
        Ok(old) if old == uuid => return Ok(Ok(false)),
        Ok(_) => {}
        Err(fault) => return Ok(Err(fault)),
    }
    let act = Act::XfsUuid(uuid);
    let said = tools.run(act.clone(), View::of_disk(device.clone()))?;
    match read() {
        Ok(new) if new == uuid => Ok(Ok(true)),
        Ok(_) if said.words.contains("log") => {
            let why = "its log is not empty: the guest was not shut down (start the guest, and shut it down)";
            Ok(Err(Fault::Unsupported(why.to_owned())))
        }
        Ok(_) => Err(act.failed(name, "the UUID is still the old one", &said)),
        Err(fault) => Ok(Err(fault)),
    }
}
