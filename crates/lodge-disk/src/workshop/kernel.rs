//! A kernel of a tree, with the modules that it takes to see a virtio disk and a file system on it.
//!
//! What a module needs is in `modules.dep`, what is in the kernel itself in `modules.builtin`; both are the guest's, so
//! their names are only paths in the same tree. Compressed modules are unpacked here: not every kernel can.

use std::{
    collections::{BTreeSet, HashMap},
    io::Read,
};

use lodge_model::guest_disk::FilePath;

use super::{Tree, WorkshopError};

/// A kernel.
pub(super) struct Kernel {
    pub(super) image: Vec<u8>,
    /// In the order in which they are loaded.
    pub(super) modules: Vec<Module>,
}

/// A module.
pub(super) struct Module {
    pub(super) bytes: Vec<u8>,
    /// The kernel may do without it.
    pub(super) optional: bool,
}

const KERNEL_BYTES: usize = 64 << 20;
const MODULE_BYTES: usize = 32 << 20;
/// The machine's memory holds them all twice for a moment.
const MODULES_BYTES: usize = 64 << 20;
const MODULES_MOST: usize = 64;
const LIST_BYTES: usize = 4 << 20;
/// Kernels that are looked at: a guest keeps a few.
const VERSIONS_MOST: usize = 16;
/// What a disk takes.
const NEEDED: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// Checksums that file systems ask for by another name than the module's.
const USEFUL: [&str; 4] = ["crc32c_generic", "crc32c_intel", "xxhash_generic", "sha256_generic"];

/// The newest kernel that has all that is needed.
pub(super) fn find(tree: &dyn Tree, kind: &str) -> Result<Kernel, WorkshopError> {
    let mut last = Err(WorkshopError::NoKernel {
        kind: kind.to_owned(),
        why: "there is none: no /lib/modules, no /boot/vmlinuz".to_owned(),
    });
    for modules in ["/usr/lib/modules", "/lib/modules"] {
        let mut versions: Vec<String> = tree
            .names(&path(modules.to_owned())?)
            .into_iter()
            .filter_map(|name| String::from_utf8(name).ok())
            .collect();
        versions.sort_by_cached_key(|version| std::cmp::Reverse(numbers(version)));
        for version in versions.iter().take(VERSIONS_MOST) {
            match take(tree, kind, &format!("{modules}/{version}"), version) {
                Ok(Some(kernel)) => return Ok(kernel),
                Ok(None) => {}
                Err(error) => last = Err(error),
            }
        }
    }
    last
}

/// None: there is no such kernel.
fn take(tree: &dyn Tree, kind: &str, at: &str, version: &str) -> Result<Option<Kernel>, WorkshopError> {
    let mut image = None;
    for place in [format!("/boot/vmlinuz-{version}"), format!("{at}/vmlinuz"), format!("/vmlinuz-{version}")]
    {
        image = image.or(tree.read(&path(place)?, KERNEL_BYTES));
    }
    let dependencies = tree.read(&path(format!("{at}/modules.dep"))?, LIST_BYTES);
    let (Some(image), Some(dependencies)) = (image, dependencies) else { return Ok(None) };
    let builtin = tree.read(&path(format!("{at}/modules.builtin"))?, LIST_BYTES).unwrap_or_default();
    let (dependencies, builtin) = (String::from_utf8_lossy(&dependencies), String::from_utf8_lossy(&builtin));
    let builtin: BTreeSet<String> = builtin.lines().map(name).collect();
    let lines: HashMap<String, (&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (name(file), (file, needs)))
        .collect();
    let mut order: Vec<(&str, bool)> = Vec::new();
    let wanted = NEEDED.iter().map(|name| (*name, false)).chain(USEFUL.map(|name| (name, true)));
    for (wanted, optional) in wanted.chain([(kind, false)]) {
        let Some((file, needs)) = lines.get(wanted) else {
            if optional || builtin.contains(wanted) {
                continue;
            }
            let why = format!("kernel {} lacks {wanted}", version.escape_debug());
            return Err(WorkshopError::NoKernel { kind: kind.to_owned(), why });
        };
        // What is needed first stands last.
        for file in needs.split_whitespace().rev().chain([*file]) {
            if !order.iter().any(|(known, _)| *known == file) {
                order.push((file, optional));
            }
        }
    }
    if order.len() > MODULES_MOST {
        let why = format!("kernel {} wants {} modules", version.escape_debug(), order.len());
        return Err(WorkshopError::NoKernel { kind: kind.to_owned(), why });
    }
    let (mut modules, mut bytes) = (Vec::new(), 0);
    for (file, optional) in order {
        let module = Module { bytes: read(tree, at, file)?, optional };
        bytes += module.bytes.len();
        if bytes > MODULES_BYTES {
            return Err(unusable(file, "with the others it is more than the workshop takes"));
        }
        modules.push(module);
    }
    Ok(Some(Kernel { image, modules }))
}

/// A module's bytes, unpacked.
fn read(tree: &dyn Tree, at: &str, file: &str) -> Result<Vec<u8>, WorkshopError> {
    let place = if file.starts_with('/') { file.to_owned() } else { format!("{at}/{file}") };
    let packed = tree.read(&path(place)?, MODULE_BYTES).ok_or_else(|| unusable(file, "it cannot be read"))?;
    let unpacked = match file.rsplit('.').next() {
        Some("gz") => unpack(flate2::read::GzDecoder::new(&packed[..])),
        Some("zst") => zstd::stream::read::Decoder::with_buffer(&packed[..]).and_then(unpack),
        Some("xz") => unpack(liblzma::read::XzDecoder::new(&packed[..])),
        _ => return Ok(packed),
    };
    let unpacked = unpacked.map_err(|error| unusable(file, &error.to_string()))?;
    if unpacked.len() > MODULE_BYTES {
        return Err(unusable(file, "it is larger than any module"));
    }
    Ok(unpacked)
}

fn unpack(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MODULE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A module's name from its file's: the kernel knows no `-`.
fn name(file: &str) -> String {
    let file = file.trim().rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// A version's numbers, by which the newer one is known.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn path(text: String) -> Result<FilePath, WorkshopError> {
    FilePath::new(text).map_err(|error| unusable(&error.0, "it is no path"))
}

fn unusable(file: &str, why: &str) -> WorkshopError {
    WorkshopError::KernelFile { path: file.escape_debug().to_string(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_kernels_come_first() {
        let mut versions = ["5.14.0-70.el9", "5.14.0-503.el9", "6.1.0-9-amd64"];
        versions.sort_by_cached_key(|version| std::cmp::Reverse(numbers(version)));
        assert_eq!(versions, ["6.1.0-9-amd64", "5.14.0-503.el9", "5.14.0-70.el9"]);
    }

    #[test]
    fn a_module_has_one_name() {
        for file in ["kernel/lib/crc32c-intel.ko.xz", "crc32c_intel.ko", "/lib/x/crc32c-intel.ko.zst"] {
            assert_eq!(name(file), "crc32c_intel");
        }
    }
}
