//! Program `remote`: its types and procedures.
//!
//! Written by `cargo xtask codegen` from `facts/remote.facts`; change that, not this.

use crate::Text;

procedures! {
    program 0x2000_8086 version 1;
    calls {
        1 ConnectOpen "CONNECT_OPEN" (ConnectOpenArgs) -> () { high acl[connect.getattr] }
        2 ConnectClose "CONNECT_CLOSE" (()) -> () { high }
        3 ConnectGetType "CONNECT_GET_TYPE" (()) -> ConnectGetTypeRet { high acl[connect.getattr] }
        4 ConnectGetVersion "CONNECT_GET_VERSION" (()) -> ConnectGetVersionRet { high acl[connect.getattr] }
        5 ConnectGetMaxVcpus "CONNECT_GET_MAX_VCPUS" (ConnectGetMaxVcpusArgs) -> ConnectGetMaxVcpusRet { high acl[connect.read] }
        6 NodeGetInfo "NODE_GET_INFO" (()) -> NodeGetInfoRet { high acl[connect.read] }
        7 ConnectGetCapabilities "CONNECT_GET_CAPABILITIES" (()) -> ConnectGetCapabilitiesRet { acl[connect.read] }
        8 DomainAttachDevice "DOMAIN_ATTACH_DEVICE" (DomainAttachDeviceArgs) -> () { acl[domain.write] }
        9 DomainCreate "DOMAIN_CREATE" (DomainCreateArgs) -> () { acl[domain.start] }
        10 DomainCreateXml "DOMAIN_CREATE_XML" (DomainCreateXmlArgs) -> DomainCreateXmlRet { acl[domain.write, domain.start] }
        11 DomainDefineXml "DOMAIN_DEFINE_XML" (DomainDefineXmlArgs) -> DomainDefineXmlRet { high acl[domain.write, domain.save] }
        12 DomainDestroy "DOMAIN_DESTROY" (DomainDestroyArgs) -> () { high acl[domain.stop] }
        13 DomainDetachDevice "DOMAIN_DETACH_DEVICE" (DomainDetachDeviceArgs) -> () { acl[domain.write] }
        14 DomainGetXmlDesc "DOMAIN_GET_XML_DESC" (DomainGetXmlDescArgs) -> DomainGetXmlDescRet { acl[domain.read, domain.read_secure if flag(1), domain.read_secure if flag(8)] flags }
        15 DomainGetAutostart "DOMAIN_GET_AUTOSTART" (DomainGetAutostartArgs) -> DomainGetAutostartRet { high acl[domain.read] }
        16 DomainGetInfo "DOMAIN_GET_INFO" (DomainGetInfoArgs) -> DomainGetInfoRet { acl[domain.read] }
        17 DomainGetMaxMemory "DOMAIN_GET_MAX_MEMORY" (DomainGetMaxMemoryArgs) -> DomainGetMaxMemoryRet { high acl[domain.read] }
        18 DomainGetMaxVcpus "DOMAIN_GET_MAX_VCPUS" (DomainGetMaxVcpusArgs) -> DomainGetMaxVcpusRet { high acl[domain.read] }
        19 DomainGetOsType "DOMAIN_GET_OS_TYPE" (DomainGetOsTypeArgs) -> DomainGetOsTypeRet { high acl[domain.read] }
        20 DomainGetVcpus "DOMAIN_GET_VCPUS" (DomainGetVcpusArgs) -> DomainGetVcpusRet { high acl[domain.read] }
        21 ConnectListDefinedDomains "CONNECT_LIST_DEFINED_DOMAINS" (ConnectListDefinedDomainsArgs) -> ConnectListDefinedDomainsRet { high acl[connect.search_domains] }
        22 DomainLookupById "DOMAIN_LOOKUP_BY_ID" (DomainLookupByIdArgs) -> DomainLookupByIdRet { high acl[domain.getattr] }
        23 DomainLookupByName "DOMAIN_LOOKUP_BY_NAME" (DomainLookupByNameArgs) -> DomainLookupByNameRet { high acl[domain.getattr] }
        24 DomainLookupByUuid "DOMAIN_LOOKUP_BY_UUID" (DomainLookupByUuidArgs) -> DomainLookupByUuidRet { high acl[domain.getattr] }
        25 ConnectNumOfDefinedDomains "CONNECT_NUM_OF_DEFINED_DOMAINS" (()) -> ConnectNumOfDefinedDomainsRet { high acl[connect.search_domains] }
        26 DomainPinVcpu "DOMAIN_PIN_VCPU" (DomainPinVcpuArgs) -> () { acl[domain.write] }
        27 DomainReboot "DOMAIN_REBOOT" (DomainRebootArgs) -> () { acl[domain.init_control, domain.write if flag(2)] flags }
        28 DomainResume "DOMAIN_RESUME" (DomainResumeArgs) -> () { acl[domain.suspend] }
        29 DomainSetAutostart "DOMAIN_SET_AUTOSTART" (DomainSetAutostartArgs) -> () { high acl[domain.write] }
        30 DomainSetMaxMemory "DOMAIN_SET_MAX_MEMORY" (DomainSetMaxMemoryArgs) -> () { high acl[domain.write] }
        31 DomainSetMemory "DOMAIN_SET_MEMORY" (DomainSetMemoryArgs) -> () { acl[domain.write] }
        32 DomainSetVcpus "DOMAIN_SET_VCPUS" (DomainSetVcpusArgs) -> () { acl[domain.write] }
        33 DomainShutdown "DOMAIN_SHUTDOWN" (DomainShutdownArgs) -> () { acl[domain.init_control] }
        34 DomainSuspend "DOMAIN_SUSPEND" (DomainSuspendArgs) -> () { acl[domain.suspend] }
        35 DomainUndefine "DOMAIN_UNDEFINE" (DomainUndefineArgs) -> () { high acl[domain.delete] }
        36 ConnectListDefinedNetworks "CONNECT_LIST_DEFINED_NETWORKS" (ConnectListDefinedNetworksArgs) -> ConnectListDefinedNetworksRet { high acl[connect.search_networks] }
        37 ConnectListDomains "CONNECT_LIST_DOMAINS" (ConnectListDomainsArgs) -> ConnectListDomainsRet { high acl[connect.search_domains] }
        38 ConnectListNetworks "CONNECT_LIST_NETWORKS" (ConnectListNetworksArgs) -> ConnectListNetworksRet { high acl[connect.search_networks] }
        39 NetworkCreate "NETWORK_CREATE" (NetworkCreateArgs) -> () { acl[network.start] }
        40 NetworkCreateXml "NETWORK_CREATE_XML" (NetworkCreateXmlArgs) -> NetworkCreateXmlRet { acl[network.write, network.start] }
        41 NetworkDefineXml "NETWORK_DEFINE_XML" (NetworkDefineXmlArgs) -> NetworkDefineXmlRet { high acl[network.write, network.save] }
        42 NetworkDestroy "NETWORK_DESTROY" (NetworkDestroyArgs) -> () { high acl[network.stop] }
        43 NetworkGetXmlDesc "NETWORK_GET_XML_DESC" (NetworkGetXmlDescArgs) -> NetworkGetXmlDescRet { high acl[network.read] }
        44 NetworkGetAutostart "NETWORK_GET_AUTOSTART" (NetworkGetAutostartArgs) -> NetworkGetAutostartRet { high acl[network.read] }
        45 NetworkGetBridgeName "NETWORK_GET_BRIDGE_NAME" (NetworkGetBridgeNameArgs) -> NetworkGetBridgeNameRet { high acl[network.read] }
        46 NetworkLookupByName "NETWORK_LOOKUP_BY_NAME" (NetworkLookupByNameArgs) -> NetworkLookupByNameRet { high acl[network.getattr] }
        47 NetworkLookupByUuid "NETWORK_LOOKUP_BY_UUID" (NetworkLookupByUuidArgs) -> NetworkLookupByUuidRet { high acl[network.getattr] }
        48 NetworkSetAutostart "NETWORK_SET_AUTOSTART" (NetworkSetAutostartArgs) -> () { high acl[network.write] }
        49 NetworkUndefine "NETWORK_UNDEFINE" (NetworkUndefineArgs) -> () { high acl[network.delete] }
        50 ConnectNumOfDefinedNetworks "CONNECT_NUM_OF_DEFINED_NETWORKS" (()) -> ConnectNumOfDefinedNetworksRet { high acl[connect.search_networks] }
        51 ConnectNumOfDomains "CONNECT_NUM_OF_DOMAINS" (()) -> ConnectNumOfDomainsRet { high acl[connect.search_domains] }
        52 ConnectNumOfNetworks "CONNECT_NUM_OF_NETWORKS" (()) -> ConnectNumOfNetworksRet { high acl[connect.search_networks] }
        53 DomainCoreDump "DOMAIN_CORE_DUMP" (DomainCoreDumpArgs) -> () { acl[domain.core_dump] }
        54 DomainRestore "DOMAIN_RESTORE" (DomainRestoreArgs) -> () { acl[domain.start, domain.write] }
        55 DomainSave "DOMAIN_SAVE" (DomainSaveArgs) -> () { acl[domain.hibernate] }
        56 DomainGetSchedulerType "DOMAIN_GET_SCHEDULER_TYPE" (DomainGetSchedulerTypeArgs) -> DomainGetSchedulerTypeRet { acl[domain.read] }
        57 DomainGetSchedulerParameters "DOMAIN_GET_SCHEDULER_PARAMETERS" (DomainGetSchedulerParametersArgs) -> DomainGetSchedulerParametersRet { acl[domain.read] }
        58 DomainSetSchedulerParameters "DOMAIN_SET_SCHEDULER_PARAMETERS" (DomainSetSchedulerParametersArgs) -> () { acl[domain.read] }
        59 ConnectGetHostname "CONNECT_GET_HOSTNAME" (()) -> ConnectGetHostnameRet { high acl[connect.getattr] }
        60 ConnectSupportsFeature "CONNECT_SUPPORTS_FEATURE" (ConnectSupportsFeatureArgs) -> ConnectSupportsFeatureRet { high acl[connect.getattr] }
        61 DomainMigratePrepare "DOMAIN_MIGRATE_PREPARE" (DomainMigratePrepareArgs) -> DomainMigratePrepareRet { acl[domain.migrate, domain.start, domain.write] }
        62 DomainMigratePerform "DOMAIN_MIGRATE_PERFORM" (DomainMigratePerformArgs) -> () { acl[domain.migrate] }
        63 DomainMigrateFinish "DOMAIN_MIGRATE_FINISH" (DomainMigrateFinishArgs) -> DomainMigrateFinishRet { acl[domain.migrate] }
        64 DomainBlockStats "DOMAIN_BLOCK_STATS" (DomainBlockStatsArgs) -> DomainBlockStatsRet { acl[domain.read] }
        65 DomainInterfaceStats "DOMAIN_INTERFACE_STATS" (DomainInterfaceStatsArgs) -> DomainInterfaceStatsRet { high acl[domain.read] }
        66 AuthList "AUTH_LIST" (()) -> AuthListRet { high before_login }
        67 AuthSaslInit "AUTH_SASL_INIT" (()) -> AuthSaslInitRet { high before_login }
        68 AuthSaslStart "AUTH_SASL_START" (AuthSaslStartArgs) -> AuthSaslStartRet { high before_login }
        69 AuthSaslStep "AUTH_SASL_STEP" (AuthSaslStepArgs) -> AuthSaslStepRet { high before_login }
        70 AuthPolkit "AUTH_POLKIT" (()) -> AuthPolkitRet { high before_login }
        71 ConnectNumOfStoragePools "CONNECT_NUM_OF_STORAGE_POOLS" (()) -> ConnectNumOfStoragePoolsRet { high acl[connect.search_storage_pools] }
        72 ConnectListStoragePools "CONNECT_LIST_STORAGE_POOLS" (ConnectListStoragePoolsArgs) -> ConnectListStoragePoolsRet { high acl[connect.search_storage_pools] }
        73 ConnectNumOfDefinedStoragePools "CONNECT_NUM_OF_DEFINED_STORAGE_POOLS" (()) -> ConnectNumOfDefinedStoragePoolsRet { high acl[connect.search_storage_pools] }
        74 ConnectListDefinedStoragePools "CONNECT_LIST_DEFINED_STORAGE_POOLS" (ConnectListDefinedStoragePoolsArgs) -> ConnectListDefinedStoragePoolsRet { high acl[connect.search_storage_pools] }
        75 ConnectFindStoragePoolSources "CONNECT_FIND_STORAGE_POOL_SOURCES" (ConnectFindStoragePoolSourcesArgs) -> ConnectFindStoragePoolSourcesRet { acl[connect.detect_storage_pools] }
        76 StoragePoolCreateXml "STORAGE_POOL_CREATE_XML" (StoragePoolCreateXmlArgs) -> StoragePoolCreateXmlRet { acl[storage_pool.start, storage_pool.write] }
        77 StoragePoolDefineXml "STORAGE_POOL_DEFINE_XML" (StoragePoolDefineXmlArgs) -> StoragePoolDefineXmlRet { high acl[storage_pool.write, storage_pool.save] }
        78 StoragePoolCreate "STORAGE_POOL_CREATE" (StoragePoolCreateArgs) -> () { acl[storage_pool.start] }
        79 StoragePoolBuild "STORAGE_POOL_BUILD" (StoragePoolBuildArgs) -> () { acl[storage_pool.format] }
        80 StoragePoolDestroy "STORAGE_POOL_DESTROY" (StoragePoolDestroyArgs) -> () { high acl[storage_pool.stop] }
        81 StoragePoolDelete "STORAGE_POOL_DELETE" (StoragePoolDeleteArgs) -> () { acl[storage_pool.format] }
        82 StoragePoolUndefine "STORAGE_POOL_UNDEFINE" (StoragePoolUndefineArgs) -> () { high acl[storage_pool.delete] }
        83 StoragePoolRefresh "STORAGE_POOL_REFRESH" (StoragePoolRefreshArgs) -> () { acl[storage_pool.refresh] }
        84 StoragePoolLookupByName "STORAGE_POOL_LOOKUP_BY_NAME" (StoragePoolLookupByNameArgs) -> StoragePoolLookupByNameRet { high acl[storage_pool.getattr] }
        85 StoragePoolLookupByUuid "STORAGE_POOL_LOOKUP_BY_UUID" (StoragePoolLookupByUuidArgs) -> StoragePoolLookupByUuidRet { high acl[storage_pool.getattr] }
        86 StoragePoolLookupByVolume "STORAGE_POOL_LOOKUP_BY_VOLUME" (StoragePoolLookupByVolumeArgs) -> StoragePoolLookupByVolumeRet { high acl[storage_pool.getattr] }
        87 StoragePoolGetInfo "STORAGE_POOL_GET_INFO" (StoragePoolGetInfoArgs) -> StoragePoolGetInfoRet { high acl[storage_pool.read] }
        88 StoragePoolGetXmlDesc "STORAGE_POOL_GET_XML_DESC" (StoragePoolGetXmlDescArgs) -> StoragePoolGetXmlDescRet { high acl[storage_pool.read] }
        89 StoragePoolGetAutostart "STORAGE_POOL_GET_AUTOSTART" (StoragePoolGetAutostartArgs) -> StoragePoolGetAutostartRet { high acl[storage_pool.read] }
        90 StoragePoolSetAutostart "STORAGE_POOL_SET_AUTOSTART" (StoragePoolSetAutostartArgs) -> () { high acl[storage_pool.write] }
        91 StoragePoolNumOfVolumes "STORAGE_POOL_NUM_OF_VOLUMES" (StoragePoolNumOfVolumesArgs) -> StoragePoolNumOfVolumesRet { high acl[storage_pool.search_storage_vols] }
        92 StoragePoolListVolumes "STORAGE_POOL_LIST_VOLUMES" (StoragePoolListVolumesArgs) -> StoragePoolListVolumesRet { high acl[storage_pool.search_storage_vols] }
        93 StorageVolCreateXml "STORAGE_VOL_CREATE_XML" (StorageVolCreateXmlArgs) -> StorageVolCreateXmlRet { acl[storage_vol.create] }
        94 StorageVolDelete "STORAGE_VOL_DELETE" (StorageVolDeleteArgs) -> () { acl[storage_vol.delete] }
        95 StorageVolLookupByName "STORAGE_VOL_LOOKUP_BY_NAME" (StorageVolLookupByNameArgs) -> StorageVolLookupByNameRet { high acl[storage_vol.getattr] }
        96 StorageVolLookupByKey "STORAGE_VOL_LOOKUP_BY_KEY" (StorageVolLookupByKeyArgs) -> StorageVolLookupByKeyRet { high acl[storage_vol.getattr] }
        97 StorageVolLookupByPath "STORAGE_VOL_LOOKUP_BY_PATH" (StorageVolLookupByPathArgs) -> StorageVolLookupByPathRet { high acl[storage_vol.getattr] }
        98 StorageVolGetInfo "STORAGE_VOL_GET_INFO" (StorageVolGetInfoArgs) -> StorageVolGetInfoRet { high acl[storage_vol.read] }
        99 StorageVolGetXmlDesc "STORAGE_VOL_GET_XML_DESC" (StorageVolGetXmlDescArgs) -> StorageVolGetXmlDescRet { high acl[storage_vol.read] }
        100 StorageVolGetPath "STORAGE_VOL_GET_PATH" (StorageVolGetPathArgs) -> StorageVolGetPathRet { high acl[storage_vol.read] }
        101 NodeGetCellsFreeMemory "NODE_GET_CELLS_FREE_MEMORY" (NodeGetCellsFreeMemoryArgs) -> NodeGetCellsFreeMemoryRet { high acl[connect.read] }
        102 NodeGetFreeMemory "NODE_GET_FREE_MEMORY" (()) -> NodeGetFreeMemoryRet { high acl[connect.read] }
        103 DomainBlockPeek "DOMAIN_BLOCK_PEEK" (DomainBlockPeekArgs) -> DomainBlockPeekRet { acl[domain.block_read] }
        104 DomainMemoryPeek "DOMAIN_MEMORY_PEEK" (DomainMemoryPeekArgs) -> DomainMemoryPeekRet { acl[domain.mem_read] }
        105 ConnectDomainEventRegister "CONNECT_DOMAIN_EVENT_REGISTER" (()) -> ConnectDomainEventRegisterRet { high acl[connect.search_domains] }
        106 ConnectDomainEventDeregister "CONNECT_DOMAIN_EVENT_DEREGISTER" (()) -> ConnectDomainEventDeregisterRet { high acl[connect.read] }
        108 DomainMigratePrepare2 "DOMAIN_MIGRATE_PREPARE2" (DomainMigratePrepare2Args) -> DomainMigratePrepare2Ret { acl[domain.migrate, domain.start, domain.write] }
        109 DomainMigrateFinish2 "DOMAIN_MIGRATE_FINISH2" (DomainMigrateFinish2Args) -> DomainMigrateFinish2Ret { acl[domain.migrate] }
        110 ConnectGetUri "CONNECT_GET_URI" (()) -> ConnectGetUriRet { high acl[connect.getattr] }
        111 NodeNumOfDevices "NODE_NUM_OF_DEVICES" (NodeNumOfDevicesArgs) -> NodeNumOfDevicesRet { high acl[connect.search_node_devices] }
        112 NodeListDevices "NODE_LIST_DEVICES" (NodeListDevicesArgs) -> NodeListDevicesRet { high acl[connect.search_node_devices] }
        113 NodeDeviceLookupByName "NODE_DEVICE_LOOKUP_BY_NAME" (NodeDeviceLookupByNameArgs) -> NodeDeviceLookupByNameRet { high acl[node_device.getattr] }
        114 NodeDeviceGetXmlDesc "NODE_DEVICE_GET_XML_DESC" (NodeDeviceGetXmlDescArgs) -> NodeDeviceGetXmlDescRet { acl[node_device.read] }
        115 NodeDeviceGetParent "NODE_DEVICE_GET_PARENT" (NodeDeviceGetParentArgs) -> NodeDeviceGetParentRet { high acl[node_device.read] }
        116 NodeDeviceNumOfCaps "NODE_DEVICE_NUM_OF_CAPS" (NodeDeviceNumOfCapsArgs) -> NodeDeviceNumOfCapsRet { high acl[node_device.read] }
        117 NodeDeviceListCaps "NODE_DEVICE_LIST_CAPS" (NodeDeviceListCapsArgs) -> NodeDeviceListCapsRet { high acl[node_device.read] }
        118 NodeDeviceDettach "NODE_DEVICE_DETTACH" (NodeDeviceDettachArgs) -> () { acl[node_device.detach] }
        119 NodeDeviceReAttach "NODE_DEVICE_RE_ATTACH" (NodeDeviceReAttachArgs) -> () { acl[node_device.detach] }
        120 NodeDeviceReset "NODE_DEVICE_RESET" (NodeDeviceResetArgs) -> () { acl[node_device.detach] }
        121 DomainGetSecurityLabel "DOMAIN_GET_SECURITY_LABEL" (DomainGetSecurityLabelArgs) -> DomainGetSecurityLabelRet { high acl[domain.read] }
        122 NodeGetSecurityModel "NODE_GET_SECURITY_MODEL" (()) -> NodeGetSecurityModelRet { high acl[connect.read] }
        123 NodeDeviceCreateXml "NODE_DEVICE_CREATE_XML" (NodeDeviceCreateXmlArgs) -> NodeDeviceCreateXmlRet { acl[node_device.write, node_device.start] }
        124 NodeDeviceDestroy "NODE_DEVICE_DESTROY" (NodeDeviceDestroyArgs) -> () { high acl[node_device.stop] }
        125 StorageVolCreateXmlFrom "STORAGE_VOL_CREATE_XML_FROM" (StorageVolCreateXmlFromArgs) -> StorageVolCreateXmlFromRet { acl[storage_vol.create] }
        126 ConnectNumOfInterfaces "CONNECT_NUM_OF_INTERFACES" (()) -> ConnectNumOfInterfacesRet { high acl[connect.search_interfaces] }
        127 ConnectListInterfaces "CONNECT_LIST_INTERFACES" (ConnectListInterfacesArgs) -> ConnectListInterfacesRet { high acl[connect.search_interfaces] }
        128 InterfaceLookupByName "INTERFACE_LOOKUP_BY_NAME" (InterfaceLookupByNameArgs) -> InterfaceLookupByNameRet { high acl[interface.getattr] }
        129 InterfaceLookupByMacString "INTERFACE_LOOKUP_BY_MAC_STRING" (InterfaceLookupByMacStringArgs) -> InterfaceLookupByMacStringRet { high acl[interface.getattr] }
        130 InterfaceGetXmlDesc "INTERFACE_GET_XML_DESC" (InterfaceGetXmlDescArgs) -> InterfaceGetXmlDescRet { acl[interface.read] }
        131 InterfaceDefineXml "INTERFACE_DEFINE_XML" (InterfaceDefineXmlArgs) -> InterfaceDefineXmlRet { high acl[interface.write, interface.save] }
        132 InterfaceUndefine "INTERFACE_UNDEFINE" (InterfaceUndefineArgs) -> () { high acl[interface.delete] }
        133 InterfaceCreate "INTERFACE_CREATE" (InterfaceCreateArgs) -> () { acl[interface.start] }
        134 InterfaceDestroy "INTERFACE_DESTROY" (InterfaceDestroyArgs) -> () { high acl[interface.stop] }
        135 ConnectDomainXmlFromNative "CONNECT_DOMAIN_XML_FROM_NATIVE" (ConnectDomainXmlFromNativeArgs) -> ConnectDomainXmlFromNativeRet { acl[connect.write] }
        136 ConnectDomainXmlToNative "CONNECT_DOMAIN_XML_TO_NATIVE" (ConnectDomainXmlToNativeArgs) -> ConnectDomainXmlToNativeRet { acl[connect.write] }
        137 ConnectNumOfDefinedInterfaces "CONNECT_NUM_OF_DEFINED_INTERFACES" (()) -> ConnectNumOfDefinedInterfacesRet { high acl[connect.search_interfaces] }
        138 ConnectListDefinedInterfaces "CONNECT_LIST_DEFINED_INTERFACES" (ConnectListDefinedInterfacesArgs) -> ConnectListDefinedInterfacesRet { high acl[connect.search_interfaces] }
        139 ConnectNumOfSecrets "CONNECT_NUM_OF_SECRETS" (()) -> ConnectNumOfSecretsRet { high acl[connect.search_secrets] }
        140 ConnectListSecrets "CONNECT_LIST_SECRETS" (ConnectListSecretsArgs) -> ConnectListSecretsRet { high acl[connect.search_secrets] }
        141 SecretLookupByUuid "SECRET_LOOKUP_BY_UUID" (SecretLookupByUuidArgs) -> SecretLookupByUuidRet { high acl[secret.getattr] }
        142 SecretDefineXml "SECRET_DEFINE_XML" (SecretDefineXmlArgs) -> SecretDefineXmlRet { high acl[secret.write, secret.save] }
        143 SecretGetXmlDesc "SECRET_GET_XML_DESC" (SecretGetXmlDescArgs) -> SecretGetXmlDescRet { high acl[secret.read] }
        144 SecretSetValue "SECRET_SET_VALUE" (SecretSetValueArgs) -> () { high acl[secret.write] }
        145 SecretGetValue "SECRET_GET_VALUE" (SecretGetValueArgs) -> SecretGetValueRet { high acl[secret.read_secure] }
        146 SecretUndefine "SECRET_UNDEFINE" (SecretUndefineArgs) -> () { high acl[secret.delete] }
        147 SecretLookupByUsage "SECRET_LOOKUP_BY_USAGE" (SecretLookupByUsageArgs) -> SecretLookupByUsageRet { high acl[secret.getattr] }
        148 DomainMigratePrepareTunnel "DOMAIN_MIGRATE_PREPARE_TUNNEL" (DomainMigratePrepareTunnelArgs) -> () { stream[In] acl[domain.migrate, domain.start, domain.write] }
        149 ConnectIsSecure "CONNECT_IS_SECURE" (()) -> ConnectIsSecureRet { high }
        150 DomainIsActive "DOMAIN_IS_ACTIVE" (DomainIsActiveArgs) -> DomainIsActiveRet { high acl[domain.read] }
        151 DomainIsPersistent "DOMAIN_IS_PERSISTENT" (DomainIsPersistentArgs) -> DomainIsPersistentRet { high acl[domain.read] }
        152 NetworkIsActive "NETWORK_IS_ACTIVE" (NetworkIsActiveArgs) -> NetworkIsActiveRet { high acl[network.read] }
        153 NetworkIsPersistent "NETWORK_IS_PERSISTENT" (NetworkIsPersistentArgs) -> NetworkIsPersistentRet { high acl[network.read] }
        154 StoragePoolIsActive "STORAGE_POOL_IS_ACTIVE" (StoragePoolIsActiveArgs) -> StoragePoolIsActiveRet { high acl[storage_pool.read] }
        155 StoragePoolIsPersistent "STORAGE_POOL_IS_PERSISTENT" (StoragePoolIsPersistentArgs) -> StoragePoolIsPersistentRet { high acl[storage_pool.read] }
        156 InterfaceIsActive "INTERFACE_IS_ACTIVE" (InterfaceIsActiveArgs) -> InterfaceIsActiveRet { high acl[interface.read] }
        157 ConnectGetLibVersion "CONNECT_GET_LIB_VERSION" (()) -> ConnectGetLibVersionRet { high acl[connect.getattr] }
        158 ConnectCompareCpu "CONNECT_COMPARE_CPU" (ConnectCompareCpuArgs) -> ConnectCompareCpuRet { high acl[connect.read] }
        159 DomainMemoryStats "DOMAIN_MEMORY_STATS" (DomainMemoryStatsArgs) -> DomainMemoryStatsRet { acl[domain.read] }
        160 DomainAttachDeviceFlags "DOMAIN_ATTACH_DEVICE_FLAGS" (DomainAttachDeviceFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        161 DomainDetachDeviceFlags "DOMAIN_DETACH_DEVICE_FLAGS" (DomainDetachDeviceFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        162 ConnectBaselineCpu "CONNECT_BASELINE_CPU" (ConnectBaselineCpuArgs) -> ConnectBaselineCpuRet { acl[connect.read] }
        163 DomainGetJobInfo "DOMAIN_GET_JOB_INFO" (DomainGetJobInfoArgs) -> DomainGetJobInfoRet { acl[domain.read] }
        164 DomainAbortJob "DOMAIN_ABORT_JOB" (DomainAbortJobArgs) -> () { acl[domain.write] }
        165 StorageVolWipe "STORAGE_VOL_WIPE" (StorageVolWipeArgs) -> () { acl[storage_vol.format] }
        166 DomainMigrateSetMaxDowntime "DOMAIN_MIGRATE_SET_MAX_DOWNTIME" (DomainMigrateSetMaxDowntimeArgs) -> () { acl[domain.migrate] }
        167 ConnectDomainEventRegisterAny "CONNECT_DOMAIN_EVENT_REGISTER_ANY" (ConnectDomainEventRegisterAnyArgs) -> () { high acl[connect.search_domains] }
        168 ConnectDomainEventDeregisterAny "CONNECT_DOMAIN_EVENT_DEREGISTER_ANY" (ConnectDomainEventDeregisterAnyArgs) -> () { high acl[connect.read] }
        174 DomainUpdateDeviceFlags "DOMAIN_UPDATE_DEVICE_FLAGS" (DomainUpdateDeviceFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        175 NwfilterLookupByName "NWFILTER_LOOKUP_BY_NAME" (NwfilterLookupByNameArgs) -> NwfilterLookupByNameRet { high acl[nwfilter.getattr] }
        176 NwfilterLookupByUuid "NWFILTER_LOOKUP_BY_UUID" (NwfilterLookupByUuidArgs) -> NwfilterLookupByUuidRet { high acl[nwfilter.getattr] }
        177 NwfilterGetXmlDesc "NWFILTER_GET_XML_DESC" (NwfilterGetXmlDescArgs) -> NwfilterGetXmlDescRet { high acl[nwfilter.read] }
        178 ConnectNumOfNwfilters "CONNECT_NUM_OF_NWFILTERS" (()) -> ConnectNumOfNwfiltersRet { high acl[connect.search_nwfilters] }
        179 ConnectListNwfilters "CONNECT_LIST_NWFILTERS" (ConnectListNwfiltersArgs) -> ConnectListNwfiltersRet { high acl[connect.search_nwfilters] }
        180 NwfilterDefineXml "NWFILTER_DEFINE_XML" (NwfilterDefineXmlArgs) -> NwfilterDefineXmlRet { high acl[nwfilter.write, nwfilter.save] }
        181 NwfilterUndefine "NWFILTER_UNDEFINE" (NwfilterUndefineArgs) -> () { high acl[nwfilter.delete] }
        182 DomainManagedSave "DOMAIN_MANAGED_SAVE" (DomainManagedSaveArgs) -> () { acl[domain.hibernate] }
        183 DomainHasManagedSaveImage "DOMAIN_HAS_MANAGED_SAVE_IMAGE" (DomainHasManagedSaveImageArgs) -> DomainHasManagedSaveImageRet { acl[domain.read] }
        184 DomainManagedSaveRemove "DOMAIN_MANAGED_SAVE_REMOVE" (DomainManagedSaveRemoveArgs) -> () { acl[domain.hibernate] }
        185 DomainSnapshotCreateXml "DOMAIN_SNAPSHOT_CREATE_XML" (DomainSnapshotCreateXmlArgs) -> DomainSnapshotCreateXmlRet { acl[domain.snapshot, domain.fs_freeze if flag(64)] flags }
        186 DomainSnapshotGetXmlDesc "DOMAIN_SNAPSHOT_GET_XML_DESC" (DomainSnapshotGetXmlDescArgs) -> DomainSnapshotGetXmlDescRet { high acl[domain.read, domain.read_secure if flag(1)] flags }
        187 DomainSnapshotNum "DOMAIN_SNAPSHOT_NUM" (DomainSnapshotNumArgs) -> DomainSnapshotNumRet { high acl[domain.read] }
        188 DomainSnapshotListNames "DOMAIN_SNAPSHOT_LIST_NAMES" (DomainSnapshotListNamesArgs) -> DomainSnapshotListNamesRet { high acl[domain.read] }
        189 DomainSnapshotLookupByName "DOMAIN_SNAPSHOT_LOOKUP_BY_NAME" (DomainSnapshotLookupByNameArgs) -> DomainSnapshotLookupByNameRet { high acl[domain.read] }
        190 DomainHasCurrentSnapshot "DOMAIN_HAS_CURRENT_SNAPSHOT" (DomainHasCurrentSnapshotArgs) -> DomainHasCurrentSnapshotRet { acl[domain.read] }
        191 DomainSnapshotCurrent "DOMAIN_SNAPSHOT_CURRENT" (DomainSnapshotCurrentArgs) -> DomainSnapshotCurrentRet { acl[domain.read] }
        192 DomainRevertToSnapshot "DOMAIN_REVERT_TO_SNAPSHOT" (DomainRevertToSnapshotArgs) -> () { acl[domain.snapshot] }
        193 DomainSnapshotDelete "DOMAIN_SNAPSHOT_DELETE" (DomainSnapshotDeleteArgs) -> () { acl[domain.snapshot] }
        194 DomainGetBlockInfo "DOMAIN_GET_BLOCK_INFO" (DomainGetBlockInfoArgs) -> DomainGetBlockInfoRet { acl[domain.read] }
        196 DomainCreateWithFlags "DOMAIN_CREATE_WITH_FLAGS" (DomainCreateWithFlagsArgs) -> DomainCreateWithFlagsRet { acl[domain.start] }
        197 DomainSetMemoryParameters "DOMAIN_SET_MEMORY_PARAMETERS" (DomainSetMemoryParametersArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        198 DomainGetMemoryParameters "DOMAIN_GET_MEMORY_PARAMETERS" (DomainGetMemoryParametersArgs) -> DomainGetMemoryParametersRet { acl[domain.read] }
        199 DomainSetVcpusFlags "DOMAIN_SET_VCPUS_FLAGS" (DomainSetVcpusFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2), domain.write if flag(8)] flags }
        200 DomainGetVcpusFlags "DOMAIN_GET_VCPUS_FLAGS" (DomainGetVcpusFlagsArgs) -> DomainGetVcpusFlagsRet { acl[domain.read, domain.write if flag(8)] flags }
        201 DomainOpenConsole "DOMAIN_OPEN_CONSOLE" (DomainOpenConsoleArgs) -> () { stream[Both] acl[domain.open_device] }
        202 DomainIsUpdated "DOMAIN_IS_UPDATED" (DomainIsUpdatedArgs) -> DomainIsUpdatedRet { high acl[domain.read] }
        203 ConnectGetSysinfo "CONNECT_GET_SYSINFO" (ConnectGetSysinfoArgs) -> ConnectGetSysinfoRet { high acl[connect.read] }
        204 DomainSetMemoryFlags "DOMAIN_SET_MEMORY_FLAGS" (DomainSetMemoryFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        205 DomainSetBlkioParameters "DOMAIN_SET_BLKIO_PARAMETERS" (DomainSetBlkioParametersArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        206 DomainGetBlkioParameters "DOMAIN_GET_BLKIO_PARAMETERS" (DomainGetBlkioParametersArgs) -> DomainGetBlkioParametersRet { acl[domain.read] }
        207 DomainMigrateSetMaxSpeed "DOMAIN_MIGRATE_SET_MAX_SPEED" (DomainMigrateSetMaxSpeedArgs) -> () { acl[domain.migrate] }
        208 StorageVolUpload "STORAGE_VOL_UPLOAD" (StorageVolUploadArgs) -> () { stream[In] sparse[1] acl[storage_vol.data_write] }
        209 StorageVolDownload "STORAGE_VOL_DOWNLOAD" (StorageVolDownloadArgs) -> () { stream[Out] sparse[1] acl[storage_vol.data_read] }
        210 DomainInjectNmi "DOMAIN_INJECT_NMI" (DomainInjectNmiArgs) -> () { acl[domain.inject_nmi] }
        211 DomainScreenshot "DOMAIN_SCREENSHOT" (DomainScreenshotArgs) -> DomainScreenshotRet { stream[Out] acl[domain.screenshot] }
        212 DomainGetState "DOMAIN_GET_STATE" (DomainGetStateArgs) -> DomainGetStateRet { high acl[domain.read] }
        213 DomainMigrateBegin3 "DOMAIN_MIGRATE_BEGIN3" (DomainMigrateBegin3Args) -> DomainMigrateBegin3Ret { acl[domain.migrate] }
        214 DomainMigratePrepare3 "DOMAIN_MIGRATE_PREPARE3" (DomainMigratePrepare3Args) -> DomainMigratePrepare3Ret { acl[domain.migrate, domain.start, domain.write] }
        215 DomainMigratePrepareTunnel3 "DOMAIN_MIGRATE_PREPARE_TUNNEL3" (DomainMigratePrepareTunnel3Args) -> DomainMigratePrepareTunnel3Ret { stream[In] acl[domain.migrate, domain.start, domain.write] }
        216 DomainMigratePerform3 "DOMAIN_MIGRATE_PERFORM3" (DomainMigratePerform3Args) -> DomainMigratePerform3Ret { acl[domain.migrate] }
        217 DomainMigrateFinish3 "DOMAIN_MIGRATE_FINISH3" (DomainMigrateFinish3Args) -> DomainMigrateFinish3Ret { acl[domain.migrate] }
        218 DomainMigrateConfirm3 "DOMAIN_MIGRATE_CONFIRM3" (DomainMigrateConfirm3Args) -> () { acl[domain.migrate] }
        219 DomainSetSchedulerParametersFlags "DOMAIN_SET_SCHEDULER_PARAMETERS_FLAGS" (DomainSetSchedulerParametersFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        220 InterfaceChangeBegin "INTERFACE_CHANGE_BEGIN" (InterfaceChangeBeginArgs) -> () { acl[connect.interface_transaction] }
        221 InterfaceChangeCommit "INTERFACE_CHANGE_COMMIT" (InterfaceChangeCommitArgs) -> () { acl[connect.interface_transaction] }
        222 InterfaceChangeRollback "INTERFACE_CHANGE_ROLLBACK" (InterfaceChangeRollbackArgs) -> () { acl[connect.interface_transaction] }
        223 DomainGetSchedulerParametersFlags "DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS" (DomainGetSchedulerParametersFlagsArgs) -> DomainGetSchedulerParametersFlagsRet { acl[domain.read] }
        225 DomainPinVcpuFlags "DOMAIN_PIN_VCPU_FLAGS" (DomainPinVcpuFlagsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        226 DomainSendKey "DOMAIN_SEND_KEY" (DomainSendKeyArgs) -> () { acl[domain.send_input] }
        227 NodeGetCpuStats "NODE_GET_CPU_STATS" (NodeGetCpuStatsArgs) -> NodeGetCpuStatsRet { high acl[connect.read] }
        228 NodeGetMemoryStats "NODE_GET_MEMORY_STATS" (NodeGetMemoryStatsArgs) -> NodeGetMemoryStatsRet { high acl[connect.read] }
        229 DomainGetControlInfo "DOMAIN_GET_CONTROL_INFO" (DomainGetControlInfoArgs) -> DomainGetControlInfoRet { high acl[domain.read] }
        230 DomainGetVcpuPinInfo "DOMAIN_GET_VCPU_PIN_INFO" (DomainGetVcpuPinInfoArgs) -> DomainGetVcpuPinInfoRet { acl[domain.read] }
        231 DomainUndefineFlags "DOMAIN_UNDEFINE_FLAGS" (DomainUndefineFlagsArgs) -> () { high acl[domain.delete] }
        232 DomainSaveFlags "DOMAIN_SAVE_FLAGS" (DomainSaveFlagsArgs) -> () { acl[domain.hibernate] }
        233 DomainRestoreFlags "DOMAIN_RESTORE_FLAGS" (DomainRestoreFlagsArgs) -> () { acl[domain.start, domain.write] }
        234 DomainDestroyFlags "DOMAIN_DESTROY_FLAGS" (DomainDestroyFlagsArgs) -> () { high acl[domain.stop] }
        235 DomainSaveImageGetXmlDesc "DOMAIN_SAVE_IMAGE_GET_XML_DESC" (DomainSaveImageGetXmlDescArgs) -> DomainSaveImageGetXmlDescRet { high acl[domain.write] }
        236 DomainSaveImageDefineXml "DOMAIN_SAVE_IMAGE_DEFINE_XML" (DomainSaveImageDefineXmlArgs) -> () { high acl[domain.write, domain.hibernate] }
        237 DomainBlockJobAbort "DOMAIN_BLOCK_JOB_ABORT" (DomainBlockJobAbortArgs) -> () { acl[domain.write] }
        238 DomainGetBlockJobInfo "DOMAIN_GET_BLOCK_JOB_INFO" (DomainGetBlockJobInfoArgs) -> DomainGetBlockJobInfoRet { acl[domain.read] }
        239 DomainBlockJobSetSpeed "DOMAIN_BLOCK_JOB_SET_SPEED" (DomainBlockJobSetSpeedArgs) -> () { acl[domain.write] }
        240 DomainBlockPull "DOMAIN_BLOCK_PULL" (DomainBlockPullArgs) -> () { acl[domain.block_write] }
        242 DomainMigrateGetMaxSpeed "DOMAIN_MIGRATE_GET_MAX_SPEED" (DomainMigrateGetMaxSpeedArgs) -> DomainMigrateGetMaxSpeedRet { acl[domain.migrate] }
        243 DomainBlockStatsFlags "DOMAIN_BLOCK_STATS_FLAGS" (DomainBlockStatsFlagsArgs) -> DomainBlockStatsFlagsRet { acl[domain.read] }
        244 DomainSnapshotGetParent "DOMAIN_SNAPSHOT_GET_PARENT" (DomainSnapshotGetParentArgs) -> DomainSnapshotGetParentRet { high acl[domain.read] }
        245 DomainReset "DOMAIN_RESET" (DomainResetArgs) -> () { acl[domain.reset] }
        246 DomainSnapshotNumChildren "DOMAIN_SNAPSHOT_NUM_CHILDREN" (DomainSnapshotNumChildrenArgs) -> DomainSnapshotNumChildrenRet { high acl[domain.read] }
        247 DomainSnapshotListChildrenNames "DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES" (DomainSnapshotListChildrenNamesArgs) -> DomainSnapshotListChildrenNamesRet { high acl[domain.read] }
        249 DomainOpenGraphics "DOMAIN_OPEN_GRAPHICS" (DomainOpenGraphicsArgs) -> () { fds_in acl[domain.open_graphics] }
        250 NodeSuspendForDuration "NODE_SUSPEND_FOR_DURATION" (NodeSuspendForDurationArgs) -> () { acl[connect.pm_control] }
        251 DomainBlockResize "DOMAIN_BLOCK_RESIZE" (DomainBlockResizeArgs) -> () { acl[domain.block_write] }
        252 DomainSetBlockIoTune "DOMAIN_SET_BLOCK_IO_TUNE" (DomainSetBlockIoTuneArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        253 DomainGetBlockIoTune "DOMAIN_GET_BLOCK_IO_TUNE" (DomainGetBlockIoTuneArgs) -> DomainGetBlockIoTuneRet { acl[domain.read] }
        254 DomainSetNumaParameters "DOMAIN_SET_NUMA_PARAMETERS" (DomainSetNumaParametersArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        255 DomainGetNumaParameters "DOMAIN_GET_NUMA_PARAMETERS" (DomainGetNumaParametersArgs) -> DomainGetNumaParametersRet { acl[domain.read] }
        256 DomainSetInterfaceParameters "DOMAIN_SET_INTERFACE_PARAMETERS" (DomainSetInterfaceParametersArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        257 DomainGetInterfaceParameters "DOMAIN_GET_INTERFACE_PARAMETERS" (DomainGetInterfaceParametersArgs) -> DomainGetInterfaceParametersRet { acl[domain.read] }
        258 DomainShutdownFlags "DOMAIN_SHUTDOWN_FLAGS" (DomainShutdownFlagsArgs) -> () { acl[domain.init_control, domain.write if flag(2)] flags }
        259 StorageVolWipePattern "STORAGE_VOL_WIPE_PATTERN" (StorageVolWipePatternArgs) -> () { acl[storage_vol.format] }
        260 StorageVolResize "STORAGE_VOL_RESIZE" (StorageVolResizeArgs) -> () { acl[storage_vol.resize] }
        261 DomainPmSuspendForDuration "DOMAIN_PM_SUSPEND_FOR_DURATION" (DomainPmSuspendForDurationArgs) -> () { acl[domain.pm_control] }
        262 DomainGetCpuStats "DOMAIN_GET_CPU_STATS" (DomainGetCpuStatsArgs) -> DomainGetCpuStatsRet { acl[domain.read] }
        263 DomainGetDiskErrors "DOMAIN_GET_DISK_ERRORS" (DomainGetDiskErrorsArgs) -> DomainGetDiskErrorsRet { acl[domain.read] }
        264 DomainSetMetadata "DOMAIN_SET_METADATA" (DomainSetMetadataArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        265 DomainGetMetadata "DOMAIN_GET_METADATA" (DomainGetMetadataArgs) -> DomainGetMetadataRet { acl[domain.read] }
        266 DomainBlockRebase "DOMAIN_BLOCK_REBASE" (DomainBlockRebaseArgs) -> () { acl[domain.block_write] }
        267 DomainPmWakeup "DOMAIN_PM_WAKEUP" (DomainPmWakeupArgs) -> () { acl[domain.pm_control] }
        271 DomainSnapshotIsCurrent "DOMAIN_SNAPSHOT_IS_CURRENT" (DomainSnapshotIsCurrentArgs) -> DomainSnapshotIsCurrentRet { acl[domain.read] }
        272 DomainSnapshotHasMetadata "DOMAIN_SNAPSHOT_HAS_METADATA" (DomainSnapshotHasMetadataArgs) -> DomainSnapshotHasMetadataRet { acl[domain.read] }
        273 ConnectListAllDomains "CONNECT_LIST_ALL_DOMAINS" (ConnectListAllDomainsArgs) -> ConnectListAllDomainsRet { high acl[connect.search_domains] }
        274 DomainListAllSnapshots "DOMAIN_LIST_ALL_SNAPSHOTS" (DomainListAllSnapshotsArgs) -> DomainListAllSnapshotsRet { high acl[domain.read] }
        275 DomainSnapshotListAllChildren "DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN" (DomainSnapshotListAllChildrenArgs) -> DomainSnapshotListAllChildrenRet { high acl[domain.read] }
        277 DomainGetHostname "DOMAIN_GET_HOSTNAME" (DomainGetHostnameArgs) -> DomainGetHostnameRet { acl[domain.write] }
        278 DomainGetSecurityLabelList "DOMAIN_GET_SECURITY_LABEL_LIST" (DomainGetSecurityLabelListArgs) -> DomainGetSecurityLabelListRet { high acl[domain.read] }
        279 DomainPinEmulator "DOMAIN_PIN_EMULATOR" (DomainPinEmulatorArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        280 DomainGetEmulatorPinInfo "DOMAIN_GET_EMULATOR_PIN_INFO" (DomainGetEmulatorPinInfoArgs) -> DomainGetEmulatorPinInfoRet { acl[domain.read] }
        281 ConnectListAllStoragePools "CONNECT_LIST_ALL_STORAGE_POOLS" (ConnectListAllStoragePoolsArgs) -> ConnectListAllStoragePoolsRet { high acl[connect.search_storage_pools] }
        282 StoragePoolListAllVolumes "STORAGE_POOL_LIST_ALL_VOLUMES" (StoragePoolListAllVolumesArgs) -> StoragePoolListAllVolumesRet { high acl[storage_pool.search_storage_vols] }
        283 ConnectListAllNetworks "CONNECT_LIST_ALL_NETWORKS" (ConnectListAllNetworksArgs) -> ConnectListAllNetworksRet { high acl[connect.search_networks] }
        284 ConnectListAllInterfaces "CONNECT_LIST_ALL_INTERFACES" (ConnectListAllInterfacesArgs) -> ConnectListAllInterfacesRet { high acl[connect.search_interfaces] }
        285 ConnectListAllNodeDevices "CONNECT_LIST_ALL_NODE_DEVICES" (ConnectListAllNodeDevicesArgs) -> ConnectListAllNodeDevicesRet { high acl[connect.search_node_devices] }
        286 ConnectListAllNwfilters "CONNECT_LIST_ALL_NWFILTERS" (ConnectListAllNwfiltersArgs) -> ConnectListAllNwfiltersRet { high acl[connect.search_nwfilters] }
        287 ConnectListAllSecrets "CONNECT_LIST_ALL_SECRETS" (ConnectListAllSecretsArgs) -> ConnectListAllSecretsRet { high acl[connect.search_secrets] }
        288 NodeSetMemoryParameters "NODE_SET_MEMORY_PARAMETERS" (NodeSetMemoryParametersArgs) -> () { acl[connect.write] }
        289 NodeGetMemoryParameters "NODE_GET_MEMORY_PARAMETERS" (NodeGetMemoryParametersArgs) -> NodeGetMemoryParametersRet { acl[connect.read] }
        290 DomainBlockCommit "DOMAIN_BLOCK_COMMIT" (DomainBlockCommitArgs) -> () { acl[domain.block_write] }
        291 NetworkUpdate "NETWORK_UPDATE" (NetworkUpdateArgs) -> () { high acl[network.write, network.save if no_flag(3), network.save if flag(2)] flags }
        293 NodeGetCpuMap "NODE_GET_CPU_MAP" (NodeGetCpuMapArgs) -> NodeGetCpuMapRet { acl[connect.read] }
        294 DomainFstrim "DOMAIN_FSTRIM" (DomainFstrimArgs) -> () { acl[domain.fs_trim] }
        295 DomainSendProcessSignal "DOMAIN_SEND_PROCESS_SIGNAL" (DomainSendProcessSignalArgs) -> () { acl[domain.send_signal] }
        296 DomainOpenChannel "DOMAIN_OPEN_CHANNEL" (DomainOpenChannelArgs) -> () { stream[Both] acl[domain.open_device] }
        297 NodeDeviceLookupScsiHostByWwn "NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN" (NodeDeviceLookupScsiHostByWwnArgs) -> NodeDeviceLookupScsiHostByWwnRet { high acl[node_device.getattr] }
        298 DomainGetJobStats "DOMAIN_GET_JOB_STATS" (DomainGetJobStatsArgs) -> DomainGetJobStatsRet { acl[domain.read] }
        299 DomainMigrateGetCompressionCache "DOMAIN_MIGRATE_GET_COMPRESSION_CACHE" (DomainMigrateGetCompressionCacheArgs) -> DomainMigrateGetCompressionCacheRet { acl[domain.migrate] }
        300 DomainMigrateSetCompressionCache "DOMAIN_MIGRATE_SET_COMPRESSION_CACHE" (DomainMigrateSetCompressionCacheArgs) -> () { acl[domain.migrate] }
        301 NodeDeviceDetachFlags "NODE_DEVICE_DETACH_FLAGS" (NodeDeviceDetachFlagsArgs) -> () { acl[node_device.detach] }
        302 DomainMigrateBegin3Params "DOMAIN_MIGRATE_BEGIN3_PARAMS" (DomainMigrateBegin3ParamsArgs) -> DomainMigrateBegin3ParamsRet { acl[domain.migrate] }
        303 DomainMigratePrepare3Params "DOMAIN_MIGRATE_PREPARE3_PARAMS" (DomainMigratePrepare3ParamsArgs) -> DomainMigratePrepare3ParamsRet { acl[domain.migrate, domain.start, domain.write] }
        304 DomainMigratePrepareTunnel3Params "DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS" (DomainMigratePrepareTunnel3ParamsArgs) -> DomainMigratePrepareTunnel3ParamsRet { stream[In] acl[domain.migrate, domain.start, domain.write] }
        305 DomainMigratePerform3Params "DOMAIN_MIGRATE_PERFORM3_PARAMS" (DomainMigratePerform3ParamsArgs) -> DomainMigratePerform3ParamsRet { acl[domain.migrate] }
        306 DomainMigrateFinish3Params "DOMAIN_MIGRATE_FINISH3_PARAMS" (DomainMigrateFinish3ParamsArgs) -> DomainMigrateFinish3ParamsRet { acl[domain.migrate] }
        307 DomainMigrateConfirm3Params "DOMAIN_MIGRATE_CONFIRM3_PARAMS" (DomainMigrateConfirm3ParamsArgs) -> () { acl[domain.migrate] }
        308 DomainSetMemoryStatsPeriod "DOMAIN_SET_MEMORY_STATS_PERIOD" (DomainSetMemoryStatsPeriodArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        309 DomainCreateXmlWithFiles "DOMAIN_CREATE_XML_WITH_FILES" (DomainCreateXmlWithFilesArgs) -> DomainCreateXmlWithFilesRet { fds_in acl[domain.write, domain.start] }
        310 DomainCreateWithFiles "DOMAIN_CREATE_WITH_FILES" (DomainCreateWithFilesArgs) -> DomainCreateWithFilesRet { fds_in acl[domain.start] }
        312 ConnectGetCpuModelNames "CONNECT_GET_CPU_MODEL_NAMES" (ConnectGetCpuModelNamesArgs) -> ConnectGetCpuModelNamesRet { acl[connect.read] }
        313 ConnectNetworkEventRegisterAny "CONNECT_NETWORK_EVENT_REGISTER_ANY" (ConnectNetworkEventRegisterAnyArgs) -> ConnectNetworkEventRegisterAnyRet { high acl[connect.search_networks] }
        314 ConnectNetworkEventDeregisterAny "CONNECT_NETWORK_EVENT_DEREGISTER_ANY" (ConnectNetworkEventDeregisterAnyArgs) -> () { high acl[connect.read] }
        316 ConnectDomainEventCallbackRegisterAny "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY" (ConnectDomainEventCallbackRegisterAnyArgs) -> ConnectDomainEventCallbackRegisterAnyRet { high acl[connect.search_domains] }
        317 ConnectDomainEventCallbackDeregisterAny "CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY" (ConnectDomainEventCallbackDeregisterAnyArgs) -> () { high acl[connect.read] }
        334 DomainCoreDumpWithFormat "DOMAIN_CORE_DUMP_WITH_FORMAT" (DomainCoreDumpWithFormatArgs) -> () { acl[domain.core_dump] }
        335 DomainFsfreeze "DOMAIN_FSFREEZE" (DomainFsfreezeArgs) -> DomainFsfreezeRet { acl[domain.fs_freeze] }
        336 DomainFsthaw "DOMAIN_FSTHAW" (DomainFsthawArgs) -> DomainFsthawRet { acl[domain.fs_freeze] }
        337 DomainGetTime "DOMAIN_GET_TIME" (DomainGetTimeArgs) -> DomainGetTimeRet { acl[domain.write] }
        338 DomainSetTime "DOMAIN_SET_TIME" (DomainSetTimeArgs) -> () { acl[domain.set_time] }
        340 NodeGetFreePages "NODE_GET_FREE_PAGES" (NodeGetFreePagesArgs) -> NodeGetFreePagesRet { high acl[connect.read] }
        341 NetworkGetDhcpLeases "NETWORK_GET_DHCP_LEASES" (NetworkGetDhcpLeasesArgs) -> NetworkGetDhcpLeasesRet { acl[network.read] }
        342 ConnectGetDomainCapabilities "CONNECT_GET_DOMAIN_CAPABILITIES" (ConnectGetDomainCapabilitiesArgs) -> ConnectGetDomainCapabilitiesRet { acl[connect.write] }
        343 DomainOpenGraphicsFd "DOMAIN_OPEN_GRAPHICS_FD" (DomainOpenGraphicsFdArgs) -> () { fds_out acl[domain.open_graphics] }
        344 ConnectGetAllDomainStats "CONNECT_GET_ALL_DOMAIN_STATS" (ConnectGetAllDomainStatsArgs) -> ConnectGetAllDomainStatsRet { acl[connect.search_domains] }
        345 DomainBlockCopy "DOMAIN_BLOCK_COPY" (DomainBlockCopyArgs) -> () { acl[domain.block_write] }
        347 NodeAllocPages "NODE_ALLOC_PAGES" (NodeAllocPagesArgs) -> NodeAllocPagesRet { acl[connect.write] }
        349 DomainGetFsinfo "DOMAIN_GET_FSINFO" (DomainGetFsinfoArgs) -> DomainGetFsinfoRet { acl[domain.fs_freeze] }
        350 DomainDefineXmlFlags "DOMAIN_DEFINE_XML_FLAGS" (DomainDefineXmlFlagsArgs) -> DomainDefineXmlFlagsRet { high acl[domain.write, domain.save] }
        351 DomainGetIothreadInfo "DOMAIN_GET_IOTHREAD_INFO" (DomainGetIothreadInfoArgs) -> DomainGetIothreadInfoRet { acl[domain.read] }
        352 DomainPinIothread "DOMAIN_PIN_IOTHREAD" (DomainPinIothreadArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        353 DomainInterfaceAddresses "DOMAIN_INTERFACE_ADDRESSES" (DomainInterfaceAddressesArgs) -> DomainInterfaceAddressesRet { acl[domain.read, domain.write if parameter("source", 1)] parameter[source] }
        355 DomainAddIothread "DOMAIN_ADD_IOTHREAD" (DomainAddIothreadArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        356 DomainDelIothread "DOMAIN_DEL_IOTHREAD" (DomainDelIothreadArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        357 DomainSetUserPassword "DOMAIN_SET_USER_PASSWORD" (DomainSetUserPasswordArgs) -> () { acl[domain.set_password] }
        358 DomainRename "DOMAIN_RENAME" (DomainRenameArgs) -> DomainRenameRet { acl[domain.write, domain.save] }
        360 ConnectRegisterCloseCallback "CONNECT_REGISTER_CLOSE_CALLBACK" (()) -> () { high acl[connect.getattr] }
        361 ConnectUnregisterCloseCallback "CONNECT_UNREGISTER_CLOSE_CALLBACK" (()) -> () { high acl[connect.getattr] }
        364 DomainMigrateStartPostCopy "DOMAIN_MIGRATE_START_POST_COPY" (DomainMigrateStartPostCopyArgs) -> () { acl[domain.migrate] }
        365 DomainGetPerfEvents "DOMAIN_GET_PERF_EVENTS" (DomainGetPerfEventsArgs) -> DomainGetPerfEventsRet { acl[domain.read] }
        366 DomainSetPerfEvents "DOMAIN_SET_PERF_EVENTS" (DomainSetPerfEventsArgs) -> () { acl[domain.write] }
        368 ConnectStoragePoolEventRegisterAny "CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY" (ConnectStoragePoolEventRegisterAnyArgs) -> ConnectStoragePoolEventRegisterAnyRet { high acl[connect.search_storage_pools] }
        369 ConnectStoragePoolEventDeregisterAny "CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY" (ConnectStoragePoolEventDeregisterAnyArgs) -> () { high acl[connect.read] }
        371 DomainGetGuestVcpus "DOMAIN_GET_GUEST_VCPUS" (DomainGetGuestVcpusArgs) -> DomainGetGuestVcpusRet { acl[domain.write] }
        372 DomainSetGuestVcpus "DOMAIN_SET_GUEST_VCPUS" (DomainSetGuestVcpusArgs) -> () { acl[domain.write] }
        374 ConnectNodeDeviceEventRegisterAny "CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY" (ConnectNodeDeviceEventRegisterAnyArgs) -> ConnectNodeDeviceEventRegisterAnyRet { high acl[connect.search_node_devices] }
        375 ConnectNodeDeviceEventDeregisterAny "CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY" (ConnectNodeDeviceEventDeregisterAnyArgs) -> () { high acl[connect.read] }
        378 StorageVolGetInfoFlags "STORAGE_VOL_GET_INFO_FLAGS" (StorageVolGetInfoFlagsArgs) -> StorageVolGetInfoFlagsRet { high acl[storage_vol.read] }
        380 ConnectSecretEventRegisterAny "CONNECT_SECRET_EVENT_REGISTER_ANY" (ConnectSecretEventRegisterAnyArgs) -> ConnectSecretEventRegisterAnyRet { high acl[connect.search_secrets] }
        381 ConnectSecretEventDeregisterAny "CONNECT_SECRET_EVENT_DEREGISTER_ANY" (ConnectSecretEventDeregisterAnyArgs) -> () { high acl[connect.read] }
        384 DomainSetVcpu "DOMAIN_SET_VCPU" (DomainSetVcpuArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        386 DomainSetBlockThreshold "DOMAIN_SET_BLOCK_THRESHOLD" (DomainSetBlockThresholdArgs) -> () { acl[domain.write] }
        387 DomainMigrateGetMaxDowntime "DOMAIN_MIGRATE_GET_MAX_DOWNTIME" (DomainMigrateGetMaxDowntimeArgs) -> DomainMigrateGetMaxDowntimeRet { acl[domain.migrate] }
        388 DomainManagedSaveGetXmlDesc "DOMAIN_MANAGED_SAVE_GET_XML_DESC" (DomainManagedSaveGetXmlDescArgs) -> DomainManagedSaveGetXmlDescRet { acl[domain.read, domain.read_secure if flag(1)] flags }
        389 DomainManagedSaveDefineXml "DOMAIN_MANAGED_SAVE_DEFINE_XML" (DomainManagedSaveDefineXmlArgs) -> () { acl[domain.write, domain.hibernate] }
        390 DomainSetLifecycleAction "DOMAIN_SET_LIFECYCLE_ACTION" (DomainSetLifecycleActionArgs) -> () { acl[domain.write] }
        391 StoragePoolLookupByTargetPath "STORAGE_POOL_LOOKUP_BY_TARGET_PATH" (StoragePoolLookupByTargetPathArgs) -> StoragePoolLookupByTargetPathRet { high acl[storage_pool.getattr] }
        392 DomainDetachDeviceAlias "DOMAIN_DETACH_DEVICE_ALIAS" (DomainDetachDeviceAliasArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        393 ConnectCompareHypervisorCpu "CONNECT_COMPARE_HYPERVISOR_CPU" (ConnectCompareHypervisorCpuArgs) -> ConnectCompareHypervisorCpuRet { acl[connect.write] }
        394 ConnectBaselineHypervisorCpu "CONNECT_BASELINE_HYPERVISOR_CPU" (ConnectBaselineHypervisorCpuArgs) -> ConnectBaselineHypervisorCpuRet { acl[connect.write] }
        395 NodeGetSevInfo "NODE_GET_SEV_INFO" (NodeGetSevInfoArgs) -> NodeGetSevInfoRet { acl[connect.read] }
        396 DomainGetLaunchSecurityInfo "DOMAIN_GET_LAUNCH_SECURITY_INFO" (DomainGetLaunchSecurityInfoArgs) -> DomainGetLaunchSecurityInfoRet { acl[domain.read] }
        397 NwfilterBindingLookupByPortDev "NWFILTER_BINDING_LOOKUP_BY_PORT_DEV" (NwfilterBindingLookupByPortDevArgs) -> NwfilterBindingLookupByPortDevRet { high acl[nwfilter_binding.getattr] }
        398 NwfilterBindingGetXmlDesc "NWFILTER_BINDING_GET_XML_DESC" (NwfilterBindingGetXmlDescArgs) -> NwfilterBindingGetXmlDescRet { high acl[nwfilter_binding.read] }
        399 NwfilterBindingCreateXml "NWFILTER_BINDING_CREATE_XML" (NwfilterBindingCreateXmlArgs) -> NwfilterBindingCreateXmlRet { high acl[nwfilter_binding.create] }
        400 NwfilterBindingDelete "NWFILTER_BINDING_DELETE" (NwfilterBindingDeleteArgs) -> () { high acl[nwfilter_binding.delete] }
        401 ConnectListAllNwfilterBindings "CONNECT_LIST_ALL_NWFILTER_BINDINGS" (ConnectListAllNwfilterBindingsArgs) -> ConnectListAllNwfilterBindingsRet { high acl[connect.search_nwfilter_bindings] }
        402 DomainSetIothreadParams "DOMAIN_SET_IOTHREAD_PARAMS" (DomainSetIothreadParamsArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        403 ConnectGetStoragePoolCapabilities "CONNECT_GET_STORAGE_POOL_CAPABILITIES" (ConnectGetStoragePoolCapabilitiesArgs) -> ConnectGetStoragePoolCapabilitiesRet { acl[connect.read] }
        404 NetworkListAllPorts "NETWORK_LIST_ALL_PORTS" (NetworkListAllPortsArgs) -> NetworkListAllPortsRet { high acl[network.search_ports] }
        405 NetworkPortLookupByUuid "NETWORK_PORT_LOOKUP_BY_UUID" (NetworkPortLookupByUuidArgs) -> NetworkPortLookupByUuidRet { high acl[network_port.getattr] }
        406 NetworkPortCreateXml "NETWORK_PORT_CREATE_XML" (NetworkPortCreateXmlArgs) -> NetworkPortCreateXmlRet { acl[network_port.create] }
        407 NetworkPortGetParameters "NETWORK_PORT_GET_PARAMETERS" (NetworkPortGetParametersArgs) -> NetworkPortGetParametersRet { acl[network_port.read] }
        408 NetworkPortSetParameters "NETWORK_PORT_SET_PARAMETERS" (NetworkPortSetParametersArgs) -> () { acl[network_port.write] }
        409 NetworkPortGetXmlDesc "NETWORK_PORT_GET_XML_DESC" (NetworkPortGetXmlDescArgs) -> NetworkPortGetXmlDescRet { acl[network_port.read] }
        410 NetworkPortDelete "NETWORK_PORT_DELETE" (NetworkPortDeleteArgs) -> () { acl[network_port.delete] }
        411 DomainCheckpointCreateXml "DOMAIN_CHECKPOINT_CREATE_XML" (DomainCheckpointCreateXmlArgs) -> DomainCheckpointCreateXmlRet { acl[domain.checkpoint, domain.fs_freeze if flag(2)] flags }
        412 DomainCheckpointGetXmlDesc "DOMAIN_CHECKPOINT_GET_XML_DESC" (DomainCheckpointGetXmlDescArgs) -> DomainCheckpointGetXmlDescRet { acl[domain.read, domain.read_secure if flag(1)] flags }
        413 DomainListAllCheckpoints "DOMAIN_LIST_ALL_CHECKPOINTS" (DomainListAllCheckpointsArgs) -> DomainListAllCheckpointsRet { high acl[domain.read] }
        414 DomainCheckpointListAllChildren "DOMAIN_CHECKPOINT_LIST_ALL_CHILDREN" (DomainCheckpointListAllChildrenArgs) -> DomainCheckpointListAllChildrenRet { high acl[domain.read] }
        415 DomainCheckpointLookupByName "DOMAIN_CHECKPOINT_LOOKUP_BY_NAME" (DomainCheckpointLookupByNameArgs) -> DomainCheckpointLookupByNameRet { high acl[domain.read] }
        416 DomainCheckpointGetParent "DOMAIN_CHECKPOINT_GET_PARENT" (DomainCheckpointGetParentArgs) -> DomainCheckpointGetParentRet { high acl[domain.read] }
        417 DomainCheckpointDelete "DOMAIN_CHECKPOINT_DELETE" (DomainCheckpointDeleteArgs) -> () { acl[domain.checkpoint] }
        418 DomainGetGuestInfo "DOMAIN_GET_GUEST_INFO" (DomainGetGuestInfoArgs) -> DomainGetGuestInfoRet { acl[domain.write] }
        419 ConnectSetIdentity "CONNECT_SET_IDENTITY" (ConnectSetIdentityArgs) -> () { acl[connect.write] }
        420 DomainAgentSetResponseTimeout "DOMAIN_AGENT_SET_RESPONSE_TIMEOUT" (DomainAgentSetResponseTimeoutArgs) -> DomainAgentSetResponseTimeoutRet { acl[domain.write] }
        421 DomainBackupBegin "DOMAIN_BACKUP_BEGIN" (DomainBackupBeginArgs) -> () { acl[domain.checkpoint, domain.block_write] }
        422 DomainBackupGetXmlDesc "DOMAIN_BACKUP_GET_XML_DESC" (DomainBackupGetXmlDescArgs) -> DomainBackupGetXmlDescRet { high acl[domain.read] }
        424 DomainAuthorizedSshKeysGet "DOMAIN_AUTHORIZED_SSH_KEYS_GET" (DomainAuthorizedSshKeysGetArgs) -> DomainAuthorizedSshKeysGetRet { acl[domain.write] }
        425 DomainAuthorizedSshKeysSet "DOMAIN_AUTHORIZED_SSH_KEYS_SET" (DomainAuthorizedSshKeysSetArgs) -> () { acl[domain.write] }
        426 DomainGetMessages "DOMAIN_GET_MESSAGES" (DomainGetMessagesArgs) -> DomainGetMessagesRet { acl[domain.read] }
        427 DomainStartDirtyRateCalc "DOMAIN_START_DIRTY_RATE_CALC" (DomainStartDirtyRateCalcArgs) -> () { acl[domain.write] }
        428 NodeDeviceDefineXml "NODE_DEVICE_DEFINE_XML" (NodeDeviceDefineXmlArgs) -> NodeDeviceDefineXmlRet { acl[node_device.write, node_device.save] }
        429 NodeDeviceUndefine "NODE_DEVICE_UNDEFINE" (NodeDeviceUndefineArgs) -> () { high acl[node_device.delete] }
        430 NodeDeviceCreate "NODE_DEVICE_CREATE" (NodeDeviceCreateArgs) -> () { high acl[node_device.start] }
        431 NwfilterDefineXmlFlags "NWFILTER_DEFINE_XML_FLAGS" (NwfilterDefineXmlFlagsArgs) -> NwfilterDefineXmlFlagsRet { high acl[nwfilter.write, nwfilter.save] }
        432 NetworkDefineXmlFlags "NETWORK_DEFINE_XML_FLAGS" (NetworkDefineXmlFlagsArgs) -> NetworkDefineXmlFlagsRet { high acl[network.write, network.save] }
        433 NodeDeviceGetAutostart "NODE_DEVICE_GET_AUTOSTART" (NodeDeviceGetAutostartArgs) -> NodeDeviceGetAutostartRet { high acl[node_device.read] }
        434 NodeDeviceSetAutostart "NODE_DEVICE_SET_AUTOSTART" (NodeDeviceSetAutostartArgs) -> () { high acl[node_device.write] }
        435 NodeDeviceIsPersistent "NODE_DEVICE_IS_PERSISTENT" (NodeDeviceIsPersistentArgs) -> NodeDeviceIsPersistentRet { high acl[node_device.read] }
        436 NodeDeviceIsActive "NODE_DEVICE_IS_ACTIVE" (NodeDeviceIsActiveArgs) -> NodeDeviceIsActiveRet { high acl[node_device.read] }
        437 NetworkCreateXmlFlags "NETWORK_CREATE_XML_FLAGS" (NetworkCreateXmlFlagsArgs) -> NetworkCreateXmlFlagsRet { high acl[network.write, network.start] }
        439 DomainSetLaunchSecurityState "DOMAIN_SET_LAUNCH_SECURITY_STATE" (DomainSetLaunchSecurityStateArgs) -> () { acl[domain.write] }
        440 DomainSaveParams "DOMAIN_SAVE_PARAMS" (DomainSaveParamsArgs) -> () { acl[domain.hibernate] }
        441 DomainRestoreParams "DOMAIN_RESTORE_PARAMS" (DomainRestoreParamsArgs) -> () { acl[domain.start, domain.write] }
        442 DomainAbortJobFlags "DOMAIN_ABORT_JOB_FLAGS" (DomainAbortJobFlagsArgs) -> () { acl[domain.write] }
        443 DomainFdAssociate "DOMAIN_FD_ASSOCIATE" (DomainFdAssociateArgs) -> () { fds_in acl[domain.write] }
        444 NetworkSetMetadata "NETWORK_SET_METADATA" (NetworkSetMetadataArgs) -> () { acl[network.write, network.save if no_flag(3), network.save if flag(2)] flags }
        445 NetworkGetMetadata "NETWORK_GET_METADATA" (NetworkGetMetadataArgs) -> NetworkGetMetadataRet { acl[network.read] }
        447 NodeDeviceUpdate "NODE_DEVICE_UPDATE" (NodeDeviceUpdateArgs) -> () { high acl[node_device.write, node_device.save if no_flag(3), node_device.save if flag(2)] flags }
        448 DomainGraphicsReload "DOMAIN_GRAPHICS_RELOAD" (DomainGraphicsReloadArgs) -> () { acl[domain.write] }
        449 DomainGetAutostartOnce "DOMAIN_GET_AUTOSTART_ONCE" (DomainGetAutostartOnceArgs) -> DomainGetAutostartOnceRet { high acl[domain.read] }
        450 DomainSetAutostartOnce "DOMAIN_SET_AUTOSTART_ONCE" (DomainSetAutostartOnceArgs) -> () { high acl[domain.write] }
        451 DomainSetThrottleGroup "DOMAIN_SET_THROTTLE_GROUP" (DomainSetThrottleGroupArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
        452 DomainDelThrottleGroup "DOMAIN_DEL_THROTTLE_GROUP" (DomainDelThrottleGroupArgs) -> () { acl[domain.write, domain.save if no_flag(3), domain.save if flag(2)] flags }
    }
    events {
        107 DomainEventLifecycle "DOMAIN_EVENT_LIFECYCLE" (DomainEventLifecycleMsg) {}
        169 DomainEventReboot "DOMAIN_EVENT_REBOOT" (DomainEventRebootMsg) {}
        170 DomainEventRtcChange "DOMAIN_EVENT_RTC_CHANGE" (DomainEventRtcChangeMsg) {}
        171 DomainEventWatchdog "DOMAIN_EVENT_WATCHDOG" (DomainEventWatchdogMsg) {}
        172 DomainEventIoError "DOMAIN_EVENT_IO_ERROR" (DomainEventIoErrorMsg) {}
        173 DomainEventGraphics "DOMAIN_EVENT_GRAPHICS" (DomainEventGraphicsMsg) {}
        195 DomainEventIoErrorReason "DOMAIN_EVENT_IO_ERROR_REASON" (DomainEventIoErrorReasonMsg) {}
        224 DomainEventControlError "DOMAIN_EVENT_CONTROL_ERROR" (DomainEventControlErrorMsg) {}
        241 DomainEventBlockJob "DOMAIN_EVENT_BLOCK_JOB" (DomainEventBlockJobMsg) {}
        248 DomainEventDiskChange "DOMAIN_EVENT_DISK_CHANGE" (DomainEventDiskChangeMsg) {}
        268 DomainEventTrayChange "DOMAIN_EVENT_TRAY_CHANGE" (DomainEventTrayChangeMsg) {}
        269 DomainEventPmwakeup "DOMAIN_EVENT_PMWAKEUP" (DomainEventPmwakeupMsg) {}
        270 DomainEventPmsuspend "DOMAIN_EVENT_PMSUSPEND" (DomainEventPmsuspendMsg) {}
        276 DomainEventBalloonChange "DOMAIN_EVENT_BALLOON_CHANGE" (DomainEventBalloonChangeMsg) {}
        292 DomainEventPmsuspendDisk "DOMAIN_EVENT_PMSUSPEND_DISK" (DomainEventPmsuspendDiskMsg) {}
        311 DomainEventDeviceRemoved "DOMAIN_EVENT_DEVICE_REMOVED" (DomainEventDeviceRemovedMsg) {}
        315 NetworkEventLifecycle "NETWORK_EVENT_LIFECYCLE" (NetworkEventLifecycleMsg) {}
        318 DomainEventCallbackLifecycle "DOMAIN_EVENT_CALLBACK_LIFECYCLE" (DomainEventCallbackLifecycleMsg) {}
        319 DomainEventCallbackReboot "DOMAIN_EVENT_CALLBACK_REBOOT" (DomainEventCallbackRebootMsg) {}
        320 DomainEventCallbackRtcChange "DOMAIN_EVENT_CALLBACK_RTC_CHANGE" (DomainEventCallbackRtcChangeMsg) {}
        321 DomainEventCallbackWatchdog "DOMAIN_EVENT_CALLBACK_WATCHDOG" (DomainEventCallbackWatchdogMsg) {}
        322 DomainEventCallbackIoError "DOMAIN_EVENT_CALLBACK_IO_ERROR" (DomainEventCallbackIoErrorMsg) {}
        323 DomainEventCallbackGraphics "DOMAIN_EVENT_CALLBACK_GRAPHICS" (DomainEventCallbackGraphicsMsg) {}
        324 DomainEventCallbackIoErrorReason "DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON" (DomainEventCallbackIoErrorReasonMsg) {}
        325 DomainEventCallbackControlError "DOMAIN_EVENT_CALLBACK_CONTROL_ERROR" (DomainEventCallbackControlErrorMsg) {}
        326 DomainEventCallbackBlockJob "DOMAIN_EVENT_CALLBACK_BLOCK_JOB" (DomainEventCallbackBlockJobMsg) {}
        327 DomainEventCallbackDiskChange "DOMAIN_EVENT_CALLBACK_DISK_CHANGE" (DomainEventCallbackDiskChangeMsg) {}
        328 DomainEventCallbackTrayChange "DOMAIN_EVENT_CALLBACK_TRAY_CHANGE" (DomainEventCallbackTrayChangeMsg) {}
        329 DomainEventCallbackPmwakeup "DOMAIN_EVENT_CALLBACK_PMWAKEUP" (DomainEventCallbackPmwakeupMsg) {}
        330 DomainEventCallbackPmsuspend "DOMAIN_EVENT_CALLBACK_PMSUSPEND" (DomainEventCallbackPmsuspendMsg) {}
        331 DomainEventCallbackBalloonChange "DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE" (DomainEventCallbackBalloonChangeMsg) {}
        332 DomainEventCallbackPmsuspendDisk "DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK" (DomainEventCallbackPmsuspendDiskMsg) {}
        333 DomainEventCallbackDeviceRemoved "DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED" (DomainEventCallbackDeviceRemovedMsg) {}
        339 DomainEventBlockJob2 "DOMAIN_EVENT_BLOCK_JOB_2" (DomainEventBlockJob2Msg) {}
        346 DomainEventCallbackTunable "DOMAIN_EVENT_CALLBACK_TUNABLE" (DomainEventCallbackTunableMsg) {}
        348 DomainEventCallbackAgentLifecycle "DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE" (DomainEventCallbackAgentLifecycleMsg) {}
        354 DomainEventCallbackDeviceAdded "DOMAIN_EVENT_CALLBACK_DEVICE_ADDED" (DomainEventCallbackDeviceAddedMsg) {}
        359 DomainEventCallbackMigrationIteration "DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION" (DomainEventCallbackMigrationIterationMsg) {}
        362 ConnectEventConnectionClosed "CONNECT_EVENT_CONNECTION_CLOSED" (ConnectEventConnectionClosedMsg) {}
        363 DomainEventCallbackJobCompleted "DOMAIN_EVENT_CALLBACK_JOB_COMPLETED" (DomainEventCallbackJobCompletedMsg) {}
        367 DomainEventCallbackDeviceRemovalFailed "DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED" (DomainEventCallbackDeviceRemovalFailedMsg) {}
        370 StoragePoolEventLifecycle "STORAGE_POOL_EVENT_LIFECYCLE" (StoragePoolEventLifecycleMsg) {}
        373 StoragePoolEventRefresh "STORAGE_POOL_EVENT_REFRESH" (StoragePoolEventRefreshMsg) {}
        376 NodeDeviceEventLifecycle "NODE_DEVICE_EVENT_LIFECYCLE" (NodeDeviceEventLifecycleMsg) {}
        377 NodeDeviceEventUpdate "NODE_DEVICE_EVENT_UPDATE" (NodeDeviceEventUpdateMsg) {}
        379 DomainEventCallbackMetadataChange "DOMAIN_EVENT_CALLBACK_METADATA_CHANGE" (DomainEventCallbackMetadataChangeMsg) {}
        382 SecretEventLifecycle "SECRET_EVENT_LIFECYCLE" (SecretEventLifecycleMsg) {}
        383 SecretEventValueChanged "SECRET_EVENT_VALUE_CHANGED" (SecretEventValueChangedMsg) {}
        385 DomainEventBlockThreshold "DOMAIN_EVENT_BLOCK_THRESHOLD" (DomainEventBlockThresholdMsg) {}
        423 DomainEventMemoryFailure "DOMAIN_EVENT_MEMORY_FAILURE" (DomainEventMemoryFailureMsg) {}
        438 DomainEventMemoryDeviceSizeChange "DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE" (DomainEventMemoryDeviceSizeChangeMsg) {}
        446 NetworkEventCallbackMetadataChange "NETWORK_EVENT_CALLBACK_METADATA_CHANGE" (NetworkEventCallbackMetadataChangeMsg) {}
        453 DomainEventNicMacChange "DOMAIN_EVENT_NIC_MAC_CHANGE" (DomainEventNicMacChangeMsg) {}
    }
}

structs! {
    Domain { name: Text, uuid: [u8; 16] [fixed], id: i32, }
    Network { name: Text, uuid: [u8; 16] [fixed], }
    NetworkPort { net: Network, uuid: [u8; 16] [fixed], }
    Nwfilter { name: Text, uuid: [u8; 16] [fixed], }
    NwfilterBinding { portdev: Text, filtername: Text, }
    Interface { name: Text, mac: Text, }
    StoragePool { name: Text, uuid: [u8; 16] [fixed], }
    StorageVol { pool: Text, name: Text, key: Text, }
    NodeDevice { name: Text, }
    Secret { uuid: [u8; 16] [fixed], usage_type: i32, usage_id: Text, }
    DomainCheckpoint { name: Text, dom: Domain, }
    DomainSnapshot { name: Text, dom: Domain, }
    Error { code: i32, domain: i32, message: Option<Text>, level: i32, dom: Option<Domain>, str1: Option<Text>, str2: Option<Text>, str3: Option<Text>, int1: i32, int2: i32, net: Option<Network>, }
    VcpuInfo { number: u32, state: i32, cpu_time: u64, cpu: i32, }
    TypedParam { field: Text, value: TypedParamValue, }
    NodeGetCpuStats { field: Text, value: u64, }
    NodeGetMemoryStats { field: Text, value: u64, }
    DomainDiskError { disk: Text, error: i32, }
    ConnectOpenArgs { name: Option<Text>, flags: u32, }
    ConnectSupportsFeatureArgs { feature: i32, }
    ConnectSupportsFeatureRet { supported: i32, }
    ConnectGetTypeRet { r#type: Text, }
    ConnectGetVersionRet { hv_ver: u64, }
    ConnectGetLibVersionRet { lib_ver: u64, }
    ConnectGetHostnameRet { hostname: Text, }
    ConnectGetSysinfoArgs { flags: u32, }
    ConnectGetSysinfoRet { sysinfo: Text, }
    ConnectGetUriRet { uri: Text, }
    ConnectGetMaxVcpusArgs { r#type: Option<Text>, }
    ConnectGetMaxVcpusRet { max_vcpus: i32, }
    NodeGetInfoRet { model: [u8; 32] [fixed_chars], memory: u64, cpus: i32, mhz: i32, nodes: i32, sockets: i32, cores: i32, threads: i32, }
    ConnectGetCapabilitiesRet { capabilities: Text, }
    ConnectGetDomainCapabilitiesArgs { emulatorbin: Option<Text>, arch: Option<Text>, machine: Option<Text>, virttype: Option<Text>, flags: u32, }
    ConnectGetDomainCapabilitiesRet { capabilities: Text, }
    NodeGetCpuStatsArgs { cpu_num: i32, nparams: i32, flags: u32, }
    NodeGetCpuStatsRet { params: Vec<NodeGetCpuStats> [list 16], nparams: i32, }
    NodeGetMemoryStatsArgs { nparams: i32, cell_num: i32, flags: u32, }
    NodeGetMemoryStatsRet { params: Vec<NodeGetMemoryStats> [list 16], nparams: i32, }
    NodeGetCellsFreeMemoryArgs { start_cell: i32, maxcells: i32, }
    NodeGetCellsFreeMemoryRet { cells: Vec<u64> [list 1024], }
    NodeGetFreeMemoryRet { free_mem: u64, }
    DomainGetSchedulerTypeArgs { dom: Domain, }
    DomainGetSchedulerTypeRet { r#type: Text, nparams: i32, }
    DomainGetSchedulerParametersArgs { dom: Domain, nparams: i32, }
    DomainGetSchedulerParametersRet { params: Vec<TypedParam> [list 16], }
    DomainGetSchedulerParametersFlagsArgs { dom: Domain, nparams: i32, flags: u32, }
    DomainGetSchedulerParametersFlagsRet { params: Vec<TypedParam> [list 16], }
    DomainSetSchedulerParametersArgs { dom: Domain, params: Vec<TypedParam> [list 16], }
    DomainSetSchedulerParametersFlagsArgs { dom: Domain, params: Vec<TypedParam> [list 16], flags: u32, }
    DomainSetBlkioParametersArgs { dom: Domain, params: Vec<TypedParam> [list 16], flags: u32, }
    DomainGetBlkioParametersArgs { dom: Domain, nparams: i32, flags: u32, }
    DomainGetBlkioParametersRet { params: Vec<TypedParam> [list 16], nparams: i32, }
    DomainSetMemoryParametersArgs { dom: Domain, params: Vec<TypedParam> [list 16], flags: u32, }
    DomainGetMemoryParametersArgs { dom: Domain, nparams: i32, flags: u32, }
    DomainGetMemoryParametersRet { params: Vec<TypedParam> [list 16], nparams: i32, }
    DomainBlockResizeArgs { dom: Domain, disk: Text, size: u64, flags: u32, }
    DomainSetNumaParametersArgs { dom: Domain, params: Vec<TypedParam> [list 16], flags: u32, }
    DomainGetNumaParametersArgs { dom: Domain, nparams: i32, flags: u32, }
    DomainGetNumaParametersRet { params: Vec<TypedParam> [list 16], nparams: i32, }
    DomainSetPerfEventsArgs { dom: Domain, params: Vec<TypedParam> [list 64], flags: u32, }
    DomainGetPerfEventsArgs { dom: Domain, flags: u32, }
    DomainGetPerfEventsRet { params: Vec<TypedParam> [list 64], }
    DomainBlockStatsArgs { dom: Domain, path: Text, }
    DomainBlockStatsRet { rd_req: i64, rd_bytes: i64, wr_req: i64, wr_bytes: i64, errs: i64, }
    DomainBlockStatsFlagsArgs { dom: Domain, path: Text, nparams: i32, flags: u32, }
    DomainBlockStatsFlagsRet { params: Vec<TypedParam> [list 16], nparams: i32, }
    DomainInterfaceStatsArgs { dom: Domain, device: Text, }
    DomainInterfaceStatsRet { rx_bytes: i64, rx_packets: i64, rx_errs: i64, rx_drop: i64, tx_bytes: i64, tx_packets: i64, tx_errs: i64, tx_drop: i64, }
    DomainSetInterfaceParametersArgs { dom: Domain, device: Text, params: Vec<TypedParam> [list 16], flags: u32, }
    DomainGetInterfaceParametersArgs { dom: Domain, device: Text, nparams: i32, flags: u32, }
    DomainGetInterfaceParametersRet { params: Vec<TypedParam> [list 16], nparams: i32, }
    DomainMemoryStatsArgs { dom: Domain, max_stats: u32, flags: u32, }
    DomainMemoryStat { tag: i32, val: u64, }
    DomainMemoryStatsRet { stats: Vec<DomainMemoryStat> [list 1024], }
    DomainBlockPeekArgs { dom: Domain, path: Text, offset: u64, size: u32, flags: u32, }
    DomainBlockPeekRet { buffer: Vec<u8> [opaque 4_194_304], }
    DomainMemoryPeekArgs { dom: Domain, offset: u64, size: u32, flags: u32, }
    DomainMemoryPeekRet { buffer: Vec<u8> [opaque 4_194_304], }
    DomainGetBlockInfoArgs { dom: Domain, path: Text, flags: u32, }
    DomainGetBlockInfoRet { allocation: u64, capacity: u64, physical: u64, }
    ConnectListDomainsArgs { maxids: i32, }
    ConnectListDomainsRet { ids: Vec<i32> [list 16_384], }
    ConnectNumOfDomainsRet { num: i32, }
    DomainCreateXmlArgs { xml_desc: Text, flags: u32, }
    DomainCreateXmlRet { dom: Domain, }
    DomainCreateXmlWithFilesArgs { xml_desc: Text, flags: u32, }
    DomainCreateXmlWithFilesRet { dom: Domain, }
    DomainLookupByIdArgs { id: i32, }
    DomainLookupByIdRet { dom: Domain, }
    DomainLookupByUuidArgs { uuid: [u8; 16] [fixed], }
    DomainLookupByUuidRet { dom: Domain, }
    DomainLookupByNameArgs { name: Text, }
    DomainLookupByNameRet { dom: Domain, }
    DomainSuspendArgs { dom: Domain, }
    DomainResumeArgs { dom: Domain, }
    DomainPmSuspendForDurationArgs { dom: Domain, target: u32, duration: u64, flags: u32, }
    DomainPmWakeupArgs { dom: Domain, flags: u32, }
    DomainShutdownArgs { dom: Domain, }
    DomainRebootArgs { dom: Domain, flags: u32, }
    DomainResetArgs { dom: Domain, flags: u32, }
    DomainDestroyArgs { dom: Domain, }
    DomainDestroyFlagsArgs { dom: Domain, flags: u32, }
    DomainGetOsTypeArgs { dom: Domain, }
    DomainGetOsTypeRet { r#type: Text, }
    DomainGetMaxMemoryArgs { dom: Domain, }
    DomainGetMaxMemoryRet { memory: u64, }
    DomainSetMaxMemoryArgs { dom: Domain, memory: u64, }
    DomainSetMemoryArgs { dom: Domain, memory: u64, }
    DomainSetMemoryFlagsArgs { dom: Domain, memory: u64, flags: u32, }
    DomainSetMemoryStatsPeriodArgs { dom: Domain, period: i32, flags: u32, }
    DomainGetInfoArgs { dom: Domain, }
    DomainGetInfoRet { state: u8, max_mem: u64, memory: u64, nr_virt_cpu: u16, cpu_time: u64, }
    DomainSaveArgs { dom: Domain, to: Text, }
    DomainSaveFlagsArgs { dom: Domain, to: Text, dxml: Option<Text>, flags: u32, }
    DomainSaveParamsArgs { dom: Domain, params: Vec<TypedParam> [list 64], flags: u32, }
    DomainRestoreArgs { from: Text, }
    DomainRestoreFlagsArgs { from: Text, dxml: Option<Text>, flags: u32, }
    DomainRestoreParamsArgs { params: Vec<TypedParam> [list 64], flags: u32, }
    DomainSaveImageGetXmlDescArgs { file: Text, flags: u32, }
    DomainSaveImageGetXmlDescRet { xml: Text, }
    DomainSaveImageDefineXmlArgs { file: Text, dxml: Text, flags: u32, }
    DomainCoreDumpArgs { dom: Domain, to: Text, flags: u32, }
    DomainCoreDumpWithFormatArgs { dom: Domain, to: Text, dumpformat: u32, flags: u32, }
    DomainScreenshotArgs { dom: Domain, screen: u32, flags: u32, }
    DomainScreenshotRet { mime: Option<Text>, }
    DomainGetXmlDescArgs { dom: Domain, flags: u32, }
    DomainGetXmlDescRet { xml: Text, }
    DomainMigratePrepareArgs { uri_in: Option<Text>, flags: u64, dname: Option<Text>, resource: u64, }
    DomainMigratePrepareRet { cookie: Vec<u8> [opaque 4_194_304], uri_out: Option<Text>, }
    DomainMigratePerformArgs { dom: Domain, cookie: Vec<u8> [opaque 4_194_304], uri: Text, flags: u64, dname: Option<Text>, resource: u64, }
    DomainMigrateFinishArgs { dname: Text, cookie: Vec<u8> [opaque 4_194_304], uri: Text, flags: u64, }
    DomainMigrateFinishRet { ddom: Domain, }
    DomainMigratePrepare2Args { uri_in: Option<Text>, flags: u64, dname: Option<Text>, resource: u64, dom_xml: Text, }
    DomainMigratePrepare2Ret { cookie: Vec<u8> [opaque 4_194_304], uri_out: Option<Text>, }
    DomainMigrateFinish2Args { dname: Text, cookie: Vec<u8> [opaque 4_194_304], uri: Text, flags: u64, retcode: i32, }
    DomainMigrateFinish2Ret { ddom: Domain, }
    ConnectListDefinedDomainsArgs { maxnames: i32, }
    ConnectListDefinedDomainsRet { names: Vec<Text> [list 16_384], }
    ConnectNumOfDefinedDomainsRet { num: i32, }
    DomainCreateArgs { dom: Domain, }
    DomainCreateWithFlagsArgs { dom: Domain, flags: u32, }
    DomainCreateWithFlagsRet { dom: Domain, }
    DomainCreateWithFilesArgs { dom: Domain, flags: u32, }
    DomainCreateWithFilesRet { dom: Domain, }
    DomainDefineXmlArgs { xml: Text, }
    DomainDefineXmlRet { dom: Domain, }
    DomainDefineXmlFlagsArgs { xml: Text, flags: u32, }
    DomainDefineXmlFlagsRet { dom: Domain, }
    DomainUndefineArgs { dom: Domain, }
    DomainUndefineFlagsArgs { dom: Domain, flags: u32, }
    DomainInjectNmiArgs { dom: Domain, flags: u32, }
    DomainSendKeyArgs { dom: Domain, codeset: u32, holdtime: u32, keycodes: Vec<u32> [list 16], flags: u32, }
    DomainSendProcessSignalArgs { dom: Domain, pid_value: i64, signum: u32, flags: u32, }
    DomainSetVcpusArgs { dom: Domain, nvcpus: u32, }
    DomainSetVcpusFlagsArgs { dom: Domain, nvcpus: u32, flags: u32, }
    DomainGetVcpusFlagsArgs { dom: Domain, flags: u32, }
    DomainGetVcpusFlagsRet { num: i32, }
    DomainPinVcpuArgs { dom: Domain, vcpu: u32, cpumap: Vec<u8> [opaque 2048], }
    DomainPinVcpuFlagsArgs { dom: Domain, vcpu: u32, cpumap: Vec<u8> [opaque 2048], flags: u32, }
    DomainGetVcpuPinInfoArgs { dom: Domain, ncpumaps: i32, maplen: i32, flags: u32, }
    DomainGetVcpuPinInfoRet { cpumaps: Vec<u8> [opaque 8_388_608], num: i32, }
    DomainPinEmulatorArgs { dom: Domain, cpumap: Vec<u8> [opaque 2048], flags: u32, }
    DomainGetEmulatorPinInfoArgs { dom: Domain, maplen: i32, flags: u32, }
    DomainGetEmulatorPinInfoRet { cpumaps: Vec<u8> [opaque 8_388_608], ret: i32, }
    DomainGetVcpusArgs { dom: Domain, maxinfo: i32, maplen: i32, }
    DomainGetVcpusRet { info: Vec<VcpuInfo> [list 16_384], cpumaps: Vec<u8> [opaque 8_388_608], }
    DomainGetMaxVcpusArgs { dom: Domain, }
    DomainGetMaxVcpusRet { num: i32, }
    DomainIothreadInfo { iothread_id: u32, cpumap: Vec<u8> [opaque 2048], }
    DomainGetIothreadInfoArgs { dom: Domain, flags: u32, }
    DomainGetIothreadInfoRet { info: Vec<DomainIothreadInfo> [list 16_384], ret: u32, }
    DomainPinIothreadArgs { dom: Domain, iothreads_id: u32, cpumap: Vec<u8> [opaque 2048], flags: u32, }
    DomainAddIothreadArgs { dom: Domain, iothread_id: u32, flags: u32, }
    DomainDelIothreadArgs { dom: Domain, iothread_id: u32, flags: u32, }
    DomainSetIothreadParamsArgs { dom: Domain, iothread_id: u32, params: Vec<TypedParam> [list 64], flags: u32, }
    DomainGetSecurityLabelArgs { dom: Domain, }
    DomainGetSecurityLabelRet { label: Vec<u8> [chars 4097], enforcing: i32, }
    DomainGetSecurityLabelListArgs { dom: Domain, }
    DomainGetSecurityLabelListRet { labels: Vec<DomainGetSecurityLabelRet> [list 64], ret: i32, }
    NodeGetSecurityModelRet { model: Vec<u8> [chars 257], doi: Vec<u8> [chars 257], }
    DomainAttachDeviceArgs { dom: Domain, xml: Text, }
    DomainAttachDeviceFlagsArgs { dom: Domain, xml: Text, flags: u32, }
    DomainDetachDeviceArgs { dom: Domain, xml: Text, }
    DomainDetachDeviceFlagsArgs { dom: Domain, xml: Text, flags: u32, }
    DomainUpdateDeviceFlagsArgs { dom: Domain, xml: Text, flags: u32, }
    DomainDetachDeviceAliasArgs { dom: Domain, alias: Text, flags: u32, }
    DomainGetAutostartArgs { dom: Domain, }
    DomainGetAutostartRet { autostart: i32, }
    DomainSetAutostartArgs { dom: Domain, autostart: i32, }
    DomainSetMetadataArgs { dom: Domain, r#type: i32, metadata: Option<Text>, key: Option<Text>, uri: Option<Text>, flags: u32, }
    DomainGetMetadataArgs { dom: Domain, r#type: i32, uri: Option<Text>, flags: u32, }
    DomainGetMetadataRet { metadata: Text, }
    DomainBlockJobAbortArgs { dom: Domain, path: Text, flags: u32, }
    DomainGetBlockJobInfoArgs { dom: Domain, path: Text, flags: u32, }
    DomainGetBlockJobInfoRet { found: i32, r#type: i32, bandwidth: u64, cur: u64, end: u64, }
    DomainBlockJobSetSpeedArgs { dom: Domain, path: Text, bandwidth: u64, flags: u32, }
    DomainBlockPullArgs { dom: Domain, path: Text, bandwidth: u64, flags: u32, }
    DomainBlockRebaseArgs { dom: Domain, path: Text, base: Option<Text>, bandwidth: u64, flags: u32, }
    DomainBlockCopyArgs { dom: Domain, path: Text, destxml: Text, params: Vec<TypedParam> [list 16], flags: u32, }
    DomainBlockCommitArgs { dom: Domain, disk: Text, base: Option<Text>, top: Option<Text>, bandwidth: u64, flags: u32, }
    DomainSetBlockIoTuneArgs { dom: Domain, disk: Text, params: Vec<TypedParam> [list 32], flags: u32, }
    DomainGetBlockIoTuneArgs { dom: Domain, disk: Option<Text>, nparams: i32, flags: u32, }
    DomainGetBlockIoTuneRet { params: Vec<TypedParam> [list 32], nparams: i32, }
    DomainSetThrottleGroupArgs { dom: Domain, group: Text, params: Vec<TypedParam> [list 32], flags: u32, }
    DomainDelThrottleGroupArgs { dom: Domain, group: Option<Text>, flags: u32, }
    DomainGetCpuStatsArgs { dom: Domain, nparams: u32, start_cpu: i32, ncpus: u32, flags: u32, }
    DomainGetCpuStatsRet { params: Vec<TypedParam> [list 2048], nparams: i32, }
    DomainGetHostnameArgs { dom: Domain, flags: u32, }
    DomainGetHostnameRet { hostname: Text, }
    ConnectNumOfNetworksRet { num: i32, }
    ConnectListNetworksArgs { maxnames: i32, }
    ConnectListNetworksRet { names: Vec<Text> [list 16_384], }
    ConnectNumOfDefinedNetworksRet { num: i32, }
    ConnectListDefinedNetworksArgs { maxnames: i32, }
    ConnectListDefinedNetworksRet { names: Vec<Text> [list 16_384], }
    NetworkLookupByUuidArgs { uuid: [u8; 16] [fixed], }
    NetworkLookupByUuidRet { net: Network, }
    NetworkLookupByNameArgs { name: Text, }
    NetworkLookupByNameRet { net: Network, }
    NetworkCreateXmlArgs { xml: Text, }
    NetworkCreateXmlRet { net: Network, }
    NetworkCreateXmlFlagsArgs { xml: Text, flags: u32, }
    NetworkCreateXmlFlagsRet { net: Network, }
    NetworkDefineXmlArgs { xml: Text, }
    NetworkDefineXmlRet { net: Network, }
    NetworkDefineXmlFlagsArgs { xml: Text, flags: u32, }
    NetworkDefineXmlFlagsRet { net: Network, }
    NetworkUndefineArgs { net: Network, }
    NetworkUpdateArgs { net: Network, command: u32, section: u32, parent_index: i32, xml: Text, flags: u32, }
    NetworkCreateArgs { net: Network, }
    NetworkDestroyArgs { net: Network, }
    NetworkGetXmlDescArgs { net: Network, flags: u32, }
    NetworkGetXmlDescRet { xml: Text, }
    NetworkGetBridgeNameArgs { net: Network, }
    NetworkGetBridgeNameRet { name: Text, }
    NetworkGetAutostartArgs { net: Network, }
    NetworkGetAutostartRet { autostart: i32, }
    NetworkSetAutostartArgs { net: Network, autostart: i32, }
    ConnectNumOfNwfiltersRet { num: i32, }
    ConnectListNwfiltersArgs { maxnames: i32, }
    ConnectListNwfiltersRet { names: Vec<Text> [list 16_384], }
    NwfilterLookupByUuidArgs { uuid: [u8; 16] [fixed], }
    NwfilterLookupByUuidRet { nwfilter: Nwfilter, }
    NwfilterLookupByNameArgs { name: Text, }
    NwfilterLookupByNameRet { nwfilter: Nwfilter, }
    NwfilterDefineXmlArgs { xml: Text, }
    NwfilterDefineXmlRet { nwfilter: Nwfilter, }
    NwfilterDefineXmlFlagsArgs { xml: Text, flags: u32, }
    NwfilterDefineXmlFlagsRet { nwfilter: Nwfilter, }
    NwfilterUndefineArgs { nwfilter: Nwfilter, }
    NwfilterGetXmlDescArgs { nwfilter: Nwfilter, flags: u32, }
    NwfilterGetXmlDescRet { xml: Text, }
    ConnectNumOfInterfacesRet { num: i32, }
    ConnectListInterfacesArgs { maxnames: i32, }
    ConnectListInterfacesRet { names: Vec<Text> [list 16_384], }
    ConnectNumOfDefinedInterfacesRet { num: i32, }
    ConnectListDefinedInterfacesArgs { maxnames: i32, }
    ConnectListDefinedInterfacesRet { names: Vec<Text> [list 16_384], }
    InterfaceLookupByNameArgs { name: Text, }
    InterfaceLookupByNameRet { iface: Interface, }
    InterfaceLookupByMacStringArgs { mac: Text, }
    InterfaceLookupByMacStringRet { iface: Interface, }
    InterfaceGetXmlDescArgs { iface: Interface, flags: u32, }
    InterfaceGetXmlDescRet { xml: Text, }
    InterfaceDefineXmlArgs { xml: Text, flags: u32, }
    InterfaceDefineXmlRet { iface: Interface, }
    InterfaceUndefineArgs { iface: Interface, }
    InterfaceCreateArgs { iface: Interface, flags: u32, }
    InterfaceDestroyArgs { iface: Interface, flags: u32, }
    InterfaceChangeBeginArgs { flags: u32, }
    InterfaceChangeCommitArgs { flags: u32, }
    InterfaceChangeRollbackArgs { flags: u32, }
    AuthListRet { types: Vec<i32> [list 20], }
    AuthSaslInitRet { mechlist: Text, }
    AuthSaslStartArgs { mech: Text, nil: i32, data: Vec<u8> [chars 65_536], }
    AuthSaslStartRet { complete: i32, nil: i32, data: Vec<u8> [chars 65_536], }
    AuthSaslStepArgs { nil: i32, data: Vec<u8> [chars 65_536], }
    AuthSaslStepRet { complete: i32, nil: i32, data: Vec<u8> [chars 65_536], }
    AuthPolkitRet { complete: i32, }
    ConnectNumOfStoragePoolsRet { num: i32, }
    ConnectListStoragePoolsArgs { maxnames: i32, }
    ConnectListStoragePoolsRet { names: Vec<Text> [list 16_384], }
    ConnectNumOfDefinedStoragePoolsRet { num: i32, }
    ConnectListDefinedStoragePoolsArgs { maxnames: i32, }
    ConnectListDefinedStoragePoolsRet { names: Vec<Text> [list 16_384], }
    ConnectFindStoragePoolSourcesArgs { r#type: Text, src_spec: Option<Text>, flags: u32, }
    ConnectFindStoragePoolSourcesRet { xml: Text, }
    StoragePoolLookupByUuidArgs { uuid: [u8; 16] [fixed], }
    StoragePoolLookupByUuidRet { pool: StoragePool, }
    StoragePoolLookupByNameArgs { name: Text, }
    StoragePoolLookupByNameRet { pool: StoragePool, }
    StoragePoolLookupByVolumeArgs { vol: StorageVol, }
    StoragePoolLookupByVolumeRet { pool: StoragePool, }
    StoragePoolLookupByTargetPathArgs { path: Text, }
    StoragePoolLookupByTargetPathRet { pool: StoragePool, }
    StoragePoolCreateXmlArgs { xml: Text, flags: u32, }
    StoragePoolCreateXmlRet { pool: StoragePool, }
    StoragePoolDefineXmlArgs { xml: Text, flags: u32, }
    StoragePoolDefineXmlRet { pool: StoragePool, }
    StoragePoolBuildArgs { pool: StoragePool, flags: u32, }
    StoragePoolUndefineArgs { pool: StoragePool, }
    StoragePoolCreateArgs { pool: StoragePool, flags: u32, }
    StoragePoolDestroyArgs { pool: StoragePool, }
    StoragePoolDeleteArgs { pool: StoragePool, flags: u32, }
    StoragePoolRefreshArgs { pool: StoragePool, flags: u32, }
    StoragePoolGetXmlDescArgs { pool: StoragePool, flags: u32, }
    StoragePoolGetXmlDescRet { xml: Text, }
    StoragePoolGetInfoArgs { pool: StoragePool, }
    StoragePoolGetInfoRet { state: u8, capacity: u64, allocation: u64, available: u64, }
    StoragePoolGetAutostartArgs { pool: StoragePool, }
    StoragePoolGetAutostartRet { autostart: i32, }
    StoragePoolSetAutostartArgs { pool: StoragePool, autostart: i32, }
    StoragePoolNumOfVolumesArgs { pool: StoragePool, }
    StoragePoolNumOfVolumesRet { num: i32, }
    StoragePoolListVolumesArgs { pool: StoragePool, maxnames: i32, }
    StoragePoolListVolumesRet { names: Vec<Text> [list 16_384], }
    StorageVolLookupByNameArgs { pool: StoragePool, name: Text, }
    StorageVolLookupByNameRet { vol: StorageVol, }
    StorageVolLookupByKeyArgs { key: Text, }
    StorageVolLookupByKeyRet { vol: StorageVol, }
    StorageVolLookupByPathArgs { path: Text, }
    StorageVolLookupByPathRet { vol: StorageVol, }
    StorageVolCreateXmlArgs { pool: StoragePool, xml: Text, flags: u32, }
    StorageVolCreateXmlRet { vol: StorageVol, }
    StorageVolCreateXmlFromArgs { pool: StoragePool, xml: Text, clonevol: StorageVol, flags: u32, }
    StorageVolCreateXmlFromRet { vol: StorageVol, }
    StorageVolDeleteArgs { vol: StorageVol, flags: u32, }
    StorageVolWipeArgs { vol: StorageVol, flags: u32, }
    StorageVolWipePatternArgs { vol: StorageVol, algorithm: u32, flags: u32, }
    StorageVolGetXmlDescArgs { vol: StorageVol, flags: u32, }
    StorageVolGetXmlDescRet { xml: Text, }
    StorageVolGetInfoArgs { vol: StorageVol, }
    StorageVolGetInfoRet { r#type: i8, capacity: u64, allocation: u64, }
    StorageVolGetInfoFlagsArgs { vol: StorageVol, flags: u32, }
    StorageVolGetInfoFlagsRet { r#type: i8, capacity: u64, allocation: u64, }
    StorageVolGetPathArgs { vol: StorageVol, }
    StorageVolGetPathRet { name: Text, }
    StorageVolResizeArgs { vol: StorageVol, capacity: u64, flags: u32, }
    NodeNumOfDevicesArgs { cap: Option<Text>, flags: u32, }
    NodeNumOfDevicesRet { num: i32, }
    NodeListDevicesArgs { cap: Option<Text>, maxnames: i32, flags: u32, }
    NodeListDevicesRet { names: Vec<Text> [list 65_536], }
    NodeDeviceLookupByNameArgs { name: Text, }
    NodeDeviceLookupByNameRet { dev: NodeDevice, }
    NodeDeviceLookupScsiHostByWwnArgs { wwnn: Text, wwpn: Text, flags: u32, }
    NodeDeviceLookupScsiHostByWwnRet { dev: NodeDevice, }
    NodeDeviceGetXmlDescArgs { name: Text, flags: u32, }
    NodeDeviceGetXmlDescRet { xml: Text, }
    NodeDeviceGetParentArgs { name: Text, }
    NodeDeviceGetParentRet { parent_name: Option<Text>, }
    NodeDeviceNumOfCapsArgs { name: Text, }
    NodeDeviceNumOfCapsRet { num: i32, }
    NodeDeviceListCapsArgs { name: Text, maxnames: i32, }
    NodeDeviceListCapsRet { names: Vec<Text> [list 65_536], }
    NodeDeviceDettachArgs { name: Text, }
    NodeDeviceDetachFlagsArgs { name: Text, driver_name: Option<Text>, flags: u32, }
    NodeDeviceReAttachArgs { name: Text, }
    NodeDeviceResetArgs { name: Text, }
    NodeDeviceCreateXmlArgs { xml_desc: Text, flags: u32, }
    NodeDeviceCreateXmlRet { dev: NodeDevice, }
    NodeDeviceDestroyArgs { name: Text, }
    NodeDeviceDefineXmlArgs { xml_desc: Text, flags: u32, }
    NodeDeviceDefineXmlRet { dev: NodeDevice, }
    NodeDeviceUndefineArgs { name: Text, flags: u32, }
    NodeDeviceCreateArgs { name: Text, flags: u32, }
    NodeDeviceGetAutostartArgs { name: Text, }
    NodeDeviceGetAutostartRet { autostart: i32, }
    NodeDeviceSetAutostartArgs { name: Text, autostart: i32, }
    NodeDeviceIsPersistentArgs { name: Text, }
    NodeDeviceIsPersistentRet { persistent: i32, }
    NodeDeviceIsActiveArgs { name: Text, }
    NodeDeviceIsActiveRet { active: i32, }
    NodeDeviceUpdateArgs { name: Text, xml_desc: Text, flags: u32, }
    ConnectDomainEventRegisterRet { cb_registered: i32, }
    ConnectDomainEventDeregisterRet { cb_registered: i32, }
    DomainEventLifecycleMsg { dom: Domain, event: i32, detail: i32, }
    DomainEventCallbackLifecycleMsg { callback_id: i32, msg: DomainEventLifecycleMsg, }
    ConnectDomainXmlFromNativeArgs { native_format: Text, native_config: Text, flags: u32, }
    ConnectDomainXmlFromNativeRet { domain_xml: Text, }
    ConnectDomainXmlToNativeArgs { native_format: Text, domain_xml: Text, flags: u32, }
    ConnectDomainXmlToNativeRet { native_config: Text, }
    ConnectNumOfSecretsRet { num: i32, }
    ConnectListSecretsArgs { maxuuids: i32, }
    ConnectListSecretsRet { uuids: Vec<Text> [list 16_384], }
    SecretLookupByUuidArgs { uuid: [u8; 16] [fixed], }
    SecretLookupByUuidRet { secret: Secret, }
    SecretDefineXmlArgs { xml: Text, flags: u32, }
    SecretDefineXmlRet { secret: Secret, }
    SecretGetXmlDescArgs { secret: Secret, flags: u32, }
    SecretGetXmlDescRet { xml: Text, }
    SecretSetValueArgs { secret: Secret, value: Vec<u8> [opaque 65_536], flags: u32, }
    SecretGetValueArgs { secret: Secret, flags: u32, }
    SecretGetValueRet { value: Vec<u8> [opaque 65_536], }
    SecretUndefineArgs { secret: Secret, }
    SecretLookupByUsageArgs { usage_type: i32, usage_id: Text, }
    SecretLookupByUsageRet { secret: Secret, }
    DomainMigratePrepareTunnelArgs { flags: u64, dname: Option<Text>, resource: u64, dom_xml: Text, }
    ConnectIsSecureRet { secure: i32, }
    DomainIsActiveArgs { dom: Domain, }
    DomainIsActiveRet { active: i32, }
    DomainIsPersistentArgs { dom: Domain, }
    DomainIsPersistentRet { persistent: i32, }
    DomainIsUpdatedArgs { dom: Domain, }
    DomainIsUpdatedRet { updated: i32, }
    NetworkIsActiveArgs { net: Network, }
    NetworkIsActiveRet { active: i32, }
    NetworkIsPersistentArgs { net: Network, }
    NetworkIsPersistentRet { persistent: i32, }
    StoragePoolIsActiveArgs { pool: StoragePool, }
    StoragePoolIsActiveRet { active: i32, }
    StoragePoolIsPersistentArgs { pool: StoragePool, }
    StoragePoolIsPersistentRet { persistent: i32, }
    InterfaceIsActiveArgs { iface: Interface, }
    InterfaceIsActiveRet { active: i32, }
    ConnectCompareCpuArgs { xml: Text, flags: u32, }
    ConnectCompareCpuRet { result: i32, }
    ConnectBaselineCpuArgs { xml_cp_us: Vec<Text> [list 256], flags: u32, }
    ConnectBaselineCpuRet { cpu: Text, }
    DomainGetJobInfoArgs { dom: Domain, }
    DomainGetJobInfoRet { r#type: i32, time_elapsed: u64, time_remaining: u64, data_total: u64, data_processed: u64, data_remaining: u64, mem_total: u64, mem_processed: u64, mem_remaining: u64, file_total: u64, file_processed: u64, file_remaining: u64, }
    DomainGetJobStatsArgs { dom: Domain, flags: u32, }
    DomainGetJobStatsRet { r#type: i32, params: Vec<TypedParam> [list 64], }
    DomainAbortJobArgs { dom: Domain, }
    DomainAbortJobFlagsArgs { dom: Domain, flags: u32, }
    DomainMigrateGetMaxDowntimeArgs { dom: Domain, flags: u32, }
    DomainMigrateGetMaxDowntimeRet { downtime: u64, }
    DomainMigrateSetMaxDowntimeArgs { dom: Domain, downtime: u64, flags: u32, }
    DomainMigrateGetCompressionCacheArgs { dom: Domain, flags: u32, }
    DomainMigrateGetCompressionCacheRet { cache_size: u64, }
    DomainMigrateSetCompressionCacheArgs { dom: Domain, cache_size: u64, flags: u32, }
    DomainMigrateSetMaxSpeedArgs { dom: Domain, bandwidth: u64, flags: u32, }
    DomainMigrateGetMaxSpeedArgs { dom: Domain, flags: u32, }
    DomainMigrateGetMaxSpeedRet { bandwidth: u64, }
    ConnectDomainEventRegisterAnyArgs { event_id: i32, }
    ConnectDomainEventDeregisterAnyArgs { event_id: i32, }
    ConnectDomainEventCallbackRegisterAnyArgs { event_id: i32, dom: Option<Domain>, }
    ConnectDomainEventCallbackRegisterAnyRet { callback_id: i32, }
    ConnectDomainEventCallbackDeregisterAnyArgs { callback_id: i32, }
    DomainEventRebootMsg { dom: Domain, }
    DomainEventCallbackRebootMsg { callback_id: i32, msg: DomainEventRebootMsg, }
    DomainEventRtcChangeMsg { dom: Domain, offset: i64, }
    DomainEventCallbackRtcChangeMsg { callback_id: i32, msg: DomainEventRtcChangeMsg, }
    DomainEventWatchdogMsg { dom: Domain, action: i32, }
    DomainEventCallbackWatchdogMsg { callback_id: i32, msg: DomainEventWatchdogMsg, }
    DomainEventIoErrorMsg { dom: Domain, src_path: Text, dev_alias: Text, action: i32, }
    DomainEventCallbackIoErrorMsg { callback_id: i32, msg: DomainEventIoErrorMsg, }
    DomainEventIoErrorReasonMsg { dom: Domain, src_path: Text, dev_alias: Text, action: i32, reason: Text, }
    DomainEventCallbackIoErrorReasonMsg { callback_id: i32, msg: DomainEventIoErrorReasonMsg, }
    DomainEventGraphicsAddress { family: i32, node: Text, service: Text, }
    DomainEventGraphicsIdentity { r#type: Text, name: Text, }
    DomainEventGraphicsMsg { dom: Domain, phase: i32, local: DomainEventGraphicsAddress, remote: DomainEventGraphicsAddress, auth_scheme: Text, subject: Vec<DomainEventGraphicsIdentity> [list 20], }
    DomainEventCallbackGraphicsMsg { callback_id: i32, msg: DomainEventGraphicsMsg, }
    DomainEventBlockJobMsg { dom: Domain, path: Text, r#type: i32, status: i32, }
    DomainEventCallbackBlockJobMsg { callback_id: i32, msg: DomainEventBlockJobMsg, }
    DomainEventDiskChangeMsg { dom: Domain, old_src_path: Option<Text>, new_src_path: Option<Text>, dev_alias: Text, reason: i32, }
    DomainEventCallbackDiskChangeMsg { callback_id: i32, msg: DomainEventDiskChangeMsg, }
    DomainEventTrayChangeMsg { dom: Domain, dev_alias: Text, reason: i32, }
    DomainEventCallbackTrayChangeMsg { callback_id: i32, msg: DomainEventTrayChangeMsg, }
    DomainEventPmwakeupMsg { dom: Domain, }
    DomainEventCallbackPmwakeupMsg { callback_id: i32, reason: i32, msg: DomainEventPmwakeupMsg, }
    DomainEventPmsuspendMsg { dom: Domain, }
    DomainEventCallbackPmsuspendMsg { callback_id: i32, reason: i32, msg: DomainEventPmsuspendMsg, }
    DomainEventBalloonChangeMsg { dom: Domain, actual: u64, }
    DomainEventCallbackBalloonChangeMsg { callback_id: i32, msg: DomainEventBalloonChangeMsg, }
    DomainEventPmsuspendDiskMsg { dom: Domain, }
    DomainEventCallbackPmsuspendDiskMsg { callback_id: i32, reason: i32, msg: DomainEventPmsuspendDiskMsg, }
    DomainManagedSaveArgs { dom: Domain, flags: u32, }
    DomainHasManagedSaveImageArgs { dom: Domain, flags: u32, }
    DomainHasManagedSaveImageRet { result: i32, }
    DomainManagedSaveRemoveArgs { dom: Domain, flags: u32, }
    DomainManagedSaveGetXmlDescArgs { dom: Domain, flags: u32, }
    DomainManagedSaveGetXmlDescRet { xml: Text, }
    DomainManagedSaveDefineXmlArgs { dom: Domain, dxml: Option<Text>, flags: u32, }
    DomainSnapshotCreateXmlArgs { dom: Domain, xml_desc: Text, flags: u32, }
    DomainSnapshotCreateXmlRet { snap: DomainSnapshot, }
    DomainSnapshotGetXmlDescArgs { snap: DomainSnapshot, flags: u32, }
    DomainSnapshotGetXmlDescRet { xml: Text, }
    DomainSnapshotNumArgs { dom: Domain, flags: u32, }
    DomainSnapshotNumRet { num: i32, }
    DomainSnapshotListNamesArgs { dom: Domain, maxnames: i32, flags: u32, }
    DomainSnapshotListNamesRet { names: Vec<Text> [list 16_384], }
    DomainListAllSnapshotsArgs { dom: Domain, need_results: i32, flags: u32, }
    DomainListAllSnapshotsRet { snapshots: Vec<DomainSnapshot> [list 16_384], ret: i32, }
    DomainSnapshotNumChildrenArgs { snap: DomainSnapshot, flags: u32, }
    DomainSnapshotNumChildrenRet { num: i32, }
    DomainSnapshotListChildrenNamesArgs { snap: DomainSnapshot, maxnames: i32, flags: u32, }
    DomainSnapshotListChildrenNamesRet { names: Vec<Text> [list 16_384], }
    DomainSnapshotListAllChildrenArgs { snapshot: DomainSnapshot, need_results: i32, flags: u32, }
    DomainSnapshotListAllChildrenRet { snapshots: Vec<DomainSnapshot> [list 16_384], ret: i32, }
    DomainSnapshotLookupByNameArgs { dom: Domain, name: Text, flags: u32, }
    DomainSnapshotLookupByNameRet { snap: DomainSnapshot, }
    DomainHasCurrentSnapshotArgs { dom: Domain, flags: u32, }
    DomainHasCurrentSnapshotRet { result: i32, }
    DomainSnapshotGetParentArgs { snap: DomainSnapshot, flags: u32, }
    DomainSnapshotGetParentRet { snap: DomainSnapshot, }
    DomainSnapshotCurrentArgs { dom: Domain, flags: u32, }
    DomainSnapshotCurrentRet { snap: DomainSnapshot, }
    DomainSnapshotIsCurrentArgs { snap: DomainSnapshot, flags: u32, }
    DomainSnapshotIsCurrentRet { current: i32, }
    DomainSnapshotHasMetadataArgs { snap: DomainSnapshot, flags: u32, }
    DomainSnapshotHasMetadataRet { metadata: i32, }
    DomainRevertToSnapshotArgs { snap: DomainSnapshot, flags: u32, }
    DomainSnapshotDeleteArgs { snap: DomainSnapshot, flags: u32, }
    DomainOpenConsoleArgs { dom: Domain, dev_name: Option<Text>, flags: u32, }
    DomainOpenChannelArgs { dom: Domain, name: Option<Text>, flags: u32, }
    StorageVolUploadArgs { vol: StorageVol, offset: u64, length: u64, flags: u32, }
    StorageVolDownloadArgs { vol: StorageVol, offset: u64, length: u64, flags: u32, }
    DomainGetStateArgs { dom: Domain, flags: u32, }
    DomainGetStateRet { state: i32, reason: i32, }
    DomainMigrateBegin3Args { dom: Domain, xmlin: Option<Text>, flags: u64, dname: Option<Text>, resource: u64, }
    DomainMigrateBegin3Ret { cookie_out: Vec<u8> [opaque 4_194_304], xml: Text, }
    DomainMigratePrepare3Args { cookie_in: Vec<u8> [opaque 4_194_304], uri_in: Option<Text>, flags: u64, dname: Option<Text>, resource: u64, dom_xml: Text, }
    DomainMigratePrepare3Ret { cookie_out: Vec<u8> [opaque 4_194_304], uri_out: Option<Text>, }
    DomainMigratePrepareTunnel3Args { cookie_in: Vec<u8> [opaque 4_194_304], flags: u64, dname: Option<Text>, resource: u64, dom_xml: Text, }
    DomainMigratePrepareTunnel3Ret { cookie_out: Vec<u8> [opaque 4_194_304], }
    DomainMigratePerform3Args { dom: Domain, xmlin: Option<Text>, cookie_in: Vec<u8> [opaque 4_194_304], dconnuri: Option<Text>, uri: Option<Text>, flags: u64, dname: Option<Text>, resource: u64, }
    DomainMigratePerform3Ret { cookie_out: Vec<u8> [opaque 4_194_304], }
    DomainMigrateFinish3Args { dname: Text, cookie_in: Vec<u8> [opaque 4_194_304], dconnuri: Option<Text>, uri: Option<Text>, flags: u64, cancelled: i32, }
    DomainMigrateFinish3Ret { dom: Domain, cookie_out: Vec<u8> [opaque 4_194_304], }
    DomainMigrateConfirm3Args { dom: Domain, cookie_in: Vec<u8> [opaque 4_194_304], flags: u64, cancelled: i32, }
    DomainEventControlErrorMsg { dom: Domain, }
    DomainEventCallbackControlErrorMsg { callback_id: i32, msg: DomainEventControlErrorMsg, }
    DomainGetControlInfoArgs { dom: Domain, flags: u32, }
    DomainGetControlInfoRet { state: u32, details: u32, state_time: u64, }
    DomainOpenGraphicsArgs { dom: Domain, idx: u32, flags: u32, }
    DomainOpenGraphicsFdArgs { dom: Domain, idx: u32, flags: u32, }
    NodeSuspendForDurationArgs { target: u32, duration: u64, flags: u32, }
    DomainShutdownFlagsArgs { dom: Domain, flags: u32, }
    DomainGetDiskErrorsArgs { dom: Domain, maxerrors: u32, flags: u32, }
    DomainGetDiskErrorsRet { errors: Vec<DomainDiskError> [list 256], nerrors: i32, }
    ConnectListAllDomainsArgs { need_results: i32, flags: u32, }
    ConnectListAllDomainsRet { domains: Vec<Domain> [list 16_384], ret: u32, }
    ConnectListAllStoragePoolsArgs { need_results: i32, flags: u32, }
    ConnectListAllStoragePoolsRet { pools: Vec<StoragePool> [list 16_384], ret: u32, }
    StoragePoolListAllVolumesArgs { pool: StoragePool, need_results: i32, flags: u32, }
    StoragePoolListAllVolumesRet { vols: Vec<StorageVol> [list 16_384], ret: u32, }
    ConnectListAllNetworksArgs { need_results: i32, flags: u32, }
    ConnectListAllNetworksRet { nets: Vec<Network> [list 16_384], ret: u32, }
    ConnectListAllInterfacesArgs { need_results: i32, flags: u32, }
    ConnectListAllInterfacesRet { ifaces: Vec<Interface> [list 16_384], ret: u32, }
    ConnectListAllNodeDevicesArgs { need_results: i32, flags: u32, }
    ConnectListAllNodeDevicesRet { devices: Vec<NodeDevice> [list 65_536], ret: u32, }
    ConnectListAllNwfiltersArgs { need_results: i32, flags: u32, }
    ConnectListAllNwfiltersRet { filters: Vec<Nwfilter> [list 16_384], ret: u32, }
    ConnectListAllSecretsArgs { need_results: i32, flags: u32, }
    ConnectListAllSecretsRet { secrets: Vec<Secret> [list 16_384], ret: u32, }
    NodeSetMemoryParametersArgs { params: Vec<TypedParam> [list 64], flags: u32, }
    NodeGetMemoryParametersArgs { nparams: i32, flags: u32, }
    NodeGetMemoryParametersRet { params: Vec<TypedParam> [list 64], nparams: i32, }
    NodeGetCpuMapArgs { need_map: i32, need_online: i32, flags: u32, }
    NodeGetCpuMapRet { cpumap: Vec<u8> [opaque 2048], online: u32, ret: i32, }
    DomainFstrimArgs { dom: Domain, mount_point: Option<Text>, minimum: u64, flags: u32, }
    DomainGetTimeArgs { dom: Domain, flags: u32, }
    DomainGetTimeRet { seconds: i64, nseconds: u32, }
    DomainSetTimeArgs { dom: Domain, seconds: i64, nseconds: u32, flags: u32, }
    DomainMigrateBegin3ParamsArgs { dom: Domain, params: Vec<TypedParam> [list 64], flags: u32, }
    DomainMigrateBegin3ParamsRet { cookie_out: Vec<u8> [opaque 4_194_304], xml: Text, }
    DomainMigratePrepare3ParamsArgs { params: Vec<TypedParam> [list 64], cookie_in: Vec<u8> [opaque 4_194_304], flags: u32, }
    DomainMigratePrepare3ParamsRet { cookie_out: Vec<u8> [opaque 4_194_304], uri_out: Option<Text>, }
    DomainMigratePrepareTunnel3ParamsArgs { params: Vec<TypedParam> [list 64], cookie_in: Vec<u8> [opaque 4_194_304], flags: u32, }
    DomainMigratePrepareTunnel3ParamsRet { cookie_out: Vec<u8> [opaque 4_194_304], }
    DomainMigratePerform3ParamsArgs { dom: Domain, dconnuri: Option<Text>, params: Vec<TypedParam> [list 64], cookie_in: Vec<u8> [opaque 4_194_304], flags: u32, }
    DomainMigratePerform3ParamsRet { cookie_out: Vec<u8> [opaque 4_194_304], }
    DomainMigrateFinish3ParamsArgs { params: Vec<TypedParam> [list 64], cookie_in: Vec<u8> [opaque 4_194_304], flags: u32, cancelled: i32, }
    DomainMigrateFinish3ParamsRet { dom: Domain, cookie_out: Vec<u8> [opaque 4_194_304], }
    DomainMigrateConfirm3ParamsArgs { dom: Domain, params: Vec<TypedParam> [list 64], cookie_in: Vec<u8> [opaque 4_194_304], flags: u32, cancelled: i32, }
    DomainEventDeviceRemovedMsg { dom: Domain, dev_alias: Text, }
    DomainEventCallbackDeviceRemovedMsg { callback_id: i32, msg: DomainEventDeviceRemovedMsg, }
    DomainEventBlockJob2Msg { callback_id: i32, dom: Domain, dst: Text, r#type: i32, status: i32, }
    DomainEventBlockThresholdMsg { callback_id: i32, dom: Domain, dev: Text, path: Option<Text>, threshold: u64, excess: u64, }
    DomainEventCallbackTunableMsg { callback_id: i32, dom: Domain, params: Vec<TypedParam> [list 2048], }
    DomainEventCallbackDeviceAddedMsg { callback_id: i32, dom: Domain, dev_alias: Text, }
    ConnectEventConnectionClosedMsg { reason: i32, }
    ConnectGetCpuModelNamesArgs { arch: Text, need_results: i32, flags: u32, }
    ConnectGetCpuModelNamesRet { models: Vec<Text> [list 8192], ret: i32, }
    ConnectNetworkEventRegisterAnyArgs { event_id: i32, net: Option<Network>, }
    ConnectNetworkEventRegisterAnyRet { callback_id: i32, }
    ConnectNetworkEventDeregisterAnyArgs { callback_id: i32, }
    NetworkEventLifecycleMsg { callback_id: i32, net: Network, event: i32, detail: i32, }
    NetworkEventCallbackMetadataChangeMsg { callback_id: i32, net: Network, r#type: i32, nsuri: Option<Text>, }
    NetworkSetMetadataArgs { network: Network, r#type: i32, metadata: Option<Text>, key: Option<Text>, uri: Option<Text>, flags: u32, }
    NetworkGetMetadataArgs { network: Network, r#type: i32, uri: Option<Text>, flags: u32, }
    NetworkGetMetadataRet { metadata: Text, }
    ConnectStoragePoolEventRegisterAnyArgs { event_id: i32, pool: Option<StoragePool>, }
    ConnectStoragePoolEventRegisterAnyRet { callback_id: i32, }
    ConnectStoragePoolEventDeregisterAnyArgs { callback_id: i32, }
    StoragePoolEventLifecycleMsg { callback_id: i32, pool: StoragePool, event: i32, detail: i32, }
    StoragePoolEventRefreshMsg { callback_id: i32, pool: StoragePool, }
    ConnectNodeDeviceEventRegisterAnyArgs { event_id: i32, dev: Option<NodeDevice>, }
    ConnectNodeDeviceEventRegisterAnyRet { callback_id: i32, }
    ConnectNodeDeviceEventDeregisterAnyArgs { callback_id: i32, }
    NodeDeviceEventLifecycleMsg { callback_id: i32, dev: NodeDevice, event: i32, detail: i32, }
    NodeDeviceEventUpdateMsg { callback_id: i32, dev: NodeDevice, }
    DomainFsfreezeArgs { dom: Domain, mountpoints: Vec<Text> [list 256], flags: u32, }
    DomainFsfreezeRet { filesystems: i32, }
    DomainFsthawArgs { dom: Domain, mountpoints: Vec<Text> [list 256], flags: u32, }
    DomainFsthawRet { filesystems: i32, }
    NodeGetFreePagesArgs { pages: Vec<u32> [list 1024], start_cell: i32, cell_count: u32, flags: u32, }
    NodeGetFreePagesRet { counts: Vec<u64> [list 1024], }
    NodeAllocPagesArgs { page_sizes: Vec<u32> [list 1024], page_counts: Vec<u64> [list 1024], start_cell: i32, cell_count: u32, flags: u32, }
    NodeAllocPagesRet { ret: i32, }
    NetworkDhcpLease { iface: Text, expirytime: i64, r#type: i32, mac: Option<Text>, iaid: Option<Text>, ipaddr: Text, prefix: u32, hostname: Option<Text>, clientid: Option<Text>, }
    NetworkGetDhcpLeasesArgs { net: Network, mac: Option<Text>, need_results: i32, flags: u32, }
    NetworkGetDhcpLeasesRet { leases: Vec<NetworkDhcpLease> [list 65_536], ret: u32, }
    DomainStatsRecord { dom: Domain, params: Vec<TypedParam> [list 262_144], }
    ConnectGetAllDomainStatsArgs { doms: Vec<Domain> [list 16_384], stats: u32, flags: u32, }
    DomainEventCallbackAgentLifecycleMsg { callback_id: i32, dom: Domain, state: i32, reason: i32, }
    ConnectGetAllDomainStatsRet { ret_stats: Vec<DomainStatsRecord> [list 16_384], }
    DomainFsinfo { mountpoint: Text, name: Text, fstype: Text, dev_aliases: Vec<Text> [list 256], }
    DomainGetFsinfoArgs { dom: Domain, flags: u32, }
    DomainGetFsinfoRet { info: Vec<DomainFsinfo> [list 256], ret: u32, }
    DomainIpAddr { r#type: i32, addr: Text, prefix: u32, }
    DomainInterface { name: Text, hwaddr: Option<Text>, addrs: Vec<DomainIpAddr> [list 2048], }
    DomainInterfaceAddressesArgs { dom: Domain, source: u32, flags: u32, }
    DomainInterfaceAddressesRet { ifaces: Vec<DomainInterface> [list 2048], }
    DomainSetUserPasswordArgs { dom: Domain, user: Option<Text>, password: Option<Text>, flags: u32, }
    DomainRenameArgs { dom: Domain, new_name: Option<Text>, flags: u32, }
    DomainRenameRet { retcode: i32, }
    DomainEventCallbackMigrationIterationMsg { callback_id: i32, dom: Domain, iteration: i32, }
    DomainEventCallbackJobCompletedMsg { callback_id: i32, dom: Domain, params: Vec<TypedParam> [list 64], }
    DomainMigrateStartPostCopyArgs { dom: Domain, flags: u32, }
    DomainEventCallbackDeviceRemovalFailedMsg { callback_id: i32, dom: Domain, dev_alias: Text, }
    DomainGetGuestVcpusArgs { dom: Domain, flags: u32, }
    DomainGetGuestVcpusRet { params: Vec<TypedParam> [list 64], }
    DomainSetGuestVcpusArgs { dom: Domain, cpumap: Text, state: i32, flags: u32, }
    DomainSetVcpuArgs { dom: Domain, cpumap: Text, state: i32, flags: u32, }
    DomainEventCallbackMetadataChangeMsg { callback_id: i32, dom: Domain, r#type: i32, nsuri: Option<Text>, }
    DomainEventMemoryFailureMsg { callback_id: i32, dom: Domain, recipient: i32, action: i32, flags: u32, }
    ConnectSecretEventRegisterAnyArgs { event_id: i32, secret: Option<Secret>, }
    ConnectSecretEventRegisterAnyRet { callback_id: i32, }
    ConnectSecretEventDeregisterAnyArgs { callback_id: i32, }
    SecretEventLifecycleMsg { callback_id: i32, secret: Secret, event: i32, detail: i32, }
    SecretEventValueChangedMsg { callback_id: i32, secret: Secret, }
    DomainSetBlockThresholdArgs { dom: Domain, dev: Text, threshold: u64, flags: u32, }
    DomainSetLifecycleActionArgs { dom: Domain, r#type: u32, action: u32, flags: u32, }
    ConnectCompareHypervisorCpuArgs { emulator: Option<Text>, arch: Option<Text>, machine: Option<Text>, virttype: Option<Text>, xml_cpu: Text, flags: u32, }
    ConnectCompareHypervisorCpuRet { result: i32, }
    ConnectBaselineHypervisorCpuArgs { emulator: Option<Text>, arch: Option<Text>, machine: Option<Text>, virttype: Option<Text>, xml_cp_us: Vec<Text> [list 256], flags: u32, }
    ConnectBaselineHypervisorCpuRet { cpu: Text, }
    NodeGetSevInfoArgs { nparams: i32, flags: u32, }
    NodeGetSevInfoRet { params: Vec<TypedParam> [list 64], nparams: i32, }
    DomainGetLaunchSecurityInfoArgs { dom: Domain, flags: u32, }
    DomainGetLaunchSecurityInfoRet { params: Vec<TypedParam> [list 64], }
    DomainSetLaunchSecurityStateArgs { dom: Domain, params: Vec<TypedParam> [list 64], flags: u32, }
    NwfilterBindingLookupByPortDevArgs { name: Text, }
    NwfilterBindingLookupByPortDevRet { nwfilter: NwfilterBinding, }
    NwfilterBindingCreateXmlArgs { xml: Text, flags: u32, }
    NwfilterBindingCreateXmlRet { nwfilter: NwfilterBinding, }
    NwfilterBindingDeleteArgs { nwfilter: NwfilterBinding, }
    NwfilterBindingGetXmlDescArgs { nwfilter: NwfilterBinding, flags: u32, }
    NwfilterBindingGetXmlDescRet { xml: Text, }
    ConnectListAllNwfilterBindingsArgs { need_results: i32, flags: u32, }
    ConnectListAllNwfilterBindingsRet { bindings: Vec<NwfilterBinding> [list 16_384], ret: u32, }
    ConnectGetStoragePoolCapabilitiesArgs { flags: u32, }
    ConnectGetStoragePoolCapabilitiesRet { capabilities: Text, }
    NetworkListAllPortsArgs { network: Network, need_results: i32, flags: u32, }
    NetworkListAllPortsRet { ports: Vec<NetworkPort> [list 16_384], ret: u32, }
    NetworkPortLookupByUuidArgs { network: Network, uuid: [u8; 16] [fixed], }
    NetworkPortLookupByUuidRet { port: NetworkPort, }
    NetworkPortCreateXmlArgs { network: Network, xml: Text, flags: u32, }
    NetworkPortCreateXmlRet { port: NetworkPort, }
    NetworkPortSetParametersArgs { port: NetworkPort, params: Vec<TypedParam> [list 16], flags: u32, }
    NetworkPortGetParametersArgs { port: NetworkPort, nparams: i32, flags: u32, }
    NetworkPortGetParametersRet { params: Vec<TypedParam> [list 16], nparams: i32, }
    NetworkPortGetXmlDescArgs { port: NetworkPort, flags: u32, }
    NetworkPortGetXmlDescRet { xml: Text, }
    NetworkPortDeleteArgs { port: NetworkPort, flags: u32, }
    DomainCheckpointCreateXmlArgs { dom: Domain, xml_desc: Text, flags: u32, }
    DomainCheckpointCreateXmlRet { checkpoint: DomainCheckpoint, }
    DomainCheckpointGetXmlDescArgs { checkpoint: DomainCheckpoint, flags: u32, }
    DomainCheckpointGetXmlDescRet { xml: Text, }
    DomainListAllCheckpointsArgs { dom: Domain, need_results: i32, flags: u32, }
    DomainListAllCheckpointsRet { checkpoints: Vec<DomainCheckpoint> [list 16_384], ret: i32, }
    DomainCheckpointListAllChildrenArgs { checkpoint: DomainCheckpoint, need_results: i32, flags: u32, }
    DomainCheckpointListAllChildrenRet { checkpoints: Vec<DomainCheckpoint> [list 16_384], ret: i32, }
    DomainCheckpointLookupByNameArgs { dom: Domain, name: Text, flags: u32, }
    DomainCheckpointLookupByNameRet { checkpoint: DomainCheckpoint, }
    DomainCheckpointGetParentArgs { checkpoint: DomainCheckpoint, flags: u32, }
    DomainCheckpointGetParentRet { parent: DomainCheckpoint, }
    DomainCheckpointDeleteArgs { checkpoint: DomainCheckpoint, flags: u32, }
    DomainGetGuestInfoArgs { dom: Domain, types: u32, flags: u32, }
    DomainGetGuestInfoRet { params: Vec<TypedParam> [list 2048], }
    ConnectSetIdentityArgs { params: Vec<TypedParam> [list 20], flags: u32, }
    DomainAgentSetResponseTimeoutArgs { dom: Domain, timeout: i32, flags: u32, }
    DomainAgentSetResponseTimeoutRet { result: i32, }
    DomainBackupBeginArgs { dom: Domain, backup_xml: Text, checkpoint_xml: Option<Text>, flags: u32, }
    DomainBackupGetXmlDescArgs { dom: Domain, flags: u32, }
    DomainBackupGetXmlDescRet { xml: Text, }
    DomainAuthorizedSshKeysGetArgs { dom: Domain, user: Text, flags: u32, }
    DomainAuthorizedSshKeysGetRet { keys: Vec<Text> [list 2048], }
    DomainAuthorizedSshKeysSetArgs { dom: Domain, user: Text, keys: Vec<Text> [list 2048], flags: u32, }
    DomainGetMessagesArgs { dom: Domain, flags: u32, }
    DomainGetMessagesRet { msgs: Vec<Text> [list 2048], }
    DomainStartDirtyRateCalcArgs { dom: Domain, seconds: i32, flags: u32, }
    DomainGraphicsReloadArgs { dom: Domain, r#type: u32, flags: u32, }
    DomainEventMemoryDeviceSizeChangeMsg { callback_id: i32, dom: Domain, alias: Text, size: u64, }
    DomainFdAssociateArgs { dom: Domain, name: Text, flags: u32, }
    DomainGetAutostartOnceArgs { dom: Domain, }
    DomainGetAutostartOnceRet { autostart: i32, }
    DomainSetAutostartOnceArgs { dom: Domain, autostart: i32, }
    DomainEventNicMacChangeMsg { callback_id: i32, dom: Domain, alias: Text, old_mac: Text, new_mac: Text, }
}

unions! {
    TypedParamValue { 1 Int(i32), 2 Uint(u32), 3 Llong(i64), 4 Ullong(u64), 5 Double(f64), 6 Boolean(i32), 7 String(Text), }
}
