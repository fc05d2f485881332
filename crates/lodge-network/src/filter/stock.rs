//! The filters that libvirt users expect to be there, by the names that Debian's and everybody's packages have: of the
//! same meaning, in words of our own. They are put in their place once, where there is no directory of filters yet.

/// Their documents.
pub(super) const DOCUMENTS: &[&str] = &[
    // Frames of one sort, both ways or inwards.
    "<filter name='allow-arp' chain='arp'><rule action='accept' direction='inout'/></filter>",
    "<filter name='allow-ipv4' chain='ipv4'><rule action='accept' direction='inout'/></filter>",
    "<filter name='allow-ipv6' chain='ipv6'><rule action='accept' direction='inout'/></filter>",
    "<filter name='allow-incoming-ipv4' chain='ipv4'><rule action='accept' direction='in'/></filter>",
    "<filter name='allow-incoming-ipv6' chain='ipv6'><rule action='accept' direction='in'/></filter>",
    // DHCP: the guest asks everybody, anybody answers, or the servers of a parameter.
    "<filter name='allow-dhcp' chain='ipv4'>\
       <rule action='accept' direction='out' priority='100'>\
         <ip srcipaddr='0.0.0.0' dstipaddr='255.255.255.255' protocol='udp' srcportstart='68' dstportstart='67'/></rule>\
       <rule action='accept' direction='in' priority='100'>\
         <ip protocol='udp' srcportstart='67' dstportstart='68'/></rule>\
     </filter>",
    "<filter name='allow-dhcp-server' chain='ipv4'>\
       <rule action='accept' direction='out' priority='100'>\
         <ip srcipaddr='0.0.0.0' dstipaddr='255.255.255.255' protocol='udp' srcportstart='68' dstportstart='67'/></rule>\
       <rule action='accept' direction='in' priority='100'>\
         <ip srcipaddr='$DHCPSERVER' protocol='udp' srcportstart='67' dstportstart='68'/></rule>\
     </filter>",
    // RFC 8415, section 7: from an address of the link to all servers.
    "<filter name='allow-dhcpv6' chain='ipv6'>\
       <rule action='accept' direction='out' priority='100'>\
         <ipv6 srcipaddr='fe80::' srcipmask='10' dstipaddr='ff02::1:2' protocol='udp' srcportstart='546' \
          dstportstart='547'/></rule>\
       <rule action='accept' direction='in' priority='100'>\
         <ipv6 protocol='udp' srcportstart='547' dstportstart='546'/></rule>\
     </filter>",
    "<filter name='allow-dhcpv6-server' chain='ipv6'>\
       <rule action='accept' direction='out' priority='100'>\
         <ipv6 srcipaddr='fe80::' srcipmask='10' dstipaddr='ff02::1:2' protocol='udp' srcportstart='546' \
          dstportstart='547'/></rule>\
       <rule action='accept' direction='in' priority='100'>\
         <ipv6 srcipaddr='$DHCPSERVER' protocol='udp' srcportstart='547' dstportstart='546'/></rule>\
     </filter>",
    // Nobody passes for another.
    "<filter name='no-mac-spoofing' chain='mac' priority='-800'>\
       <rule action='return' direction='out'><mac srcmacaddr='$MAC'/></rule>\
       <rule action='drop' direction='out'><mac/></rule>\
     </filter>",
    "<filter name='no-ip-spoofing' chain='ipv4-ip' priority='-710'>\
       <rule action='return' direction='out' priority='100'><ip srcipaddr='0.0.0.0' protocol='udp'/></rule>\
       <rule action='return' direction='out' priority='500'><ip srcipaddr='$IP'/></rule>\
       <rule action='drop' direction='out' priority='1000'/>\
     </filter>",
    "<filter name='no-ipv6-spoofing' chain='ipv6-ip' priority='-610'>\
       <rule action='return' direction='out' priority='100'>\
         <ipv6 srcipaddr='fe80::' srcipmask='10' protocol='udp'/></rule>\
       <rule action='return' direction='out' priority='500'><ipv6 srcipaddr='$IPV6'/></rule>\
       <rule action='drop' direction='out' priority='1000'/>\
     </filter>",
    "<filter name='no-arp-mac-spoofing' chain='arp-mac' priority='-520'>\
       <rule action='return' direction='out' priority='350'><arp arpsrcmacaddr='$MAC'/></rule>\
       <rule action='drop' direction='out' priority='1000'/>\
     </filter>",
    "<filter name='no-arp-ip-spoofing' chain='arp-ip' priority='-510'>\
       <rule action='return' direction='out' priority='400'><arp arpsrcipaddr='$IP'/></rule>\
       <rule action='drop' direction='out' priority='1000'/>\
     </filter>",
    "<filter name='no-arp-spoofing' chain='root'>\
       <filterref filter='no-arp-mac-spoofing'/><filterref filter='no-arp-ip-spoofing'/>\
     </filter>",
    // Nobody speaks to all.
    "<filter name='no-ip-multicast' chain='ipv4'>\
       <rule action='drop' direction='out'><ip dstipaddr='224.0.0.0' dstipmask='4'/></rule>\
     </filter>",
    "<filter name='no-ipv6-multicast' chain='ipv6'>\
       <rule action='drop' direction='out'><ipv6 dstipaddr='ff00::' dstipmask='8'/></rule>\
     </filter>",
    "<filter name='no-mac-broadcast' chain='ipv4'>\
       <rule action='drop' direction='out'><mac dstmacaddr='ff:ff:ff:ff:ff:ff'/></rule>\
     </filter>",
    // The end of a filter that lets through what it names alone.
    "<filter name='no-other-l2-traffic'><rule action='drop' direction='inout' priority='1000'/></filter>",
    "<filter name='no-other-rarp-traffic' chain='rarp'>\
       <rule action='drop' direction='inout' priority='1000'/></filter>",
    // What QEMU sends for its guest when that has come to another host; once it had the bytes of RARP's type mixed up.
    "<filter name='qemu-announce-self' chain='root'>\
       <rule action='accept' direction='out'><mac protocolid='0x835'/></rule>\
       <filterref filter='qemu-announce-self-rarp'/><filterref filter='no-other-rarp-traffic'/>\
     </filter>",
    "<filter name='qemu-announce-self-rarp' chain='rarp'>\
       <rule action='accept' direction='out' priority='500'>\
         <rarp srcmacaddr='$MAC' dstmacaddr='ff:ff:ff:ff:ff:ff' opcode='Request_Reverse' arpsrcmacaddr='$MAC' \
          arpdstmacaddr='$MAC' arpsrcipaddr='0.0.0.0' arpdstipaddr='0.0.0.0'/></rule>\
       <rule action='accept' direction='in' priority='500'>\
         <rarp dstmacaddr='ff:ff:ff:ff:ff:ff' opcode='Request_Reverse' arpsrcmacaddr='$MAC' arpdstmacaddr='$MAC' \
          arpsrcipaddr='0.0.0.0' arpdstipaddr='0.0.0.0'/></rule>\
     </filter>",
    // All of it together: IPv4 and ARP, each from the guest's own addresses.
    "<filter name='clean-traffic' chain='root'>\
       <filterref filter='no-mac-spoofing'/><filterref filter='no-ip-spoofing'/>\
       <rule action='accept' direction='out' priority='-650'><mac protocolid='ipv4'/></rule>\
       <filterref filter='allow-incoming-ipv4'/><filterref filter='no-arp-spoofing'/>\
       <rule action='accept' direction='inout' priority='-500'><mac protocolid='arp'/></rule>\
       <filterref filter='no-other-l2-traffic'/><filterref filter='qemu-announce-self'/>\
     </filter>",
    // The same, with one partner only.
    "<filter name='clean-traffic-gateway' chain='root'>\
       <filterref filter='no-mac-spoofing'/><filterref filter='no-ip-spoofing'/><filterref filter='no-arp-spoofing'/>\
       <rule action='accept' direction='inout' priority='-500'><mac protocolid='arp'/></rule>\
       <rule action='accept' direction='in'><mac srcmacaddr='$GATEWAY_MAC'/></rule>\
       <rule action='accept' direction='out'><mac dstmacaddr='$GATEWAY_MAC'/></rule>\
       <filterref filter='no-other-l2-traffic'/><filterref filter='qemu-announce-self'/>\
     </filter>",
];
