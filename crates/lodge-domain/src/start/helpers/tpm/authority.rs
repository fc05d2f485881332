//! Who signs the certificates of new TPMs: the host's authority, or one of a root of its own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lodge_qemu::Credentials;
use lodge_store::saga::Failure;

use crate::start::file_failure;

/// Where Debian's swtpm has its authority.
const AUTHORITY: &str = "/var/lib/swtpm-localca";

/// Whom the tool runs as: the owner of the authority, so that others who use it find its files their own. None: root.
pub(super) fn owner(authority: Option<&Path>) -> Option<Credentials> {
    let uid = std::fs::metadata(authority.unwrap_or(Path::new(AUTHORITY))).ok()?.uid();
    let users = std::fs::read_to_string("/etc/passwd").ok().filter(|_| uid != 0)?;
    // passwd(5): name, password, uid, gid.
    let mut entries = users.lines().map(|line| line.split(':').skip(2).map(str::parse::<u32>));
    let gid = entries.find_map(|mut entry| match (entry.next(), entry.next()) {
        (Some(Ok(found)), Some(Ok(gid))) if found == uid => Some(gid),
        _ => None,
    })?;
    Some(Credentials { uid, gid, groups: Vec::new() })
}

/// An authority of this root's own, so that its guests' certificates leave nothing on the host. Says where
/// `swtpm_setup.conf` is.
pub(super) fn configure(authority: &Path) -> Result<PathBuf, Failure> {
    let made = lodge_sys::fs::create_dirs_durable(authority, 0o700);
    made.map_err(|error| file_failure("create", authority, &error))?;
    let (setup, local) = (authority.join("swtpm_setup.conf"), authority.join("swtpm-localca.conf"));
    let tool = lodge_sys::tool::find("swtpm_localca");
    let tool = tool.unwrap_or_else(|| PathBuf::from("/usr/share/swtpm/swtpm-localca"));
    let dir = authority.display();
    let texts = [
        (
            &local,
            format!(
                "statedir = {dir}\nsigningkey = {dir}/signkey.pem\nissuercert = {dir}/issuercert.pem\n\
                 certserial = {dir}/certserial\n"
            ),
        ),
        (
            &setup,
            format!(
                "create_certs_tool = {}\ncreate_certs_tool_config = {}\n\
                 create_certs_tool_options = /etc/swtpm-localca.options\nactive_pcr_banks = sha256\n",
                tool.display(),
                local.display()
            ),
        ),
    ];
    for (path, text) in texts {
        if !path.exists() {
            let written = lodge_sys::fs::write_durable(path, text.as_bytes(), 0o600);
            written.map_err(|error| file_failure("write", path, &error))?;
        }
    }
    Ok(setup)
}
