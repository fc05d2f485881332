# The old list calls, object by object, as vagrant-libvirt makes them.
require 'libvirt'

c = Libvirt.open
puts c.uri, c.type, c.libversion
d = c.define_domain_xml(File.read('g1.xml'))
puts c.num_of_defined_domains, c.list_defined_domains.inspect
d.create
puts c.num_of_domains, c.list_domains.map { |id| c.lookup_domain_by_id(id).name }.inspect
info = d.info
puts info.state, info.max_mem, info.memory, info.nr_virt_cpu
puts d.os_type, d.max_memory, d.active?, d.persistent?, d.autostart?, d.state.inspect
d.autostart = true
puts d.autostart?
puts c.num_of_networks, c.list_networks.inspect, c.list_defined_networks.inspect
n = c.lookup_network_by_name('default')
puts n.active?, n.bridge_name, n.autostart?, n.uuid.size
n.create
puts n.dhcp_leases.inspect
n.destroy
puts c.num_of_storage_pools, c.list_storage_pools.inspect, c.list_defined_storage_pools.inspect
p = c.create_storage_pool_xml("<pool type='dir'><name>p</name><target><path>/run/house/work</path></target></pool>")
v = p.create_volume_xml("<volume><name>ruby.raw</name><capacity>1048576</capacity></volume>")
puts p.num_of_volumes > 0, v.path, v.key, v.info.capacity, v.pool.name
v.delete
p.destroy
begin
  c.lookup_domain_by_name('nonesuch')
rescue Libvirt::RetrieveError => e
  puts e.libvirt_code, e.libvirt_message
end
d.destroy
d.undefine
c.close
