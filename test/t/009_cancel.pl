# Whoever waits, or works for long, can be cancelled.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main', by_hand => 1);
my $nevents = 300_000;

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

my $keeper = session($node);

# Each way to stop a statement that waits.
my %stop = (
	pg_cancel_backend => qr/ERROR:  57014: canceling statement due to user request/,
	pg_terminate_backend => qr/FATAL:  57P01: terminating connection/);

sub check_stops
{
	my ($what, $sql) = @_;

	foreach my $how (sort keys %stop)
	{
		my $session = session($node);

		$session->send($sql);
		wait_until_blocked($node, $session);
		query("SELECT $how(" . $session->pid . ')');
		like($session->answer, $stop{$how}, "$what ends by $how");
		$node->poll_query_until('postgres',
			'SELECT count(*) = 0 FROM pg_locks WHERE pid = ' . $session->pid)
		  or die 'it has locks left';
		$session->quit;
	}

	my $session = session($node);
	$session->query(q{SET statement_timeout = '20ms'});
	like($session->query($sql), qr/57014: canceling statement due to statement timeout/,
		"$what ends by statement_timeout");
	is($session->query('RESET statement_timeout; SELECT 1'), 1, "$what: the session goes on");
	$session->quit;
	return;
}

#
# Waiting appenders
#

$keeper->query(q{BEGIN; SELECT eventstore.append_event('Account-1', 'Happened', '{}')});
check_stops('an appender that waits for a stream',
	q{SELECT eventstore.append_event('Account-1', 'Happened', '{}')});
$keeper->query('ROLLBACK');

my $with_id = q{SELECT eventstore.append_event('%s', 'Happened', '{}',
	event_id => '00000000-0000-4000-8000-000000000001')};
$keeper->query('BEGIN;' . sprintf $with_id, 'Account-1');
check_stops('an appender that waits for an event id',
	sprintf($with_id, 'Account-2'));
$keeper->query('ROLLBACK');

$keeper->query(q{
SET eventstore.serialize_appends = on;
BEGIN;
SELECT eventstore.append_event('Account-1', 'Happened', '{}')});
check_stops('an appender that waits for serialized appends',
	q{SELECT eventstore.append_event('Account-2', 'Happened', '{}')});
$keeper->query('ROLLBACK; RESET eventstore.serialize_appends');

is(query('SELECT count(*) FROM eventstore.events'), 0, 'nothing of it was stored');
is(append($node, 'Account-1', 'Account-2') > 0, 1, 'the streams are free');

#
# A follower that waits at the gate
#

SKIP:
{
	skip 'built without wait points', 1 if !has_wait_points($node);

	my $inside = session($node);
	my $start = query('SELECT eventstore.settled_position()');

	$keeper->query(q{SELECT pg_advisory_lock(hashtext('positions-taken'))});
	$inside->query(q{LOAD 'eventstore'; SET eventstore.wait_points = 'positions-taken'});
	$inside->send(q{SELECT eventstore.append_event('Account-1', 'Happened', '{}')});
	wait_until_blocked($node, $inside);
	append($node, 'Account-2');

	check_stops('a follower that waits at the gate',
		"SELECT * FROM eventstore.read_all($start)");
	check_stops('settled_position() that waits at the gate',
		'SELECT eventstore.settled_position()');

	# A follower that waits keeps no appender waiting.
	my $follower = session($node);
	my $appender = session($node);
	$follower->send("SELECT * FROM eventstore.read_all($start)");
	wait_until_blocked($node, $follower);
	like($appender->query(q{SELECT eventstore.append_event('Account-3', 'Happened', '{}')}),
		qr/^\(1,1,/, 'appenders go on while a follower waits');
	query('SELECT pg_cancel_backend(' . $follower->pid . ')');
	like($follower->answer, qr/57014/, 'the follower is cancelled');

	# The one inside can be cancelled, too; its positions are then nobody's.
	query('SELECT pg_cancel_backend(' . $inside->pid . ')');
	like($inside->answer, qr/57014/, 'an appender inside the gate is cancelled');
	is(query("SELECT count(*) FROM eventstore.read_all($start)"), 2, 'followers go on');
	$keeper->query('SELECT pg_advisory_unlock_all()');
	$_->quit foreach $inside, $follower, $appender;
}

#
# Long work.  Something runs, so that nothing is settled without a look.
#

query(qq{
SELECT count(eventstore.append_event('Long-' || i % 1000, 'Happened', '{}'))
FROM generate_series(1, $nevents) i;

CREATE TABLE batch AS
SELECT json_agg(json_build_object('event_type', 'Happened', 'data', i)) AS events
FROM generate_series(1, 30000) i;

CREATE TABLE unrelated (i int);

-- How many milliseconds a statement takes, to its end or until it is
-- cancelled; what it does is rolled back.
CREATE FUNCTION duration(statement text, must_be_cancelled boolean) RETURNS float
LANGUAGE plpgsql AS \$\$
DECLARE
	start timestamptz := clock_timestamp();
	was_cancelled boolean := false;
BEGIN
	BEGIN
		EXECUTE statement;
		RAISE 'done' USING ERRCODE = 'raise_exception';
	EXCEPTION
		WHEN query_canceled THEN was_cancelled := true;
		WHEN raise_exception THEN NULL;
	END;
	IF must_be_cancelled AND NOT was_cancelled THEN
		RETURN NULL;
	END IF;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1000;
END \$\$});
$keeper->query('BEGIN; INSERT INTO unrelated VALUES (1)');

# A statement that looks for interrupts ends long before its work would be
# done.  The best of some attempts counts: the machine may be busy, and the
# interrupt may come before the work begins, for which all is loaded before.
sub check_is_cut_short
{
	my ($what, $sql) = @_;
	my $whole = query("SELECT duration(\$\$$sql\$\$, false)");
	my $shortest = $whole;
	my $timeout = 2 + int($whole / 20);

	foreach (1 .. 10)
	{
		my ($status, $duration) = $node->psql('postgres',
			"DO \$\$ BEGIN PERFORM duration('SELECT eventstore.uuid_v7()', false); END \$\$;"
			  . "SET statement_timeout = '${timeout}ms'; SELECT duration(\$\$$sql\$\$, true)");

		$shortest = $duration if $duration && $duration < $shortest;
	}
	cmp_ok($shortest, '<', $whole / 3, "$what is cut short");
	return;
}

check_is_cut_short('read_all()', 'SELECT count(*) FROM eventstore.read_all(0, NULL)');
check_is_cut_short('read_category()',
	q{SELECT count(*) FROM eventstore.read_category('Long', 0, NULL)});
check_is_cut_short('read_all_backwards()',
	'SELECT count(*) FROM eventstore.read_all_backwards(NULL, NULL)');
check_is_cut_short('settled_position()', 'SELECT eventstore.settled_position()');
check_is_cut_short('a large batch',
	q{SELECT eventstore.append_events('Long-1', events) FROM batch});
check_is_cut_short('the comparison of the indexes',
	'SELECT count(*) FROM eventstore.broken_index_entries()');

$keeper->quit;
check_indexes($node);
$node->stop;
done_testing();
