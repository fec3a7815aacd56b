# The background worker: what it announces, and its life.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_store('main', conf => q{
shared_preload_libraries = 'eventstore'
eventstore.watermark_interval = '100ms'
restart_after_crash = on
});
my ($listener, @heard);

# Statements, and others that append.
sub run_sql
{
	my ($sql, $dbname) = @_;

	return $node->safe_psql($dbname // 'postgres', $sql);
}

sub append_sql
{
	my ($stream) = @_;

	return "SELECT last_position FROM eventstore.append_event('$stream', 'Happened', '{}')";
}

# Listen anew; forgets what was heard.
sub start_listening
{
	$listener->quit if $listener;
	$listener = session($node);
	$listener->query('LISTEN eventstore');
	@heard = ();
	return;
}

# The positions that were announced since the listener began.
sub heard
{
	push @heard, $listener->query('SELECT WHERE false') =~ /"eventstore" with payload "(\d+)"/g;
	return @heard;
}

sub hears
{
	my ($position, $description) = @_;

	ok( wait_for(sub { grep { $_ == $position } heard() }, $description),
		$description);
	return;
}

# The databases that have a worker.
sub workers
{
	return run_sql(q{
SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_stat_activity
WHERE backend_type = 'eventstore worker'});
}

sub has_workers
{
	my ($databases, $description) = @_;

	ok(wait_for(sub { workers() eq $databases }, $description), $description);
	return;
}

sub worker_pid
{
	return run_sql(q{
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'eventstore worker' AND datname = 'postgres'});
}

sub watermark
{
	return run_sql('SELECT settled_position FROM eventstore.watermark');
}

sub logged
{
	my ($pattern, $from) = @_;

	my @matches = substr(slurp_file($node->logfile), $from) =~ /$pattern/g;
	return scalar @matches;
}

#
# What it announces
#

is(run_sql('SHOW eventstore.notify'), 'worker', 'the worker is the default when preloaded');
is(workers(), '', 'there is no worker before the first append');
start_listening();
my $position = append($node, 'Account-1');
hears($position, 'the first append is announced');
has_workers('postgres', 'it has started a worker');
my $pid = worker_pid();
hears(append($node, 'Account-1'), 'so is the second');
ok(wait_for(sub { watermark() == $position + 1 }, 'watermark'), 'the watermark is advanced');

# Nothing comes of a rollback, a repetition, or a savepoint that is rolled back;
# were something announced, it would be before what follows.
usleep(300_000);
heard();
@heard = ();
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
hears($outer, 'an append is announced although a later savepoint is rolled back');

# An idle store costs no transaction.
ok(wait_for(sub { watermark() == $outer }, 'watermark'), 'the watermark is advanced at the end');
usleep(300_000);
my $xmax = run_sql('SELECT pg_snapshot_xmax(pg_current_snapshot())');
usleep(1_000_000);
is(run_sql('SELECT pg_snapshot_xmax(pg_current_snapshot())'),
	$xmax, 'an idle worker begins no transaction that has an id');

# Many appends, few notifications.
@heard = ();
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
	heard();
	@heard = ();
	$session->query($end);
	hears($behind, "$description: and again when it is settled");
	is(run_sql('SELECT eventstore.settled_position()'), $behind, 'which it is then');
	return;
}

settles_late('SELECT', 'COMMIT', 'behind an append that notifies nobody');
settles_late('SELECT', 'ROLLBACK', 'behind an append that is rolled back');
settles_late(q{PREPARE TRANSACTION 'p'}, q{COMMIT PREPARED 'p'}, 'behind a prepared append');

# A prepared transaction is announced when it is committed, after a restart,
# too, where nobody knows of it.
$session->query("SET eventstore.notify = worker; BEGIN; ${\append_sql('Account-1')}; PREPARE TRANSACTION 'p'");
$position = run_sql('SELECT last_value FROM eventstore.events_global_position_seq');
usleep(300_000);
ok(!(grep { $_ == $position } heard()), 'an append is not announced when it is prepared');
run_sql(q{COMMIT PREPARED 'p'});
hears($position, 'but when it is committed');

$session->query("BEGIN; ${\append_sql('Account-1')}; PREPARE TRANSACTION 'p'");
$position = run_sql('SELECT last_value FROM eventstore.events_global_position_seq');
$_->quit foreach $session, $listener;
$node->stop('smart');
$node->start;
$session = session($node);
start_listening();
run_sql(q{COMMIT PREPARED 'p'});
hears($position, 'after a restart, too');

#
# Its life
#

# Terminated when idle, and when there is something left to do.
usleep(300_000);
$pid = worker_pid();
run_sql("SELECT pg_terminate_backend($pid, 10000)");
has_workers('', 'it can be terminated');
hears(append($node, 'Account-1'), 'the next append starts another one');
isnt(worker_pid(), $pid, 'another one');

$session->query("SET eventstore.notify = off; BEGIN; ${\append_sql('Account-1')}");
$position = append($node, 'Account-2');
hears($position, 'announced behind an open transaction');
$pid = worker_pid();
run_sql("SELECT pg_terminate_backend($pid, 10000)");
ok(wait_for(sub { (worker_pid() || $pid) ne $pid }, 'successor'),
	'terminated with something left to do, it has a successor');
usleep(300_000);
heard();
@heard = ();
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
$pid = worker_pid();
run_sql(q{
CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SET ROLE postgres;
	RETURN NEW;
END $$});
append($node, 'Account-1');
ok( wait_for(sub { logged(qr/cannot set parameter "role" within security-restricted operation/, $log) }, 'error'),
	'which can\'t become somebody else: an error is logged');
hears(append($node, 'Account-1'), 'and announcements go on');
is(worker_pid(), $pid, 'by the same worker');
run_sql('DROP TRIGGER see ON eventstore.watermark');

# DROP EXTENSION, and CREATE EXTENSION: positions begin anew.
run_sql('DROP EXTENSION eventstore');
has_workers('', 'it goes when the extension is dropped');
run_sql('CREATE EXTENSION eventstore');
start_listening();
hears(append($node, 'Account-1'), 'it comes back with the extension');
is("@{[ heard() ]}", '1', 'and announces the new positions');
run_sql('BEGIN; DROP EXTENSION eventstore; ROLLBACK');
hears(append($node, 'Account-1'), 'it stays when the drop is rolled back');
append($node, 'Account-1');
$pid = worker_pid();
run_sql('BEGIN; DROP EXTENSION eventstore; CREATE EXTENSION eventstore; COMMIT');
start_listening();
hears(append($node, 'Account-1'), 'it goes on when the extension is replaced');
is("@{[ heard() ]}", '1', 'with the new positions');
is(worker_pid(), $pid, 'in the same process');

# Commands for which nobody may be connected to the database.
run_sql('CREATE DATABASE one');
run_sql("CREATE EXTENSION eventstore; ${\append_sql('Account-1')}", 'one');
has_workers('one,postgres', 'there is one for each database');
run_sql('CREATE DATABASE two TEMPLATE one');
has_workers('one,postgres', 'a template gets its worker back');
run_sql('ALTER DATABASE one RENAME TO three');
has_workers('postgres,three', 'a renamed database gets its worker back');
run_sql(q{SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''});
run_sql('ALTER DATABASE three SET TABLESPACE elsewhere');
has_workers('postgres,three', 'a moved database gets its worker back');
my $other = session($node, 'three');
$log = -s $node->logfile;
my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE three');
like($err, qr/is being accessed by other users/, 'a database in use is not dropped');
has_workers('postgres,three', 'it gets its worker back');
$other->quit;
ok(wait_for(sub { !run_sql(q{SELECT 1 FROM pg_stat_activity WHERE datname = 'three' AND backend_type = 'client backend'}) }, 'end'),
	'the session ends');
run_sql('DROP DATABASE three');
has_workers('postgres', 'a dropped database has no worker');
run_sql(append_sql('Account-1'), 'two');
has_workers('postgres,two', 'the copy has its own');

# A worker that is held up is terminated.
run_sql(q{
CREATE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(600);
	RETURN NEW;
END $$;
CREATE TRIGGER tarry BEFORE INSERT ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION tarry();} . append_sql('Account-1'), 'two');
ok( $node->poll_query_until('postgres', q{
SELECT EXISTS (SELECT FROM pg_stat_activity
			   WHERE backend_type = 'eventstore worker' AND datname = 'two' AND wait_event = 'PgSleep')}),
	'a worker is held up by a trigger');
run_sql('DROP DATABASE two');
has_workers('postgres', 'its database can be dropped');

# A crash.
$listener->quit;
$listener = undef;
$pid = worker_pid();
is(PostgreSQL::Test::Utils::system_log('pg_ctl', 'kill', 'KILL', $pid), 0, 'it is killed');
ok( wait_for(sub {
		($node->psql('postgres', 'SELECT 1'))[0] == 0 &&
		logged(qr/all server processes terminated; reinitializing/, $log) }, 'restart'),
	'the server restarts');
start_listening();
hears(append($node, 'Account-1'), 'the next append starts another worker');

#
# No room for a worker
#

$listener->quit;
$listener = undef;
$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
$log = -s $node->logfile;
$node->restart;
start_listening();
hears(append($node, 'Account-1'), 'an append without a worker is announced');
hears(append($node, 'Account-1'), 'another one, too') foreach 1 .. 3;
is(logged(qr/WARNING:  the event store's background worker could not be started/, $log),
	1, 'with one warning in the log');
is(workers(), '', 'there is no worker');

$listener->quit;
$node->stop('fast');
done_testing();
