//! Image files through the command line, with qemu-img as the oracle.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny, turn};

fn qemu(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {args:?}: {words}");
    Ok(String::from_utf8(output.stdout)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("plain names")
}

#[test]
fn a_file_is_looked_at_mapped_converted_checked_compacted_and_resized() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let (raw, qcow2) = (host.root().join("a.img"), host.root().join("a.qcow2"));
    let (raw, qcow2) = (text(&raw)?, text(&qcow2)?);
    qemu("qemu-img", &["create", "-q", "-f", "raw", raw, "64M"])?;
    qemu("qemu-io", &["-f", "raw", "-c", "write -P 1 8M 4M", "-c", "write -P 0 20M 8M", raw])?;

    // Its format is said, or guessed with a warning; never guessed in silence.
    host.lodge(&["image", "info", raw])?.fails_saying(&["the format of", "is not said", "-f raw"])?;
    ensure!(host.json(&["image", "info", raw, "-f", "raw"])?["virtual_bytes"] == 64 << 20);
    let probed = host.lodge(&["image", "info", raw, "--probe"])?.ok()?;
    ensure!(probed.stdout.contains("raw (as it looks)"), "{}", probed.stdout);
    ensure!(probed.stderr.contains("which a guest can make anything"), "{}", probed.stderr);

    for (options, format) in [(&["-O", "qcow2", "--compress=zstd"][..], "qcow2"), (&["-O", "vmdk"], "vmdk")] {
        let to = format!("{raw}.{format}");
        let base = ["image", "convert", raw, &to, "-f", "raw"];
        host.lodge(&[&base[..], options].concat())?.ok()?;
        qemu("qemu-img", &["compare", "-q", "-f", "raw", "-F", format, raw, &to])?;
        host.lodge(&[&base[..], options].concat())?.fails_saying(&["exists already"])?;
    }
    host.lodge(&["image", "convert", raw, qcow2, "-f", "raw"])?.ok()?;
    let ours = host.json(&["image", "map", qcow2, "-f", "qcow2"])?;
    let theirs: serde_json::Value =
        serde_json::from_str(&qemu("qemu-img", &["map", "--output=json", "-f", "qcow2", qcow2])?)?;
    ensure!(ours == theirs, "{ours}\n{theirs}");

    qemu("qemu-io", &["-f", "qcow2", "-c", "write -P 0 8M 2M", qcow2])?;
    let done = host.json(&["image", "compact", qcow2, "-f", "qcow2"])?;
    ensure!(done["after_bytes"].as_u64() < done["before_bytes"].as_u64(), "{done}");
    ensure!(host.json(&["image", "check", qcow2, "-f", "qcow2"])?["sound"] == true);
    host.lodge(&["image", "check", raw, "-f", "raw"])?.fails_saying(&["no tables that could be checked"])?;

    host.lodge(&["image", "resize", qcow2, "128MiB", "-f", "qcow2"])?.ok()?;
    host.lodge(&["image", "resize", qcow2, "32MiB", "-f", "qcow2"])?.fails_saying(&["--shrink"])?;
    ensure!(host.json(&["image", "info", qcow2, "-f", "qcow2"])?["virtual_bytes"] == 128 << 20);
    Ok(())
}

#[test]
fn a_volume_in_a_guests_document_needs_no_format_and_is_left_alone_while_it_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let pool = host.root().join("pool").display().to_string();
    host.lodge(&["pool-define-as", "default", "dir", "--target", &pool])?.ok()?;
    host.lodge(&["pool-build", "default"])?.ok()?;
    host.lodge(&["pool-start", "default"])?.ok()?;
    host.lodge(&["vol-create-as", "default", "web1.qcow2", "64M", "--format", "qcow2"])?.ok()?;
    let path = host.lodge(&["vol-path", "web1.qcow2", "--pool", "default"])?.ok()?.stdout.trim().to_owned();
    // A new daemon has only seen what the file looks like, which a guest may have written.
    let mut host = host;
    host.kill_daemon()?;
    host.start_daemon()?;
    let info = ["image", "info", "web1.qcow2", "--pool", "default"];
    host.lodge(&info)?.fails_saying(&["is not said"])?;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let document = tiny("web1").replace("</devices>", &format!("{disk}</devices>"));
    let document = host.file("web1.xml", &document)?;
    host.lodge(&["define", &document])?.ok()?;
    ensure!(host.json(&info)?["format_by"] == "document");

    host.lodge(&["start", "web1"])?.ok()?;
    host.lodge(&info)?.ok()?;
    for verb in ["check", "compact"] {
        let words = ["in use by domain `web1`"];
        host.lodge(&["image", verb, "web1.qcow2", "--pool", "default"])?.fails_saying(&words)?;
    }
    host.lodge(&["destroy", "web1"])?.ok()?;
    host.lodge(&["image", "compact", "web1.qcow2", "--pool", "default"])?.ok()?;
    host.lodge(&["undefine", "web1"])?.ok()?;
    Ok(())
}

#[test]
fn images_that_name_the_hosts_files_are_refused_with_the_field() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let (secret, overlay) = (host.root().join("secret"), host.root().join("a.qcow2"));
    std::fs::write(&secret, "a secret of the host's")?;
    let (secret, overlay) = (text(&secret)?, text(&overlay)?);
    let to = format!("{overlay}.img");
    for (name, words) in [
        (secret, "as its backing file, which is outside of every pool"),
        ("json:{\"driver\":\"nbd\"}", "the backing file of"),
    ] {
        qemu("qemu-img", &["create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "raw", overlay, "1M"])?;
        for verb in [&["map", overlay][..], &["convert", overlay, &to]] {
            host.lodge(&[&["image"], verb, &["-f", "qcow2"]].concat())?.fails_saying(&[words, name])?;
        }
    }
    let vmdk = host.root().join("a.vmdk");
    std::fs::write(&vmdk, format!("# Disk DescriptorFile\nRW 8 FLAT \"{secret}\" 0\n"))?;
    host.lodge(&["image", "convert", text(&vmdk)?, &to, "-f", "vmdk", "-O", "raw"])?
        .fails_saying(&["the extent 1 of", secret])?;
    ensure!(!Path::new(&to).exists());
    Ok(())
}
