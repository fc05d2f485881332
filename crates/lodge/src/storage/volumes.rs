//! `vol-list vol-info`.

use clap::Args;
use lodge_client::api::VolumeView;

use super::document::pretty;
use super::volume::Vol;
use crate::failure::{Failure, What};
use crate::output::{self, field};
use crate::session::Session;

#[derive(Debug, Default, Args)]
pub struct List {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// display extended details for volumes
    #[arg(long)]
    details: bool,
}

impl List {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let pool = super::pool::view(&self.pool, session).await?;
        let volumes = session.client().await?.volumes(&pool.name).await;
        let mut volumes = volumes.what(|| "Failed to list volumes".to_owned())?;
        volumes.sort_by_cached_key(|volume| volume.name.to_lowercase());
        session.show(&volumes, |volumes| self.text(volumes, session.quiet()));
        Ok(())
    }

    fn text(&self, volumes: &[VolumeView], quiet: bool) -> String {
        if !self.details {
            let rows: Vec<_> =
                volumes.iter().map(|volume| vec![volume.name.clone(), volume.path.clone()]).collect();
            return output::table(&["Name", "Path"], &rows, quiet);
        }
        let row = |volume: &VolumeView| {
            vec![
                volume.name.clone(),
                volume.path.clone(),
                volume.kind.clone(),
                pretty(volume.capacity_bytes),
                pretty(volume.allocation_bytes),
            ]
        };
        let heading = ["Name", "Path", "Type", "Capacity", "Allocation"];
        output::table(&heading, &volumes.iter().map(row).collect::<Vec<_>>(), quiet)
    }
}

#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    vol: Vol,
    /// sizes are represented in bytes rather than pretty units
    #[arg(long)]
    bytes: bool,
    /// return the physical size of the volume in allocation field
    #[arg(long)]
    physical: bool,
}

impl Info {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = self.vol.view(session).await?;
        session.show(&view, |view| {
            let size = |bytes: u64| if self.bytes { format!("{bytes} bytes") } else { pretty(bytes) };
            let mut text = String::new();
            field(&mut text, "Name", &view.name);
            field(&mut text, "Type", &view.kind);
            field(&mut text, "Capacity", size(view.capacity_bytes));
            if self.physical {
                field(&mut text, "Physical", size(view.physical_bytes));
            } else {
                field(&mut text, "Allocation", size(view.allocation_bytes));
            }
            text
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table_is_virshs() {
        let volume = VolumeView {
            name: "v1.qcow2".to_owned(),
            pool: "p".to_owned(),
            key: "/p/v1.qcow2".to_owned(),
            path: "/p/v1.qcow2".to_owned(),
            kind: "file".to_owned(),
            format: "qcow2".to_owned(),
            capacity_bytes: 16 << 20,
            allocation_bytes: 200_704,
            physical_bytes: 196_616,
            backing: None,
            encryption: None,
        };
        let list = List { pool: "p".to_owned(), details: true };
        expect![[r"
             Name       Path          Type   Capacity    Allocation
            ---------------------------------------------------------
             v1.qcow2   /p/v1.qcow2   file   16.00 MiB   196.00 KiB
        "]]
        .assert_eq(&list.text(&[volume], false));
    }
}
