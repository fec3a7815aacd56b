# After a crash under load, what was acknowledged is there, and followers go
# on from where they were, past the transactions that the crash cut off.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main');
my @hows = ('all', 'category', 'settled');
my %seen = map { $_ => [] } @hows;
my %checkpoint = map { $_ => 0 } @hows;
my (%expected, %acknowledged);
my $last_position = 0;

sub remember
{
	my ($follower) = @_;
	my $how = $follower->{name};

	push @{ $seen{$how} }, seen($follower);
	$checkpoint{$how} = last_seen($follower) || $checkpoint{$how};
	return;
}

foreach my $round (1 .. 3)
{
	my @followers = map { start_follower($node, $_, 20, $checkpoint{$_}) } @hows;
	my ($expected, @appenders) =
	  start_appenders($node, 6, 2000, seed => $round, round => $round);

	# in the middle of the load
	wait_for(sub { acknowledged(@appenders) >= 300 }, 'some appends');

	# This one is cut off for sure, with its event in the log.
	my $cut_off = session($node);
	$cut_off->query(q{BEGIN; SELECT eventstore.append_event('Account-cut', 'CutOff', '{}')});
	append($node, 'Account-next');
	kill_server($node);
	$cut_off->quit;

	foreach my $process (@appenders, @followers)
	{
		$process->{may_fail} = 1;
		ok(!finish_psql($process), "round $round: $process->{name} lost its server");
	}
	%expected = (%expected, %$expected);
	$acknowledged{$_} = 1 foreach acknowledged(@appenders);
	remember($_) foreach @followers;

	start_after_crash($node);

	my @positions = map { /^(\d+)/ } stored($node);
	my $next = append($node, 'Account-next');
	cmp_ok($next, '>', $positions[-1], "round $round: positions go on");
	cmp_ok($positions[-1], '>', $last_position, "round $round: they went on before");
	is($node->safe_psql('postgres', 'SELECT eventstore.settled_position()'),
		$next, "round $round: nothing that was cut off is waited for");
	$last_position = $next;
}

# The last followers go on from their checkpoints to the end.
my @followers = map { start_follower($node, $_, 20, $checkpoint{$_}) } @hows;
end_load($node);
foreach my $follower (@followers)
{
	my $how = $follower->{name};

	finish_follower($follower);
	remember($follower);
	check_seen($seen{$how},
		[ stored($node, $how eq 'category' ? q{stream_type = 'Account'} : 'true') ],
		"follower \"$how\", through all crashes,");
}

# A transaction whose acknowledgement was under way can be there or not.
my %stored = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
SELECT DISTINCT data->>'tag' FROM eventstore.events WHERE data->>'tag' IS NOT NULL});
my @lost = grep { !$stored{$_} } keys %acknowledged;
is("@lost", '', 'all ' . keys(%acknowledged) . ' acknowledged transactions are there');

is($node->safe_psql('postgres', q{SELECT eventstore.stream_version('Account-cut')}),
	0, 'what was cut off is not there');

my %may_be_stored =
  map { $_ => $expected{$_} } grep { $stored{$_} } keys %expected;
check_events($node, \%may_be_stored);
note(keys(%stored) - keys(%acknowledged) . ' transactions were not acknowledged');

$node->stop;
done_testing();
