//! Disks of guests: `domblkinfo domblkerror domblkthreshold blockresize`, and block jobs.

mod job;
mod wait;

use clap::Args;
use lodge_client::api::{BlockResize, BlockSizes, BlockThreshold};

use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;
use crate::storage::size;

pub use job::{Blockcommit, Blockcopy, Blockjob, Blockpull};

#[derive(Debug, Args)]
pub struct Domblkinfo {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// block device
    #[arg(value_name = "device", required_unless_present = "all")]
    device: Option<String>,
    /// Human readable output
    #[arg(long)]
    human: bool,
    /// display all block devices info
    #[arg(long, conflicts_with = "device")]
    all: bool,
}

impl Domblkinfo {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        let shown = |bytes: u64| if self.human { human(bytes) } else { bytes.to_string() };
        if let Some(device) = &self.device {
            let sizes = client.domain_block(dom, device).await.on_domain(dom, "")?;
            session.show(&sizes, |BlockSizes { capacity, allocation, physical }| {
                let mut text = String::new();
                for (name, bytes) in
                    [("Capacity", capacity), ("Allocation", allocation), ("Physical", physical)]
                {
                    output::field(&mut text, name, shown(*bytes));
                }
                text
            });
            return Ok(());
        }
        let mut all = Vec::new();
        for disk in client.domain_blocks(dom).await.on_domain(dom, "")? {
            let sizes = match &disk.source {
                Some(_) => Some(client.domain_block(dom, &disk.target).await.on_domain(dom, "")?),
                None => None,
            };
            all.push((disk.target, sizes));
        }
        session.show(&all, |all| {
            let rows = all.iter().map(|(target, sizes)| {
                let cell = |of: fn(&BlockSizes) -> u64| {
                    sizes.as_ref().map_or_else(|| "-".to_owned(), |sizes| shown(of(sizes)))
                };
                vec![target.clone(), cell(|s| s.capacity), cell(|s| s.allocation), cell(|s| s.physical)]
            });
            session.table(&["Target", "Capacity", "Allocation", "Physical"], &rows.collect::<Vec<_>>())
        });
        Ok(())
    }
}

/// virsh's three digits after the point.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.3} {}", UNITS[unit])
}

/// `domblkerror`.
pub async fn domblkerror(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let errors = session.client().await?.domain_block_errors(dom).await.on_domain(dom, "")?;
    session.show(&errors, |errors| {
        if errors.is_empty() {
            return "No errors found\n".to_owned();
        }
        output::lines(errors.iter().map(|error| format!("{}: {}", error.target, error.error)))
    });
    Ok(())
}

#[derive(Debug, Args)]
pub struct Domblkthreshold {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// device to set threshold for
    #[arg(value_name = "dev")]
    dev: String,
    /// threshold as a scaled number (by default bytes)
    #[arg(value_name = "threshold")]
    threshold: String,
}

impl Domblkthreshold {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        let threshold = BlockThreshold { threshold: size(&self.threshold, "threshold")? };
        client.set_block_threshold(dom, &self.dev, &threshold).await.on_domain(dom, "")
    }
}

#[derive(Debug, Args)]
pub struct Blockresize {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// Fully-qualified path of block device
    #[arg(value_name = "path")]
    path: String,
    /// New size of the block device, as scaled integer (default KiB)
    #[arg(value_name = "size")]
    size: String,
}

impl Blockresize {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        // A number alone is in KiB.
        let is_bare = self.size.bytes().all(|byte| byte.is_ascii_digit());
        let text = if is_bare { format!("{}KiB", self.size) } else { self.size.clone() };
        let resize = BlockResize { size: size(&text, "size")? };
        client
            .resize_block(dom, &self.path, &resize)
            .await
            .what(|| format!("Failed to resize block device '{}'", self.path))?;
        session.say(&format!("Block device '{}' is resized\n", self.path));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_have_virshs_digits() {
        assert_eq!([0, 1023, 1536, 3 << 30].map(human), ["0.000 B", "1023.000 B", "1.500 KiB", "3.000 GiB"]);
    }
}
