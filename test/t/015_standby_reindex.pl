# On a standby, REINDEX CONCURRENTLY does not wait for transactions that have
# read already.  What is appended from then on is in the new index alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_store('primary', streaming => 1, by_hand => 1);

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my @reads = (
	[ 'events_pkey', q{SELECT count(*) FROM eventstore.read_all()} ],
	[ 'events_stream_id_version_key', q{SELECT count(*) FROM eventstore.read_stream('Account-1')} ],
	[ 'events_stream_id_version_key', q{SELECT eventstore.stream_version('Account-1')} ],
	[ 'events_stream_type_global_position_idx', q{SELECT count(*) FROM eventstore.read_category('Account')} ]);
my $nevents = 1;

append($primary, 'Account-1');
foreach my $read (@reads)
{
	my ($index, $sql) = @$read;
	my $reader = session($standby);

	$primary->wait_for_catchup($standby);
	$reader->query('BEGIN');
	is($reader->query($sql), $nevents, "before REINDEX: $sql");
	$primary->safe_psql('postgres', "REINDEX INDEX CONCURRENTLY eventstore.$index");
	append($primary, 'Account-1');
	$nevents++;
	$primary->wait_for_catchup($standby);
	is($reader->query($sql), $nevents, "behind it, in the same transaction: $sql");
	$reader->quit;
}

$standby->stop;
$primary->stop;
done_testing();
