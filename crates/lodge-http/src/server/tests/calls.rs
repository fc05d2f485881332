//! The client has a method for every operation of the API, and none that the API has not.

use std::collections::BTreeSet;

use lodge_api::{
    AddressSource, AdoptOptions, BlockCommit, BlockCopy, BlockJobEnd, BlockJobSpeed, BlockPull, BlockResize,
    BlockThreshold, ChainClone, ChainCommit, ChainFlatten, ChainRebase, ChainTemplate, ChangeScope,
    CloneSpec, CpuBaseline, CpuCompare, DefineOptions, DestroyOptions, DoctorQuery, DomainChange,
    DomainFilter, FigureQuery, FigureTopic, FiguresQuery, FileQuery, GuestDiskQuery, GuestSort,
    IdentityAudit, IdentityDiffQuery, IdentityLogQuery, IdentityReset, ImageBuild, ImageCheck, ImageClone,
    ImageCompact, ImageConvert, ImageFileQuery, ImageImport, ImageResize, ImageSubject, ImageSysprep,
    InstanceRemoval, InstanceSpec, JobWait, LogQuery, ManagedSaveOptions, MaxVcpusQuery,
    NetworkFilterOptions, NetworkOptions, NetworkUpdate, PoolBuild, PoolOptions, PoolSourceQuery,
    PowerOptions, Relocation, RepairOptions, RestoreOptions, SaveOptions, SecretValue, SeedSpec,
    SnapshotCreate, SnapshotDelete, SnapshotRevert, SnapshotXmlOptions, StartOptions, TemplateSpec,
    UndefineOptions, UpdateAct, VolumeOptions, VolumeRemoval, VolumeResize, VolumeSpan, VolumeWipe, WaitFor,
    WaitQuery, XmlOptions,
};
use tokio::sync::Mutex;

use super::*;
use crate::refusal::Refusal;

/// Every operation of the OpenAPI document, with `D` for a name and 7 for a number.
fn operations() -> BTreeSet<String> {
    let document: serde_json::Value = serde_json::from_str(&crate::openapi_json()).unwrap();
    let mut out = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let name = |segment: &str| match segment {
            "{job}" => "7".to_owned(),
            _ if segment.starts_with('{') => "D".to_owned(),
            _ => segment.to_owned(),
        };
        let path = path.split('/').map(name).collect::<Vec<_>>().join("/");
        out.extend(
            item.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    out
}

/// Calls every method of the client; what comes of it does not matter.
async fn call_all(client: &Client) {
    let d = "D";
    drop(client.version().await);
    drop(client.host().await);
    drop(client.host_check().await);
    drop(client.node().await);
    drop(client.sysinfo().await);
    drop(client.max_vcpus(&MaxVcpusQuery::default()).await);
    drop(client.capabilities().await);
    drop(client.domain_capabilities(&GuestSort::default()).await);
    drop(client.cpu_models("x86_64").await);
    drop(client.guest_cpu_models(&GuestSort::default()).await);
    drop(client.cpu_baseline(&CpuBaseline::default()).await);
    drop(client.cpu_compare(&CpuCompare::default()).await);
    drop(client.openapi().await);
    drop(client.domains(&DomainFilter::default()).await);
    drop(client.define_domain("<domain/>", &DefineOptions::default()).await);
    drop(client.domain(d).await);
    drop(client.domain_xml(d, &XmlOptions::default()).await);
    drop(client.explain_domain(d).await);
    drop(client.explain_document("<domain/>").await);
    drop(client.undefine_domain(d, &UndefineOptions::default()).await);
    drop(client.start_domain(d, &StartOptions::default()).await);
    drop(client.destroy_domain(d, &DestroyOptions::default()).await);
    drop(client.shutdown_domain(d, &PowerOptions::default()).await);
    drop(client.reboot_domain(d, &PowerOptions::default()).await);
    drop(client.suspend_domain(d).await);
    drop(client.resume_domain(d).await);
    drop(client.reset_domain(d).await);
    drop(client.save_domain(d, &SaveOptions::default()).await);
    drop(client.restore_domain(&RestoreOptions::default()).await);
    drop(client.managed_save(d, &ManagedSaveOptions::default()).await);
    drop(client.remove_managed_save(d).await);
    drop(client.autostart_domain(d, true).await);
    drop(client.domain_interfaces(d, AddressSource::Lease).await);
    drop(client.domain_blocks(d).await);
    drop(client.domain_block(d, d).await);
    drop(client.domain_block_errors(d).await);
    drop(client.resize_block(d, d, &BlockResize::default()).await);
    drop(client.set_block_threshold(d, d, &BlockThreshold::default()).await);
    drop(client.commit_block(d, d, &BlockCommit::default()).await);
    drop(client.pull_block(d, d, &BlockPull::default()).await);
    drop(client.copy_block(d, d, &BlockCopy::default()).await);
    drop(client.block_job(d, d).await);
    drop(client.set_block_job_speed(d, d, &BlockJobSpeed::default()).await);
    drop(client.end_block_job(d, d, &BlockJobEnd::default()).await);
    drop(client.snapshots(d).await);
    drop(client.create_snapshot(d, "<domainsnapshot/>", &SnapshotCreate::default()).await);
    drop(client.snapshot(d, d).await);
    drop(client.snapshot_xml(d, d, &SnapshotXmlOptions::default()).await);
    drop(client.delete_snapshot(d, d, &SnapshotDelete::default()).await);
    drop(client.revert_to_snapshot(d, d, &SnapshotRevert::default()).await);
    let change = DomainChange::Vcpus { count: 1 };
    drop(client.change_domain(d, ChangeScope::default(), &change).await);
    let query = FigureQuery { of: FigureTopic::Cpu, device: None, live: false, config: false };
    drop(client.domain_figures(d, &query).await);
    drop(client.domain_vcpus(d).await);
    drop(client.domain_time(d).await);
    drop(client.domain_screenshot(d, 0).await);
    drop(client.figures(&FiguresQuery::default()).await);
    drop(client.domain_nics(d).await);
    drop(client.domain_log(d, &LogQuery::default()).await);
    drop(client.set_seed(d, &SeedSpec::default()).await);
    drop(client.seed(d).await);
    drop(client.remove_seed(d).await);
    drop(client.readiness(d).await);
    drop(client.wait(d, &WaitQuery { target: WaitFor::Ready, timeout_s: None }).await);
    drop(client.console(d, false).await);
    drop(client.networks().await);
    drop(client.define_network("<network/>", &NetworkOptions::default()).await);
    drop(client.network(d).await);
    drop(client.network_xml(d, &XmlOptions::default()).await);
    drop(client.undefine_network(d).await);
    drop(client.start_network(d).await);
    drop(client.destroy_network(d).await);
    drop(client.autostart_network(d, true).await);
    let (act, section) = (UpdateAct::Delete, "dns-txt".to_owned());
    let update = NetworkUpdate { act, section, parent: None, xml: "<txt/>".to_owned() };
    drop(client.update_network(d, ChangeScope::default(), &update).await);
    drop(client.leases(d).await);
    drop(client.pools().await);
    drop(client.define_pool("<pool/>", &PoolOptions::default()).await);
    drop(client.pool_capabilities().await);
    drop(client.find_pool_sources(&PoolSourceQuery::default()).await);
    drop(client.pool(d).await);
    drop(client.pool_xml(d, &XmlOptions::default()).await);
    drop(client.undefine_pool(d).await);
    drop(client.build_pool(d, &PoolBuild::default()).await);
    drop(client.delete_pool(d).await);
    drop(client.start_pool(d, &PoolBuild::default()).await);
    drop(client.destroy_pool(d).await);
    drop(client.refresh_pool(d).await);
    drop(client.autostart_pool(d, true).await);
    drop(client.volumes(d).await);
    drop(client.create_volume(d, "<volume/>", &VolumeOptions::default()).await);
    drop(client.volume(d, d).await);
    drop(client.volume_by_path("/D").await);
    drop(client.needs("/D").await);
    drop(client.pool_usage(d).await);
    drop(client.chain(&FileQuery { path: "/D".to_owned(), format: None }).await);
    drop(client.commit_chain(&ChainCommit::default()).await);
    drop(client.flatten_chain(&ChainFlatten::default()).await);
    drop(client.rebase_chain(&ChainRebase::default()).await);
    drop(client.make_template(&ChainTemplate::default()).await);
    drop(client.link_clone(&ChainClone::default()).await);
    drop(client.doctor(&DoctorQuery::default()).await);
    drop(client.repair(d, &RepairOptions::default()).await);
    drop(client.domain_files(d).await);
    drop(client.guest_devices(&GuestDiskQuery::default()).await);
    drop(client.guest_tree(&GuestDiskQuery::default()).await);
    drop(client.guest_content(&GuestDiskQuery::default()).await);
    drop(client.clone_guest(&CloneSpec::default()).await);
    drop(client.templates().await);
    drop(client.template(d).await);
    drop(client.create_template(&TemplateSpec::default()).await);
    drop(client.remove_template(d).await);
    drop(client.identity(d).await);
    drop(client.reset_identity(d, &IdentityReset::default()).await);
    drop(client.identity_diff(&IdentityDiffQuery::default()).await);
    drop(client.identity_log(&IdentityLogQuery::default()).await);
    drop(client.audit_identities(&IdentityAudit::default()).await);
    drop(client.sysprep_operations().await);
    drop(client.sysprep_images(&ImageSysprep::default()).await);
    drop(client.identity_rules().await);
    drop(client.relocate_domain(d, &Relocation::default()).await);
    drop(client.volume_xml(d, d).await);
    drop(client.delete_volume(d, d, &VolumeRemoval::default()).await);
    drop(client.resize_volume(d, d, &VolumeResize::default()).await);
    drop(client.wipe_volume(d, d, &VolumeWipe::default()).await);
    drop(client.download_volume(d, d, &VolumeSpan::default()).await);
    drop(client.upload_volume(d, d, &VolumeSpan::default(), std::io::empty()).await);
    let how = NetworkFilterOptions::default();
    drop(client.network_filters().await);
    drop(client.define_network_filter("<filter/>", &how).await);
    drop(client.network_filter(d).await);
    drop(client.undefine_network_filter(d).await);
    drop(client.network_filter_xml(d).await);
    drop(client.network_filter_bindings().await);
    drop(client.create_network_filter_binding("<filterbinding/>", &how).await);
    drop(client.network_filter_binding_xml(d).await);
    drop(client.delete_network_filter_binding(d).await);
    drop(client.secrets().await);
    drop(client.define_secret("<secret/>").await);
    drop(client.secret(d).await);
    drop(client.undefine_secret(d).await);
    drop(client.secret_xml(d).await);
    drop(client.secret_value(d).await);
    drop(client.set_secret_value(d, &SecretValue { base64: String::new() }).await);
    drop(client.images().await);
    drop(client.image(d).await);
    drop(client.import_image(&ImageImport::default()).await);
    drop(client.build_image(&ImageBuild::default()).await);
    drop(client.clone_image(d, &ImageClone::default()).await);
    drop(client.remove_image(d).await);
    drop(client.image_file(&ImageFileQuery::default()).await);
    drop(client.map_image_file(&ImageSubject::default()).await);
    drop(client.check_image_file(&ImageCheck::default()).await);
    drop(client.convert_image_file(&ImageConvert::default()).await);
    drop(client.compact_image_file(&ImageCompact::default()).await);
    drop(client.resize_image_file(&ImageResize::default()).await);
    drop(client.run_instance(&InstanceSpec::default()).await);
    drop(client.remove_instance(d, &InstanceRemoval::default()).await);
    drop(client.jobs().await);
    drop(client.job(7, &JobWait::default()).await);
    drop(client.cancel_job(7).await);
    drop(client.events(None).await);
    drop(client.adoption().await);
    drop(client.adopt(&AdoptOptions::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_its_method_of_the_client() {
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let record = {
        let heard = Arc::clone(&heard);
        async move |request: Request| {
            heard.lock().await.insert(format!("{} {}", request.method(), request.uri().path()));
            Refusal::new(ErrorKind::Unsupported, "a test")
        }
    };
    let trial = Trial::of(Router::new().fallback(record));
    call_all(&trial.client().await).await;
    trial.stop().await;
    let mut heard = heard.lock().await.clone();
    // The trial server answers this one itself.
    heard.insert("GET /v1/version".to_owned());
    assert_eq!(heard, operations());
}
