//! `<launchSecurity>`: the object that keeps the guest's memory from its host. The machine refers to it.
//!
//! Whether the host can do it was found out before: without its claim it is refused. The names are libvirt's.

use lodge_model::domain::Domain;
use lodge_model::domain::os::LoaderKind;
use lodge_model::domain::security::{EncryptionBit, LaunchSecurity, Sev, Snp, Tdx};
use serde_json::json;

use super::builder::Builder;
use super::props::Props;
use crate::claims::{FdNumber, SecurityClaim};

/// The object's name.
pub(super) const ID: &str = "lsec0";

/// Whether the guest is to be one.
pub(super) fn is_asked(domain: &Domain) -> bool {
    matches!(domain.security(), Ok(Some(_)))
}

/// Whether interrupts are shared out by QEMU: a trust domain's KVM has no controller for them.
pub(super) fn splits_interrupts(domain: &Domain) -> bool {
    matches!(domain.security(), Ok(Some(LaunchSecurity::Tdx(_))))
}

/// The object.
pub(super) fn security(b: &mut Builder<'_>) {
    let asked = match b.domain.security() {
        Ok(None) => return,
        Ok(Some(asked)) => asked,
        Err(bad) => {
            b.at(bad.path);
            return b.refuse(bad.message);
        }
    };
    b.at("/domain/launchSecurity");
    let kind = asked.kind();
    if !b.is_kvm() {
        return b.refuse(format!("'{kind}' is KVM's, and this guest runs under QEMU's own translator (TCG)"));
    }
    let name = format!("{kind}-guest");
    if !b.capabilities.has_object(&name) {
        let reason = format!("this QEMU ({}) has no `{name}`", b.capabilities.version);
        return match asked {
            LaunchSecurity::Tdx(_) => b.refuse_hinted(reason, "QEMU 10.1 is the first that has it"),
            LaunchSecurity::Sev(_) | LaunchSecurity::Snp(_) => b.refuse(reason),
        };
    }
    let Some(claim) = b.claims.security else {
        return b.refuse(format!("this host was not asked whether it can give '{kind}'"));
    };
    // The kernel pins what is encrypted.
    b.lock_memory();
    let props = Props::object(&name, ID);
    let props = match &asked {
        LaunchSecurity::Sev(sev) => self::sev(b, props, sev, claim),
        LaunchSecurity::Snp(snp) => self::snp(b, props, snp, claim),
        LaunchSecurity::Tdx(tdx) => self::tdx(b, props, tdx),
    };
    b.json("-object", &props);
}

/// What both of AMD's have first.
fn amds(b: &mut Builder<'_>, props: Props, bit: &EncryptionBit, claim: SecurityClaim) -> Props {
    let of_host = claim.bit.unzip();
    let (position, reduced) = (bit.position.or(of_host.0), bit.reduced_bits.or(of_host.1));
    if position.is_none() || reduced.is_none() {
        b.refuse("where its processor's bit of encryption is was not found: <cbitpos> and <reducedPhysBits>");
    }
    let props = props.maybe("cbitpos", position).maybe("reduced-phys-bits", reduced);
    props.maybe("sev-device", claim.device.map(path))
}

fn path(fd: FdNumber) -> String {
    format!("/proc/self/fd/{fd}")
}

fn sev(b: &mut Builder<'_>, props: Props, sev: &Sev, claim: SecurityClaim) -> Props {
    let props = amds(b, props, &sev.bit, claim).with("policy", sev.policy);
    for (text, fd, what) in
        [(&sev.certificate, claim.certificate, "certificate"), (&sev.session, claim.session, "session")]
    {
        if text.is_some() && fd.is_none() {
            b.refuse(format!("the owner's {what} was not given"));
        }
    }
    props
        .maybe("dh-cert-file", claim.certificate.map(path))
        .maybe("session-file", claim.session.map(path))
        .maybe("kernel-hashes", sev.kernel_hashes)
}

fn snp(b: &mut Builder<'_>, props: Props, snp: &Snp, claim: SecurityClaim) -> Props {
    firmware(b, "sev-snp");
    amds(b, props, &snp.bit, claim)
        .with("policy", snp.policy)
        .maybe("kernel-hashes", snp.kernel_hashes)
        .maybe("author-key-enabled", snp.author_key)
        .maybe("vcek-disabled", snp.vcek.map(|on| !on))
        .maybe("guest-visible-workarounds", snp.visible_workarounds.as_deref())
        .maybe("id-block", snp.id_block.as_deref())
        .maybe("id-auth", snp.id_auth.as_deref())
        .maybe("host-data", snp.host_data.as_deref())
}

fn tdx(b: &mut Builder<'_>, props: Props, tdx: &Tdx) -> Props {
    firmware(b, "tdx");
    let quotes = tdx.quote_service.as_deref().map(|path| json!({ "type": "unix", "path": path }));
    props
        .maybe("attributes", tdx.policy)
        .maybe("mrconfigid", tdx.config_id.as_deref())
        .maybe("mrowner", tdx.owner.as_deref())
        .maybe("mrownerconfig", tdx.owner_config.as_deref())
        .maybe("quote-generation-socket", quotes)
}

/// What is in the guest's memory at its beginning is measured: that is no flash that can be written.
fn firmware(b: &mut Builder<'_>, kind: &str) {
    let is_rom = b.domain.os.loader.as_deref().is_some_and(|loader| loader.kind == Some(LoaderKind::Rom));
    if !is_rom {
        b.refuse_hinted(
            format!("a guest with '{kind}' has its firmware as a ROM"),
            "<os><loader type='rom' stateless='yes'>/usr/share/OVMF/…</loader></os>",
        );
    }
}
