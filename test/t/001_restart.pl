# The event store works without being preloaded, and goes on after a restart.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main');

is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'),
	'', 'nothing is preloaded');

my ($expected, @appenders) = start_appenders($node, 2, 40);
my $follower = start_follower($node, 'all', 7);
finish_appenders(@appenders);

my @before = stored($node);
wait_for(sub { seen($follower) == @before }, 'the follower to see all events');
my $position = last_seen($follower);
my $version =
  $node->safe_psql('postgres', q{SELECT eventstore.stream_version('Account-01')});

# The follower's connection goes down with the server.
$follower->{may_fail} = 1;
foreach my $mode ('fast', 'immediate')
{
	$node->stop($mode);
	$node->start;

	my $next = append($node, 'Account-01');
	cmp_ok($next, '>', $position, "positions go on after a stop in mode $mode");
	is($node->safe_psql('postgres', q{SELECT eventstore.stream_version('Account-01')}),
		++$version, 'versions go on without a gap');
	is($node->safe_psql('postgres', 'SELECT eventstore.settled_position()'),
		$next, 'all is settled');
	$position = $next;
}
ok(!finish_psql($follower), 'the follower lost its connection');

my @seen = seen($follower);
my $successor = start_follower($node, 'all', 7, last_seen($follower));
end_load($node);
finish_follower($successor);

check_seen([ @seen, seen($successor) ], [ stored($node) ], 'a follower that goes on');
is_deeply([ (stored($node))[ 0 .. $#before ] ],
	\@before, 'what was stored before is there unchanged');

# The guard is part of the database, not of the session that made it.
my ($status, $stdout, $stderr) =
  $node->psql('postgres', 'UPDATE eventstore.events SET version = 1');
like($stderr, qr/events are immutable/, 'the guard is in force');

check_indexes($node);
$node->stop;
done_testing();
