//! Images themselves, with qemu-img as the oracle.

mod attack;
mod change;
mod convert;
mod crash;
mod grow;
mod look;
mod mutate;

use std::{fs, path::Path};

use lodge_storage::{Conversion, ImageFormat};
use tokio_util::sync::CancellationToken;

use crate::world::{World, qemu_img, run, text};

/// A disk with data, holes and zeros written, of an odd size, in a raw file.
fn raw_disk(path: &Path) {
    qemu_img(&["create", "-q", "-f", "raw", text(path), "5242880"]);
    let writes = ["write -P 1 0 4k", "write -P 2 1000k 300k", "write -P 0 2M 1M", "write -P 3 5242368 512"];
    for write in writes {
        run("qemu-io", &["-f", "raw", "-c", write, text(path)]);
    }
}

pub fn conversion(from: &Path, from_format: ImageFormat, to: &Path, to_format: ImageFormat) -> Conversion {
    Conversion {
        from: from.to_owned(),
        from_format,
        to: to.to_owned(),
        to_format,
        compression: None,
        cluster_size: None,
    }
}

async fn convert(world: &World, conversion: Conversion) -> Result<(), lodge_storage::StorageError> {
    let done = world.storage.convert_image(conversion, &CancellationToken::new(), |_| ()).await;
    done.map(drop)
}

/// qemu-img reads the same bytes from both.
fn assert_same(one: &Path, one_format: &str, other: &Path, other_format: &str) {
    let said = qemu_img(&["compare", "-f", one_format, "-F", other_format, text(one), text(other)]);
    assert!(said.contains("Images are identical"), "{said}");
}

fn leftovers(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".lodge")).collect()
}
