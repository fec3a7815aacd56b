# The hand-over: what a replication slot's exported snapshot sees, and what the
# slot sends, is each event exactly once, while appenders pause and roll back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = 200;

my $node = new_store('main', streaming => 'logical');

# Read all that the snapshot sees, in pages.
sub read_history
{
	my ($snapshot) = @_;
	my $reader = session($node);
	my @history;
	my $position = 0;

	$reader->query(qq{
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET TRANSACTION SNAPSHOT '$snapshot'});
	while (
		my @events = split /\n/, $reader->query(qq{
SELECT concat_ws('|', global_position, event_id, stream_id, version)
FROM eventstore.read_visible($position, $page)}))
	{
		push @history, @events;
		($position) = split /\|/, $events[-1];
	}
	$reader->quit;
	return @history;
}

# Create a slot, and read what its snapshot sees.
sub begin_hand_over
{
	my ($slot) = @_;
	my $creator = session($node, 'postgres', 'replication=database');
	my (undef, undef, $snapshot) = split /\|/,
	  $creator->query("CREATE_REPLICATION_SLOT $slot LOGICAL eventstore (SNAPSHOT 'export')");
	my @history = read_history($snapshot);

	$creator->quit;
	return \@history;
}

# What the slot sends, in its order.
sub stream
{
	my ($slot) = @_;

	return split /\n/, $node->safe_psql('postgres', qq{
SELECT concat_ws('|', e->>'global_position', e->>'event_id', e->>'stream_id', e->>'version')
FROM pg_logical_slot_get_changes('$slot', NULL, NULL), CAST(data AS json) e});
}

# The events of each stream have to come in the order of their versions.
sub count_disorder
{
	my %last;
	my $count = 0;

	foreach my $event (@_)
	{
		my (undef, undef, $stream, $version) = split /\|/, $event;

		$count++ if $version != ($last{$stream} // 0) + 1;
		$last{$stream} = $version;
	}
	return $count;
}

append($node, map { "Account-$_" } 1 .. 300);

my ($expected, @appenders) = start_appenders($node, 8, 120);
my $gate_keeper = start_gate_keeper($node);
my %history;

foreach my $number (1 .. 5)
{
	my $slot = "hand_over_$number";

	$history{$slot} = begin_hand_over($slot);
	$node->safe_psql('postgres', 'SELECT pg_sleep(0.1)');
}
my $running = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'appender%'});
cmp_ok($running, '>', 0, 'the hand-overs were under load');

finish_appenders(@appenders);
finish_psql($gate_keeper);
end_load($node);
my @stored = stored($node);

foreach my $slot (sort keys %history)
{
	my @history = @{ $history{$slot} };
	my @stream = stream($slot);
	my $found = compare_seen(\@history, \@stored);

	is("$found->{unknown} $found->{twice} $found->{disordered}",
		'0 0 0', "$slot: the history is in the order of positions");
	is_deeply([ sort @history, @stream ], [ sort @stored ],
		"$slot: each event once, " . @history . ' before and ' . @stream . ' after');
	is(count_disorder(@history, @stream), 0, "$slot: each stream is in order");
}
check_events($node, $expected);

# The load had the hard case: read_all() alone would have left events out.
my $missed = 0;
foreach my $slot (sort keys %history)
{
	my @history = @{ $history{$slot} };
	my ($last) = split /\|/, $history[-1];
	my %is_history = map { $_ => 1 } @history;

	$missed += grep { (split /\|/)[0] < $last && !$is_history{$_} } @stored;
}
cmp_ok($missed, '>', 0, 'events came by a slot that are below the last one of its history');
note("$missed events");

$node->stop;
done_testing();
