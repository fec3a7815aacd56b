# The output plugin on a standby, and slots that survive a failover.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_store('primary', streaming => 'logical');
my $major = int($primary->safe_psql('postgres', 'SHOW server_version_num') / 10000);

if ($major < 16)
{
	$primary->stop;
	plan skip_all => 'no logical decoding on standbys before PostgreSQL 16';
}

$primary->safe_psql('postgres', q{SELECT pg_create_physical_replication_slot('standby')});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
my $conninfo = $primary->connstr('postgres') =~ s/'/''/gr;
$standby->append_conf('postgresql.conf', qq{
hot_standby_feedback = on
wal_receiver_status_interval = 1
primary_slot_name = standby
primary_conninfo = '$conninfo'
});
$standby->start;
$primary->wait_for_catchup($standby);

# The data of the events that a slot has.
sub decoded
{
	my ($node, $slot) = @_;

	return join ' ', split /\n/, $node->safe_psql('postgres', qq{
SELECT data::json->>'data' FROM pg_logical_slot_get_changes('$slot', NULL, NULL)});
}

sub append_data
{
	my ($node, $data) = @_;

	return $node->safe_psql('postgres', qq{
SELECT last_position FROM eventstore.append_event('Order-1', 'Happened', '$data')});
}

# A slot on the standby begins where the primary has said what is running.
my $creation = start_psql($standby, 'creation', '-c',
	q{SELECT FROM pg_create_logical_replication_slot('here', 'eventstore')});
wait_for(
	sub {
		$primary->safe_psql('postgres', 'SELECT pg_log_standby_snapshot()');
		return $standby->safe_psql('postgres',
			q{SELECT count(*) FROM eventstore.replication_status WHERE confirmed_flush_lsn IS NOT NULL});
	},
	'the slot on the standby');
ok(finish_psql($creation), 'a slot was created on the standby');

append_data($primary, 1);
append_data($primary, 2);
$primary->wait_for_catchup($standby);
is( $standby->safe_psql('postgres', q{
SELECT slot_name, retained_bytes > 0, lag_bytes > 0 FROM eventstore.replication_status}),
	'here|t|t', 'the status of a slot on a standby');
is(decoded($standby, 'here'), '1 2', 'the standby decodes what the primary wrote');

if ($major >= 17)
{
	$primary->safe_psql('postgres', q{
SELECT FROM pg_create_logical_replication_slot('everywhere', 'eventstore', false, false, true)});
	append_data($primary, 3);
	is(decoded($primary, 'everywhere'), '3', 'the slot on the primary');
	wait_for(
		sub {
			$primary->safe_psql('postgres', 'SELECT pg_log_standby_snapshot()');
			$primary->wait_for_catchup($standby);
			$standby->psql('postgres', 'SELECT pg_sync_replication_slots()');
			return $standby->safe_psql('postgres', q{
SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'everywhere' AND synced AND NOT temporary});
		},
		'the slot to be there on the standby');
	is( $standby->safe_psql('postgres', q{
SELECT failover, invalidation_reason FROM eventstore.replication_status WHERE slot_name = 'everywhere'}),
		't|', 'the status of a slot for failover');
	append_data($primary, 4);
}

$primary->wait_for_catchup($standby);
$primary->stop;
$standby->promote;
append_data($standby, 5);
is(decoded($standby, 'here'), $major >= 17 ? '3 4 5' : '5', 'a slot goes on after the promotion');
is(decoded($standby, 'everywhere'), '4 5', 'so does one that came from the primary')
  if $major >= 17;

$standby->stop;
done_testing();
