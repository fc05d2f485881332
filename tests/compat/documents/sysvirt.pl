# Sys::Virt: the same life once more, through Perl.
use strict;
use warnings;
use Sys::Virt;

my $c = Sys::Virt->new();
printf "%s %s\n", $c->get_uri(), $c->get_type();
local $/;
open my $file, '<', 'g1.xml' or die;
my $d = $c->define_domain(<$file>);
printf "%s %s %s %d %d\n", $d->get_name(), $d->get_uuid_string(), $d->get_id(), $d->is_active(), $d->is_persistent();
$d->create();
my $info = $d->get_info();
printf "%s %d %d %d %d\n", $d->get_id(), $info->{state}, $info->{maxMem}, $info->{memory}, $info->{nrVirtCpu};
print join(' ', map { $_->get_name() } $c->list_all_domains()), "\n";
print join(' ', map { $_->get_name() } $c->list_domains()), "\n";
my ($state, $reason) = $d->get_state();
print "$state $reason\n";
my @stats = $c->get_all_domain_stats(&Sys::Virt::Domain::STATS_STATE);
print join(' ', %{ $stats[0]->{data} }), "\n" if keys %{ $stats[0]->{data} } == 1;
print scalar(keys %{ $stats[0]->{data} }), "\n";
$d->suspend();
$d->resume();
$d->destroy();
$d->undefine();
print join(' ', sort map { $_->get_name() } $c->list_all_networks()), "\n";
eval { $c->get_domain_by_name('nonesuch') };
printf "%d %d %s\n", $@->code, $@->domain, $@->message;
my $node = $c->get_node_info();
print join(' ', sort keys %$node), "\n";
my $pool = $c->create_storage_pool("<pool type='dir'><name>p</name><target><path>/run/house/work</path></target></pool>");
my $vol = $pool->create_volume("<volume><name>perl.raw</name><capacity>1048576</capacity></volume>");
my $st = $c->new_stream();
$vol->upload($st, 0, 0);
$st->send('x' x 1000, 1000);
$st->finish();
$st = $c->new_stream();
my $got = '';
$vol->download($st, 0, 1000);
while (length $got < 1000) {
    my $data;
    my $n = $st->recv($data, 1000 - length $got);
    last if $n <= 0;
    $got .= $data;
}
$st->finish();
print $got eq 'x' x 1000 ? "same\n" : "other\n";
$vol->delete();
$pool->destroy();
