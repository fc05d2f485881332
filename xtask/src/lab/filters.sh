# Rules of network filters that count connections: sourced by devices.sh, with what it defines.
echo "-- filters that count connections"
ip link add br9 type bridge; ip link set br9 up
for n in 1 2; do
    ip netns add n$n
    ip link add port$n type veth peer name eth0 address 52:54:00:00:09:0$n netns n$n
    ip link set port$n master br9 up
    ip -n n$n addr add 10.9.0.$n/24 dev eth0; ip -n n$n link set eth0 up
done
# Says hello to everybody, and keeps all connections.
serve() {
    ip netns exec n2 perl -MIO::Socket::INET -e '
        $at = IO::Socket::INET->new(LocalPort => 7000, Listen => 9, ReuseAddr => 1) or die $!;
        while ($one = $at->accept) { $one->autoflush; print $one "hello\n"; push @all, $one }' & server=$!
}
serve
talk() { # SECONDS
    ip netns exec n1 timeout 5 bash -c 'exec 3<>/dev/tcp/10.9.0.2/7000 && read -r -t 3 word <&3 && echo "$word"; sleep "$1"' talk "$1"
}
# Nobody listens there: who is not kept from asking is told so at once, the others wait.
knock() { ip netns exec n2 timeout 3 bash -c '</dev/tcp/10.9.0.1/7001'; echo "code $?"; }
comes hello talk 0
says "code 1" knock
cat >/tmp/count.xml <<EOF
<filter name='count' chain='root'>
<rule action='drop' direction='out' priority='400'><tcp connlimit-above='2'/></rule>
<rule action='accept' direction='out' priority='500'><tcp dstportstart='7000'/></rule>
<rule action='drop' direction='inout' priority='900'><all/></rule></filter>
EOF
cat >/tmp/binding.xml <<EOF
<filterbinding><owner><name>counted</name><uuid>5a1f0a8e-52f5-4b8a-9a3e-2d6a6c1f0a09</uuid></owner>
<portdev name='port1'/><mac address='52:54:00:00:09:01'/><filterref filter='count'/></filterbinding>
EOF
works virsh nwfilter-define /tmp/count.xml
works virsh nwfilter-binding-create /tmp/binding.xml
says "ct count over 2" nft list table bridge lodge_filter
says "code 124" knock
held=()
for n in 1 2; do
    ip netns exec n1 bash -c 'exec 3<>/dev/tcp/10.9.0.2/7000; read -r word <&3; echo "$word" >"$1"; exec sleep 600' hold /tmp/held$n & held+=($!)
    comes hello cat /tmp/held$n
done
says "said: ." echo "said: $(talk 0 2>/dev/null)."
# A connection is over when both ends have closed it.
kill "${held[@]}" "$server"; serve
comes hello talk 0
works virsh nwfilter-binding-delete port1
says "code 1" knock
kill "$server"
ip link del br9; for n in 1 2; do ip netns del n$n; done
