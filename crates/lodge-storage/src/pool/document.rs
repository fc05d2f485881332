//! A pool's document: read, judged in libvirt's words, and said again.

use lodge_model::{
    Bytes, Faults,
    storage::{Amount, Extent, Permissions, Pool, StorageTarget},
    xml::WriteOptions,
};

use super::{
    error::{PoolError, of_whole},
    shape,
};
use crate::vol::facts::Owner;

/// Reads a document that a caller gave. `strict`: what libvirt's schema does not have is a fault.
pub(crate) fn read(text: &str, strict: bool) -> Result<Pool, PoolError> {
    let parsed = Pool::parse(text);
    if strict && let Err(mut faults) = Pool::parse_strict(text) {
        // What another namespace adds is known by that.
        let has_options = parsed.as_ref().is_ok_and(|pool| !pool.mount_options().is_empty());
        faults.0.retain(|fault| !(has_options && fault.path == "/pool/mount_opts"));
        if !faults.0.is_empty() {
            return Err(schema(&faults));
        }
    }
    let mut pool = parsed.map_err(|faults| said(&faults))?;
    judge(&mut pool)?;
    pool.complete();
    pool.target.as_deref().map_or(Ok(()), judge_owners)?;
    let Some(target) = &mut pool.target else { return Ok(pool) };
    if let Some(permissions) = &mut target.permissions {
        // -1 is libvirt's word for "as it comes", and is not said again.
        permissions.owner = permissions.owner.filter(|id| *id >= 0);
        permissions.group = permissions.group.filter(|id| *id >= 0);
    }
    target.permissions =
        target.permissions.take().filter(|permissions| *permissions != Permissions::default());
    Ok(pool)
}

fn schema(faults: &Faults) -> PoolError {
    of_whole(faults, "pool").unwrap_or_else(|| PoolError::Schema(faults.to_string()))
}

/// What libvirt says of the first fault.
fn said(faults: &Faults) -> PoolError {
    if let Some(error) = of_whole(faults, "pool") {
        return error;
    }
    let Some(fault) = faults.0.first() else { return PoolError::Document(String::new()) };
    let text = match fault.path.as_str() {
        "/pool/@type" if fault.message.contains("missing") => {
            "Missing required attribute 'type' in element 'pool'".to_owned()
        }
        "/pool/@type" => format!(
            "Invalid value for attribute 'type' in element 'pool': '{}'.",
            fault.message.split('`').nth(1).unwrap_or_default()
        ),
        "/pool" if fault.message.contains("type") => {
            "Missing required attribute 'type' in element 'pool'".to_owned()
        }
        "/pool/uuid" => "malformed uuid element".to_owned(),
        "/pool/target/permissions/owner" => "malformed owner element".to_owned(),
        "/pool/target/permissions/group" => "malformed group element".to_owned(),
        _ => faults.to_string(),
    };
    PoolError::Document(text)
}

fn judge(pool: &mut Pool) -> Result<(), PoolError> {
    shape::settle(pool)?;
    if pool.name.contains('/') {
        return Err(PoolError::Document(format!("name {} cannot contain '/'", pool.name)));
    }
    if lodge_model::check_name(&pool.name).is_err() {
        return Err(PoolError::Document(format!("name {:?} cannot be a pool's", pool.name)));
    }
    let target = pool.target.as_deref();
    if let Some(mode) = target.and_then(|target| target.permissions.as_ref()?.mode.as_deref())
        && u32::from_str_radix(mode, 8).map_or(true, |mode| mode > 0o777)
    {
        return Err(PoolError::Document("malformed octal mode".to_owned()));
    }
    Ok(())
}

/// Whether owner and group are a user's and a group's numbers, or -1: as it comes.
pub(crate) fn judge_owners(target: &StorageTarget) -> Result<(), PoolError> {
    let Some(permissions) = &target.permissions else { return Ok(()) };
    for (id, name) in [(permissions.owner, "owner"), (permissions.group, "group")] {
        if id.is_some_and(|id| id < -1 || id > i64::from(u32::MAX)) {
            return Err(PoolError::Document(format!("malformed {name} element")));
        }
    }
    Ok(())
}

/// The path with single slashes and none at its end.
pub(crate) fn tidy(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// libvirt's text of a pool.
pub(crate) fn write(pool: &Pool) -> String {
    pool.to_xml(&WriteOptions::default())
}

/// Sizes of a pool, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    pub capacity: u64,
    pub allocation: u64,
    pub available: u64,
}

impl Room {
    pub fn of(pool: &Pool) -> Self {
        let bytes = |amount: Option<Amount>| amount.map_or(0, |amount| amount.0.0);
        Self {
            capacity: bytes(pool.capacity),
            allocation: bytes(pool.allocation),
            available: bytes(pool.available),
        }
    }

    pub fn note_in(self, pool: &mut Pool) {
        pool.capacity = Some(Amount(Bytes(self.capacity)));
        pool.allocation = Some(Amount(Bytes(self.allocation)));
        pool.available = Some(Amount(Bytes(self.available)));
    }
}

/// Notes whose the directory is.
pub(crate) fn note_owner(pool: &mut Pool, owner: Owner) {
    pool.target.get_or_insert_default().permissions = Some(owner.permissions());
}

/// Notes what no partition has.
pub(crate) fn note_free(pool: &mut Pool, free: Vec<Extent>) {
    if let Some(device) = pool.source.as_mut().and_then(|source| source.devices.first_mut()) {
        device.free_extents = free;
    }
}

/// What the document wants of the directory.
pub(crate) fn wanted(target: Option<&StorageTarget>) -> (Option<u32>, Option<u32>, Option<u32>) {
    let permissions = target.and_then(|target| target.permissions.as_ref());
    let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    let mode = permissions.and_then(|permissions| permissions.mode.as_deref());
    (
        mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()),
        id(permissions.and_then(|permissions| permissions.owner)),
        id(permissions.and_then(|permissions| permissions.group)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read(text, false).unwrap_err().to_string()
    }

    #[test]
    fn a_definition_is_completed_as_libvirt_does() {
        let text = "<pool type='dir'><name>e</name><target><path>/tmp/st//p/e/</path><permissions>\
                    <mode>0755</mode><owner>-1</owner></permissions></target></pool>";
        let pool = read(text, false).unwrap();
        assert_eq!(pool.path(), Some("/tmp/st/p/e"));
        let written = write(&pool);
        assert!(written.contains("<permissions>\n      <mode>0755</mode>\n    </permissions>"), "{written}");
        let plain = read(&text.replace("<mode>0755</mode>", ""), false).unwrap();
        assert!(!write(&plain).contains("permissions"));
    }

    #[test]
    fn faults_are_told_in_libvirts_words() {
        let pool = |inner: &str| error(&format!("<pool type='dir'>{inner}</pool>"));
        let target = "<target><path>/x</path></target>";
        assert_eq!(pool(target), "missing pool source name element");
        assert_eq!(pool("<name>a</name>"), "missing storage pool target path");
        assert_eq!(pool(&format!("<name>a/b</name>{target}")), "name a/b cannot contain '/'");
        assert_eq!(pool(&format!("<name>a</name><uuid>z</uuid>{target}")), "malformed uuid element");
        let permissions = |inner: &str| {
            pool(&format!("<name>a</name><target><path>/x</path><permissions>{inner}</permissions></target>"))
        };
        assert_eq!(permissions("<mode>9</mode>"), "malformed octal mode");
        assert_eq!(permissions("<owner>x</owner>"), "malformed owner element");
        assert_eq!(permissions("<owner>-5</owner>"), "malformed owner element");
        assert_eq!(permissions("<group>4294967296</group>"), "malformed group element");
        assert_eq!(error("<pool/>"), "Missing required attribute 'type' in element 'pool'");
        assert_eq!(
            error("<pool type='bogus'/>"),
            "Invalid value for attribute 'type' in element 'pool': 'bogus'."
        );
        assert_eq!(error("<pool type='netfs'/>"), "missing pool source name element");
    }

    #[test]
    fn mount_options_are_no_fault() {
        let text = "<pool xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0' type='fs'><name>a</name>\
                    <source><device path='/dev/x'/></source><target><path>/x</path></target>\
                    <fs:mount_opts><fs:option name='sync'/></fs:mount_opts></pool>";
        assert_eq!(read(text, true).unwrap().mount_options(), [Some("sync".to_owned())]);
        assert!(read(&text.replace("storagepool/fs/1.0", "x"), true).is_err());
    }
}
