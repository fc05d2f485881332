//! Calls about the host: what it can give its guests, its processors and memory.

use lodge_api::{
    ArchQuery, CpuBaseline, CpuCompare, CpuStanding, GuestCpuModel, GuestSort, MaxVcpusQuery, NodeView, route,
};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// Its processors and memory at this moment.
    pub async fn node(&self) -> Answer<NodeView> {
        self.json(Call::get(route::NODE)).await
    }

    /// What its firmware says of it, as libvirt's document.
    pub async fn sysinfo(&self) -> Answer<String> {
        self.text(Call::get(route::SYSINFO)).await
    }

    /// Most processors of a guest that is run by `kvm` or `qemu`.
    pub async fn max_vcpus(&self, query: &MaxVcpusQuery) -> Answer<u32> {
        self.json(Call::get(route::MAX_VCPUS).query(query)).await
    }

    /// What it is and which guests it can have, as libvirt's document.
    pub async fn capabilities(&self) -> Answer<String> {
        self.text(Call::get(route::CAPABILITIES)).await
    }

    /// What a guest can be made of, as libvirt's document.
    pub async fn domain_capabilities(&self, sort: &GuestSort) -> Answer<String> {
        self.text(Call::get(route::DOMAIN_CAPABILITIES).query(sort)).await
    }

    /// Names of an architecture's processor models; none: all are taken.
    pub async fn cpu_models(&self, arch: &str) -> Answer<Vec<String>> {
        self.json(Call::get(route::CPU_MODELS).query(&ArchQuery { arch: arch.to_owned() })).await
    }

    /// Processor models that QEMU has.
    pub async fn guest_cpu_models(&self, sort: &GuestSort) -> Answer<Vec<GuestCpuModel>> {
        self.json(Call::get(route::GUEST_CPU_MODELS).query(sort)).await
    }

    /// The richest processor that all of the described ones can give a guest, as libvirt's `<cpu>`.
    pub async fn cpu_baseline(&self, question: &CpuBaseline) -> Answer<String> {
        self.text(Call::post(route::CPU_BASELINE).json(question)).await
    }

    /// How the described processor stands to the host's.
    pub async fn cpu_compare(&self, question: &CpuCompare) -> Answer<CpuStanding> {
        self.json(Call::post(route::CPU_COMPARE).json(question)).await
    }
}
