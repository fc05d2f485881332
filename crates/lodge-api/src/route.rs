//! Every path of the API, once, for the server's router and the client alike.
//!
//! `{dom}` is a domain's name, UUID or number, `{net}` a network's name or UUID. In the table `→` names the
//! answer's document; documents in `xml` are libvirt's. Errors are [`crate::ErrorBody`] everywhere.
//!
//! | method, path | takes → gives |
//! | --- | --- |
//! | GET [`VERSION`] · [`HOST`] · [`HOST_CHECK`] | → `Version` · `HostView` · `HostReport` |
//! | GET [`NODE`] · [`SYSINFO`] · [`MAX_VCPUS`] | → `NodeView` · → xml · `MaxVcpusQuery` → number |
//! | GET [`CAPABILITIES`] · [`DOMAIN_CAPABILITIES`] | → xml · `GuestSort` → xml |
//! | GET [`CPU_MODELS`] · [`GUEST_CPU_MODELS`] | `ArchQuery` → `[name]` · `GuestSort` → `[GuestCpuModel]` |
//! | POST [`CPU_BASELINE`] · [`CPU_COMPARE`] | `CpuBaseline` → xml · `CpuCompare` → `CpuStanding` |
//! | GET [`DOMAINS`] | `DomainFilter` → `[DomainView]` |
//! | POST [`DOMAINS`] | `DefineOptions`, xml → `DomainView` |
//! | GET [`DOMAIN`] · [`DOMAIN_XML`] | → `DomainView` · `XmlOptions` → xml |
//! | GET [`DOMAIN_EXPLAIN`] · POST [`EXPLAIN`] | → `ExplanationView` · xml → `ExplanationView` |
//! | DELETE [`DOMAIN`] | `UndefineOptions` → `UndefineReport` |
//! | POST [`DOMAIN_START`] | `StartOptions` → `DomainView` |
//! | POST [`DOMAIN_DESTROY`] | `DestroyOptions` → `DomainView` |
//! | POST [`DOMAIN_SHUTDOWN`] · [`DOMAIN_REBOOT`] | `PowerOptions` → `DomainView` (asked, not yet done) |
//! | POST [`DOMAIN_SUSPEND`] · [`DOMAIN_RESUME`] · [`DOMAIN_RESET`] | → `DomainView` |
//! | POST [`DOMAIN_SAVE`] | `SaveOptions` → `DomainView` |
//! | POST [`RESTORE`] | `RestoreOptions` → `DomainView` |
//! | POST, DELETE [`DOMAIN_MANAGED_SAVE`] | `ManagedSaveOptions` → `DomainView` |
//! | GET, POST [`SNAPSHOTS`] | → `[SnapshotView]` · `SnapshotCreate`, xml → `SnapshotView` |
//! | GET, DELETE [`SNAPSHOT`] · GET [`SNAPSHOT_XML`] | → `SnapshotView` · `SnapshotDelete` → nothing · → xml |
//! | POST [`SNAPSHOT_REVERT`] | `SnapshotRevert` → `DomainView` |
//! | PUT [`DOMAIN_AUTOSTART`] | `Autostart` → `DomainView` |
//! | GET [`DOMAIN_INTERFACES`] | `AddressesQuery` → `[InterfaceAddresses]` |
//! | GET [`DOMAIN_BLOCKS`] · [`DOMAIN_NICS`] | → `[BlockView]` · `[NicView]` |
//! | GET [`DOMAIN_BLOCK`] · [`DOMAIN_BLOCK_ERRORS`] | → `BlockSizes` · `[BlockError]` |
//! | POST [`BLOCK_RESIZE`] · PUT [`BLOCK_THRESHOLD`] | `BlockResize`, `BlockThreshold` → nothing |
//! | POST [`BLOCK_COMMIT`] · [`BLOCK_PULL`] · [`BLOCK_COPY`] | `BlockCommit`, `BlockPull`, `BlockCopy` → nothing |
//! | GET, PUT, DELETE [`BLOCK_JOB`] | → `BlockJobView` or null · `BlockJobSpeed` → nothing · `BlockJobEnd` → nothing |
//! | POST [`DOMAIN_CHANGES`] | `ChangeScope`, `DomainChange` → `DomainView` |
//! | GET [`DOMAIN_FIGURES`] · [`FIGURES`] | `FigureQuery` → `[Figure]` · `FiguresQuery` → `[DomainFigures]` |
//! | GET [`DOMAIN_VCPUS`] | → `VcpusView` |
//! | GET [`DOMAIN_TIME`] · [`DOMAIN_SCREENSHOT`] | → `GuestTime` · `ScreenQuery` → image/png |
//! | PUT, GET, DELETE [`DOMAIN_SEED`] | `SeedSpec` → `SeedView`; DELETE gives nothing |
//! | GET [`DOMAIN_READINESS`] | → `Readiness` |
//! | GET [`DOMAIN_WAIT`] | `WaitQuery` → `Readiness`, when it is so |
//! | GET [`DOMAIN_CONSOLE`] | `ConsoleQuery` → WebSocket, binary frames |
//! | GET [`DOMAIN_LOG`] | `LogQuery` → text |
//! | GET [`NETWORKS`] | → `[NetworkView]` |
//! | POST [`NETWORKS`] | `NetworkOptions`, xml → `NetworkView` |
//! | GET, DELETE [`NETWORK`] · GET [`NETWORK_XML`] | → `NetworkView`, nothing · `XmlOptions` → xml |
//! | POST [`NETWORK_START`] · [`NETWORK_DESTROY`] | → `NetworkView` |
//! | PUT [`NETWORK_AUTOSTART`] | `Autostart` → `NetworkView` |
//! | GET, POST [`POOLS`] | → `[PoolView]` · `PoolOptions`, xml → `PoolView` |
//! | GET, DELETE [`POOL`] · GET [`POOL_XML`] | → `PoolView`, nothing · `XmlOptions` → xml |
//! | POST, DELETE [`POOL_DIRECTORY`] | `PoolBuild` → `PoolView` · → `PoolView` |
//! | POST [`POOL_START`] · [`POOL_DESTROY`] · [`POOL_REFRESH`] | `PoolBuild` → `PoolView` |
//! | PUT [`POOL_AUTOSTART`] | `Autostart` → `PoolView` |
//! | GET, POST [`VOLUMES`] · GET [`VOLUME_BY_PATH`] | → `[VolumeView]` · `VolumeOptions`, xml → `VolumeView` |
//! | GET, DELETE [`VOLUME`] · GET [`VOLUME_XML`] | → `VolumeView` · `VolumeRemoval` → nothing · → xml |
//! | POST [`VOLUME_RESIZE`] · [`VOLUME_WIPE`] | `VolumeResize`, `VolumeWipe` → `VolumeView` |
//! | GET, PUT [`VOLUME_DATA`] | `VolumeSpan` → bytes · `VolumeSpan`, bytes → nothing |
//! | GET [`POOL_USAGE`] · [`NEEDS`] | → `UsageView` · `FileQuery` → `[NeedView]` |
//! | GET [`CHAIN`] | `FileQuery` → `[ChainLinkView]` |
//! | POST [`CHAIN_COMMIT`] | `ChainCommit` → `ChainCommitted` |
//! | POST [`CHAIN_FLATTEN`] · [`CHAIN_REBASE`] | `ChainFlatten`, `ChainRebase` → `[ChainLinkView]` |
//! | POST [`CHAIN_TEMPLATE`] · [`CHAIN_CLONE`] | `ChainTemplate`, `ChainClone` → `[ChainLinkView]` |
//! | GET [`DOCTOR`] · POST [`DOCTOR_FINDING`] | `DoctorQuery` → `[FindingView]` · `RepairOptions` → `FindingView` |
//! | GET [`DOMAIN_FILES`] · POST [`DOMAIN_RELOCATE`] | → `[GuestFileView]` · `Relocation` → `[Relocated]` |
//! | GET [`GUEST_DEVICES`] · [`GUEST_TREE`] · [`GUEST_CONTENT`] | `GuestDiskQuery` → `GuestDevices` · `[GuestFile]` · bytes |
//! | POST [`NETWORK_UPDATE`] | `ChangeScope`, `NetworkUpdate` → `NetworkView` |
//! | GET [`NETWORK_LEASES`] | → `[Lease]` |
//! | GET, POST [`NETWORK_FILTERS`] | → `[NetworkFilterView]` · `NetworkFilterOptions`, xml → `NetworkFilterView` |
//! | GET, DELETE [`NETWORK_FILTER`] · GET [`NETWORK_FILTER_XML`] | → `NetworkFilterView`, nothing · xml |
//! | GET, POST [`NETWORK_FILTER_BINDINGS`] | → `[NetworkFilterBinding]` · `NetworkFilterOptions`, xml → `NetworkFilterBinding` |
//! | GET, DELETE [`NETWORK_FILTER_BINDING`] | → xml, nothing |
//! | GET [`IMAGES`] · [`IMAGE`] | → `[ImageView]` · `ImageView` |
//! | POST [`IMAGES`] | `ImageImport` → 202 `Job` of an `ImageView` |
//! | DELETE [`IMAGE`] | nothing |
//! | POST [`IMAGE_BUILD`] | `ImageBuild` → 202 `Job` of an `ImageView` |
//! | POST [`IMAGE_CLONE`] | `ImageClone` → `ClonedVolume` |
//! | POST [`IMAGE_FILE`] · [`IMAGE_FILE_MAP`] | `ImageFileQuery` → `ImageChain` · `ImageSubject` → `ImageMap` |
//! | POST [`IMAGE_FILE_CHECK`] · [`IMAGE_FILE_CONVERT`] | `ImageCheck`, `ImageConvert` → 202 `Job` of an `ImageCheckReport`, `ImageConverted` |
//! | POST [`IMAGE_FILE_COMPACT`] · [`IMAGE_FILE_RESIZE`] | `ImageCompact`, `ImageResize` → 202 `Job` of an `ImageCompacted`, `ImageResized` |
//! | POST [`CLONES`] | `CloneSpec` → 202 `Job` of a `CloneReport` |
//! | GET, POST [`TEMPLATES`] | → `[TemplateView]` · `TemplateSpec` → 202 `Job` of a `TemplateView` |
//! | GET, DELETE [`TEMPLATE`] | → `TemplateView` · → nothing |
//! | GET [`DOMAIN_IDENTITY`] | → `IdentityView` |
//! | POST [`IDENTITY_RESET`] | `IdentityReset` → 202 `Job` of an `IdentityAct` |
//! | GET [`IDENTITY_DIFF`] · [`IDENTITY_LOG`] | `IdentityDiffQuery` → `IdentityDiff` · `IdentityLogQuery` → `[IdentityAct]` |
//! | POST [`IDENTITY_AUDIT`] | `IdentityAudit` → 202 `Job` of an `AuditReport` |
//! | POST [`SYSPREP`] | `ImageSysprep` → 202 `Job` of an `IdentityAct` |
//! | GET [`SYSPREP_OPERATIONS`] · [`IDENTITY_RULES`] | → `[SysprepOperation]` · → `[IdentityRule]` |
//! | POST [`INSTANCES`] | `InstanceSpec` → 202 `Job` of a `DomainView` |
//! | DELETE [`INSTANCE`] | `InstanceRemoval` → `UndefineReport` |
//! | GET [`ADOPTION`] | → `Adoption` |
//! | POST [`ADOPTION`] | `AdoptOptions` → `Adoption` |
//! | GET [`JOBS`] · [`JOB`] | → `[Job]` · `JobWait` → `Job` |
//! | DELETE [`JOB`] | → `Job` (asked to stop, not yet stopped) |
//! | GET [`EVENTS`] | `EventsQuery` → server-sent `Event`s |
//! | GET [`OPENAPI`] | → the API's OpenAPI document |

/// Which daemon this is.
pub const VERSION: &str = "/v1/version";
/// The host.
pub const HOST: &str = "/v1/host";
/// The host check.
pub const HOST_CHECK: &str = "/v1/host/check";
/// The host's processors and memory.
pub const NODE: &str = "/v1/host/node";
/// What the host's firmware says of it.
pub const SYSINFO: &str = "/v1/host/sysinfo";
/// Most processors of a guest.
pub const MAX_VCPUS: &str = "/v1/host/max-vcpus";
/// What the host is, and which guests it can have.
pub const CAPABILITIES: &str = "/v1/host/capabilities";
/// What a guest can be made of.
pub const DOMAIN_CAPABILITIES: &str = "/v1/host/domain-capabilities";
/// Processor models of an architecture.
pub const CPU_MODELS: &str = "/v1/host/cpu-models";
/// Processor models that QEMU has.
pub const GUEST_CPU_MODELS: &str = "/v1/host/guest-cpu-models";
/// What processors have in common.
pub const CPU_BASELINE: &str = "/v1/host/cpu-baseline";
/// How a processor stands to the host's.
pub const CPU_COMPARE: &str = "/v1/host/cpu-compare";
/// What libvirt's daemons left on this host.
pub const ADOPTION: &str = "/v1/adoption";
/// All domains.
pub const DOMAINS: &str = "/v1/domains";
/// Restores a saved domain.
pub const RESTORE: &str = "/v1/domains/restore";
/// One domain.
pub const DOMAIN: &str = "/v1/domains/{dom}";
/// A domain's document.
pub const DOMAIN_XML: &str = "/v1/domains/{dom}/xml";
/// Which element of its document became which argument of QEMU's.
pub const DOMAIN_EXPLAIN: &str = "/v1/domains/{dom}/explain";
/// The same of a document that is not defined.
pub const EXPLAIN: &str = "/v1/explain";
/// Starts a domain.
pub const DOMAIN_START: &str = "/v1/domains/{dom}/start";
/// Stops a domain at once.
pub const DOMAIN_DESTROY: &str = "/v1/domains/{dom}/destroy";
/// Asks the guest to shut down.
pub const DOMAIN_SHUTDOWN: &str = "/v1/domains/{dom}/shutdown";
/// Asks the guest to reboot.
pub const DOMAIN_REBOOT: &str = "/v1/domains/{dom}/reboot";
/// Holds a domain's processors.
pub const DOMAIN_SUSPEND: &str = "/v1/domains/{dom}/suspend";
/// Lets them run again.
pub const DOMAIN_RESUME: &str = "/v1/domains/{dom}/resume";
/// Presses the reset button.
pub const DOMAIN_RESET: &str = "/v1/domains/{dom}/reset";
/// Saves a domain's memory to a file.
pub const DOMAIN_SAVE: &str = "/v1/domains/{dom}/save";
/// Saves it where the next start finds it.
pub const DOMAIN_MANAGED_SAVE: &str = "/v1/domains/{dom}/managedsave";
/// A domain's snapshots.
pub const SNAPSHOTS: &str = "/v1/domains/{dom}/snapshots";
/// One of them.
pub const SNAPSHOT: &str = "/v1/domains/{dom}/snapshots/{snapshot}";
/// Its document.
pub const SNAPSHOT_XML: &str = "/v1/domains/{dom}/snapshots/{snapshot}/xml";
/// Goes back to it.
pub const SNAPSHOT_REVERT: &str = "/v1/domains/{dom}/snapshots/{snapshot}/revert";
/// Whether it starts with the daemon.
pub const DOMAIN_AUTOSTART: &str = "/v1/domains/{dom}/autostart";
/// Live addresses.
pub const DOMAIN_INTERFACES: &str = "/v1/domains/{dom}/interfaces";
/// Disks.
pub const DOMAIN_BLOCKS: &str = "/v1/domains/{dom}/blocks";
/// One disk, by its target or file.
pub const DOMAIN_BLOCK: &str = "/v1/domains/{dom}/blocks/{disk}";
/// Disks that stopped the guest.
pub const DOMAIN_BLOCK_ERRORS: &str = "/v1/domains/{dom}/block-errors";
/// Gives a running guest's disk another size.
pub const BLOCK_RESIZE: &str = "/v1/domains/{dom}/blocks/{disk}/resize";
/// When its growth is told.
pub const BLOCK_THRESHOLD: &str = "/v1/domains/{dom}/blocks/{disk}/threshold";
/// Puts what files of a disk have into the one below them.
pub const BLOCK_COMMIT: &str = "/v1/domains/{dom}/blocks/{disk}/commit";
/// Fills a disk's own file from those below it.
pub const BLOCK_PULL: &str = "/v1/domains/{dom}/blocks/{disk}/pull";
/// Copies a disk.
pub const BLOCK_COPY: &str = "/v1/domains/{dom}/blocks/{disk}/copy";
/// The block job of a disk.
pub const BLOCK_JOB: &str = "/v1/domains/{dom}/blocks/{disk}/job";
/// Network cards.
pub const DOMAIN_NICS: &str = "/v1/domains/{dom}/nics";
/// Changes the running guest, its definition, or both.
pub const DOMAIN_CHANGES: &str = "/v1/domains/{dom}/changes";
/// Figures about one thing of it.
pub const DOMAIN_FIGURES: &str = "/v1/domains/{dom}/figures";
/// Its processors.
pub const DOMAIN_VCPUS: &str = "/v1/domains/{dom}/vcpus";
/// What its clock shows.
pub const DOMAIN_TIME: &str = "/v1/domains/{dom}/time";
/// A picture of one of its screens.
pub const DOMAIN_SCREENSHOT: &str = "/v1/domains/{dom}/screenshot";
/// Figures of all domains.
pub const FIGURES: &str = "/v1/figures";
/// The seed.
pub const DOMAIN_SEED: &str = "/v1/domains/{dom}/seed";
/// How far the guest is.
pub const DOMAIN_READINESS: &str = "/v1/domains/{dom}/readiness";
/// Waits until the guest is so far.
pub const DOMAIN_WAIT: &str = "/v1/domains/{dom}/wait";
/// The serial console.
pub const DOMAIN_CONSOLE: &str = "/v1/domains/{dom}/console";
/// Logs.
pub const DOMAIN_LOG: &str = "/v1/domains/{dom}/log";
/// All networks.
pub const NETWORKS: &str = "/v1/networks";
/// One network.
pub const NETWORK: &str = "/v1/networks/{net}";
/// A network's document.
pub const NETWORK_XML: &str = "/v1/networks/{net}/xml";
/// Brings a network up.
pub const NETWORK_START: &str = "/v1/networks/{net}/start";
/// Takes it down.
pub const NETWORK_DESTROY: &str = "/v1/networks/{net}/destroy";
/// Whether it starts with the daemon.
pub const NETWORK_AUTOSTART: &str = "/v1/networks/{net}/autostart";
/// Changes one entry of its document.
pub const NETWORK_UPDATE: &str = "/v1/networks/{net}/update";
/// Its DHCP leases.
pub const NETWORK_LEASES: &str = "/v1/networks/{net}/leases";
/// All network filters.
pub const NETWORK_FILTERS: &str = "/v1/network-filters";
/// One network filter.
pub const NETWORK_FILTER: &str = "/v1/network-filters/{filter}";
/// A network filter's document.
pub const NETWORK_FILTER_XML: &str = "/v1/network-filters/{filter}/xml";
/// All cards that have a filter.
pub const NETWORK_FILTER_BINDINGS: &str = "/v1/network-filter-bindings";
/// A card's, as its document.
pub const NETWORK_FILTER_BINDING: &str = "/v1/network-filter-bindings/{port}";
/// All secrets.
pub const SECRETS: &str = "/v1/secrets";
/// One secret.
pub const SECRET: &str = "/v1/secrets/{secret}";
/// A secret's document.
pub const SECRET_XML: &str = "/v1/secrets/{secret}/xml";
/// A secret's value.
pub const SECRET_VALUE: &str = "/v1/secrets/{secret}/value";
/// All storage pools.
pub const POOLS: &str = "/v1/pools";
/// Which types of pools there are.
pub const POOL_CAPABILITIES: &str = "/v1/pool-capabilities";
/// What pools could be made of.
pub const POOL_SOURCES: &str = "/v1/pool-sources";
/// One pool.
pub const POOL: &str = "/v1/pools/{pool}";
/// A pool's document.
pub const POOL_XML: &str = "/v1/pools/{pool}/xml";
/// Makes a pool's directory, or removes it.
pub const POOL_DIRECTORY: &str = "/v1/pools/{pool}/directory";
/// Starts a pool.
pub const POOL_START: &str = "/v1/pools/{pool}/start";
/// Stops it.
pub const POOL_DESTROY: &str = "/v1/pools/{pool}/destroy";
/// Looks at its files anew.
pub const POOL_REFRESH: &str = "/v1/pools/{pool}/refresh";
/// Whether it starts with the daemon.
pub const POOL_AUTOSTART: &str = "/v1/pools/{pool}/autostart";
/// Its volumes.
pub const VOLUMES: &str = "/v1/pools/{pool}/volumes";
/// One volume, by its path.
pub const VOLUME_BY_PATH: &str = "/v1/volumes";
/// One volume.
pub const VOLUME: &str = "/v1/pools/{pool}/volumes/{vol}";
/// A volume's document.
pub const VOLUME_XML: &str = "/v1/pools/{pool}/volumes/{vol}/xml";
/// Gives it another size.
pub const VOLUME_RESIZE: &str = "/v1/pools/{pool}/volumes/{vol}/resize";
/// Makes its bytes unreadable.
pub const VOLUME_WIPE: &str = "/v1/pools/{pool}/volumes/{vol}/wipe";
/// Its bytes.
pub const VOLUME_DATA: &str = "/v1/pools/{pool}/volumes/{vol}/data";
/// How full a pool is, and how it fills.
pub const POOL_USAGE: &str = "/v1/pools/{pool}/usage";
/// Who needs a file.
pub const NEEDS: &str = "/v1/storage/needs";
/// The files a disk is made of.
pub const CHAIN: &str = "/v1/storage/chain";
/// Merges upper files into a lower one.
pub const CHAIN_COMMIT: &str = "/v1/storage/chain/commit";
/// Takes what lies below a disk into it.
pub const CHAIN_FLATTEN: &str = "/v1/storage/chain/flatten";
/// Stands a disk on another file.
pub const CHAIN_REBASE: &str = "/v1/storage/chain/rebase";
/// Makes a disk a template.
pub const CHAIN_TEMPLATE: &str = "/v1/storage/chain/template";
/// Makes a disk that stands on another.
pub const CHAIN_CLONE: &str = "/v1/storage/chain/clone";
/// What is wrong with files.
pub const DOCTOR: &str = "/v1/storage/doctor";
/// One thing that is wrong.
pub const DOCTOR_FINDING: &str = "/v1/storage/doctor/{finding}";
/// The files a domain is made of.
pub const DOMAIN_FILES: &str = "/v1/domains/{dom}/files";
/// The devices on a guest's disks.
pub const GUEST_DEVICES: &str = "/v1/guest-disks/devices";
/// Files on a guest's disks.
pub const GUEST_TREE: &str = "/v1/guest-disks/files";
/// The bytes of one of them.
pub const GUEST_CONTENT: &str = "/v1/guest-disks/content";
/// Takes over the places its disks were moved to.
pub const DOMAIN_RELOCATE: &str = "/v1/domains/{dom}/relocate";
/// All images.
pub const IMAGES: &str = "/v1/images";
/// Builds an image.
pub const IMAGE_BUILD: &str = "/v1/images/build";
/// One image.
pub const IMAGE: &str = "/v1/images/{image}";
/// A linked clone of one image.
pub const IMAGE_CLONE: &str = "/v1/images/{image}/clone";
/// What an image file is.
pub const IMAGE_FILE: &str = "/v1/image-files/describe";
/// Where its bytes are.
pub const IMAGE_FILE_MAP: &str = "/v1/image-files/map";
/// Whether it is sound.
pub const IMAGE_FILE_CHECK: &str = "/v1/image-files/check";
/// Makes another of it.
pub const IMAGE_FILE_CONVERT: &str = "/v1/image-files/convert";
/// Gives back the room of what reads as zero.
pub const IMAGE_FILE_COMPACT: &str = "/v1/image-files/compact";
/// Gives it another size.
pub const IMAGE_FILE_RESIZE: &str = "/v1/image-files/resize";
/// Makes other machines of one.
pub const CLONES: &str = "/v1/clones";
/// All templates.
pub const TEMPLATES: &str = "/v1/templates";
/// One template, by its name with or without a version.
pub const TEMPLATE: &str = "/v1/templates/{template}";
/// What a machine is known by.
pub const DOMAIN_IDENTITY: &str = "/v1/domains/{dom}/identity";
/// Gives a guest another identity.
pub const IDENTITY_RESET: &str = "/v1/domains/{dom}/identity/reset";
/// Two machines beside each other.
pub const IDENTITY_DIFF: &str = "/v1/identity/diff";
/// Looks for what more than one machine has.
pub const IDENTITY_AUDIT: &str = "/v1/identity/audit";
/// Takes the identity out of a machine on image files.
pub const SYSPREP: &str = "/v1/sysprep";
/// What can be taken out of a guest.
pub const SYSPREP_OPERATIONS: &str = "/v1/sysprep-operations";
/// The rules of the catalogue that are in force.
pub const IDENTITY_RULES: &str = "/v1/identity/rules";
/// What became of identities.
pub const IDENTITY_LOG: &str = "/v1/identity/log";
/// Runs an instance.
pub const INSTANCES: &str = "/v1/instances";
/// One instance.
pub const INSTANCE: &str = "/v1/instances/{dom}";
/// All jobs.
pub const JOBS: &str = "/v1/jobs";
/// One job.
pub const JOB: &str = "/v1/jobs/{job}";
/// Events.
pub const EVENTS: &str = "/v1/events";
/// The OpenAPI document.
pub const OPENAPI: &str = "/v1/openapi.json";

/// Words of the paths that stand where a name may stand.
const TAKEN: [&str; 2] = ["restore", "build"];

/// `template` with its one `{…}` replaced by `value`, percent-encoded: names may have spaces and worse. A name
/// that is also a word of the paths is encoded wholly, which the router does not take for that word.
pub fn of(template: &str, value: &str) -> String {
    let Some((before, rest)) = template.split_once('{') else { return template.to_owned() };
    let after = rest.split_once('}').map_or("", |(_, after)| after);
    format!("{before}{}{after}", encode(value, TAKEN.contains(&value)))
}

/// As [`of`], of a template with two names.
pub fn of_both(template: &str, first: &str, second: &str) -> String {
    let Some((head, tail)) = template.split_once('}') else { return template.to_owned() };
    of(&format!("{head}}}"), first) + &of(tail, second)
}

/// Percent-encodes all but RFC 3986's unreserved characters, or all.
fn encode(value: &str, all: bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' if !all => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{DOMAIN, DOMAIN_XML, VERSION, VOLUME_XML, of, of_both};

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(of(DOMAIN, "web1"), "/v1/domains/web1");
        assert_eq!(of(DOMAIN_XML, "../a b?c#é"), "/v1/domains/..%2Fa%20b%3Fc%23%C3%A9/xml");
        assert_eq!(of(DOMAIN, "build"), "/v1/domains/%62%75%69%6C%64");
        assert_eq!(of(VERSION, "x"), "/v1/version");
        assert_eq!(of_both(VOLUME_XML, "a/b", "c{d}"), "/v1/pools/a%2Fb/volumes/c%7Bd%7D/xml");
    }
}
