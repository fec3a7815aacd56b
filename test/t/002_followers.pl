# Followers miss nothing while appenders of all kinds are at work, and don't
# wait for transactions that do not append.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main');
$node->safe_psql('postgres', 'CREATE TABLE unrelated (i int)');

my %followers = (
	'a follower one event at a time' => start_follower($node, 'all', 1),
	'a follower in small pages' => start_follower($node, 'all', 13),
	'a follower in large pages' => start_follower($node, 'all', 100000),
	'a follower of a category' => start_follower($node, 'category', 25),
	'a follower by settled_position' => start_follower($node, 'settled', 100));
my $sampler = start_sampler($node);
my $careless = start_follower($node, 'careless', 1000);

# Few appenders, so that often nothing runs.
my ($expected, @appenders) = start_appenders($node, 3, 150);
my $gate_keeper = start_gate_keeper($node);
finish_appenders(@appenders);
finish_psql($gate_keeper);

# It has a transaction id and a snapshot, and stays open.
my $unrelated = session($node);
$unrelated->query(q{
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO unrelated VALUES (1)});

my ($more, @more_appenders) = start_appenders($node, 8, 200, seed => 2, round => 2);
$gate_keeper = start_gate_keeper($node);
finish_appenders(@more_appenders);
finish_psql($gate_keeper);
end_load($node);

check_follower($node, $followers{$_}, $_) foreach sort keys %followers;
check_samples($node, $sampler);
check_events($node, { %$expected, %$more });

is($unrelated->query(q{SELECT count(*) FROM unrelated}),
	1, 'nobody waited for the unrelated transaction, which is still open');
$unrelated->quit;

# Were there no hard cases among the load, then all this would say nothing.
finish_follower($careless);
my $found = compare_seen([ seen($careless) ], [ stored($node) ]);
cmp_ok($found->{missed}, '>', 0, 'a follower by positions alone misses events');
note("it missed $found->{missed} of " . scalar(stored($node)));

$node->stop;
done_testing();
