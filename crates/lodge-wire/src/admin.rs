//! Program `admin`: its types and procedures.
//!
//! Written by `cargo xtask codegen` from `facts/admin.facts`; change that, not this.

use crate::Text;

procedures! {
    program 0x0690_0690 version 1;
    calls {
        1 ConnectOpen "CONNECT_OPEN" (ConnectOpenArgs) -> () {}
        2 ConnectClose "CONNECT_CLOSE" (()) -> () {}
        3 ConnectGetLibVersion "CONNECT_GET_LIB_VERSION" (()) -> ConnectGetLibVersionRet {}
        4 ConnectListServers "CONNECT_LIST_SERVERS" (ConnectListServersArgs) -> ConnectListServersRet {}
        5 ConnectLookupServer "CONNECT_LOOKUP_SERVER" (ConnectLookupServerArgs) -> ConnectLookupServerRet {}
        6 ServerGetThreadpoolParameters "SERVER_GET_THREADPOOL_PARAMETERS" (ServerGetThreadpoolParametersArgs) -> ServerGetThreadpoolParametersRet {}
        7 ServerSetThreadpoolParameters "SERVER_SET_THREADPOOL_PARAMETERS" (ServerSetThreadpoolParametersArgs) -> () {}
        8 ServerListClients "SERVER_LIST_CLIENTS" (ServerListClientsArgs) -> ServerListClientsRet {}
        9 ServerLookupClient "SERVER_LOOKUP_CLIENT" (ServerLookupClientArgs) -> ServerLookupClientRet {}
        10 ClientGetInfo "CLIENT_GET_INFO" (ClientGetInfoArgs) -> ClientGetInfoRet {}
        11 ClientClose "CLIENT_CLOSE" (ClientCloseArgs) -> () {}
        12 ServerGetClientLimits "SERVER_GET_CLIENT_LIMITS" (ServerGetClientLimitsArgs) -> ServerGetClientLimitsRet {}
        13 ServerSetClientLimits "SERVER_SET_CLIENT_LIMITS" (ServerSetClientLimitsArgs) -> () {}
        14 ConnectGetLoggingOutputs "CONNECT_GET_LOGGING_OUTPUTS" (ConnectGetLoggingOutputsArgs) -> ConnectGetLoggingOutputsRet {}
        15 ConnectGetLoggingFilters "CONNECT_GET_LOGGING_FILTERS" (ConnectGetLoggingFiltersArgs) -> ConnectGetLoggingFiltersRet {}
        16 ConnectSetLoggingOutputs "CONNECT_SET_LOGGING_OUTPUTS" (ConnectSetLoggingOutputsArgs) -> () {}
        17 ConnectSetLoggingFilters "CONNECT_SET_LOGGING_FILTERS" (ConnectSetLoggingFiltersArgs) -> () {}
        18 ServerUpdateTlsFiles "SERVER_UPDATE_TLS_FILES" (ServerUpdateTlsFilesArgs) -> () {}
        19 ConnectSetDaemonTimeout "CONNECT_SET_DAEMON_TIMEOUT" (ConnectSetDaemonTimeoutArgs) -> () {}
        20 ConnectDaemonShutdown "CONNECT_DAEMON_SHUTDOWN" (ConnectDaemonShutdownArgs) -> () {}
    }
    events {
    }
}

structs! {
    TypedParam { field: Text, value: TypedParamValue, }
    Server { name: Text, }
    Client { srv: Server, id: u64, timestamp: i64, transport: u32, }
    ConnectOpenArgs { flags: u32, }
    ConnectGetLibVersionRet { lib_ver: u64, }
    ConnectListServersArgs { need_results: u32, flags: u32, }
    ConnectListServersRet { servers: Vec<Server> [list 16_384], ret: u32, }
    ConnectLookupServerArgs { name: Text, flags: u32, }
    ConnectLookupServerRet { srv: Server, }
    ServerGetThreadpoolParametersArgs { srv: Server, flags: u32, }
    ServerGetThreadpoolParametersRet { params: Vec<TypedParam> [list 32], }
    ServerSetThreadpoolParametersArgs { srv: Server, params: Vec<TypedParam> [list 32], flags: u32, }
    ServerListClientsArgs { srv: Server, need_results: u32, flags: u32, }
    ServerListClientsRet { clients: Vec<Client> [list 16_384], ret: u32, }
    ServerLookupClientArgs { srv: Server, id: u64, flags: u32, }
    ServerLookupClientRet { clnt: Client, }
    ClientGetInfoArgs { clnt: Client, flags: u32, }
    ClientGetInfoRet { params: Vec<TypedParam> [list 64], }
    ClientCloseArgs { clnt: Client, flags: u32, }
    ServerGetClientLimitsArgs { srv: Server, flags: u32, }
    ServerGetClientLimitsRet { params: Vec<TypedParam> [list 32], }
    ServerSetClientLimitsArgs { srv: Server, params: Vec<TypedParam> [list 32], flags: u32, }
    ServerUpdateTlsFilesArgs { srv: Server, flags: u32, }
    ConnectGetLoggingOutputsArgs { flags: u32, }
    ConnectGetLoggingOutputsRet { outputs: Text, noutputs: u32, }
    ConnectGetLoggingFiltersArgs { flags: u32, }
    ConnectGetLoggingFiltersRet { filters: Option<Text>, nfilters: u32, }
    ConnectSetLoggingOutputsArgs { outputs: Option<Text>, flags: u32, }
    ConnectSetLoggingFiltersArgs { filters: Option<Text>, flags: u32, }
    ConnectSetDaemonTimeoutArgs { timeout: u32, flags: u32, }
    ConnectDaemonShutdownArgs { flags: u32, }
}

unions! {
    TypedParamValue { 1 Int(i32), 2 Uint(u32), 3 Llong(i64), 4 Ullong(u64), 5 Double(f64), 6 Boolean(i32), 7 String(Text), }
}
