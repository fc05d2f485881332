//! A mount that ends with its value.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts `what`; `None`, having said why, where that is not allowed.
    pub fn new(kind: &str, options: &str, what: &Path, at: &Path) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", kind, "-o", options]).arg(what).arg(at);
        match said(&mut command) {
            Ok(_) => Some(Self { at: at.to_owned() }),
            Err(why) => {
                eprintln!("skipped: may not mount a file system here: {why}");
                None
            }
        }
    }

    /// Of what was mounted otherwise.
    pub fn of(at: &Path) -> Self {
        Self { at: at.to_owned() }
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        said(command.args(["-o", &format!("remount,{options}")]).arg(&self.at)).expect("remounted");
    }

    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Out of sight at once, gone when the last who has a file open there is.
        if let Err(why) = said(Command::new("umount").arg("--lazy").arg(&self.at)) {
            eprintln!("{} could not be unmounted: {why}", self.at.display());
        }
    }
}

/// What a program printed; its words where it failed.
pub fn said(command: &mut Command) -> Result<String, String> {
    let done = command.output().map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
}
