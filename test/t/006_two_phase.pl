# Appends in prepared transactions: followers stop before them, also after a
# restart, and go on when they are decided.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main', by_hand => 1);
my $session = session($node);

sub append_sql
{
	return join "\n", map { "SELECT eventstore.append_event('$_', 'Happened', '{}');" } @_;
}

# What followers see behind a position, in a new session and in one that knows
# what was settled before.
sub is_visible
{
	my ($after, $expected, $description) = @_;
	my $sql = qq{
SELECT string_agg(global_position::text, ',') FROM eventstore.read_all($after);
SELECT string_agg(global_position::text, ',') FROM eventstore.read_category('Account', $after);
SELECT string_agg(global_position::text, ',' ORDER BY global_position)
FROM eventstore.read_all_backwards() WHERE global_position > $after;
SELECT eventstore.settled_position() - $after};
	my @positions = map { $after + $_ } @$expected;
	my $list = join ',', @positions;
	my $reach = @$expected ? $expected->[-1] : 0;

	is($node->safe_psql('postgres', $sql),
		"$list\n$list\n$list\n$reach", "$description, in a new session");
	is($session->query($sql), "$list\n$list\n$list\n$reach", "$description, in an old session");
	return;
}

my %prepared = (
	'one stream' => append_sql('Account-1'),
	'many streams' => append_sql('Account-1', 'Account-2', 'Account-3'),
	'with savepoints' => 'SAVEPOINT a;' . append_sql('Account-1') . 'RELEASE a; SAVEPOINT b;'
	  . append_sql('Account-2') . 'ROLLBACK TO b;' . append_sql('Account-3'),
	'in a savepoint' => 'SAVEPOINT a;' . append_sql('Account-1', 'Account-2', 'Account-3'),
	'with a savepoint rolled back' => append_sql('Account-1') . 'SAVEPOINT a;'
	  . append_sql('Account-2', 'Account-3') . 'ROLLBACK TO a');
my %commits = (
	'one stream' => [ 1 ],
	'many streams' => [ 1, 2, 3 ],
	'with savepoints' => [ 1, 3 ],
	'in a savepoint' => [ 1, 2, 3 ],
	'with a savepoint rolled back' => [ 1 ]);

foreach my $what (sort keys %prepared)
{
	my $last = $what eq 'one stream' ? 2 : 4;

	foreach my $restart (0, 1)
	{
		foreach my $commit (0, 1)
		{
			my $title = "$what, " . ($restart ? 'restart, ' : '') . ($commit ? 'commit' : 'rollback');
			my $before = append($node, 'Account-9');

			$node->safe_psql('postgres', "BEGIN; $prepared{$what}; PREPARE TRANSACTION 'p'");
			is(append($node, 'Account-9'), $before + $last, "$title: a later position");
			is_visible($before, [], "$title: nothing is passed");
			if ($restart)
			{
				$session->quit;
				$node->restart;
				$session = session($node);
				is_visible($before, [], "$title: nothing is passed after a restart");
			}
			$node->safe_psql('postgres', ($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p'");
			is_visible($before, [ $commit ? @{ $commits{$what} } : (), $last ],
				"$title: all is visible when it is decided");
		}
	}
}

#
# The session that prepared a transaction has seen its own events before that.
#

my $before = append($node, 'Account-9');
$session->query('BEGIN');
$session->query(append_sql('Account-1'));
is($session->query('SELECT eventstore.settled_position()'),
	$before + 1, 'a transaction sees its own events');
$session->query(q{PREPARE TRANSACTION 'own'});
$session->query(append_sql('Account-9'));
is_visible($before, [], 'nothing is passed when the own transaction is prepared');
is($session->query('SELECT eventstore.advance_watermark()'),
	$before, 'the watermark does not pass it');
$node->safe_psql('postgres', q{COMMIT PREPARED 'own'});
is_visible($before, [ 1, 2 ], 'all is visible when it is decided');

#
# The locks of a prepared transaction, across a restart
#

# Prepare an append, restart, send another one, and decide.  Returns how the
# other one ended.
sub decide_between
{
	my ($prepared, $other, $decision) = @_;

	$node->safe_psql('postgres', "BEGIN; $prepared; PREPARE TRANSACTION 'p'");
	$session->quit;
	$node->restart;
	$session = session($node);
	$session->send($other);
	wait_until_blocked($node, $session);
	ok(append($node, 'Account-9'), 'another stream is free');
	$node->safe_psql('postgres', "$decision PREPARED 'p'");
	return $session->answer;
}

sub append_with_id_sql
{
	my ($stream, $number) = @_;

	return sprintf q{
SELECT first_version, deduplicated
FROM eventstore.append_event('%s', 'Happened', '{}', event_id => '%08d-0000-4000-8000-000000000000')},
	  $stream, $number;
}

is(decide_between(append_sql('Account-21'), append_sql('Account-21'), 'COMMIT') =~ s/,.*//r,
	'(2', 'a prepared append holds its stream until it is committed');
is(decide_between(append_sql('Account-22'), append_sql('Account-22'), 'ROLLBACK') =~ s/,.*//r,
	'(1', 'a prepared append holds its stream until it is rolled back');

# The same event id: in the same stream, where the stream's lock keeps them
# apart, and in another one, where only the index does.
is( decide_between(
		append_with_id_sql('Account-31', 1),
		append_with_id_sql('Account-31', 1), 'COMMIT'),
	'1|t', 'the repetition of a prepared append waits, and is recognised');
is( decide_between(
		append_with_id_sql('Account-32', 2),
		append_with_id_sql('Account-32', 2), 'ROLLBACK'),
	'1|f', 'the repetition of a prepared append waits, and takes its place');
like( decide_between(
		append_with_id_sql('Account-33', 3),
		append_with_id_sql('Account-34', 3), 'COMMIT'),
	qr/ST003.*00000003-0000-4000-8000-000000000000 is stored in stream "Account-33"/s,
	'the event id of a prepared append is taken');
is( decide_between(
		append_with_id_sql('Account-35', 4),
		append_with_id_sql('Account-36', 4), 'ROLLBACK'),
	'1|f', 'the event id of a prepared append is free when it is rolled back');

$session->quit;
check_indexes($node);
$node->stop;
done_testing();
