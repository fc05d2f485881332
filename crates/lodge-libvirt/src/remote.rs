//! The REMOTE program: which function does which procedure.
//!
//! One line per procedure: `Procedure => function, "the test that shows it works";`. A procedure without a line
//! answers `unknown procedure`, as libvirtd would.

mod auth;
mod connect;
pub(crate) mod domain;
mod event;
mod interface;
mod network;
mod node;
mod nodedev;
mod nwfilter;
mod pool;
pub(crate) mod secret;
mod volume;

pub(crate) use domain::job::params as job_params;

use crate::dispatch::procedures;

procedures! {
    remote;

    // The connection.
    ConnectOpen => connect::open, "attack::a_second_open_fails";
    ConnectClose => connect::close, "compat: uri";
    ConnectGetType => connect::get_type, "compat: version";
    ConnectGetVersion => connect::get_version, "compat: version";
    ConnectGetLibVersion => connect::get_lib_version, "compat: version";
    ConnectGetHostname => connect::get_hostname, "compat: hostname";
    ConnectGetUri => connect::get_uri, "compat: uri";
    ConnectSupportsFeature => connect::supports_feature, "attack::features";
    ConnectIsSecure => connect::is_secure, "compat: connection";
    ConnectRegisterCloseCallback => connect::register_close_callback, "compat: list";
    ConnectUnregisterCloseCallback => connect::unregister_close_callback, "compat: list";

    // Logging in.
    AuthList => auth::list, "door_unix::polkit_asks_for_whom_it_does_not_know";
    AuthSaslInit => auth::sasl_init, "door_sasl::the_real_client_logs_in_over_a_unix_socket";
    AuthSaslStart => auth::sasl_start, "door_sasl::the_real_client_logs_in_over_a_unix_socket";
    AuthSaslStep => auth::sasl_step, "door_sasl::the_real_client_logs_in_over_a_unix_socket";
    AuthPolkit => auth::polkit, "door_unix::polkit_asks_for_whom_it_does_not_know";

    // The host.
    ConnectGetMaxVcpus => node::max_vcpus, "compat: host";
    NodeGetInfo => node::info, "compat: host";
    ConnectGetCapabilities => node::capabilities, "compat: host";
    NodeGetCellsFreeMemory => node::cells_free_memory, "compat: host";
    NodeGetFreeMemory => node::free_memory, "compat: host";
    NodeGetSecurityModel => node::security_model, "compat: host";
    ConnectCompareCpu => node::compare_cpu, "compat: host";
    ConnectBaselineCpu => node::baseline_cpu, "compat: host";
    ConnectGetSysinfo => node::sysinfo, "compat: host";
    NodeGetCpuStats => node::cpu_stats, "compat: host";
    NodeGetMemoryStats => node::memory_stats, "compat: host";
    NodeSuspendForDuration => node::suspend, "compat: host";
    NodeSetMemoryParameters => node::set_memory_parameters, "compat: host";
    NodeGetMemoryParameters => node::memory_parameters, "compat: host";
    NodeGetCpuMap => node::cpu_map, "compat: host";
    ConnectGetCpuModelNames => node::model_names, "compat: host";
    NodeGetFreePages => node::free_pages, "compat: host";
    ConnectGetDomainCapabilities => node::domain_capabilities, "compat: host";
    NodeAllocPages => node::alloc_pages, "compat: host";
    ConnectCompareHypervisorCpu => node::compare_hypervisor_cpu, "compat: host";
    ConnectBaselineHypervisorCpu => node::baseline_hypervisor_cpu, "compat: host";
    NodeGetSevInfo => node::sev_info, "compat: host";

    // Networks.
    ConnectListDefinedNetworks => network::list_defined, "compat: oldcalls";
    ConnectListNetworks => network::list, "compat: oldcalls";
    NetworkCreate => network::create, "compat: networks";
    NetworkCreateXml => network::create_xml, "compat: networks";
    NetworkDefineXml => network::define_xml, "compat: networks";
    NetworkDestroy => network::destroy, "compat: networks";
    NetworkGetXmlDesc => network::xml_desc, "compat: networks";
    NetworkGetAutostart => network::get_autostart, "compat: networks";
    NetworkGetBridgeName => network::bridge_name, "compat: networks";
    NetworkLookupByName => network::lookup_by_name, "compat: networks";
    NetworkLookupByUuid => network::lookup_by_uuid, "compat: networks";
    NetworkSetAutostart => network::set_autostart, "compat: networks";
    NetworkUndefine => network::undefine, "compat: networks";
    ConnectNumOfDefinedNetworks => network::num_of_defined, "compat: oldcalls";
    ConnectNumOfNetworks => network::num_of, "compat: oldcalls";
    NetworkIsActive => network::is_active, "compat: networks";
    NetworkIsPersistent => network::is_persistent, "compat: networks";
    ConnectListAllNetworks => network::list_all, "compat: networks";
    NetworkUpdate => network::update, "compat: networks";
    NetworkGetDhcpLeases => network::leases, "compat: networks";
    NetworkListAllPorts => network::list_all_ports, "compat: networks";
    NetworkPortLookupByUuid => network::lookup_port, "compat: networks";
    NetworkPortCreateXml => network::create_port, "compat: networks";
    NetworkPortGetParameters => network::get_port_parameters, "compat: networks";
    NetworkPortSetParameters => network::set_port_parameters, "compat: networks";
    NetworkPortGetXmlDesc => network::port_xml_desc, "compat: networks";
    NetworkPortDelete => network::delete_port, "compat: networks";
    NetworkDefineXmlFlags => network::define_xml_flags, "compat: networks";
    NetworkCreateXmlFlags => network::create_xml_flags, "compat: networks";
    NetworkSetMetadata => network::set_metadata, "compat: networks";
    NetworkGetMetadata => network::get_metadata, "compat: networks";

    // Secrets.
    ConnectNumOfSecrets => secret::num_of, "compat: oldcalls";
    ConnectListSecrets => secret::list, "compat: oldcalls";
    SecretLookupByUuid => secret::lookup_by_uuid, "compat: host";
    SecretDefineXml => secret::define_xml, "compat: host";
    SecretGetXmlDesc => secret::xml_desc, "compat: host";
    SecretSetValue => secret::set_value, "compat: host";
    SecretGetValue => secret::get_value, "compat: host";
    SecretUndefine => secret::undefine, "compat: host";
    SecretLookupByUsage => secret::lookup_by_usage, "compat: oldcalls";
    ConnectListAllSecrets => secret::list_all, "compat: host";

    // Network filters.
    NwfilterLookupByName => nwfilter::lookup_by_name, "compat: nwfilter";
    NwfilterLookupByUuid => nwfilter::lookup_by_uuid, "compat: nwfilter";
    NwfilterGetXmlDesc => nwfilter::xml_desc, "compat: nwfilter";
    ConnectNumOfNwfilters => nwfilter::num_of, "compat: oldcalls";
    ConnectListNwfilters => nwfilter::list, "compat: oldcalls";
    NwfilterDefineXml => nwfilter::define_xml, "compat: nwfilter";
    NwfilterUndefine => nwfilter::undefine, "compat: nwfilter";
    ConnectListAllNwfilters => nwfilter::list_all, "compat: nwfilter";
    NwfilterBindingLookupByPortDev => nwfilter::lookup_binding, "compat: nwfilter";
    NwfilterBindingGetXmlDesc => nwfilter::binding_xml_desc, "compat: nwfilter";
    NwfilterBindingCreateXml => nwfilter::create_binding, "compat: nwfilter";
    NwfilterBindingDelete => nwfilter::delete_binding, "compat: nwfilter";
    ConnectListAllNwfilterBindings => nwfilter::list_all_bindings, "compat: nwfilter";
    NwfilterDefineXmlFlags => nwfilter::define_xml_flags, "compat: nwfilter";

    // The host's devices.
    NodeNumOfDevices => nodedev::num_of, "compat: oldcalls";
    NodeListDevices => nodedev::list, "compat: oldcalls";
    NodeDeviceLookupByName => nodedev::lookup_by_name, "compat: host";
    NodeDeviceGetXmlDesc => nodedev::xml_desc, "compat: host";
    NodeDeviceGetParent => nodedev::parent, "compat: host";
    NodeDeviceNumOfCaps => nodedev::num_of_caps, "compat: oldcalls";
    NodeDeviceListCaps => nodedev::list_caps, "compat: oldcalls";
    NodeDeviceDettach => nodedev::detach, "compat: host";
    NodeDeviceReAttach => nodedev::reattach, "compat: host";
    NodeDeviceReset => nodedev::reset, "compat: host";
    NodeDeviceCreateXml => nodedev::create_xml, "compat: host";
    NodeDeviceDestroy => nodedev::destroy, "compat: host";
    ConnectListAllNodeDevices => nodedev::list_all, "compat: host";
    NodeDeviceLookupScsiHostByWwn => nodedev::lookup_scsi_host, "compat: host";
    NodeDeviceDetachFlags => nodedev::detach_flags, "compat: host";
    NodeDeviceDefineXml => nodedev::define_xml, "compat: host";
    NodeDeviceUndefine => nodedev::undefine, "compat: host";
    NodeDeviceCreate => nodedev::create, "compat: host";
    NodeDeviceGetAutostart => nodedev::get_autostart, "compat: host";
    NodeDeviceSetAutostart => nodedev::set_autostart, "compat: host";
    NodeDeviceIsPersistent => nodedev::is_persistent, "compat: host";
    NodeDeviceIsActive => nodedev::is_active, "compat: host";
    NodeDeviceUpdate => nodedev::update, "compat: host";

    // The host's interfaces: no driver.
    ConnectNumOfInterfaces => interface::num_of, "compat: host";
    ConnectListInterfaces => interface::list, "compat: host";
    InterfaceLookupByName => interface::lookup_by_name, "compat: host";
    InterfaceLookupByMacString => interface::lookup_by_mac, "compat: host";
    InterfaceGetXmlDesc => interface::xml_desc, "compat: host";
    InterfaceDefineXml => interface::define_xml, "compat: host";
    InterfaceUndefine => interface::undefine, "compat: host";
    InterfaceCreate => interface::create, "compat: host";
    InterfaceDestroy => interface::destroy, "compat: host";
    ConnectNumOfDefinedInterfaces => interface::num_of_defined, "compat: host";
    ConnectListDefinedInterfaces => interface::list_defined, "compat: host";
    InterfaceIsActive => interface::is_active, "compat: host";
    InterfaceChangeBegin => interface::change_begin, "compat: host";
    InterfaceChangeCommit => interface::change_commit, "compat: host";
    InterfaceChangeRollback => interface::change_rollback, "compat: host";
    ConnectListAllInterfaces => interface::list_all, "compat: host";

    // Events.
    ConnectDomainEventRegister => event::register_lifecycle, "events::registering_as_of_old";
    ConnectDomainEventDeregister => event::deregister_lifecycle, "events::registering_as_of_old";
    ConnectDomainEventRegisterAny => event::register_old, "events::registering_as_of_old";
    ConnectDomainEventDeregisterAny => event::deregister_old, "events::registering_as_of_old";
    ConnectDomainEventCallbackRegisterAny => event::register_domain, "events::lifecycle";
    ConnectDomainEventCallbackDeregisterAny => event::deregister_domain, "events::lifecycle";
    ConnectNetworkEventRegisterAny => event::register_network, "events::registering";
    ConnectNetworkEventDeregisterAny => event::deregister_network, "events::registering";
    ConnectStoragePoolEventRegisterAny => event::register_pool, "events::registering";
    ConnectStoragePoolEventDeregisterAny => event::deregister_pool, "events::registering";
    ConnectNodeDeviceEventRegisterAny => event::register_node_device, "events::registering";
    ConnectNodeDeviceEventDeregisterAny => event::deregister_node_device, "events::registering";
    ConnectSecretEventRegisterAny => event::register_secret, "events::registering";
    ConnectSecretEventDeregisterAny => event::deregister_secret, "events::registering";

    // Domains: finding them.
    DomainLookupById => domain::lookup::by_id, "compat: domname";
    DomainLookupByName => domain::lookup::by_name, "compat: domid";
    DomainLookupByUuid => domain::lookup::by_uuid, "compat: domname";
    ConnectListAllDomains => domain::lookup::list_all, "compat: list";
    DomainGetState => domain::lookup::get_state, "compat: domstate";
    ConnectNumOfDomains => domain::lookup::num_of, "compat: client-ruby";
    ConnectListDomains => domain::lookup::list_ids, "compat: client-ruby";
    ConnectNumOfDefinedDomains => domain::lookup::num_of_defined, "compat: client-ruby";
    ConnectListDefinedDomains => domain::lookup::list_defined, "compat: client-ruby";
    DomainIsActive => domain::lookup::is_active, "compat: vcpucount";
    DomainIsPersistent => domain::lookup::is_persistent, "compat: dominfo";
    DomainIsUpdated => domain::lookup::is_updated, "compat: dominfo";
    DomainGetOsType => domain::lookup::get_os_type, "compat: dominfo";
    DomainGetMaxMemory => domain::lookup::get_max_memory, "compat: dominfo";
    DomainListAllCheckpoints => domain::lookup::list_all_checkpoints, "compat: snapshots";
    DomainCheckpointLookupByName => domain::lookup::checkpoint_lookup_by_name, "compat: client-python";
    DomainBackupGetXmlDesc => domain::lookup::backup_get_xml_desc, "compat: snapshots";

    // Domains: their definitions.
    DomainCreateXml => domain::define::create_xml, "compat: create";
    DomainCreateXmlWithFiles => domain::define::create_xml_with_files, "compat: create";
    DomainDefineXml => domain::define::define_xml, "compat: define";
    DomainDefineXmlFlags => domain::define::define_xml_flags, "compat: define";
    DomainUndefine => domain::define::undefine, "compat: undefine";
    DomainUndefineFlags => domain::define::undefine_flags, "compat: undefine";
    DomainRename => domain::define::rename, "compat: domrename";
    DomainGetXmlDesc => domain::define::get_xml_desc, "compat: dumpxml";
    ConnectDomainXmlFromNative => domain::define::xml_from_native, "compat: domxml-to-native";
    ConnectDomainXmlToNative => domain::define::xml_to_native, "compat: domxml-to-native";
    DomainGetAutostart => domain::define::get_autostart, "compat: autostart";
    DomainSetAutostart => domain::define::set_autostart, "compat: autostart";
    DomainGetAutostartOnce => domain::define::get_autostart_once, "compat: autostart";
    DomainSetAutostartOnce => domain::define::set_autostart_once, "compat: autostart";
    DomainGetMetadata => domain::metadata::get, "compat: metadata";
    DomainSetMetadata => domain::metadata::set, "compat: metadata";
    DomainGetMessages => domain::metadata::messages, "compat: dominfo";

    // Domains: their life.
    DomainCreate => domain::life::create, "compat: start";
    DomainCreateWithFlags => domain::life::create_with_flags, "compat: start";
    DomainCreateWithFiles => domain::life::create_with_files, "compat: start";
    DomainDestroy => domain::life::destroy, "compat: destroy";
    DomainDestroyFlags => domain::life::destroy_flags, "compat: destroy";
    DomainShutdown => domain::life::shutdown, "compat: shutdown";
    DomainShutdownFlags => domain::life::shutdown_flags, "compat: shutdown";
    DomainReboot => domain::life::reboot, "compat: reboot";
    DomainReset => domain::life::reset, "compat: reset";
    DomainSuspend => domain::life::suspend, "compat: suspend";
    DomainResume => domain::life::resume, "compat: resume";
    DomainPmSuspendForDuration => domain::life::pm_suspend, "compat: dompmsuspend";
    DomainPmWakeup => domain::life::pm_wakeup, "compat: dompmwakeup";

    // Domains: their memory in files.
    DomainSave => domain::save::save, "compat: save";
    DomainSaveFlags => domain::save::save_flags, "compat: save";
    DomainSaveParams => domain::save::save_params, "compat: save";
    DomainRestore => domain::save::restore, "compat: restore";
    DomainRestoreFlags => domain::save::restore_flags, "compat: restore";
    DomainRestoreParams => domain::save::restore_params, "compat: restore";
    DomainSaveImageGetXmlDesc => domain::save::image_get_xml_desc, "compat: save-image-dumpxml";
    DomainSaveImageDefineXml => domain::save::image_define_xml, "compat: save-image-define";
    DomainManagedSave => domain::save::managed_save, "compat: managedsave";
    DomainHasManagedSaveImage => domain::save::has_managed_save, "compat: managedsave";
    DomainManagedSaveRemove => domain::save::managed_save_remove, "compat: managedsave";
    DomainManagedSaveGetXmlDesc => domain::save::managed_save_get_xml_desc, "compat: managedsave";
    DomainManagedSaveDefineXml => domain::save::managed_save_define_xml, "compat: managedsave";
    DomainCoreDump => domain::save::core_dump, "compat: dump";
    DomainCoreDumpWithFormat => domain::save::core_dump_with_format, "compat: dump";
    DomainGetJobInfo => domain::job::get_info, "compat: domjobinfo";
    DomainGetJobStats => domain::job::get_stats, "compat: domjobinfo";
    DomainAbortJob => domain::job::abort, "compat: domjobabort";
    DomainAbortJobFlags => domain::job::abort_flags, "compat: domjobabort";

    // Domains: their snapshots.
    DomainSnapshotCreateXml => domain::snapshot::create_xml, "compat: snapshots";
    DomainSnapshotGetXmlDesc => domain::snapshot::xml_desc, "compat: snapshots";
    DomainSnapshotNum => domain::snapshot::num, "compat: snapshots";
    DomainSnapshotListNames => domain::snapshot::list_names, "compat: snapshots";
    DomainListAllSnapshots => domain::snapshot::list_all, "compat: snapshots";
    DomainSnapshotNumChildren => domain::snapshot::num_children, "compat: snapshots";
    DomainSnapshotListChildrenNames => domain::snapshot::list_children_names, "compat: snapshots";
    DomainSnapshotListAllChildren => domain::snapshot::list_all_children, "compat: snapshots";
    DomainSnapshotLookupByName => domain::snapshot::lookup_by_name, "compat: snapshots";
    DomainHasCurrentSnapshot => domain::snapshot::has_current, "compat: snapshots";
    DomainSnapshotGetParent => domain::snapshot::get_parent, "compat: snapshots";
    DomainSnapshotCurrent => domain::snapshot::current, "compat: snapshots";
    DomainSnapshotIsCurrent => domain::snapshot::is_current, "compat: snapshots";
    DomainSnapshotHasMetadata => domain::snapshot::has_metadata, "compat: snapshots";
    DomainRevertToSnapshot => domain::snapshot::revert, "compat: snapshots";
    DomainSnapshotDelete => domain::snapshot::delete, "compat: snapshots";

    // Domains: what they are and how they are.
    DomainGetInfo => domain::info::get_info, "compat: queries";
    DomainBlockStats => domain::info::block_stats, "compat: queries";
    DomainInterfaceStats => domain::info::interface_stats, "compat: queries";
    DomainBlockPeek => domain::info::block_peek, "compat: queries";
    DomainMemoryPeek => domain::info::memory_peek, "compat: queries";
    DomainGetSecurityLabel => domain::info::get_security_label, "compat: queries";
    DomainMemoryStats => domain::info::memory_stats, "compat: queries";
    DomainGetBlockInfo => domain::info::get_block_info, "compat: queries";
    DomainGetControlInfo => domain::info::get_control_info, "compat: queries";
    DomainBlockStatsFlags => domain::info::block_stats_flags, "compat: queries";
    DomainGetCpuStats => domain::info::get_cpu_stats, "compat: queries";
    DomainGetDiskErrors => domain::info::get_disk_errors, "compat: queries";
    DomainGetHostname => domain::info::get_hostname, "compat: queries";
    DomainGetSecurityLabelList => domain::info::get_security_label_list, "compat: queries";
    DomainInterfaceAddresses => domain::info::interface_addresses, "compat: queries";
    ConnectGetAllDomainStats => domain::stats::get_all, "compat: queries";

    // Domains: processors and I/O threads.
    DomainGetMaxVcpus => domain::vcpu::get_max_vcpus, "compat: tuning";
    DomainGetVcpus => domain::vcpu::get_vcpus, "compat: tuning";
    DomainPinVcpu => domain::vcpu::pin_vcpu, "compat: tuning";
    DomainSetVcpus => domain::vcpu::set_vcpus, "compat: tuning";
    DomainSetVcpusFlags => domain::vcpu::set_vcpus_flags, "compat: tuning";
    DomainGetVcpusFlags => domain::vcpu::get_vcpus_flags, "compat: tuning";
    DomainPinVcpuFlags => domain::vcpu::pin_vcpu_flags, "compat: tuning";
    DomainGetVcpuPinInfo => domain::vcpu::get_vcpu_pin_info, "compat: tuning";
    DomainPinEmulator => domain::vcpu::pin_emulator, "compat: tuning";
    DomainGetEmulatorPinInfo => domain::vcpu::get_emulator_pin_info, "compat: tuning";
    DomainGetIothreadInfo => domain::vcpu::get_iothread_info, "compat: tuning";
    DomainPinIothread => domain::vcpu::pin_iothread, "compat: tuning";
    DomainAddIothread => domain::vcpu::add_iothread, "compat: tuning";
    DomainDelIothread => domain::vcpu::del_iothread, "compat: tuning";
    DomainGetGuestVcpus => domain::vcpu::get_guest_vcpus, "compat: tuning";
    DomainSetGuestVcpus => domain::vcpu::set_guest_vcpus, "compat: tuning";
    DomainSetVcpu => domain::vcpu::set_vcpu, "compat: tuning";
    DomainSetIothreadParams => domain::vcpu::set_iothread_params, "compat: tuning";

    // Domains: memory.
    DomainSetMaxMemory => domain::memory::set_max_memory, "compat: tuning";
    DomainSetMemory => domain::memory::set_memory, "compat: tuning";
    DomainSetMemoryFlags => domain::memory::set_memory_flags, "compat: tuning";
    DomainSetMemoryStatsPeriod => domain::memory::set_memory_stats_period, "compat: tuning";

    // Domains: limits and weights.
    DomainGetSchedulerType => domain::tune::get_scheduler_type, "compat: tuning";
    DomainGetSchedulerParameters => domain::tune::get_scheduler, "compat: tuning";
    DomainSetSchedulerParameters => domain::tune::set_scheduler, "compat: tuning";
    DomainSetMemoryParameters => domain::tune::set_memory, "compat: tuning";
    DomainGetMemoryParameters => domain::tune::get_memory, "compat: tuning";
    DomainSetBlkioParameters => domain::tune::set_blkio, "compat: tuning";
    DomainGetBlkioParameters => domain::tune::get_blkio, "compat: tuning";
    DomainSetSchedulerParametersFlags => domain::tune::set_scheduler_flags, "compat: tuning";
    DomainGetSchedulerParametersFlags => domain::tune::get_scheduler_flags, "compat: tuning";
    DomainSetBlockIoTune => domain::tune::set_block, "compat: tuning";
    DomainGetBlockIoTune => domain::tune::get_block, "compat: tuning";
    DomainSetNumaParameters => domain::tune::set_numa, "compat: tuning";
    DomainGetNumaParameters => domain::tune::get_numa, "compat: tuning";
    DomainSetInterfaceParameters => domain::tune::set_interface, "compat: tuning";
    DomainGetInterfaceParameters => domain::tune::get_interface, "compat: tuning";
    DomainGetPerfEvents => domain::tune::get_perf, "compat: tuning";
    DomainSetPerfEvents => domain::tune::set_perf, "compat: tuning";
    DomainSetLifecycleAction => domain::tune::set_lifecycle_action, "compat: tuning";

    // Domains: the agent inside.
    DomainFstrim => domain::agent::trim, "compat: queries";
    DomainFsfreeze => domain::agent::freeze, "compat: queries";
    DomainFsthaw => domain::agent::thaw, "compat: queries";
    DomainGetTime => domain::agent::get_time, "compat: queries";
    DomainSetTime => domain::agent::set_time, "compat: queries";
    DomainGetFsinfo => domain::agent::get_fsinfo, "compat: queries";
    DomainSetUserPassword => domain::agent::set_user_password, "compat: queries";
    DomainGetGuestInfo => domain::agent::get_guest_info, "compat: queries";
    DomainAgentSetResponseTimeout => domain::agent::set_response_timeout, "compat: queries";
    DomainAuthorizedSshKeysGet => domain::agent::get_ssh_keys, "compat: queries";
    DomainAuthorizedSshKeysSet => domain::agent::set_ssh_keys, "compat: queries";

    // Domains: consoles, screens, keys.
    DomainOpenConsole => domain::console::open_console, "compat: console";
    DomainInjectNmi => domain::input::inject_nmi, "compat: console";
    DomainSendProcessSignal => domain::input::send_process_signal, "compat: hotplug";
    DomainGraphicsReload => domain::input::graphics_reload, "compat: hotplug";
    DomainScreenshot => domain::console::screenshot, "compat: console";
    DomainSendKey => domain::input::send_key, "compat: console";
    DomainOpenGraphics => domain::console::open_graphics, "compat: console";
    DomainOpenChannel => domain::console::open_channel, "compat: console";
    DomainOpenGraphicsFd => domain::console::open_graphics_fd, "compat: console";

    // Domains: block jobs.
    DomainBlockJobAbort => domain::block_job::abort, "compat: blockjobs";
    DomainGetBlockJobInfo => domain::block_job::get_info, "compat: blockjobs";
    DomainBlockJobSetSpeed => domain::block_job::set_speed, "compat: blockjobs";
    DomainBlockPull => domain::block_job::pull_all, "compat: blockjobs";
    DomainBlockRebase => domain::block_job::rebase, "compat: blockjobs";
    DomainBlockCommit => domain::block_job::commit_layers, "compat: blockjobs";
    DomainBlockCopy => domain::block_job::copy_disk, "compat: blockjobs";

    DomainBlockResize => domain::input::block_resize, "compat: hotplug";
    DomainSetBlockThreshold => domain::input::set_block_threshold, "compat: queries";
    DomainStartDirtyRateCalc => domain::input::start_dirty_rate_calc, "compat: queries";
    DomainGetLaunchSecurityInfo => domain::input::get_launch_security_info, "compat: queries";

    // Domains: devices.
    DomainAttachDevice => domain::device::attach_device, "compat: hotplug";
    DomainDetachDevice => domain::device::detach_device, "compat: hotplug";
    DomainAttachDeviceFlags => domain::device::attach_device_flags, "compat: hotplug";
    DomainDetachDeviceFlags => domain::device::detach_device_flags, "compat: hotplug";
    DomainUpdateDeviceFlags => domain::device::update_device_flags, "compat: hotplug";
    DomainDetachDeviceAlias => domain::device::detach_device_alias, "compat: hotplug";

    // Storage pools.
    ConnectNumOfStoragePools => pool::list::num_of, "compat: storage-old";
    ConnectListStoragePools => pool::list::list, "compat: storage-old";
    ConnectNumOfDefinedStoragePools => pool::list::num_of_defined, "compat: storage-old";
    ConnectListDefinedStoragePools => pool::list::list_defined, "compat: storage-old";
    ConnectFindStoragePoolSources => pool::find_sources, "compat: storage";
    StoragePoolCreateXml => pool::create_xml, "compat: storage";
    StoragePoolDefineXml => pool::define_xml, "compat: storage";
    StoragePoolCreate => pool::create, "compat: storage";
    StoragePoolBuild => pool::build, "compat: storage";
    StoragePoolDestroy => pool::destroy, "compat: storage";
    StoragePoolDelete => pool::delete, "compat: storage";
    StoragePoolUndefine => pool::undefine, "compat: storage";
    StoragePoolRefresh => pool::refresh, "compat: storage";
    StoragePoolLookupByName => pool::lookup_by_name, "compat: storage";
    StoragePoolLookupByUuid => pool::lookup_by_uuid, "compat: storage";
    StoragePoolLookupByVolume => pool::lookup_by_volume, "compat: storage";
    StoragePoolGetInfo => pool::get_info, "compat: storage";
    StoragePoolGetXmlDesc => pool::get_xml_desc, "compat: storage";
    StoragePoolGetAutostart => pool::get_autostart, "compat: storage";
    StoragePoolSetAutostart => pool::set_autostart, "compat: storage";
    StoragePoolNumOfVolumes => volume::num_of, "compat: storage-old";
    StoragePoolListVolumes => volume::list, "compat: storage-old";
    StoragePoolIsActive => pool::is_active, "compat: storage";
    StoragePoolIsPersistent => pool::is_persistent, "compat: storage";
    ConnectListAllStoragePools => pool::list::list_all, "compat: storage";
    StoragePoolListAllVolumes => volume::list_all, "compat: storage";
    StoragePoolLookupByTargetPath => pool::lookup_by_target_path, "compat: storage-old";
    ConnectGetStoragePoolCapabilities => pool::get_capabilities, "compat: storage";

    // Their volumes.
    StorageVolCreateXml => volume::create_xml, "compat: storage";
    StorageVolDelete => volume::delete, "compat: storage";
    StorageVolLookupByName => volume::lookup_by_name, "compat: storage";
    StorageVolLookupByKey => volume::lookup_by_key, "compat: storage";
    StorageVolLookupByPath => volume::lookup_by_path, "compat: storage";
    StorageVolGetInfo => volume::get_info, "compat: storage";
    StorageVolGetXmlDesc => volume::get_xml_desc, "compat: storage";
    StorageVolGetPath => volume::get_path, "compat: storage";
    StorageVolCreateXmlFrom => volume::create_xml_from, "compat: storage";
    StorageVolWipe => volume::wipe, "compat: storage-old";
    StorageVolUpload => volume::upload, "compat: storage";
    StorageVolDownload => volume::download, "compat: storage";
    StorageVolWipePattern => volume::wipe_pattern, "compat: storage";
    StorageVolResize => volume::resize, "compat: storage";
    StorageVolGetInfoFlags => volume::get_info_flags, "compat: storage";
}
