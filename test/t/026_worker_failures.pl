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
use Time::HiRes qw(usleep);

my $node = new_store('main', conf => q{
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
run_sql('DROP TRIGGER leave_things_behind ON eventstore.watermark');

#
# COMMIT PREPARED can't be undone, so it does not fail for what comes after
#

my $preparing = session($node);
$preparing->query("BEGIN; ${\append_sql('Account-2')}; PREPARE TRANSACTION 'decided'");
my $locking = session($node);
$locking->query('BEGIN; LOCK TABLE eventstore.watermark; LOCK TABLE pg_extension IN SHARE MODE');
unlike($preparing->query(q{SET lock_timeout = '100ms'; COMMIT PREPARED 'decided'}), qr/ERROR/,
	'COMMIT PREPARED does not fail for a lock');
$locking->query('ROLLBACK');
is(run_sql(q{SELECT count(*) FROM eventstore.events WHERE stream_id = 'Account-2'}), '1',
	'it has committed');
my $decided = run_sql(q{SELECT max(global_position) FROM eventstore.events WHERE stream_id = 'Account-2'});
ok(wait_for(sub { grep { $_ >= $decided } heard() }, 'announcement'), 'and announced');
$_->quit foreach $preparing, $locking;

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
