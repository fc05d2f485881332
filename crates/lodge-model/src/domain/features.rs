//! `<features>`, `<clock>`, `<pm>`: what the machine has and how it keeps time.

use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Xml};

/// `<features>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Features {
    /// ACPI tables.
    #[xml(flag)]
    pub acpi: bool,
    /// The local interrupt controllers.
    #[xml(child)]
    pub apic: Option<Apic>,
    /// Physical address extension.
    #[xml(flag)]
    pub pae: bool,
    /// `<hap state='on'/>`.
    #[xml(child)]
    pub hap: Option<Toggle>,
    /// Xen's Viridian.
    #[xml(flag)]
    pub viridian: bool,
    /// Containers: a private network.
    #[xml(flag)]
    pub privnet: bool,
    /// `<hyperv>`: what makes Windows quick.
    #[xml(child)]
    pub hyperv: Option<Box<Hyperv>>,
    /// `<kvm>`.
    #[xml(child)]
    pub kvm: Option<Box<KvmFeatures>>,
    /// `<pvspinlock state='on'/>`.
    #[xml(child)]
    pub pvspinlock: Option<Toggle>,
    /// `<pmu state='on'/>`.
    #[xml(child)]
    pub pmu: Option<Toggle>,
    /// `<vmport state='off'/>`.
    #[xml(child)]
    pub vmport: Option<Toggle>,
    /// `<gic version='3'/>` (arm).
    #[xml(child)]
    pub gic: Option<Gic>,
    /// `<smm state='on'>`.
    #[xml(child)]
    pub smm: Option<Smm>,
    /// `<ioapic driver='kvm'/>`.
    #[xml(child)]
    pub ioapic: Option<Ioapic>,
    /// `<vmcoreinfo state='on'/>`.
    #[xml(child)]
    pub vmcoreinfo: Option<Toggle>,
    /// `<msrs unknown='ignore'/>`.
    #[xml(child)]
    pub msrs: Option<Msrs>,
    /// `<async-teardown enabled='yes'/>`.
    #[xml(child = "async-teardown")]
    pub async_teardown: Option<AsyncTeardown>,
    /// `<ps2 state='off'/>`.
    #[xml(child)]
    pub ps2: Option<Toggle>,
    /// `<tcg>`.
    #[xml(child)]
    pub tcg: Option<Tcg>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "capabilities hpt htm nested-hv ccf-assist xen cfpc sbbc ibs ras aia")]
    pub foreign: Foreign,
}

/// `<tcg>`: what translates the guest's code without KVM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Tcg {
    /// `<tb-cache unit='MiB'>128</tb-cache>`.
    #[xml(child = "tb-cache")]
    pub tb_cache: Option<SizeOf>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// A size with its unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SizeOf {
    /// The unit; KiB after completion.
    #[xml(attr)]
    pub unit: Option<String>,
    /// How much, counted in `unit`.
    #[xml(text)]
    pub size: u64,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// An element with `state='on'` or `'off'`; without it, on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Toggle {
    /// Its state.
    #[xml(attr)]
    pub state: OnOff,
    /// What this struct does not know.
    #[xml(foreign, keeps = "direct extended")]
    pub foreign: Foreign,
}

/// `<apic eoi='on'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Apic {
    /// Paravirtual end of interrupt.
    #[xml(attr)]
    pub eoi: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<gic version='3'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Gic {
    /// `2`, `3` or `host`.
    #[xml(attr)]
    pub version: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<smm state='on'>`; its `<tseg>` is kept as foreign.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Smm {
    /// Its state.
    #[xml(attr)]
    pub state: OnOff,
    /// What this struct does not know.
    #[xml(foreign, keeps = "tseg")]
    pub foreign: Foreign,
}

words! {
    /// Who emulates the I/O interrupt controller.
    pub enum IoapicDriver { Kvm = "kvm", Qemu = "qemu" }
}

/// `<ioapic driver='kvm'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Ioapic {
    /// Who emulates it.
    #[xml(attr)]
    pub driver: IoapicDriver,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What happens on an access to an unknown model-specific register.
    pub enum UnknownMsr { Ignore = "ignore", Fault = "fault" }
}

/// `<msrs unknown='ignore'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Msrs {
    /// What happens.
    #[xml(attr)]
    pub unknown: UnknownMsr,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<async-teardown enabled='yes'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct AsyncTeardown {
    /// Whether memory is given back after the end.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Which of Hyper-V's enlightenments are meant.
    pub enum HypervMode { Custom = "custom", Passthrough = "passthrough", HostModel = "host-model" }
}

/// `<hyperv mode='custom'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct Hyperv {
    /// Which are meant.
    #[xml(attr)]
    pub mode: Option<HypervMode>,
    /// Relaxed timers.
    #[xml(child)]
    pub relaxed: Option<Toggle>,
    /// Virtual APIC.
    #[xml(child)]
    pub vapic: Option<Toggle>,
    /// Spin locks.
    #[xml(child)]
    pub spinlocks: Option<HypervSpinlocks>,
    /// Virtual processor index.
    #[xml(child)]
    pub vpindex: Option<Toggle>,
    /// Processor run time.
    #[xml(child)]
    pub runtime: Option<Toggle>,
    /// Synthetic interrupts.
    #[xml(child)]
    pub synic: Option<Toggle>,
    /// Synthetic timers; `<direct>` is kept as foreign.
    #[xml(child)]
    pub stimer: Option<Toggle>,
    /// Reset by hypercall.
    #[xml(child)]
    pub reset: Option<Toggle>,
    /// Vendor string.
    #[xml(child)]
    pub vendor_id: Option<HypervVendorId>,
    /// Frequency registers.
    #[xml(child)]
    pub frequencies: Option<Toggle>,
    /// Re-enlightenment notes on migration.
    #[xml(child)]
    pub reenlightenment: Option<Toggle>,
    /// TLB flush by hypercall.
    #[xml(child)]
    pub tlbflush: Option<Toggle>,
    /// Interrupts between processors by hypercall.
    #[xml(child)]
    pub ipi: Option<Toggle>,
    /// Enlightened VMCS.
    #[xml(child)]
    pub evmcs: Option<Toggle>,
    /// AVIC beside synthetic interrupts.
    #[xml(child)]
    pub avic: Option<Toggle>,
    /// Enlightened MSR bitmap.
    #[xml(child)]
    pub emsr_bitmap: Option<Toggle>,
    /// Hypercall input in XMM registers.
    #[xml(child)]
    pub xmm_input: Option<Toggle>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<spinlocks state='on' retries='8191'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HypervSpinlocks {
    /// Its state.
    #[xml(attr)]
    pub state: OnOff,
    /// After how many tries the hypervisor is told.
    #[xml(attr)]
    pub retries: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<vendor_id state='on' value='KVM Hv'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HypervVendorId {
    /// Its state.
    #[xml(attr)]
    pub state: OnOff,
    /// The string.
    #[xml(attr)]
    pub value: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<kvm>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct KvmFeatures {
    /// Hide KVM from the guest.
    #[xml(child)]
    pub hidden: Option<Toggle>,
    /// Say that vcpus have processors of their own.
    #[xml(child = "hint-dedicated")]
    pub hint_dedicated: Option<Toggle>,
    /// Halt polling by the guest.
    #[xml(child = "poll-control")]
    pub poll_control: Option<Toggle>,
    /// Paravirtual interrupts between processors.
    #[xml(child = "pv-ipi")]
    pub pv_ipi: Option<Toggle>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "dirty-ring")]
    pub foreign: Foreign,
}

words! {
    /// What the guest's clock follows.
    pub enum ClockOffset { Utc = "utc", Localtime = "localtime", Variable = "variable", Timezone = "timezone", Absolute = "absolute" }
}

/// `<clock offset='utc'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Clock {
    /// What it follows.
    #[xml(attr)]
    pub offset: ClockOffset,
    /// Seconds from the base, or `reset`.
    #[xml(attr)]
    pub adjustment: Option<String>,
    /// Base of a variable offset: `utc` or `localtime`.
    #[xml(attr)]
    pub basis: Option<ClockBasis>,
    /// Name of the time zone.
    #[xml(attr)]
    pub timezone: Option<String>,
    /// Seconds since 1970 at the guest's start.
    #[xml(attr = "start")]
    pub start_s: Option<u64>,
    /// `<timer …/>`.
    #[xml(children = "timer")]
    pub timers: Vec<Timer>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Base of a variable clock.
    pub enum ClockBasis { Utc = "utc", Localtime = "localtime" }
}

words! {
    /// Names of timers.
    pub enum TimerName {
        Platform = "platform", Pit = "pit", Rtc = "rtc", Hpet = "hpet", Tsc = "tsc", Kvmclock = "kvmclock",
        Hypervclock = "hypervclock", Armvtimer = "armvtimer",
    }
}

words! {
    /// What becomes of ticks the guest missed.
    pub enum TickPolicy { Delay = "delay", Catchup = "catchup", Merge = "merge", Discard = "discard" }
}

words! {
    /// What a timer tracks.
    pub enum TimerTrack { Boot = "boot", Guest = "guest", Wall = "wall", Realtime = "realtime" }
}

words! {
    /// How the time-stamp counter is made.
    pub enum TimerMode { Auto = "auto", Native = "native", Emulate = "emulate", Paravirt = "paravirt", Smpsafe = "smpsafe" }
}

/// `<timer name='rtc' tickpolicy='catchup'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Timer {
    /// Which timer.
    #[xml(attr, required)]
    pub name: TimerName,
    /// Whether the guest has it.
    #[xml(attr)]
    pub present: Option<YesNo>,
    /// What becomes of missed ticks.
    #[xml(attr = "tickpolicy")]
    pub tick_policy: Option<TickPolicy>,
    /// What it tracks.
    #[xml(attr)]
    pub track: Option<TimerTrack>,
    /// Of the time-stamp counter, in Hz.
    #[xml(attr = "frequency")]
    pub frequency_hz: Option<u64>,
    /// How it is made.
    #[xml(attr)]
    pub mode: Option<TimerMode>,
    /// `<catchup threshold='123' slew='120' limit='10000'/>`.
    #[xml(child)]
    pub catchup: Option<Box<Catchup>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<catchup threshold='123' slew='120' limit='10000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Catchup {
    /// From how far behind.
    #[xml(attr)]
    pub threshold: Option<u64>,
    /// How fast.
    #[xml(attr)]
    pub slew: Option<u64>,
    /// Up to how far.
    #[xml(attr)]
    pub limit: Option<u64>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What follows the guest's end.
    pub enum LifecycleAction {
        Destroy = "destroy", Restart = "restart", RenameRestart = "rename-restart", Preserve = "preserve",
        CoredumpDestroy = "coredump-destroy", CoredumpRestart = "coredump-restart",
    }
}

/// `<pm>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Pm {
    /// Whether the guest can sleep.
    #[xml(child = "suspend-to-mem")]
    pub suspend_to_mem: Option<PmState>,
    /// Whether the guest can hibernate.
    #[xml(child = "suspend-to-disk")]
    pub suspend_to_disk: Option<PmState>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<suspend-to-mem enabled='no'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PmState {
    /// Whether it is.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
