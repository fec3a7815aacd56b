# The background worker, straight after CREATE EXTENSION: what it announces, and
# its life.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use EventStore::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_store('main', conf => q{
eventstore.watermark_interval = '100ms'
restart_after_crash = on
});

sub run_sql
{
	my ($sql, $dbname) = @_;

	return $node->safe_psql($dbname // 'postgres', $sql);
}

sub watermark
{
	return run_sql('SELECT settled_position FROM eventstore.watermark');
}

#
# What it announces
#

is(run_sql(q{LOAD 'eventstore'; SHOW eventstore.notify}), 'worker', 'the worker is the default');
is(workers($node), '', 'there is no worker before the first append');
start_listening($node);
my $position = append($node, 'Account-1');
hears($position, 'the first append is announced');
has_workers($node, 'postgres', 'it has started a worker');
my $pid = worker_pid($node);
hears(append($node, 'Account-1'), 'so is the second');
ok(wait_for(sub { watermark() == $position + 1 }, 'watermark'), 'the watermark is advanced');

# Nothing comes of a rollback, a repetition, or a savepoint that is rolled back;
# were something announced, it would be before what follows.
usleep(300_000);
forget_heard();
run_sql("BEGIN; ${\append_sql('Account-1')}; ROLLBACK");
run_sql("BEGIN; SAVEPOINT a; ${\append_sql('Account-1')}; ROLLBACK TO a; COMMIT");
run_sql("SET eventstore.notify = off; ${\append_sql('Account-1')}");
run_sql(q{SELECT eventstore.append_event('Account-7', 'Happened', '{}',
	event_id => '00000007-0000-4000-8000-000000000000')});
usleep(300_000);
my $known = () = heard();
run_sql(q{SELECT eventstore.append_event('Account-7', 'Happened', '{}',
	event_id => '00000007-0000-4000-8000-000000000000')});
usleep(300_000);
is(scalar(() = heard()), $known, 'a repetition wakes nobody');
is($known, 1, 'nor did a rollback, a savepoint rolled back, or notify = off');

# An outer append survives an inner rollback.
my $outer = run_sql("BEGIN; ${\append_sql('Account-1')};"
	  . "SAVEPOINT a; DO 'BEGIN PERFORM eventstore.append_event(''Account-2'', ''T'', ''{}''); END';"
	  . 'ROLLBACK TO a; COMMIT');
ok( wait_for(sub { grep { $_ >= $outer } heard() }, 'outer'),
	'an append is announced although a later savepoint is rolled back');

# An idle store costs no transaction.
ok(wait_for(sub { watermark() == $outer }, 'watermark'), 'the watermark is advanced at the end');
usleep(300_000);
my $xmax = run_sql('SELECT pg_snapshot_xmax(pg_current_snapshot())');
usleep(1_000_000);
is(run_sql('SELECT pg_snapshot_xmax(pg_current_snapshot())'),
	$xmax, 'an idle worker begins no transaction that has an id');

# Many appends, few notifications.
forget_heard();
run_sql(q{
DO $$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		PERFORM eventstore.append_event('Account-' || i, 'Happened', '{}');
		COMMIT;
	END LOOP;
END $$});
$position = run_sql('SELECT eventstore.settled_position()');
hears($position, 'the last of 2,000 appends is announced');
cmp_ok(scalar(() = heard()), '<', 1000, 'by few notifications');

#
# What is settled late
#

my $session = session($node);

# Append in one transaction, and behind it in another; end the first one, and
# hear again of the second.
sub settles_late
{
	my ($begin, $end, $description) = @_;

	$session->query("SET eventstore.notify = off; BEGIN; ${\append_sql('Account-1')}; $begin");
	my $behind = append($node, 'Account-2');

	hears($behind, "$description: announced at once");
	usleep(300_000);
	forget_heard();
	$end->();
	hears($behind, "$description: and again when it is settled");
	is(run_sql('SELECT eventstore.settled_position()'), $behind, 'which it is then');
	return;
}

my $commit_prepared = sub { run_sql(q{COMMIT PREPARED 'p'}) };
settles_late('SELECT', sub { $session->query('COMMIT') }, 'behind an append that notifies nobody');
settles_late('SELECT', sub { $session->query('ROLLBACK') }, 'behind an append that is rolled back');
settles_late(q{PREPARE TRANSACTION 'p'}, $commit_prepared,
	'behind a prepared append, decided where the library is not loaded');

# A prepared transaction is announced when it is committed.  After a restart a
# session that has not loaded the library can't say so; a reader that stopped in
# front of it has asked for a worker, which finds out.
sub prepare
{
	$session->query("SET eventstore.notify = worker; BEGIN; ${\append_sql('Account-1')}; PREPARE TRANSACTION 'p'");
	return run_sql('SELECT last_value FROM eventstore.events_global_position_seq');
}

sub restart
{
	$session->quit;
	stop_listening();
	$node->stop('fast');
	$node->start;
	$session = session($node);
	start_listening($node);
	return;
}

$position = prepare();
usleep(300_000);
ok(!(grep { $_ == $position } heard()), 'an append is not announced when it is prepared');
$commit_prepared->();
hears($position, 'but when it is committed');

# No look of the worker is to help.
$node->append_conf('postgresql.conf', q{eventstore.watermark_interval = '1h'});
$position = prepare();
restart();
is(workers($node), '', 'after a restart there is no worker');
run_sql(q{LOAD 'eventstore'; COMMIT PREPARED 'p'});
hears($position, 'after a restart, too, where the library is loaded');

$node->append_conf('postgresql.conf', q{eventstore.watermark_interval = '100ms'});
$position = prepare();
restart();
is(run_sql('SELECT count(*) FROM eventstore.read_all(' . ($position - 1) . ')'), '0',
	'a reader stops in front of a prepared transaction');
has_workers($node, 'postgres', 'it has started a worker');
$commit_prepared->();
hears($position, 'which finds out where the library is not loaded');

#
# Its life
#

# Terminated when idle, and when there is something left to do.
usleep(300_000);
$pid = worker_pid($node);
run_sql("SELECT pg_terminate_backend($pid, 10000)");
has_workers($node, '', 'it can be terminated');
hears(append($node, 'Account-1'), 'the next append starts another one');
has_workers($node, 'postgres', 'another one');

$session->query("SET eventstore.notify = off; BEGIN; ${\append_sql('Account-1')}");
$position = append($node, 'Account-2');
hears($position, 'announced behind an open transaction');
usleep(300_000);
$pid = worker_pid($node);
run_sql("SELECT pg_terminate_backend($pid, 10000)");
ok(wait_for(sub { (worker_pid($node) || $pid) ne $pid }, 'successor'),
	'terminated with something left to do, it has a successor');
usleep(300_000);
forget_heard();
$session->query('COMMIT');
hears($position, 'which does it');
$session->quit;

# Errors.  The owner's code runs as the owner.
run_sql(q{
CREATE ROLE shop;
GRANT USAGE, CREATE ON SCHEMA eventstore TO shop;
ALTER TABLE eventstore.watermark OWNER TO shop;
GRANT SELECT ON eventstore.events TO shop;
CREATE TABLE seen (who name);
GRANT INSERT ON seen TO shop;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen VALUES (current_user);
	RETURN NEW;
END $$;
CREATE TRIGGER see BEFORE UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION see();
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventstore TO shop});
append($node, 'Account-1');
ok(wait_for(sub { run_sql('SELECT DISTINCT who FROM seen') eq 'shop' }, 'trigger'),
	'a trigger on the watermark runs as its owner');

my $log = -s $node->logfile;
$pid = worker_pid($node);
run_sql(q{
CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SET ROLE postgres;
	RETURN NEW;
END $$});
my $error = qr/ERROR:  cannot set parameter "role" within security-restricted operation/;
append($node, 'Account-1');
ok(wait_for(sub { logged($node, $error, $log) }, 'error'),
	'which can\'t become somebody else: an error is logged');
hears(append($node, 'Account-1'), 'and announcements go on') foreach 1 .. 10;
cmp_ok(logged($node, $error, $log), '<=', 2, 'who wakes it does not make it try again');
is(worker_pid($node), $pid, 'it is the same worker');
run_sql('DROP TRIGGER see ON eventstore.watermark');

# Somebody who is held up by a step of it cancels that, as he would autovacuum's.
# (A worker tries again 30 seconds after an error, another one at once.)
run_sql(q{
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore worker';
CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(600);
	RETURN NEW;
END $$;
CREATE TRIGGER see BEFORE UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION see()});
append($node, 'Account-1');
ok( $node->poll_query_until('postgres', q{
SELECT EXISTS (SELECT FROM pg_stat_activity
			   WHERE backend_type = 'eventstore worker' AND wait_event = 'PgSleep')}),
	'the worker is held up by a trigger');
$pid = worker_pid($node);
run_sql(q{
SET deadlock_timeout = '10ms';
SET statement_timeout = '60s';
DROP TRIGGER see ON eventstore.watermark});
hears(append($node, 'Account-1'), 'it makes way for a lock, and goes on');
is(worker_pid($node), $pid, 'in the same process');

# DROP EXTENSION, and CREATE EXTENSION: positions begin anew.
run_sql('DROP EXTENSION eventstore; CREATE EXTENSION eventstore');
start_listening($node);
hears(append($node, 'Account-1'), 'appends are announced after the extension was dropped and created');
is((heard())[-1], '1', 'with the new positions');
run_sql('BEGIN; DROP EXTENSION eventstore; ROLLBACK');
hears(append($node, 'Account-1'), 'it stays when the drop is rolled back');
append($node, 'Account-1');
has_workers($node, 'postgres', 'it runs');
$pid = worker_pid($node);
run_sql('BEGIN; DROP EXTENSION eventstore; CREATE EXTENSION eventstore; COMMIT');
start_listening($node);
hears(append($node, 'Account-1'), 'it goes on when the extension is replaced');
is((heard())[-1], '1', 'with the new positions');
is(worker_pid($node), $pid, 'in the same process');
run_sql("BEGIN; DROP EXTENSION eventstore; CREATE EXTENSION eventstore; ${\append_sql('Account-9')}; COMMIT");
ok(wait_for(sub { watermark() eq '1' }, 'watermark'), 'also where the same transaction appends');

# A crash.
stop_listening();
$log = -s $node->logfile;
$pid = worker_pid($node);
is(PostgreSQL::Test::Utils::system_log('pg_ctl', 'kill', 'KILL', $pid), 0, 'it is killed');
ok( wait_for(sub {
		($node->psql('postgres', 'SELECT 1'))[0] == 0 &&
		logged($node, qr/all server processes terminated; reinitializing/, $log) }, 'restart'),
	'the server restarts');
start_listening($node);
hears(append($node, 'Account-1'), 'the next append is announced');
has_workers($node, 'postgres', 'and has started another worker');

# A copy of the database.
stop_listening();
wait_for(sub { run_sql(q{
SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type = 'client backend'}) == 1 },
	'the listener ends');
run_sql('CREATE DATABASE copy TEMPLATE postgres');
start_listening($node, 'copy');
hears(run_sql(append_sql('Account-1'), 'copy'), 'appends are announced in a database made from a template');
has_workers($node, 'copy', 'which has its own worker');

# More at once than the worker tallies in one go.
run_sql(q{
SELECT count(eventstore.append_events('Account-' || i, e.events))
FROM generate_series(1, 250) i,
	(SELECT json_agg(json_build_object('event_type', 'Happened', 'data', 1)) AS events FROM generate_series(1, 1000)) e},
	'copy');
ok(wait_for(sub { run_sql(q{
SELECT w.settled_position = (SELECT max(global_position) FROM eventstore.events) FROM eventstore.watermark w}, 'copy') eq 't' },
	'watermark'), 'the watermark is advanced past very many events');
is(run_sql(q{
SELECT w.events > 250000, w.events = t.events AND w.checksum = t.checksum
FROM eventstore.watermark w, eventstore.tally(w.settled_position) t}, 'copy'),
	't|t', 'and has tallied all of them');

# Preloading does no harm.
stop_listening();
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'eventstore'});
$node->restart;
start_listening($node);
$position = append($node, 'Account-1');
hears($position, 'appends are announced when the library is preloaded');
has_workers($node, 'postgres', 'by a worker');
ok(wait_for(sub { watermark() == $position }, 'watermark'), 'and the watermark is advanced');

stop_listening();
$node->stop('fast');
done_testing();
