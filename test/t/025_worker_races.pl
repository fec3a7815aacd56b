# The races of the worker: with appends while it exits, with DROP EXTENSION, with
# its own end under load, and with an old snapshot.

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
deadlock_timeout = '50ms'
eventstore.watermark_interval = '10ms'
restart_after_crash = on
});
my $log = -s $node->logfile;

sub run_sql
{
	my ($sql, $dbname) = @_;

	return $node->safe_psql($dbname // 'postgres', $sql);
}

#
# A store without events is not written to
#

sub state_of_store
{
	return run_sql(q{
SELECT pg_snapshot_xmax(pg_current_snapshot()), count(*) FROM eventstore.watermark});
}

my $before = state_of_store();
run_sql(q{
LOAD 'eventstore';
BEGIN; CREATE TABLE prepared (n int); PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'});
has_workers($node, 'postgres', 'the worker looks at an empty store');
my ($xmax) = split /\|/, state_of_store();
usleep(500_000);
is(state_of_store(), "$xmax|0", 'and writes nothing');

#
# Appends while the worker exits
#

SKIP:
{
	skip 'eventstore.worker_idle_limit needs WAIT_POINTS=yes', 1 if !has_wait_points($node);

	# No look of the worker's own may help: announced, or lost.
	$node->append_conf('postgresql.conf', q{
eventstore.worker_idle_limit = '1ms'
eventstore.watermark_interval = '1h'});
	$node->reload;
	run_sql(q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'});

	# Each appender appends, lets the worker go or not, and appends again.  It
	# listens itself: what it has appended last it must hear of at last.
	my @appenders = map {
		my $appender = session($node);

		$appender->query(q{
LISTEN eventstore;
CREATE PROCEDURE pg_temp.append(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM eventstore.append_event('Account-' || pg_backend_pid(), 'Happened', '{}');
		COMMIT;
		PERFORM pg_sleep(0.004 * random());
		COMMIT;
	END LOOP;
END $$});
		$appender
	} 1 .. 3;
	my @missed;

	foreach my $round (1 .. 60)
	{
		my %last;

		$_->send('CALL pg_temp.append(7)') foreach @appenders;
		my $heard = join "\n", map { $_->answer } @appenders;
		my $last = run_sql('SELECT max(global_position) FROM eventstore.events');
		my $end = time + 5;

		while ($heard !~ /with payload "$last"/ && time < $end)
		{
			usleep(5_000);
			$heard .= $appenders[0]->query('SELECT WHERE false') . "\n";
		}
		push @missed, $last if $heard !~ /with payload "$last"/;
	}
	is("@missed", '', 'no append is lost to a worker that exits');
	$_->quit foreach @appenders;

	# The worker has decided to go when an append comes.
	my $keeper = session($node);
	my $keep = sub { $keeper->query("SELECT pg_advisory_lock(hashtext('$_[0]'))") };
	my $let_go = sub { $keeper->query("SELECT pg_advisory_unlock(hashtext('$_[0]'))") };

	run_sql(q{ALTER DATABASE postgres SET eventstore.wait_points = 'worker-retires'});
	has_workers($node, '', 'the worker exits');
	$keep->('worker-retires');
	run_sql(append_sql('Account-1'));
	ok(wait_for(sub { run_sql(q{
SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE backend_type = 'eventstore worker' AND NOT granted}) }, 'the worker'), 'the worker is about to exit');
	start_listening($node);
	my $late = run_sql(append_sql('Account-1'));
	usleep(100_000);
	is(scalar(() = heard()), 0, 'an append comes too late for its last look');
	$let_go->('worker-retires');
	hears($late, 'it is announced all the same');
	run_sql('ALTER DATABASE postgres RESET eventstore.wait_points');
	has_workers($node, '', 'the worker exits');

	# A commit is under way when the worker wants to go.
	run_sql(append_sql('Account-1'));
	$node->append_conf('postgresql.conf', q{eventstore.worker_idle_limit = '1s'});
	$node->reload;
	my $committing = session($node);
	$committing->query(q{SET eventstore.wait_points = 'commit-begun'});
	wait_for(sub { run_sql(append_sql('Account-1')); worker_pid($node) ne '' }, 'a worker');
	$keep->('commit-begun');
	$committing->send(append_sql('Account-2'));
	wait_until_blocked($node, $committing);
	usleep(2_500_000);
	has_workers($node, 'postgres', 'a worker stays as long as somebody counts on it');
	$let_go->('commit-begun');
	hears($committing->answer, 'and announces what he commits');
	has_workers($node, '', 'then it exits');
	$_->quit foreach $keeper, $committing;

	$node->append_conf('postgresql.conf', q{
eventstore.worker_idle_limit = '10s'
eventstore.watermark_interval = '10ms'});
	$node->reload;
}

#
# DROP EXTENSION, while the worker looks and advances the watermark
#

run_sql('DROP EXTENSION eventstore');
run_sql(q{
DO $$
DECLARE
	i int;
BEGIN
	FOR i IN 1 .. 150 LOOP
		CREATE EXTENSION eventstore;
		COMMIT;
		FOR j IN 1 .. 1 + 10 * random() LOOP
			PERFORM eventstore.append_event('Account-1', 'Happened', '{}');
			COMMIT;
			PERFORM pg_sleep(0.002 * random());
			COMMIT;
		END LOOP;
		DROP EXTENSION eventstore;
		COMMIT;
	END LOOP;
END $$});
is(logged($node, qr/deadlock detected|ERROR/, $log), 0,
	'150 drops have not met the worker in a deadlock, nor another error');
run_sql('CREATE EXTENSION eventstore');

# Nor does one meet it who has locked a table before.
my $dropping = session($node);
my $writing = session($node);
$writing->query(append_sql('Account-2'));
foreach (1 .. 10)
{
	$dropping->query('BEGIN; LOCK TABLE eventstore.watermark');
	$writing->query(append_sql('Account-2'));
	usleep(30_000 * rand);
	unlike($dropping->query('DROP EXTENSION eventstore'), qr/ERROR/,
		'one who has locked the watermark drops the extension');
	$dropping->query('ROLLBACK');
}
$writing->quit;
my $open = session($node);
$open->query("BEGIN; ${\append_sql('Account-1')}");

# A lock on the watermark holds up the watermark, and no announcement.
my $appender = session($node);
$appender->query(append_sql('Account-2'));
start_listening($node);
$dropping->query('BEGIN; LOCK TABLE eventstore.watermark');
takes_at_most(2, sub { hears($appender->query(append_sql('Account-2')), 'an append is announced') },
	'while somebody has locked the watermark');
$dropping->query('ROLLBACK');

# Who sends a notification may be held up by a standby that does not answer, and
# then nobody else can send one; but the store is not locked meanwhile.
$open->query('COMMIT');
run_sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
wait_for(sub { run_sql('SHOW synchronous_standby_names') eq 'nobody' }, 'reload');
$open->send(q{BEGIN; CREATE TABLE other (n int); NOTIFY other; COMMIT});
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')})
  or die 'nobody waits for the standby';
run_sql("SET synchronous_commit = local; ${\append_sql('Account-2')}");
usleep(300_000);
$dropping->query(q{SET synchronous_commit = local; SET lock_timeout = '2s'; BEGIN; DROP EXTENSION eventstore});
is($dropping->query('SELECT 1; ROLLBACK'), '1', 'DROP EXTENSION does not wait for a notification that is held up');
run_sql('ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
$open->answer;
$_->quit foreach $open, $dropping, $appender;

#
# Terminated, and killed, under load
#

sub start_load
{
	my $load = session($node);

	$load->send(q{
DO $$
BEGIN
	LOOP
		PERFORM eventstore.append_event('Account-' || pg_backend_pid(), 'Happened', '{}');
		COMMIT;
	END LOOP;
END $$});
	return $load;
}

start_listening($node);
my @loads = map { start_load() } 1 .. 3;
my $terminated = 0;
foreach (1 .. 20)
{
	usleep(150_000);
	$terminated += grep { $_ eq 't' } split /\n/, run_sql(q{
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'});
}
cmp_ok($terminated, '>=', 2, "the worker is terminated $terminated times");
run_sql('SELECT pg_cancel_backend(' . $_->pid . ')') foreach @loads;
$_->quit foreach @loads;
my $last = run_sql('SELECT max(global_position) FROM eventstore.events');
# What was cancelled may have taken a higher position.
ok(wait_for(sub { grep { $_ >= $last } heard() }, 'the last'), 'the last append is announced');

stop_listening();
@loads = map { start_load() } 1 .. 3;
wait_for(sub { worker_pid($node) ne '' }, 'a worker');
usleep(100_000);
$log = -s $node->logfile;
PostgreSQL::Test::Utils::system_log('pg_ctl', 'kill', 'KILL', worker_pid($node));
ok( wait_for(sub {
		logged($node, qr/all server processes terminated; reinitializing/, $log) &&
		($node->psql('postgres', 'SELECT 1'))[0] == 0 }, 'restart'),
	'the server restarts when the worker is killed');
$_->quit foreach @loads;
start_listening($node);
hears(append($node, 'Account-1'), 'then appends are announced');
has_workers($node, 'postgres', 'by a new worker');
check_store($node);

#
# Beside an old snapshot, which keeps all versions of the watermark
#

run_sql(q{
CREATE TABLE advances (settled_position bigint);
CREATE FUNCTION count_advance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.advances VALUES (NEW.settled_position);
	RETURN NULL;
END $$;
CREATE TRIGGER count_advance AFTER UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION count_advance()});

# How often the watermark is advanced while events arrive for some seconds.
sub advances
{
	my ($seconds) = @_;

	run_sql('TRUNCATE advances');
	run_sql(qq{
DO \$\$
DECLARE
	end_at timestamptz := clock_timestamp() + interval '$seconds s';
BEGIN
	WHILE clock_timestamp() < end_at LOOP
		PERFORM eventstore.append_event('Account-1', 'Happened', '{}');
		COMMIT;
		PERFORM pg_sleep(0.001);
		COMMIT;
	END LOOP;
END \$\$});
	return run_sql('SELECT count(*) FROM advances');
}

my $usual = advances(4);
my $old = session($node);
$old->query(q{
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM eventstore.events});
usleep(3_000_000);
my $beside = advances(4);
cmp_ok($beside, '<', 0.6 * $usual, "beside an old snapshot the watermark is advanced less often: $beside times, not $usual");
cmp_ok($beside, '>', 10, 'but it is');
$old->query('COMMIT');
cmp_ok(advances(4), '>', 0.7 * $usual, 'afterwards as often as before');
$old->quit;

stop_listening();
$node->stop('fast');
done_testing();
