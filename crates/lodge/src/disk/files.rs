//! `files`: every file that makes up a domain; and disks that were moved.

use clap::Args;
use lodge_client::api::{GuestFileView, Relocated, Relocation};

use crate::failure::{Failure, What};
use crate::output::size;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Files {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// Take over the places that its disks were moved to
    #[arg(long)]
    relocate: bool,
    /// With --relocate: only say what would be done
    #[arg(long, requires = "relocate")]
    dry_run: bool,
}

impl Files {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        if self.relocate {
            let options = Relocation { dry_run: self.dry_run };
            let done = client.relocate_domain(dom, &options).await.on_domain(dom, "relocate")?;
            session.show(&done, |done| relocated(done, self.dry_run));
            return Ok(());
        }
        let files = client.domain_files(dom).await.on_domain(dom, "")?;
        session.show(&files, |files| listing(files, session));
        Ok(())
    }
}

fn listing(files: &[GuestFileView], session: &Session) -> String {
    let row = |file: &GuestFileView| {
        let note = match (&file.moved_to, file.exists) {
            (Some(place), _) => format!("moved to {place}"),
            (None, false) => "is not there".to_owned(),
            (None, true) => file.shared_with.join("; "),
        };
        let guest = file.guest_bytes.map_or("-".to_owned(), size);
        vec![file.what.clone(), file.path.clone(), guest, size(file.host_bytes), note]
    };
    let rows: Vec<_> = files.iter().map(row).collect();
    session.table(&["What", "File", "Guest size", "Host size", "Shared"], &rows)
}

fn relocated(done: &[Relocated], dry_run: bool) -> String {
    if done.is_empty() {
        return "Every disk is where it belongs\n".to_owned();
    }
    let verb = if dry_run { "would be taken" } else { "is taken" };
    let line = |disk: &Relocated| {
        let how = if disk.same_file { "" } else { " (another file with the same bytes)" };
        format!("disk {}: '{}'{how} {verb} for '{}'\n", disk.target, disk.to, disk.from)
    };
    done.iter().map(line).collect()
}
