# A replica of a replica, and a standby of the one in between: nothing is settled
# on any of them before it is there, whatever is copied again meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = q{
wal_retrieve_retry_interval = 100ms
max_logical_replication_workers = 8
max_worker_processes = 16
eventstore.watermark_interval = 100
};
my $publisher = new_store('publisher', streaming => 'logical', conf => $conf);
my $middle = new_store('middle', streaming => 'logical', conf => $conf);
my $last = new_store('last', streaming => 'logical', conf => $conf);
my %origin = (middle => $publisher, last => $middle);

$_->safe_psql('postgres', q{
CREATE PUBLICATION store FOR TABLE eventstore.events, eventstore.watermark, eventstore.digests
	WITH (publish = 'insert, update')})
  foreach $publisher, $middle;

sub subscribe
{
	my ($node, $options) = @_;
	my $source = $origin{ $node->name }->connstr . ' dbname=postgres';
	my $name = 'to_' . $node->name;

	$node->safe_psql('postgres',
		"CREATE SUBSCRIPTION $name CONNECTION '$source' PUBLICATION store" . ($options // ''));
	return;
}

sub settled
{
	my ($node) = @_;

	return $node->safe_psql('postgres', 'SELECT eventstore.settled_position()');
}

sub count
{
	my ($node) = @_;

	return $node->safe_psql('postgres', 'SELECT count(*) FROM eventstore.events');
}

#
# The watermark gets ahead of the events.  Nobody appends any more afterwards.
#

$publisher->safe_psql('postgres', q{
SELECT count(eventstore.append_events('Account-' || i, '[{"event_type": "Happened", "data": 1}]'))
FROM generate_series(1, 5000) i});

subscribe($last);
# The copy takes as long as somebody holds this lock.
$middle->safe_psql('postgres', q{
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(1);
	RETURN NULL;
END $$;
CREATE TRIGGER wait AFTER INSERT ON eventstore.events FOR EACH STATEMENT EXECUTE FUNCTION wait();
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER wait});
my $lock = session($middle);
$lock->query('SELECT pg_advisory_lock(1)');
subscribe($middle);
$middle->poll_query_until('postgres', q{
SELECT srsubstate IN ('s', 'r') FROM pg_subscription_rel WHERE srrelid = 'eventstore.watermark'::regclass})
  or die 'there is no watermark';
my $end = append($publisher, 'Account-1', 'Account-2');
$middle->poll_query_until('postgres', "SELECT published_position = $end FROM eventstore.watermark")
  or die 'the watermark does not get on';
$middle->wait_for_catchup('to_last');
is(count($_) . ' ' . settled($_), '0 0', $_->name . ': nothing is settled that is not there')
  foreach $middle, $last;

$lock->quit;
foreach my $node ($middle, $last)
{
	$node->poll_query_until('postgres', "SELECT settled_position = $end FROM eventstore.watermark")
	  or die 'the watermark stays behind';
	is(count($node) . ' ' . settled($node), "5002 $end",
		$node->name . ': all is settled, without a further append');
}

$middle->safe_psql('postgres', 'DROP TRIGGER wait ON eventstore.events');

#
# Load, while tables are copied again and subscriptions stop and go on.
#

$middle->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($middle, 'backup', has_streaming => 1);
$standby->start;

my @nodes = ($publisher, $middle, $last, $standby);
my %followers = map { $_->name => [ map { start_follower($_->[0], $_->[1], $_->[2]) }
	[ $_, 'all', 7 ], [ $_, 'category', 100 ], [ $_, 'settled', 50 ] ] } @nodes;
my @samplers = map { [ $_, start_sampler($_) ] } @nodes;
my ($expected, @appenders) = start_appenders($publisher, 8, 150);
my $gate_keeper = start_gate_keeper($publisher);

# Copy a table again: of the events nothing can be, as they can't be removed.
sub copy_again
{
	my ($node, $table) = @_;
	my $source = $origin{ $node->name };
	my $name = 'to_' . $node->name;

	foreach my $command ('DROP', 'ADD')
	{
		$source->safe_psql('postgres', "ALTER PUBLICATION store $command TABLE eventstore.$table");
		$node->safe_psql('postgres', "ALTER SUBSCRIPTION $name REFRESH PUBLICATION");
	}
	return;
}

# Let go of a subscription, and create it again for the slot that it had.  It is
# to go on where the old one was, and not with what was not yet confirmed.
sub subscribe_again
{
	my ($node) = @_;
	my $name = 'to_' . $node->name;
	my $source = $origin{ $node->name }->connstr . ' dbname=postgres';
	my $position = q{SELECT o.remote_lsn FROM pg_subscription s
		JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid};

	$node->safe_psql('postgres', "ALTER SUBSCRIPTION $name DISABLE");
	$node->poll_query_until('postgres', 'SELECT count(pid) = 0 FROM pg_stat_subscription') or die;
	my $lsn = $node->safe_psql('postgres', $position);
	$node->safe_psql('postgres', qq{
BEGIN;
ALTER SUBSCRIPTION $name SET (slot_name = NONE);
DROP SUBSCRIPTION $name;
CREATE SUBSCRIPTION $name CONNECTION '$source' PUBLICATION store
	WITH (slot_name = '$name', create_slot = off, copy_data = off, enabled = off);
SELECT pg_replication_origin_advance('pg_' || oid, '$lsn') FROM pg_subscription;
COMMIT;
ALTER SUBSCRIPTION $name ENABLE});
	return;
}

foreach my $round (1 .. 3)
{
	foreach my $node ($middle, $last)
	{
		my $name = 'to_' . $node->name;

		$node->safe_psql('postgres', "ALTER SUBSCRIPTION $name DISABLE");
		$node->safe_psql('postgres', "SELECT pg_sleep(0.3); ALTER SUBSCRIPTION $name ENABLE");
		subscribe_again($node);
		$node->safe_psql('postgres', 'SELECT pg_sleep(0.3)');
	}
}

finish_appenders(@appenders);
finish_psql($gate_keeper);
my $half = end_load($publisher);
check_follower($publisher, $_, 'a follower on the publisher') foreach @{ $followers{publisher} };
foreach my $node ($middle, $last, $standby)
{
	check_follower($publisher, $_, 'a follower on ' . $node->name) foreach @{ $followers{ $node->name } };
}
check_samples(@$_) foreach @samplers;

# Watermarks are copied again under load.  Until one is there nobody can follow.
my ($more, @more_appenders) = start_appenders($publisher, 8, 100, seed => 2, round => 2);
$gate_keeper = start_gate_keeper($publisher);
copy_again($_, 'watermark') foreach $middle, $last;
$middle->wait_for_catchup($standby);
%followers = map { $_->name => start_follower($_, 'all', 20, $half) } $publisher, $middle, $last, $standby;
finish_appenders(@more_appenders);
finish_psql($gate_keeper);
end_load($publisher);
foreach my $node (@nodes)
{
	finish_follower($followers{ $node->name });
	check_seen([ seen($followers{ $node->name }) ], [ stored($publisher, "global_position > $half") ],
		'a follower on ' . $node->name . ' after the copy');
}
check_events($publisher, { %$expected, %$more });

append($publisher, 'Account-end');
$publisher->poll_query_until('postgres', q{
SELECT w.settled_position = max(e.global_position) AND w.settled_position = max(d.up_to_position)
FROM eventstore.watermark w, eventstore.events e, eventstore.digests d GROUP BY w.settled_position}) or die;
my $all = $publisher->safe_psql('postgres', 'SELECT settled_position FROM eventstore.watermark');
foreach my $node ($middle, $last)
{
	$node->poll_query_until('postgres', "SELECT eventstore.settled_position() = $all") or die;
	is_deeply([ stored($node) ], [ stored($publisher) ], $node->name . ' has all events');
	$origin{ $node->name }->wait_for_catchup('to_' . $node->name);
	is($node->safe_psql('postgres', 'SELECT * FROM eventstore.verify()'), '', $node->name . ' is sound');
	check_indexes($node);
}

$_->stop foreach reverse @nodes;
done_testing();
