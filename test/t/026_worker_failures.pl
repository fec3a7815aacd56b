# What others leave in the worker's way: triggers on the watermark, locks, a
# table that can't be read.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use EventStore::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_store('main', streaming => 1, conf => q{
max_prepared_transactions = 5
eventstore.watermark_interval = '10ms'
});

sub run_sql
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

#
# What a trigger on the watermark leaves behind in the session is undone
#

run_sql(q{
CREATE TABLE advances (pid int, work_mem text);
CREATE FUNCTION leave_things_behind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.advances VALUES (pg_backend_pid(), current_setting('work_mem'));
	PERFORM set_config('work_mem', '1MB', false);
	PERFORM set_config('eventstore.notify', 'transaction', false);
	PERFORM set_config('statement_timeout', '1ms', false);
	PERFORM pg_advisory_lock(42);
	RETURN NULL;
END $$;
CREATE TRIGGER leave_things_behind AFTER INSERT OR UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION leave_things_behind()});
start_listening($node);
foreach (1 .. 10)
{
	hears(append($node, 'Account-1'), 'an append is announced');
	usleep(50_000);
}
ok(wait_for(sub { run_sql('SELECT count(*) > 2 FROM advances') eq 't' }, 'advances'),
	'the watermark is advanced');
is(run_sql('SELECT count(DISTINCT pid), string_agg(DISTINCT work_mem, \',\') FROM advances'),
	'1|4MB', 'by one worker, each time with the settings that it began with');
is(run_sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left');

#
# A trigger that ends the worker
#

run_sql(q{
CREATE OR REPLACE FUNCTION leave_things_behind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_terminate_backend(pg_backend_pid());
	RETURN NULL;
END $$});
my $log = -s $node->logfile;
hears(append($node, 'Account-1'), 'where the worker dies of the watermark, an append is announced');
usleep(4_000_000);
my $ends = logged($node, qr/terminating background worker "eventstore worker/, $log);
cmp_ok($ends, '>=', 1, 'the worker has died');
cmp_ok($ends, '<=', 2, 'it does not come back to die again while nothing is appended');
hears(append($node, 'Account-1'), 'the next append is announced, too');

# One that fails, and leaves a lock behind
run_sql(q{
CREATE OR REPLACE FUNCTION leave_things_behind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_lock(42);
	RAISE EXCEPTION 'no watermark';
END $$});
$log = -s $node->logfile;
hears(append($node, 'Account-1'), 'where the watermark can not be advanced, an append is announced');
ok(wait_for(sub { logged($node, qr/ERROR:  no watermark/, $log) }, 'the error'), 'the error is logged');
usleep(2_000_000);
is(logged($node, qr/ERROR:  no watermark/, $log), 1, 'but not each second');
is(run_sql('SELECT pg_try_advisory_lock(42)'), 't', 'no lock is left');

# One that can't be cancelled
run_sql(q{
CREATE OR REPLACE FUNCTION leave_things_behind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		BEGIN
			PERFORM pg_sleep(100);
		EXCEPTION WHEN query_canceled THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'});
hears(append($node, 'Account-1'), 'while the watermark is being advanced for ever, an append is announced');
usleep(500_000);
takes_at_most(5, sub { hears(append($node, 'Account-1'), 'the next one is, too') }, 'before long');
run_sql('DROP TRIGGER leave_things_behind ON eventstore.watermark');

#
# COMMIT PREPARED can't be undone, so it does not fail for what comes after
#

my $preparing = session($node);
$preparing->query("BEGIN; ${\append_sql('Account-2')}; PREPARE TRANSACTION 'decided'");
my $locking = session($node);
$locking->query('BEGIN; LOCK TABLE eventstore.watermark');
unlike($preparing->query(q{SET lock_timeout = '100ms'; COMMIT PREPARED 'decided'}), qr/ERROR/,
	'COMMIT PREPARED does not fail for a lock');
$locking->query('ROLLBACK');
$preparing->query("BEGIN; ${\append_sql('Account-3')}; PREPARE TRANSACTION 'undecided'");
$locking->query('BEGIN; LOCK TABLE pg_extension');
$preparing->query(q{COMMIT PREPARED 'undecided'});
$locking->query('ROLLBACK');
is(run_sql(q{SELECT count(*) FROM eventstore.events WHERE stream_id = 'Account-3'}),
	run_sql('SELECT 1 - count(*) FROM pg_prepared_xacts'), 'if it fails, nothing is decided');
run_sql(q{ROLLBACK PREPARED 'undecided'}) if run_sql('SELECT count(*) FROM pg_prepared_xacts');
is(run_sql(q{SELECT count(*) FROM eventstore.events WHERE stream_id = 'Account-2'}), '1',
	'it has committed');
my $decided = run_sql(q{SELECT max(global_position) FROM eventstore.events WHERE stream_id = 'Account-2'});
ok(wait_for(sub { grep { $_ >= $decided } heard() }, 'announcement'), 'and announced');
$_->quit foreach $preparing, $locking;

#
# Others who send notifications
#

run_sql(q{ALTER SYSTEM SET commit_delay = 20000; ALTER SYSTEM SET commit_siblings = 0});
$node->reload;
run_sql('CREATE TABLE noise (i int)');
hears(append($node, 'Account-1'), 'an append is announced');
my @noisy = map { session($node) } 1 .. 8;
$_->send(q{
DO $$
DECLARE
	end_at timestamptz := clock_timestamp() + interval '6 s';
BEGIN
	WHILE clock_timestamp() < end_at LOOP
		INSERT INTO noise VALUES (1);
		NOTIFY other;
		COMMIT;
	END LOOP;
END $$}) foreach @noisy;
usleep(1_000_000);
takes_at_most(3, sub { hears(append($node, 'Account-1'), 'an append is announced') },
	'while others send notifications, one at a time') foreach 1 .. 2;
$_->answer foreach @noisy;
$_->quit foreach @noisy;
run_sql(q{ALTER SYSTEM RESET commit_delay; ALTER SYSTEM RESET commit_siblings});
$node->reload;

#
# A worker that comes while the watermark is locked
#

sub end_worker
{
	run_sql(q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'});
	usleep(1_500_000);
	has_workers($node, '', 'no worker');
	return;
}

my $warm = session($node);
hears($warm->query(append_sql('Account-1')), 'an append is announced');
end_worker();
my $locked = session($node);
$locked->query('BEGIN; LOCK TABLE eventstore.watermark');
hears($warm->query(append_sql('Account-1')), 'while the watermark is locked, an append is announced');
has_workers($node, 'postgres', 'a worker comes');
takes_at_most(3, sub { hears($warm->query(append_sql('Account-1')), 'another append is announced') }, 'by it');
$locked->query('ROLLBACK');
$_->quit foreach $warm, $locked;

#
# Who has stopped is told, whatever his setting, and although nobody waited when
# the position was settled
#

run_sql(q{ALTER SYSTEM SET eventstore.watermark_interval = '500ms'});
$node->reload;
my $open = session($node);
my $reader = session($node);
$reader->query(q{SET eventstore.notify = 'transaction'});
my $behind = append($node, 'Account-1');
usleep(1_500_000);
$open->query("BEGIN; ${\append_sql('Account-2')}");
# so many that the worker does not look
run_sql('DO $$ BEGIN FOR i IN 1 .. 200 LOOP PERFORM eventstore.append_event(\'Account-1\', \'Happened\', \'{}\'); COMMIT; END LOOP; END $$');
my $end = run_sql('SELECT max(global_position) FROM eventstore.events');
ok(wait_for(sub { grep { $_ >= $end } heard() }, 'the last'), 'appends are announced');
forget_heard();
is($reader->query("SELECT count(*) FROM eventstore.read_all($behind)"), '0', 'a reader stops');
$open->query('ROLLBACK');
takes_at_most(3, sub { ok(wait_for(sub { grep { $_ >= $end } heard() }, 'again'), 'he is told again') },
	'when the open transaction was rolled back');
$_->quit foreach $open, $reader;

#
# No store: the worker goes, and takes no CPU before
#

end_worker();
run_sql(q{CREATE DATABASE other});
$node->safe_psql('other', "CREATE EXTENSION eventstore");
$node->safe_psql('other', "BEGIN; ${\append_sql('Account-1')}; DROP EXTENSION eventstore; COMMIT");
usleep(3_000_000);
has_workers($node, '', 'a worker that finds no store goes');
run_sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
wait_for(sub { run_sql('SHOW synchronous_standby_names') eq 'nobody' }, 'reload');
my $creating = session($node, 'other');
$creating->send("BEGIN; CREATE EXTENSION eventstore; ${\append_sql('Account-1')}; COMMIT");
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')})
  or die 'nobody waits for the standby';
usleep(2_000_000);
if (my $pid = worker_pid($node, 'other'))
{
	my $before = ticks($pid);
	usleep(2_000_000);
	cmp_ok(ticks($pid) - $before, '<', 50, 'one that waits for the store does not take a core');
}
run_sql(q{ALTER SYSTEM RESET synchronous_standby_names});
$node->reload;
$creating->answer;
$creating->quit;

# The CPU time of a process, in hundredths of a second.
sub ticks
{
	my ($pid) = @_;
	my @fields = split / /, slurp_file("/proc/$pid/stat");

	return $fields[13] + $fields[14];
}

#
# A table that can't be read: the worker gives up, and appends do without
#

$log = -s $node->logfile;
run_sql("BEGIN; ${\append_sql('Account-1')}; ALTER TABLE eventstore.events RENAME TO others; COMMIT");
ok(wait_for(sub { logged($node, qr/ERROR:  (?!.*terminat)/, $log) >= 3 && workers($node) eq '' }, 'the end'),
	'a worker that fails again and again gives up');
is(logged($node, qr/ERROR:  /, $log), 3, 'after three times');
run_sql('ALTER TABLE eventstore.others RENAME TO events');
my $appender = session($node);
like($appender->query(append_sql('Account-1')),
	qr/WARNING:  (?:\w+: )?the event store has no background worker.*it has just failed/s, 'appends say so');
hears(run_sql('SELECT max(global_position) FROM eventstore.events'), 'and are announced');
$appender->quit;

stop_listening();
$node->stop('fast');
done_testing();
