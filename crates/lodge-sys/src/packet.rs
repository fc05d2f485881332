//! Packet sockets for DHCP.
