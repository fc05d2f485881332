//! Documents with the text that libvirtd 11.3 (QEMU 10.0) has of them after `virsh define`.
//!
//! `NAME.in.xml` is what was defined, `NAME.out.xml` what `virsh dumpxml --inactive NAME` printed. What libvirtd
//! refuses is `NAME.refused.xml`, its words `NAME.refused.txt`; the first line is a comment with the path of the element
//! that must be named here. Write documents with `<uuid>` and `<mac>`; `cargo xtask corpus` asks libvirtd for the rest.

use lodge_model::domain::{Domain, Firmware, Machine, Platform};
use lodge_model::xml::WriteOptions;
use std::fs;
use std::path::{Path, PathBuf};

const INACTIVE: WriteOptions = WriteOptions { inactive: true, security_info: false, migratable: false };

/// The host on which the texts were made: Debian 12 with QEMU 10.0 and OVMF.
fn platform() -> Platform {
    let firmware = |code: &str, vars: &str, features: &[&str]| Firmware {
        code: format!("/usr/share/OVMF/{code}"),
        vars: format!("/usr/share/OVMF/{vars}"),
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        machines: if features.is_empty() { Vec::new() } else { vec!["pc-q35-*".to_owned()] },
    };
    let arm = |code: &str, vars: &str, features: &[&str]| Firmware {
        code: format!("/usr/share/AAVMF/{code}"),
        vars: format!("/usr/share/AAVMF/{vars}"),
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        machines: vec!["virt-*".to_owned()],
    };
    let machine = |name: &str, alias: Option<&str>, is_default, cpu: &str| Machine {
        name: name.to_owned(),
        alias: alias.map(str::to_owned),
        is_default,
        cpu: Some(cpu.to_owned()),
    };
    let other = |arch: &str, program: &str, machines: Vec<Machine>, firmwares: Vec<Firmware>| Platform {
        arch: arch.to_owned(),
        emulator: format!("/usr/bin/qemu-system-{program}"),
        machines,
        firmwares,
        ..Platform::default()
    };
    let virt =
        |cpu| vec![machine("virt-10.0", Some("virt"), false, cpu), machine("virt-9.2", None, false, cpu)];
    let uefi = vec![
        arm("AAVMF_CODE.ms.fd", "AAVMF_VARS.ms.fd", &["enrolled-keys", "secure-boot"]),
        arm("AAVMF_CODE.fd", "AAVMF_VARS.fd", &[]),
    ];
    let pcs = vec![
        machine("pc-i440fx-10.0", Some("pc"), true, "qemu32"),
        machine("pc-q35-10.0", Some("q35"), false, "qemu32"),
    ];
    let others = vec![
        other("aarch64", "aarch64", virt("cortex-a15"), uefi),
        other("armv7l", "arm", virt("cortex-a15"), Vec::new()),
        other("riscv64", "riscv64", vec![machine("virt", None, false, "rv64")], Vec::new()),
        other("i686", "i386", pcs, Vec::new()),
    ];
    let mut machines = Platform::default().machines;
    machines.extend([
        machine("isapc", None, false, "486"),
        machine("microvm", None, false, "qemu64"),
        machine("pc-i440fx-2.8", None, false, "qemu64"),
        machine("pc-q35-2.8", None, false, "qemu64"),
        machine("pc-q35-6.2", None, false, "qemu64"),
    ]);
    let secure = ["secure-boot", "requires-smm", "enrolled-keys"];
    Platform {
        firmwares: vec![
            firmware("OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd", &secure),
            firmware("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd", &secure[..2]),
            firmware("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", &[]),
        ],
        machines,
        others,
        ..Platform::default()
    }
}

/// Where the text here is another than libvirtd's, and why. It may only shrink: one that is gone is a failure, too.
const DIFFERENCES: &[(&str, &str)] = &[];

fn corpus() -> Vec<(String, PathBuf)> {
    documents("corpus", 300)
}

/// The corpus without what is refused here though libvirt takes it.
fn readable() -> impl Iterator<Item = (String, PathBuf)> {
    let is_refused =
        |name: &str| DIFFERENCES.iter().any(|(known, why)| *known == name && why.starts_with("refused"));
    corpus().into_iter().filter(move |(name, _)| !is_refused(name))
}

/// All `NAME.in.xml` of a directory of documents; at least so many must be there.
pub fn documents(dir: &str, at_least: usize) -> Vec<(String, PathBuf)> {
    documents_ending(dir, ".in.xml", at_least)
}

/// All documents whose names end so.
pub fn documents_ending(dir: &str, ending: &str, at_least: usize) -> Vec<(String, PathBuf)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
    let entries = fs::read_dir(&dir).expect("the documents are there");
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned(), path.clone())))
        .collect();
    found.sort();
    assert!(found.len() >= at_least, "{} has its documents", dir.display());
    found
}

/// The first lines that differ, for people.
pub fn difference(ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs) = (ours.trim_end(), theirs.trim_end());
    if ours == theirs {
        return None;
    }
    let mut lines = ours.lines().zip(theirs.lines()).enumerate();
    let (at, ours, theirs) = match lines.find(|(_, (ours, theirs))| ours != theirs) {
        Some((at, (ours, theirs))) => (at, ours, theirs),
        None => (ours.lines().count().min(theirs.lines().count()), "(end)", "(end or more)"),
    };
    Some(format!("line {}:\n    lodge   {ours}\n    libvirt {theirs}", at + 1))
}

/// One of the documents that libvirtd was asked about.
pub struct Asked<'a> {
    pub name: &'a str,
    pub text: &'a str,
    /// What libvirtd made of it: its text, or the words with which it was refused.
    pub answer: &'a str,
}

/// Holds what is `read` here of each `NAME.in.xml` of a directory against libvirtd's text, but for the differences that are
/// `known`.
pub fn texts_are_libvirts(
    dir: &str,
    at_least: usize,
    known: &[(&str, &str)],
    read: impl Fn(&Asked<'_>) -> Result<String, String>,
) {
    let mut wrong = Vec::new();
    for (name, path) in documents(dir, at_least) {
        let text = fs::read_to_string(&path).expect("the document can be read");
        let answer = fs::read_to_string(path.with_file_name(format!("{name}.out.xml")));
        let answer = answer.expect("libvirtd was asked");
        let asked = Asked { name: &name, text: &text, answer: &answer };
        let found = read(&asked).map_or_else(Some, |ours| difference(&ours, &answer));
        match (found, known.iter().any(|(known, _)| *known == name)) {
            (Some(_), true) | (None, false) => {}
            (Some(difference), false) => wrong.push(format!("{name}, {difference}")),
            (None, true) => wrong.push(format!("{name}: no difference any more; take it off the list")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Judges each `NAME.refused.xml` of a directory: `judge` gives what is told of it here, if that is wrong.
pub fn refusals_are_libvirts(dir: &str, at_least: usize, judge: impl Fn(&Asked<'_>) -> Option<String>) {
    let mut wrong = Vec::new();
    for (name, path) in documents_ending(dir, ".refused.xml", at_least) {
        let text = fs::read_to_string(&path).expect("the document can be read");
        let answer = fs::read_to_string(path.with_file_name(format!("{name}.refused.txt")));
        let answer = answer.expect("libvirtd was asked");
        if let Some(told) = judge(&Asked { name: &name, text: &text, answer: &answer }) {
            wrong.push(format!("{name}:\n    libvirt {}\n    lodge   {told}", answer.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "{} are judged otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_defined_document_reads_as_libvirts() {
    texts_are_libvirts("corpus", 300, DIFFERENCES, |asked| {
        let domain = Domain::judge(asked.text, true, &platform()).map_err(|faults| faults.to_string())?;
        Ok(domain.to_xml(&INACTIVE))
    });
}

#[test]
fn what_libvirtd_refuses_is_refused_with_the_element_named() {
    refusals_are_libvirts("corpus", 1, |asked| {
        let comment = asked.text.lines().next();
        let element = comment.and_then(|line| line.strip_prefix("<!-- ")?.strip_suffix(" -->"));
        let element =
            element.unwrap_or_else(|| panic!("{} begins with no comment that names an element", asked.name));
        let told = match Domain::judge(asked.text, false, &platform()) {
            Ok(_) => "nothing".to_owned(),
            Err(faults) if faults.0.iter().any(|fault| fault.path == element) => return None,
            Err(faults) => faults.to_string(),
        };
        Some(format!("{told}\n    wanted  {element}"))
    });
}

#[test]
fn libvirts_text_is_read_and_written_as_it_is() {
    let mut differences = Vec::new();
    for (name, path) in corpus() {
        let text = fs::read_to_string(path.with_file_name(format!("{name}.out.xml"))).unwrap();
        let domain = Domain::parse(&text).unwrap_or_else(|faults| panic!("{name}: {faults}"));
        if let Some(difference) = difference(&domain.to_xml(&INACTIVE), &text) {
            differences.push(format!("{name}, {difference}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn completing_twice_changes_nothing() {
    for (name, path) in readable() {
        let mut domain = Domain::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        domain.complete(&platform()).unwrap();
        let once = domain.clone();
        domain.complete(&platform()).unwrap();
        assert_eq!(domain, once, "{name}");
        let read = Domain::parse(&once.to_xml(&WriteOptions::STORED)).unwrap();
        assert_eq!(read, once, "{name}: the stored text says all");
    }
}

/// What libvirtd printed of a running guest (`virsh dumpxml`, QEMU under TCG).
#[test]
fn a_running_guests_text_is_read_and_written_as_it_is() {
    let text = include_str!("../corpus/live.xml");
    let domain = Domain::parse_strict(text).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(difference(&domain.to_xml(&WriteOptions::default()), text), None);
    let inactive = domain.to_xml(&INACTIVE);
    for live in ["qemu' id=", "<alias ", "tty=", "top.qcow2' index=", "state='disc", "<imagelabel>"] {
        assert!(text.contains(live) && !inactive.contains(live), "{live}");
    }
}

#[test]
fn passwords_are_shown_only_when_asked_for() {
    let text =
        "<domain type='kvm'><name>n</name><devices><graphics type='vnc' passwd='geheim'/></devices></domain>";
    let domain = Domain::parse(text).expect("it can be read");
    for (options, shown) in [
        (WriteOptions::default(), false),
        (INACTIVE, false),
        (WriteOptions::STORED, true),
        (WriteOptions { migratable: true, ..WriteOptions::default() }, true),
    ] {
        assert_eq!(domain.to_xml(&options).contains("geheim"), shown, "{options:?}");
    }
}
