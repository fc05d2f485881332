//! libvirt's error numbers (`virErrorNumber`) and what 11.3 writes around the text of each.
//!
//! `{}` stands for the text that the place of the error gives. A number is part of the protocol: clients branch on it.

macro_rules! codes {
    ($($name:ident = $number:literal $template:literal)*) => {
        /// `VIR_ERR_…`, named as libvirt names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        #[expect(missing_docs, reason = "libvirt's own names")]
        pub enum Code { $($name = $number),* }

        impl Code {
            /// What libvirt writes, with `{}` where the text goes.
            pub const fn template(self) -> &'static str {
                match self { $(Self::$name => $template),* }
            }
        }
    };
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Whether libvirt writes nothing around the text.
    pub(crate) fn is_bare(self) -> bool {
        self.template() == "{}"
    }

    /// The whole message that libvirt makes of `text`.
    pub fn message(self, text: &str) -> String {
        let template = self.template();
        match template.split_once("{}") {
            Some((before, after)) => [before, text, after].concat(),
            None => template.to_owned(),
        }
    }
}

codes! {
    InternalError = 1 "internal error: {}"
    NoMemory = 2 "out of memory: {}"
    NoSupport = 3 "this function is not supported by the connection driver: {}"
    UnknownHost = 4 "unknown host {}"
    NoConnect = 5 "no connection driver available for {}"
    InvalidConn = 6 "invalid connection pointer in {}"
    InvalidDomain = 7 "invalid domain pointer in {}"
    InvalidArg = 8 "invalid argument: {}"
    OperationFailed = 9 "operation failed: {}"
    GetFailed = 10 "GET operation failed: {}"
    PostFailed = 11 "POST operation failed: {}"
    HttpError = 12 "got unknown HTTP error code {}"
    SexprSerial = 13 "failed to serialize S-Expr: {}"
    NoXen = 14 "could not use Xen hypervisor entry {}"
    XenCall = 15 "failed Xen syscall {}"
    OsType = 16 "unknown OS type {}"
    NoKernel = 17 "missing kernel information: {}"
    NoRoot = 18 "missing root device information in {}"
    NoSource = 19 "missing source information for device {}"
    NoTarget = 20 "missing target information for device {}"
    NoName = 21 "missing name information in {}"
    NoOs = 22 "missing operating system information for {}"
    NoDevice = 23 "missing devices information for {}"
    NoXenstore = 24 "could not connect to Xen Store {}"
    DriverFull = 25 "too many drivers registered in {}"
    CallFailed = 26 "library call failed: {}"
    XmlError = 27 "XML error: {}"
    DomExist = 28 "domain {} exists already"
    OperationDenied = 29 "operation forbidden: {}"
    OpenFailed = 30 "failed to open configuration file {}"
    ReadFailed = 31 "failed to read configuration file {}"
    ParseFailed = 32 "failed to parse configuration file {}"
    ConfSyntax = 33 "configuration file syntax error: {}"
    WriteFailed = 34 "failed to write configuration file: {}"
    XmlDetail = 35 "{}"
    InvalidNetwork = 36 "invalid network pointer in {}"
    NetworkExist = 37 "network {} exists already"
    SystemError = 38 "{}"
    Rpc = 39 "{}"
    GnutlsError = 40 "{}"
    WarNoNetwork = 41 "Failed to find the network: {}"
    NoDomain = 42 "Domain not found: {}"
    NoNetwork = 43 "Network not found: {}"
    InvalidMac = 44 "invalid MAC address: {}"
    AuthFailed = 45 "authentication failed: {}"
    InvalidStoragePool = 46 "invalid storage pool pointer in {}"
    InvalidStorageVol = 47 "invalid storage volume pointer in {}"
    WarNoStorage = 48 "Failed to find a storage driver: {}"
    NoStoragePool = 49 "Storage pool not found: {}"
    NoStorageVol = 50 "Storage volume not found: {}"
    WarNoNode = 51 "Failed to find a node driver: {}"
    InvalidNodeDevice = 52 "invalid node device pointer in {}"
    NoNodeDevice = 53 "Node device not found: {}"
    NoSecurityModel = 54 "Security model not found: {}"
    OperationInvalid = 55 "Requested operation is not valid: {}"
    WarNoInterface = 56 "Failed to find the interface: {}"
    NoInterface = 57 "Interface not found: {}"
    InvalidInterface = 58 "invalid interface pointer in {}"
    MultipleInterfaces = 59 "multiple matching interfaces found: {}"
    WarNoNwfilter = 60 "Failed to start the nwfilter driver: {}"
    InvalidNwfilter = 61 "Invalid network filter: {}"
    NoNwfilter = 62 "Network filter not found: {}"
    BuildFirewall = 63 "Error while building firewall: {}"
    WarNoSecret = 64 "Failed to find a secret storage driver: {}"
    InvalidSecret = 65 "Invalid secret: {}"
    NoSecret = 66 "Secret not found: {}"
    ConfigUnsupported = 67 "unsupported configuration: {}"
    OperationTimeout = 68 "Timed out during operation: {}"
    MigratePersistFailed = 69 "Failed to make domain persistent after migration: {}"
    HookScriptFailed = 70 "Hook script execution failed: {}"
    InvalidDomainSnapshot = 71 "Invalid domain snapshot: {}"
    NoDomainSnapshot = 72 "Domain snapshot not found: {}"
    InvalidStream = 73 "invalid stream pointer in {}"
    ArgumentUnsupported = 74 "argument unsupported: {}"
    StorageProbeFailed = 75 "Storage pool probe failed: {}"
    StoragePoolBuilt = 76 "Storage pool already built: {}"
    SnapshotRevertRisky = 77 "revert requires force: {}"
    OperationAborted = 78 "operation aborted: {}"
    AuthCancelled = 79 "authentication cancelled: {}"
    NoDomainMetadata = 80 "metadata not found: {}"
    MigrateUnsafe = 81 "Unsafe migration: {}"
    Overflow = 82 "numerical overflow: {}"
    BlockCopyActive = 83 "block copy still active: {}"
    OperationUnsupported = 84 "Operation not supported: {}"
    Ssh = 85 "SSH transport error: {}"
    AgentUnresponsive = 86 "Guest agent is not responding: {}"
    ResourceBusy = 87 "resource busy: {}"
    AccessDenied = 88 "access denied: {}"
    DbusService = 89 "error from service: {}"
    StorageVolExist = 90 "storage volume {} exists already"
    CpuIncompatible = 91 "the CPU is incompatible with host CPU: {}"
    XmlInvalidSchema = 92 "XML document failed to validate against schema: {}"
    MigrateFinishOk = 93 "migration successfully aborted: {}"
    AuthUnavailable = 94 "authentication unavailable: {}"
    NoServer = 95 "Server not found: {}"
    NoClient = 96 "Client not found: {}"
    AgentUnsynced = 97 "guest agent replied with wrong id to guest-sync command: {}"
    Libssh = 98 "libssh transport error: {}"
    DeviceMissing = 99 "device not found: {}"
    InvalidNwfilterBinding = 100 "Invalid network filter binding: {}"
    NoNwfilterBinding = 101 "Network filter binding not found: {}"
    InvalidDomainCheckpoint = 102 "Invalid domain checkpoint: {}"
    NoDomainCheckpoint = 103 "Domain checkpoint not found: {}"
    NoDomainBackup = 104 "Domain backup job id not found: {}"
    InvalidNetworkPort = 105 "Invalid network port pointer: {}"
    NetworkPortExist = 106 "network port {} exists already"
    NoNetworkPort = 107 "network port not found: {}"
    NoHostname = 108 "no hostname found: {}"
    CheckpointInconsistent = 109 "checkpoint inconsistent: {}"
    MultipleDomains = 110 "multiple matching domains found: {}"
    NoNetworkMetadata = 111 "metadata not found: {}"
    AgentCommandTimeout = 112 "guest agent command timed out: {}"
    AgentCommandFailed = 113 "guest agent command failed: {}"
}
