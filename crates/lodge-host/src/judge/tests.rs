//! Several kinds of host, each as the list of its findings.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::judge;
use crate::facts::*;
use crate::kvm::KvmVerdict;
use crate::report::{HostReport, Status, Verdict};

const USABLE: KvmVerdict = KvmVerdict::Usable { guest_ns: 0.25, slowdown: 1.0, exit_ns: 1100.0 };

/// A sound Debian host; each test breaks what it is about.
fn sound() -> Facts {
    Facts {
        system: System {
            kernel: "6.12.48-amd64".into(),
            distribution: "Debian GNU/Linux 13 (trixie)".into(),
            architecture: "x86_64".into(),
            root: true,
        },
        cpu: Cpu {
            vendor: "GenuineIntel".into(),
            model: "Intel(R) Core(TM) i7-8700".into(),
            count: 12,
            vmx: true,
            ..Cpu::default()
        },
        modules: Modules {
            loadable: true,
            kvm: Module::Loaded,
            kvm_intel: Module::Loaded,
            nested: Some(true),
            on_disk: true,
            ..Modules::default()
        },
        qemu: Qemu {
            emulators: vec![("/usr/bin/qemu-system-x86_64".into(), "10.0.2".into())],
            img: Some("/usr/bin/qemu-img".into()),
            spice: true,
            gpu: true,
            seabios: Some("/usr/share/seabios/bios-256k.bin".into()),
            ovmf: Some("/usr/share/OVMF/OVMF_CODE_4M.fd".into()),
        },
        cgroups: Cgroups {
            v2: Some("/sys/fs/cgroup".into()),
            v2_controllers: vec!["cpu".into(), "memory".into()],
            v1_controllers: vec![],
        },
        firewall: Firewall {
            nft: Some("/usr/sbin/nft".into()),
            tables: Some(Ok(vec![])),
            ip_forward: Some(true),
            forward_drops: vec![],
        },
        memory: Memory { total_bytes: 32 << 30, available_bytes: 20 << 30, ksm: Some(false), huge_pages: 0 },
        disk: Disk { path: "/var/lib/libvirt/images".into(), total_bytes: 500 << 30, free_bytes: 200 << 30 },
        passthrough: Passthrough { iommu_groups: 20, ..Passthrough::default() },
        ..Facts::default()
    }
}

/// The verdict, and every finding that is not plainly good, with its step.
fn shows(report: &HostReport, expected: &Expect) {
    let mut lines = format!("{:?}: {}\n{}\n", report.verdict, report.summary, report.hypervisor);
    for check in report.checks.iter().filter(|check| matches!(check.status, Status::Warn | Status::Miss)) {
        writeln!(lines, "{:?} {}: {}", check.status, check.id, check.found).unwrap();
        writeln!(lines, "  -> {}", check.next_step.as_deref().unwrap_or("(said elsewhere)")).unwrap();
    }
    expected.assert_eq(&lines);
}

#[test]
fn a_sound_host_has_nothing_to_mend() {
    shows(
        &judge(sound(), USABLE),
        &expect![[r#"
        Ready: guests run with the processor's help (KVM)
        type 1 and type 2 at once: KVM makes this Linux kernel itself the hypervisor, right on the processor (type 1), and each guest is a QEMU process of an ordinary operating system (type 2).
    "#]],
    );
}

#[test]
fn intel_with_vt_off_in_the_bios() {
    let mut facts = sound();
    facts.cpu.vmx = false;
    facts.modules.kvm_intel = Module::Absent;
    shows(
        &judge(facts, KvmVerdict::Absent),
        &expect![[r#"
        Slow: guests run by emulation (QEMU's TCG), 10 to 30 times slower: there is no /dev/kvm
        type 2: without a usable KVM each guest is an ordinary program (QEMU) of this operating system, which translates the guest's code (TCG).
        Warn cpu.flags: neither vmx nor svm on this Intel(R) Core(TM) i7-8700, by `grep -E -o -w 'vmx|svm' /proc/cpuinfo | sort -u`
          -> power the machine off and on, enter its BIOS or UEFI set-up (usually Del, F2, F10 or Esc at power-on) and enable `Intel Virtualization Technology` (also called VT-x or VMX; under Advanced, CPU Configuration, Processor or Security), and `VT-d` beside it for devices of guests; save, power off fully, start again, and run `lodge host check` once more
        Warn kvm.run: absent: there is no /dev/kvm
          -> (said elsewhere)
    "#]],
    );
}

#[test]
fn amd_with_the_module_not_loaded() {
    let mut facts = sound();
    facts.cpu = Cpu {
        vendor: "AuthenticAMD".into(),
        model: "AMD Ryzen 7".into(),
        count: 16,
        svm: true,
        ..Cpu::default()
    };
    facts.modules = Modules { loadable: true, on_disk: true, ..Modules::default() };
    shows(
        &judge(facts, KvmVerdict::Absent),
        &expect![[r#"
        Slow: guests run by emulation (QEMU's TCG), 10 to 30 times slower: there is no /dev/kvm
        type 2: without a usable KVM each guest is an ordinary program (QEMU) of this operating system, which translates the guest's code (TCG).
        Warn kvm.modules: kvm absent, kvm_intel absent, kvm_amd absent, by `lsmod | grep -i kvm`
          -> `modprobe kvm_amd`; should it answer `Operation not supported`, then `dmesg | grep -i kvm` says `disabled by bios`: power the machine off and on, enter its BIOS or UEFI set-up (usually Del, F2, F10 or Esc at power-on) and enable `SVM Mode` (also called AMD-V, Secure Virtual Machine or Virtualization; under Advanced, CPU Configuration, or Overclocking, Advanced CPU Settings), and `IOMMU` beside it for devices of guests; save, power off fully, start again, and run `lodge host check` once more
        Warn kvm.run: absent: there is no /dev/kvm
          -> (said elsewhere)
    "#]],
    );
}

#[test]
fn a_guest_of_vmware_without_nested() {
    let mut facts = sound();
    facts.cpu.vmx = false;
    facts.cpu.hypervisor = true;
    facts.hypervisor.signature = Some("VMwareVMware".into());
    facts.modules.kvm_intel = Module::Absent;
    shows(
        &judge(facts, KvmVerdict::Absent),
        &expect![[r#"
            Slow: guests run by emulation (QEMU's TCG), 10 to 30 times slower: there is no /dev/kvm
            type 2: without a usable KVM each guest is an ordinary program (QEMU) of this operating system, which translates the guest's code (TCG). This host is itself a guest of VMware.
            Warn cpu.flags: neither vmx nor svm on this Intel(R) Core(TM) i7-8700, by `grep -E -o -w 'vmx|svm' /proc/cpuinfo | sort -u`
              -> this machine is itself a guest, so its BIOS cannot help: power this machine off and tick `Expose hardware assisted virtualization to the guest OS` in its CPU settings (vhv.enable = "TRUE"); until then guests run under TCG
            Warn kvm.run: absent: there is no /dev/kvm
              -> (said elsewhere)
        "#]],
    );
}

#[test]
fn a_nested_host_that_works() {
    let mut facts = sound();
    facts.cpu.hypervisor = true;
    facts.hypervisor.signature = Some("KVMKVMKVM".into());
    let nested = KvmVerdict::Usable { guest_ns: 0.3, slowdown: 1.2, exit_ns: 25_000.0 };
    shows(
        &judge(facts, nested),
        &expect![[r#"
        Ready: guests run with the processor's help (KVM)
        type 1 and type 2 at once: KVM makes this Linux kernel itself the hypervisor, right on the processor (type 1), and each guest is a QEMU process of an ordinary operating system (type 2). This host is itself a guest of KVM.
    "#]],
    );
}

#[test]
fn kvm_pvm_in_a_firecracker_guest() {
    let mut facts = sound();
    facts.cpu = Cpu {
        vendor: "AuthenticAMD".into(),
        model: "AMD EPYC".into(),
        count: 2,
        hypervisor: true,
        ..Cpu::default()
    };
    facts.hypervisor.signature = Some("KVMKVMKVM".into());
    facts.modules = Modules { kvm: Module::BuiltIn, other: vec!["kvm_pvm".into()], ..Modules::default() };
    facts.cgroups = Cgroups {
        v2: Some("/sys/fs/cgroup/unified".into()),
        v2_controllers: vec![],
        v1_controllers: vec!["cpu".into(), "memory".into()],
    };
    let emulated = KvmVerdict::Emulated { guest_ns: 730.0, slowdown: 4680.0, exit_ns: 12_000.0 };
    shows(
        &judge(facts, emulated),
        &expect![[r#"
            Slow: guests run by emulation (QEMU's TCG), 10 to 30 times slower: /dev/kvm is there but emulates guest code (730 ns per instruction, 4680 times slower than the processor)
            type 2: without a usable KVM each guest is an ordinary program (QEMU) of this operating system, which translates the guest's code (TCG). This host is itself a guest of KVM.
            Warn cpu.flags: neither vmx nor svm on this AMD EPYC, by `grep -E -o -w 'vmx|svm' /proc/cpuinfo | sort -u`
              -> this machine is itself a guest, so its BIOS cannot help: on the outer host set `options kvm_intel nested=1` (or `kvm_amd`) in /etc/modprobe.d/kvm.conf and give this guest `<cpu mode='host-passthrough'/>`; on a rented machine choose a size with nested virtualization, or bare metal; until then guests run under TCG
            Warn kvm.run: present but emulated: 730 ns per guest instruction, 4680 times slower than the bare processor; no ordinary guest boots under it
              -> nothing to mend in this system (module kvm_pvm): use TCG, as Lodge does by itself; for more speed see cpu.flags
        "#]],
    );
}

#[test]
fn a_bare_machine_without_qemu_beside_docker_and_libvirtd() {
    let mut facts = sound();
    facts.qemu = Qemu::default();
    facts.firewall.forward_drops = vec!["ip filter FORWARD".into()];
    facts.others = OtherManagers {
        running: vec![("libvirtd".into(), 812)],
        dns: vec!["0.0.0.0".into()],
        virbr0: Some(String::new()),
    };
    shows(
        &judge(facts, USABLE),
        &expect![[r#"
        Missing: guests cannot run yet; mend first: QEMU, qemu-img, SeaBIOS
        type 1 and type 2 at once: KVM makes this Linux kernel itself the hypervisor, right on the processor (type 1), and each guest is a QEMU process of an ordinary operating system (type 2).
        Miss qemu: there is no qemu-system-x86_64
          -> `apt install qemu-system-x86 qemu-utils` (add `-t bookworm-backports` where apt speaks of held broken packages)
        Miss qemu.img: missing: disk images are converted with it
          -> `apt install qemu-utils`
        Miss firmware.bios: missing: no guest boots by BIOS without it
          -> `apt install seabios`
        Warn firmware.uefi: missing: guests with UEFI firmware do not start
          -> `apt install ovmf`
        Warn others: libvirtd (pid 812); virbr0 is up and not Lodge's
          -> the same guests and networks must not have two managers: `systemctl stop libvirtd.socket libvirtd` (or virtqemud, virtnetworkd), or give Lodge its own `--root` and other bridge names and subnets
        Warn firewall.conflict: these chains drop what is forwarded: ip filter FORWARD
          -> Docker sets this policy; let guests' bridges through: `nft insert rule ip filter FORWARD iifname "virbr*" accept` and `nft insert rule ip filter FORWARD oifname "virbr*" accept` (with Docker put them into chain DOCKER-USER)
        Warn others.dns: a server listens on every address (`ss -lunp 'sport = :53'`)
          -> have that server listen on its own addresses only (for dnsmasq: `bind-interfaces`), or networks of Lodge cannot answer DNS
    "#]],
    );
}

#[test]
fn a_user_who_may_not_open_kvm() {
    let mut facts = sound();
    facts.system.root = false;
    facts.firewall.tables = Some(Err("Operation not permitted".into()));
    let denied = KvmVerdict::Denied { error: "Permission denied (os error 13)".into() };
    shows(
        &judge(facts, denied),
        &expect![[r#"
        Slow: guests run by emulation (QEMU's TCG), 10 to 30 times slower: /dev/kvm may not be opened (Permission denied (os error 13))
        type 2: without a usable KVM each guest is an ordinary program (QEMU) of this operating system, which translates the guest's code (TCG).
        Warn kvm.run: no permission: Permission denied (os error 13)
          -> `usermod -aG kvm USER` as root, then log in anew (see `ls -l /dev/kvm`), or run the daemon as root
    "#]],
    );
}

#[test]
fn every_miss_and_warning_has_its_step() {
    let report = judge(Facts::default(), KvmVerdict::Absent);
    assert_eq!(report.verdict, Verdict::Missing);
    for check in &report.checks {
        let due = matches!(check.status, Status::Warn | Status::Miss) && check.id != "kvm.run";
        assert!(!due || check.next_step.is_some(), "{check:?}");
    }
}
