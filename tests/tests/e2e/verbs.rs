//! The verbs of virsh on guests without a disk, with virsh's words, columns and exit codes.

use anyhow::{Context, Result, ensure};
use lodge_tests::{
    Host,
    document::{tiny, tiny_with},
    turn,
};
use serde_json::Value;

#[test]
fn a_guest_goes_through_the_verbs_of_its_life() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("web1.xml", &tiny("web1"))?;
    let says = |args: &[&str], text: &str| -> Result<()> {
        let done = host.lodge(args)?.ok()?;
        ensure!(done.stdout.trim_end() == text, "`{}` said {:?}, not {text:?}", done.command, done.stdout);
        Ok(())
    };
    says(&["define", &document], &format!("Domain 'web1' defined from {document}"))?;
    says(&["list", "--all"], " Id   Name   State\n-----------------------\n -    web1   shut off")?;
    says(&["domstate", "web1"], "shut off")?;
    says(&["start", "web1"], "Domain 'web1' started")?;
    says(&["domid", "web1"], "1")?;
    says(&["list"], " Id   Name   State\n----------------------\n 1    web1   running")?;
    says(&["suspend", "web1"], "Domain 'web1' suspended")?;
    says(&["domstate", "web1", "--reason"], "paused (user)")?;
    says(&["resume", "web1"], "Domain 'web1' resumed")?;
    says(&["domname", "1"], "web1")?;
    let uuid = host.lodge(&["domuuid", "web1"])?.ok()?.lines().first().cloned().context("no uuid")?;
    says(&["domname", &uuid], "web1")?;
    says(&["autostart", "web1"], "Domain 'web1' marked as autostarted")?;
    let info = host.lodge(&["dominfo", "web1"])?.ok()?.stdout;
    for line in [
        "Name:           web1",
        "State:          running",
        "Max memory:     65536 KiB",
        "Autostart:      enable",
    ] {
        ensure!(info.contains(line), "dominfo has no line {line:?}:\n{info}");
    }
    says(&["destroy", "web1"], "Domain 'web1' destroyed")?;
    host.lodge(&["destroy", "web1"])?
        .fails_saying(&["error: Failed to destroy domain 'web1'", "domain is not running"])?;
    host.lodge(&["undefine", "web1", "--dry-run"])?.ok()?;
    says(&["domstate", "web1", "--reason"], "shut off (destroyed)")?;
    says(&["undefine", "web1"], "Domain 'web1' has been undefined")?;
    host.lodge(&["domstate", "web1"])?.fails_saying(&["error: failed to get domain 'web1'"])?;
    Ok(())
}

#[test]
fn what_is_explained_is_what_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("told.xml", &tiny_with("told", "<input type='tablet' bus='usb'/>"))?;
    let of_file = host.json(&["explain", "--file", &document])?;
    host.lodge(&["explain", "told"])?.fails_saying(&["failed to get domain 'told'"])?;
    host.lodge(&["define", &document])?.ok()?;
    let before = host.json(&["explain", "told"])?;
    ensure!(
        before["pid"].is_null()
            && of_file["arguments"].as_array().map(Vec::len) == before["arguments"].as_array().map(Vec::len)
    );
    host.lodge(&["start", "told"])?.ok()?;
    let of_running = host.json(&["explain", "told"])?;
    let pid = of_running["pid"].as_u64().context("no process")?;
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    let told = |view: &Value| -> Vec<[String; 3]> {
        let arguments = view["arguments"].as_array().into_iter().flatten();
        arguments
            .map(|argument| {
                ["option", "value", "element"]
                    .map(|key| argument[key].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    };
    let flat: Vec<_> = told(&of_running)
        .into_iter()
        .flat_map(|[option, value, _]| [option, value])
        .filter(|word| !word.is_empty())
        .collect();
    ensure!(
        words.trim_end_matches('\0').split('\0').skip(1).eq(flat.iter().map(String::as_str)),
        "{words:?} is not {flat:?}"
    );
    // The same arguments as before the start, but for the numbers of descriptors; each of a known element.
    let plain = |view: &Value| -> Vec<String> {
        let digits = |text: String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        told(view)
            .into_iter()
            .map(|[option, value, element]| format!("{element} {option} {}", digits(value)))
            .collect()
    };
    ensure!(plain(&before) == plain(&of_running), "{:#?} is not {:#?}", plain(&before), plain(&of_running));
    ensure!(!plain(&of_running).iter().any(|line| line.starts_with("unknown")));
    let table = host.lodge(&["explain", "told", "--all"])?.ok()?.stdout;
    for line in
        ["/domain/devices/input[1]", "usb-tablet", "input0", "/domain/devices/emulator", "the program itself"]
    {
        ensure!(table.contains(line), "no {line:?} in\n{table}");
    }
    // What came while it ran is in the document, and not among the words of its process.
    let plugged =
        host.file("rng.xml", "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")?;
    host.lodge(&["attach-device", "told", &plugged, "--live"])?.ok()?;
    let table = host.lodge(&["explain", "told", "--all"])?.ok()?.stdout;
    ensure!(table.contains("plugged in or changed while it ran"), "{table}");
    host.lodge(&["destroy", "told"])?.ok()?;
    let bad = host.file("bad.xml", &tiny_with("bad", "<sound model='moon'/>"))?;
    host.lodge(&["explain", "--file", &bad])?.fails_saying(&["/domain/devices/sound/@model"])?;
    Ok(())
}

#[test]
fn what_is_said_of_a_guest_and_what_is_done_to_it() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("said.xml", &tiny("said"))?;
    let says = |args: &[&str], text: &str| -> Result<()> {
        let done = host.lodge(args)?.ok()?;
        ensure!(done.stdout.trim_end() == text, "`{}` said {:?}, not {text:?}", done.command, done.stdout);
        Ok(())
    };
    host.lodge(&["define", &document])?.ok()?;
    says(&["desc", "said"], "No description for domain: said")?;
    says(&["desc", "said", "two", "words"], "Domain description updated successfully")?;
    says(&["desc", "said"], "two words")?;
    says(&["desc", "said", "--title", "a title"], "Domain title updated successfully")?;
    says(&["desc", "said", "--title"], "a title")?;
    let uri = "http://x.example/";
    says(&["metadata", "said", uri, "--set", "<a b='c'/>", "--key", "k"], "Metadata modified")?;
    ensure!(host.lodge(&["metadata", "said", uri])?.ok()?.stdout.contains("b="));
    says(&["metadata", "said", uri, "--remove"], "Metadata removed")?;
    says(&["metadata", "said", uri], "")?;
    host.lodge(&["metadata", "said", uri, "--set", "<a/>"])?.fails_saying(&["namespace key is required"])?;
    host.lodge(&["desc", "said", "--live"])?.fails_saying(&["domain is not running"])?;
    says(&["domrename", "said", "told"], "Domain successfully renamed")?;
    says(&["start", "told"], "Domain 'told' started")?;
    host.lodge(&["domrename", "told", "said"])?.fails_saying(&["cannot rename active domain"])?;
    says(&["send-key", "told", "KEY_LEFTCTRL", "KEY_A", "--holdtime", "20"], "")?;
    host.lodge(&["send-key", "told", "KEY_NONSENSE"])?.fails_saying(&["invalid keycode: 'KEY_NONSENSE'"])?;
    host.lodge(&["send-key", "told", "30", "--codeset", "win32"])?.fails_saying(&["codeset win32"])?;
    host.lodge(&["domtime", "told"])?.fails_saying(&["agent"])?;
    host.lodge(&["screenshot", "told"])?
        .fails_saying(&["could not take a screenshot of told", "no screens"])?;
    says(&["desc", "told", "--live", "of this run"], "Domain description updated successfully")?;
    says(&["desc", "told"], "of this run")?;
    says(&["desc", "told", "--config"], "two words")?;
    says(&["destroy", "told"], "Domain 'told' destroyed")
}

#[test]
fn a_transient_guest_is_gone_when_it_stops() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("fleeting.xml", &tiny("fleeting"))?;
    host.lodge(&["create", &document, "--paused"])?.ok()?;
    ensure!(host.lodge(&["domstate", "fleeting"])?.ok()?.stdout.trim() == "paused");
    host.lodge(&["destroy", "fleeting"])?.ok()?;
    host.lodge(&["dominfo", "fleeting"])?.fails_saying(&["fleeting"])?;
    Ok(())
}

#[test]
fn a_saved_guest_is_restored_as_it_was() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("keep.xml", &tiny("keep"))?;
    let file = host.root().join("keep.save").to_string_lossy().into_owned();
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "keep"])?.ok()?;
    host.lodge(&["save", "keep", &file])?.ok()?;
    ensure!(host.lodge(&["domstate", "keep", "--reason"])?.ok()?.stdout.trim() == "shut off (saved)");
    host.lodge(&["restore", &file])?.ok()?;
    ensure!(host.lodge(&["domstate", "keep"])?.ok()?.stdout.trim() == "running");
    Ok(())
}
