//! One method per route: `lodge_api::route` has the table. `dom` is a domain's name, UUID or number.

use bytes::Bytes;
use lodge_api::{
    AddressSource, AddressesQuery, AdoptOptions, Adoption, Autostart, BlockView, ChangeScope, ClonedVolume,
    DefineOptions, DestroyOptions, DomainFilter, DomainView, ExplanationView, HostReport, HostView,
    ImageBuild, ImageClone, ImageImport, ImageView, InstanceRemoval, InstanceSpec, InterfaceAddresses, Job,
    JobWait, Lease, LogQuery, ManagedSaveOptions, NetworkOptions, NetworkUpdate, NetworkView, NicView,
    PowerOptions, Readiness, RestoreOptions, SaveOptions, SeedSpec, SeedView, StartOptions, UndefineOptions,
    UndefineReport, Version, WaitQuery, XmlOptions, route,
};
use serde::de::DeserializeOwned;

use crate::wire::{Call, decode};
use crate::{Client, ClientError};

pub(crate) type Answer<T> = Result<T, ClientError>;

impl Client {
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Answer<T> {
        let name = call.name();
        let body = self.wire.call(call).await?;
        decode(&name, &body)
    }

    pub(crate) async fn bytes(&self, call: Call<'_>) -> Answer<Bytes> {
        self.wire.call(call).await
    }

    pub(crate) async fn text(&self, call: Call<'_>) -> Answer<String> {
        let name = call.name();
        let body = self.wire.call(call).await?;
        String::from_utf8(body.into())
            .map_err(|_| ClientError::Garbled { call: name, why: "it is not UTF-8".to_owned() })
    }

    pub(crate) async fn nothing(&self, call: Call<'_>) -> Answer<()> {
        self.wire.call(call).await.map(drop)
    }
}

/// The daemon and its host.
impl Client {
    /// Which daemon this is.
    pub async fn version(&self) -> Answer<Version> {
        self.json(Call::get(route::VERSION)).await
    }

    /// The host.
    pub async fn host(&self) -> Answer<HostView> {
        self.json(Call::get(route::HOST)).await
    }

    /// Checks what a hypervisor needs of the host.
    pub async fn host_check(&self) -> Answer<HostReport> {
        self.json(Call::get(route::HOST_CHECK)).await
    }

    /// What libvirt's daemons have or left on the host.
    pub async fn adoption(&self) -> Answer<Adoption> {
        self.json(Call::get(route::ADOPTION)).await
    }

    /// Takes it over, or gives it back.
    pub async fn adopt(&self, options: &AdoptOptions) -> Answer<Adoption> {
        self.json(Call::post(route::ADOPTION).json(options)).await
    }

    /// The API's OpenAPI document, as text.
    pub async fn openapi(&self) -> Answer<String> {
        self.text(Call::get(route::OPENAPI)).await
    }
}

/// Domains.
impl Client {
    /// The domains that `filter` admits.
    pub async fn domains(&self, filter: &DomainFilter) -> Answer<Vec<DomainView>> {
        self.json(Call::get(route::DOMAINS).query(filter)).await
    }

    /// Takes in a document: `virsh define`, or `virsh create` with `options.start`.
    pub async fn define_domain(&self, xml: &str, options: &DefineOptions) -> Answer<DomainView> {
        self.json(Call::post(route::DOMAINS).query(options).xml(xml)).await
    }

    /// One domain.
    pub async fn domain(&self, dom: &str) -> Answer<DomainView> {
        self.json(Call::get(route::of(route::DOMAIN, dom))).await
    }

    /// A domain's document.
    pub async fn domain_xml(&self, dom: &str, options: &XmlOptions) -> Answer<String> {
        self.text(Call::get(route::of(route::DOMAIN_XML, dom)).query(options)).await
    }

    /// Which element of a domain's document became which argument of QEMU's.
    pub async fn explain_domain(&self, dom: &str) -> Answer<ExplanationView> {
        self.json(Call::get(route::of(route::DOMAIN_EXPLAIN, dom))).await
    }

    /// The same of a document that is not defined.
    pub async fn explain_document(&self, xml: &str) -> Answer<ExplanationView> {
        self.json(Call::post(route::EXPLAIN).xml(xml)).await
    }

    /// Drops a domain's definition.
    pub async fn undefine_domain(&self, dom: &str, options: &UndefineOptions) -> Answer<UndefineReport> {
        self.json(Call::delete(route::of(route::DOMAIN, dom)).query(options)).await
    }

    /// Starts a domain.
    pub async fn start_domain(&self, dom: &str, options: &StartOptions) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_START, dom)).json(options)).await
    }

    /// Stops a domain at once.
    pub async fn destroy_domain(&self, dom: &str, options: &DestroyOptions) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_DESTROY, dom)).json(options)).await
    }

    /// Asks the guest to shut down; returns when it was asked.
    pub async fn shutdown_domain(&self, dom: &str, options: &PowerOptions) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_SHUTDOWN, dom)).json(options)).await
    }

    /// Asks the guest to reboot; returns when it was asked.
    pub async fn reboot_domain(&self, dom: &str, options: &PowerOptions) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_REBOOT, dom)).json(options)).await
    }

    /// Holds a domain's processors.
    pub async fn suspend_domain(&self, dom: &str) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_SUSPEND, dom))).await
    }

    /// Lets them run again.
    pub async fn resume_domain(&self, dom: &str) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_RESUME, dom))).await
    }

    /// Presses the reset button.
    pub async fn reset_domain(&self, dom: &str) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_RESET, dom))).await
    }

    /// Saves a domain's memory to a file and stops it.
    pub async fn save_domain(&self, dom: &str, options: &SaveOptions) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_SAVE, dom)).json(options)).await
    }

    /// Restores a saved domain.
    pub async fn restore_domain(&self, options: &RestoreOptions) -> Answer<DomainView> {
        self.json(Call::post(route::RESTORE).json(options)).await
    }

    /// Saves a domain's memory where its next start finds it, and stops it.
    pub async fn managed_save(&self, dom: &str, options: &ManagedSaveOptions) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_MANAGED_SAVE, dom)).json(options)).await
    }

    /// Drops the memory kept for the next start.
    pub async fn remove_managed_save(&self, dom: &str) -> Answer<DomainView> {
        self.json(Call::delete(route::of(route::DOMAIN_MANAGED_SAVE, dom))).await
    }

    /// Whether a domain starts with the daemon.
    pub async fn autostart_domain(&self, dom: &str, enabled: bool) -> Answer<DomainView> {
        self.json(Call::put(route::of(route::DOMAIN_AUTOSTART, dom)).json(&Autostart { enabled })).await
    }

    /// A domain's live addresses.
    pub async fn domain_interfaces(
        &self,
        dom: &str,
        source: AddressSource,
    ) -> Answer<Vec<InterfaceAddresses>> {
        let query = AddressesQuery { source };
        self.json(Call::get(route::of(route::DOMAIN_INTERFACES, dom)).query(&query)).await
    }

    /// A domain's disks.
    pub async fn domain_blocks(&self, dom: &str) -> Answer<Vec<BlockView>> {
        self.json(Call::get(route::of(route::DOMAIN_BLOCKS, dom))).await
    }

    /// A domain's network cards.
    pub async fn domain_nics(&self, dom: &str) -> Answer<Vec<NicView>> {
        self.json(Call::get(route::of(route::DOMAIN_NICS, dom))).await
    }

    /// The last lines of one of a domain's logs.
    pub async fn domain_log(&self, dom: &str, query: &LogQuery) -> Answer<String> {
        self.text(Call::get(route::of(route::DOMAIN_LOG, dom)).query(query)).await
    }
}

/// What happens inside a guest.
impl Client {
    /// Gives a domain a seed for its next boot.
    pub async fn set_seed(&self, dom: &str, seed: &SeedSpec) -> Answer<SeedView> {
        self.json(Call::put(route::of(route::DOMAIN_SEED, dom)).json(seed)).await
    }

    /// A domain's seed.
    pub async fn seed(&self, dom: &str) -> Answer<SeedView> {
        self.json(Call::get(route::of(route::DOMAIN_SEED, dom))).await
    }

    /// Takes a domain's seed away.
    pub async fn remove_seed(&self, dom: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::DOMAIN_SEED, dom))).await
    }

    /// How far the guest is.
    pub async fn readiness(&self, dom: &str) -> Answer<Readiness> {
        self.json(Call::get(route::of(route::DOMAIN_READINESS, dom))).await
    }

    /// Waits until the guest is so far; an error says why it cannot come to that.
    pub async fn wait(&self, dom: &str, query: &WaitQuery) -> Answer<Readiness> {
        self.json(Call::get(route::of(route::DOMAIN_WAIT, dom)).query(query)).await
    }
}

/// Networks. `net` is a network's name or UUID.
impl Client {
    /// All networks.
    pub async fn networks(&self) -> Answer<Vec<NetworkView>> {
        self.json(Call::get(route::NETWORKS)).await
    }

    /// Takes in a document: `virsh net-define`, or `net-create` with `options.start`.
    pub async fn define_network(&self, xml: &str, options: &NetworkOptions) -> Answer<NetworkView> {
        self.json(Call::post(route::NETWORKS).query(options).xml(xml)).await
    }

    /// One network.
    pub async fn network(&self, net: &str) -> Answer<NetworkView> {
        self.json(Call::get(route::of(route::NETWORK, net))).await
    }

    /// A network's document.
    pub async fn network_xml(&self, net: &str, options: &XmlOptions) -> Answer<String> {
        self.text(Call::get(route::of(route::NETWORK_XML, net)).query(options)).await
    }

    /// Drops a network's definition.
    pub async fn undefine_network(&self, net: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::NETWORK, net))).await
    }

    /// Brings a network up.
    pub async fn start_network(&self, net: &str) -> Answer<NetworkView> {
        self.json(Call::post(route::of(route::NETWORK_START, net))).await
    }

    /// Takes a network down.
    pub async fn destroy_network(&self, net: &str) -> Answer<NetworkView> {
        self.json(Call::post(route::of(route::NETWORK_DESTROY, net))).await
    }

    /// Whether a network starts with the daemon.
    pub async fn autostart_network(&self, net: &str, enabled: bool) -> Answer<NetworkView> {
        self.json(Call::put(route::of(route::NETWORK_AUTOSTART, net)).json(&Autostart { enabled })).await
    }

    /// Changes one entry of a network's document.
    pub async fn update_network(
        &self,
        net: &str,
        scope: ChangeScope,
        update: &NetworkUpdate,
    ) -> Answer<NetworkView> {
        self.json(Call::post(route::of(route::NETWORK_UPDATE, net)).query(&scope).json(update)).await
    }

    /// A network's DHCP leases.
    pub async fn leases(&self, net: &str) -> Answer<Vec<Lease>> {
        self.json(Call::get(route::of(route::NETWORK_LEASES, net))).await
    }
}

/// Images, instances, jobs.
impl Client {
    /// All images.
    pub async fn images(&self) -> Answer<Vec<ImageView>> {
        self.json(Call::get(route::IMAGES)).await
    }

    /// One image.
    pub async fn image(&self, name: &str) -> Answer<ImageView> {
        self.json(Call::get(route::of(route::IMAGE, name))).await
    }

    /// Begins to build an image; follow the job.
    pub async fn build_image(&self, build: &ImageBuild) -> Answer<Job> {
        self.json(Call::post(route::IMAGE_BUILD).json(build)).await
    }

    /// Begins to take a file in as an image; follow the job.
    pub async fn import_image(&self, import: &ImageImport) -> Answer<Job> {
        self.json(Call::post(route::IMAGES).json(import)).await
    }

    /// Makes a linked clone of an image.
    pub async fn clone_image(&self, image: &str, clone: &ImageClone) -> Answer<ClonedVolume> {
        self.json(Call::post(route::of(route::IMAGE_CLONE, image)).json(clone)).await
    }

    /// Removes an image nobody uses.
    pub async fn remove_image(&self, name: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::IMAGE, name))).await
    }

    /// Begins to make and start an instance; follow the job.
    pub async fn run_instance(&self, spec: &InstanceSpec) -> Answer<Job> {
        self.json(Call::post(route::INSTANCES).json(spec)).await
    }

    /// Removes an instance with all its files.
    pub async fn remove_instance(&self, dom: &str, options: &InstanceRemoval) -> Answer<UndefineReport> {
        self.json(Call::delete(route::of(route::INSTANCE, dom)).query(options)).await
    }

    /// The jobs that run and those that ended lately.
    pub async fn jobs(&self) -> Answer<Vec<Job>> {
        self.json(Call::get(route::JOBS)).await
    }

    /// One job; with `wait_s` as it stands when it ended or after that time.
    pub async fn job(&self, id: u64, wait: &JobWait) -> Answer<Job> {
        self.json(Call::get(route::of(route::JOB, &id.to_string())).query(wait)).await
    }

    /// Asks a job to stop.
    pub async fn cancel_job(&self, id: u64) -> Answer<Job> {
        self.json(Call::delete(route::of(route::JOB, &id.to_string()))).await
    }
}
