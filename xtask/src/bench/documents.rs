//! The peer of `cargo xtask bench documents`: libvirtd's define and `dumpxml --inactive` of the corpus.
//!
//! One client in one connection (python3-libvirt), in a house where libvirtd is the host's only one and its definitions
//! lie in memory, so that the disk has no part in it. Only the two calls are timed, not the undefine after them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{cargo, run as run_command, workspace},
    corpus,
};

/// How the program is called inside of the house; nobody types it.
pub const INSIDE: &str = "--inside-documents";

/// Defines each of the documents it is given, asks for its text, and prints how many that were in a second.
const CLIENT: &str = r#"
import sys, time, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open("qemu:///system")
texts = [open(path).read() for path in sys.argv[1:]]
count, seconds, refused = 0, 0.0, 0
for text in texts[:20] + texts:
    begin = time.perf_counter()
    try:
        domain = connection.defineXML(text)
    except libvirt.libvirtError:
        refused += 1
        continue
    domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    seconds += time.perf_counter() - begin
    count += 1
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM)
print(f"libvirtd  {count / seconds:8.0f} documents per second ({count} documents, {refused} refused)")
"#;

/// Asks libvirtd, and says how many times faster `ours` is, what the example printed.
pub fn beside_libvirtd(ours: &str) -> Result<()> {
    run_command(cargo().args(["build", "--quiet", "-p", "lodge-compat"]))?;
    let mut house = corpus::house(&["bench", INSIDE])?;
    let told = house.args(documents()?).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(told.status.success(), "libvirtd was not measured");
    let theirs = String::from_utf8_lossy(&told.stdout).into_owned();
    let theirs =
        theirs.lines().find(|line| line.starts_with("libvirtd ")).context("no figure of libvirtd's")?;
    println!("{theirs}");
    println!("ratio     {:8.1} (wanted: 3)", rate(ours)? / rate(theirs)?);
    Ok(())
}

/// The number of a line: `lodge 1234 documents per second`.
fn rate(line: &str) -> Result<f64> {
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).context("no figure")
}

fn documents() -> Result<Vec<PathBuf>> {
    let dir = workspace().join("crates/lodge-model/tests/corpus");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(".in.xml")));
    paths.sort();
    Ok(paths)
}

/// Inside of the house: `words` are what is unpacked for libvirtd, and the documents.
pub fn inside(words: &[String]) -> Result<()> {
    let documents = corpus::settle(words)?;
    run_command(Command::new("mount").args(["-t", "tmpfs", "lodge-bench", "/etc/libvirt/qemu"]))?;
    run_command(Command::new("/usr/bin/python3").args(["-c", CLIENT]).args(documents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_second_word() {
        assert_eq!(rate("lodge         1234 documents per second").unwrap().to_bits(), 1234_f64.to_bits());
        assert!(rate("lodge").is_err());
    }
}
