//! `<seclabel>`: whom a guest's QEMU runs as, and what its live document says of it.
//!
//! One driver is here, libvirt's `dac`: users and groups. Without a word each guest has a user of its own, and that is
//! what is shown; a label of `type='static'` names another. QEMU is given descriptors, so no image changes its owner for
//! it. What names another driver (`selinux`, `apparmor`) is refused: nobody here would confine the guest as it says.
//! Users are looked up in `/etc/passwd` and `/etc/group`; a directory service is not asked.

use std::path::Path;

use lodge_model::domain::Domain;
use lodge_model::domain::devices::SecLabel;
use lodge_model::xml::YesNo;
use lodge_model::{DomainId, Kind};
use lodge_qemu::{Accelerator, Credentials, guest_credentials};
use lodge_store::saga::Failure;

use crate::domains::DomainsConfig;

/// Users and groups.
const DAC: &str = "dac";
/// libvirt's driver that does nothing: the first one where there is no other.
const NONE: &str = "none";

/// Whom the guest's QEMU runs as; `None`: as the daemon.
pub(super) fn user(
    config: &DomainsConfig,
    id: DomainId,
    document: &Domain,
    accelerator: Accelerator,
) -> Result<Option<Credentials>, Failure> {
    let own = config.own_users.then(|| guest_credentials(id, accelerator)).flatten();
    judge(document, own.is_some())?;
    let label = document.seclabels.iter().enumerate().find(|(_, label)| label.model.as_deref() == Some(DAC));
    match (own, label) {
        (Some(own), Some((at, label))) if label.kind.as_deref() == Some("static") => {
            let path = format!("/domain/seclabel[{}]", at + 1);
            named(&path, label, Path::new("/")).map(|(uid, gid)| Some(Credentials { uid, gid, ..own }))
        }
        (own, _) => Ok(own),
    }
}

/// Refuses labels of drivers that are not here.
fn judge(document: &Domain, has_users: bool) -> Result<(), Failure> {
    let of_guest = document.seclabels.iter().enumerate().map(|(at, label)| {
        // Without a word it is the first driver's, and that does nothing.
        (format!("/domain/seclabel[{}]", at + 1), label.model.as_deref().unwrap_or(NONE), label)
    });
    let of_disks = document.devices.disks.iter().enumerate().flat_map(|(at, disk)| {
        let labels = disk.source.iter().flat_map(|source| &source.seclabels);
        labels.map(move |label| {
            let path = format!("/domain/devices/disk[{}]/source/seclabel", at + 1);
            (path, label.model.as_deref().unwrap_or(DAC), label)
        })
    });
    for (path, model, label) in of_guest.chain(of_disks) {
        if model == NONE || (model == DAC && has_users) {
            continue;
        }
        let text = format!("{path}: Security driver model '{model}' is not available");
        let hint = match (model, label.label.is_some()) {
            (DAC, _) => "guests run as the daemon's own user here; leave it out",
            _ => "leave it out: guests are confined by users of their own here",
        };
        return Err(Failure::new(Kind::Unsupported, text).with_hint(hint.to_owned()));
    }
    Ok(())
}

/// The user and the group of a label: `+0:+0`, `qemu:kvm`, `1000:100`.
fn named(path: &str, label: &SecLabel, root: &Path) -> Result<(u32, u32), Failure> {
    let Some(text) = label.label.as_deref() else {
        let text = format!("{path}: missing label for static security driver");
        return Err(Failure::new(Kind::InvalidInput, text));
    };
    let parsed = text.split_once(':').and_then(|(user, group)| {
        Some((number(user, &root.join("etc/passwd"))?, number(group, &root.join("etc/group"))?))
    });
    parsed.ok_or_else(|| {
        let text = format!("{path}/label: Failed to parse uid and gid from '{text}'");
        let hint = "write USER:GROUP, names of /etc/passwd and /etc/group or numbers as +1000:+1000";
        Failure::new(Kind::InvalidInput, text).with_hint(hint.to_owned())
    })
}

/// A name's number, by a file as passwd(5) or group(5); what is no name may be a number.
fn number(name: &str, file: &Path) -> Option<u32> {
    if let Some(number) = name.strip_prefix('+') {
        return number.parse().ok().filter(|number| *number != u32::MAX);
    }
    let known = std::fs::read_to_string(file).unwrap_or_default();
    let found = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.or_else(|| name.parse().ok()).filter(|number| *number != u32::MAX)
}

/// Says in the live document whom QEMU runs as, as libvirt does.
pub(super) fn show(document: &mut Domain, user: Option<&Credentials>) {
    let Some(user) = user else { return };
    if !document.seclabels.iter().any(|label| label.model.as_deref() == Some(DAC)) {
        document.seclabels.push(SecLabel {
            kind: Some("dynamic".to_owned()),
            model: Some(DAC.to_owned()),
            relabel: Some(YesNo::Yes),
            ..SecLabel::default()
        });
    }
    for label in document.seclabels.iter_mut().filter(|label| label.model.as_deref() == Some(DAC)) {
        match label.kind.as_deref() {
            Some("none") => continue,
            Some("static") => {}
            _ => label.label = Some(format!("+{}:+{}", user.uid, user.gid)),
        }
        label.image_label = label.label.clone().filter(|_| label.relabel == Some(YesNo::Yes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(labels: &str) -> Domain {
        let text = format!("<domain type='qemu'><name>n</name><memory>1</memory>{labels}</domain>");
        Domain::parse(&text).unwrap()
    }

    fn of(text: &str) -> Result<(u32, u32), String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nqemu:x:107:36::/:/bin/sh\n")
            .unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nkvm:x:36:qemu\n").unwrap();
        let label = SecLabel { label: Some(text.to_owned()), ..SecLabel::default() };
        named("/domain/seclabel[1]", &label, root.path()).map_err(|failure| failure.message)
    }

    #[test]
    fn a_static_label_is_a_user_and_a_group() {
        assert_eq!(of("+1000:+100"), Ok((1000, 100)));
        assert_eq!(of("qemu:kvm"), Ok((107, 36)));
        assert_eq!(of("12:kvm"), Ok((12, 36)));
        for bad in ["qemu", "nobody:kvm", "+x:+1", "+4294967295:+0", ""] {
            let told = of(bad).unwrap_err();
            assert!(told.contains(&format!("Failed to parse uid and gid from '{bad}'")), "{told}");
        }
    }

    #[test]
    fn another_driver_is_refused_by_name() {
        for (labels, users, told) in [
            ("<seclabel type='none' model='none'/>", false, None),
            ("<seclabel type='static' model='dac' relabel='yes'><label>+1:+1</label></seclabel>", true, None),
            (
                "<seclabel type='static' model='dac' relabel='yes'><label>+1:+1</label></seclabel>",
                false,
                Some("/domain/seclabel[1]: Security driver model 'dac' is not available"),
            ),
            (
                "<seclabel type='none' model='none'/><seclabel type='dynamic' model='selinux' relabel='yes'/>",
                true,
                Some("/domain/seclabel[2]: Security driver model 'selinux' is not available"),
            ),
            (
                "<devices><disk type='file'><source file='/a'><seclabel model='apparmor' relabel='no'/></source>\
                 <target dev='vda'/></disk></devices>",
                true,
                Some(
                    "/domain/devices/disk[1]/source/seclabel: Security driver model 'apparmor' is not available",
                ),
            ),
        ] {
            let refused = judge(&document(labels), users).err().map(|failure| failure.message);
            assert_eq!(refused.as_deref(), told, "{labels}");
        }
    }

    #[test]
    fn the_live_document_tells_whom_qemu_runs_as() {
        let user = Credentials { uid: 7, gid: 8, groups: Vec::new() };
        let shown = |labels: &str| {
            let mut document = document(labels);
            show(&mut document, Some(&user));
            let text = document.to_xml(&super::super::LIVE);
            text.lines().filter(|line| line.contains("label")).map(str::trim).collect::<String>()
        };
        let own = "<seclabel type='dynamic' model='dac' relabel='yes'><label>+7:+8</label><imagelabel>+7:+8</imagelabel></seclabel>";
        assert_eq!(shown(""), own);
        assert_eq!(
            shown("<seclabel type='none' model='none'/>"),
            format!("<seclabel type='none' model='none'/>{own}")
        );
        assert_eq!(
            shown("<seclabel type='static' model='dac' relabel='no'><label>+7:+8</label></seclabel>"),
            "<seclabel type='static' model='dac' relabel='no'><label>+7:+8</label></seclabel>"
        );
        assert_eq!(shown("<seclabel type='none' model='dac'/>"), "<seclabel type='none' model='dac'/>");
        let mut document = document("");
        show(&mut document, None);
        assert!(document.seclabels.is_empty());
    }
}
