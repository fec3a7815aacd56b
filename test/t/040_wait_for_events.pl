# wait_for_events(): woken by the worker, by looking, and on a standby; at rest
# while it waits.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_store('main', streaming => 1);
my $position = append($node, 'Account-1');
my $waiter = session($node);

sub is_waiting
{
	my ($on, $session) = @_;

	return $on->poll_query_until('postgres', sprintf q{
SELECT EXISTS (SELECT FROM pg_stat_activity
			   WHERE pid = %d AND query LIKE '%%wait_for_events%%' AND wait_event_type = 'Extension')},
		$session->pid);
}

sub wait_sql
{
	return "CALL eventstore.wait_for_events($position, '1 hour')";
}

# Each way in which an event can be committed.
my %appends = (
	'by the worker' => sub { return append($node, 'Account-1') },
	'of what notifies nobody' => sub {
		return $node->safe_psql('postgres', q{
SET eventstore.notify = off;
SELECT last_position FROM eventstore.append_event('Account-1', 'Happened', '{}')});
	},
	'of what was prepared' => sub {
		return (split /\n/, $node->safe_psql('postgres', q{
BEGIN;
SELECT last_position FROM eventstore.append_event('Account-1', 'Happened', '{}');
PREPARE TRANSACTION 'p';
COMMIT PREPARED 'p'}))[0];
	});
foreach my $how (sort keys %appends)
{
	$waiter->send(wait_sql());
	ok(is_waiting($node, $waiter), 'a session waits');
	my $last = $appends{$how}->();
	is($waiter->answer, $last, "it learns $how");
	$position = $last;
}

# Several wait at once.
my @waiters = map { session($node) } 1 .. 3;
foreach (@waiters)
{
	$_->send(wait_sql());
	is_waiting($node, $_);
}
my $last = append($node, 'Account-1');
is(join(',', map { $_->answer } @waiters), "$last,$last,$last", 'all who wait are woken');
$position = $last;
$_->quit foreach @waiters;

# Behind an open transaction nothing is settled, and a rollback settles it.
my $open = session($node);
$open->query(q{BEGIN; SELECT eventstore.append_event('Account-2', 'Happened', '{}')});
$last = append($node, 'Account-1');
is($node->safe_psql('postgres', "CALL eventstore.wait_for_events($position, '0.3 s')"),
	'', 'nothing is returned that is not settled');
$waiter->send(wait_sql());
is_waiting($node, $waiter);
$open->query('ROLLBACK');
is($waiter->answer, $last, 'it is when the transaction in front is rolled back');
$position = $last;
$open->quit;

# Waiting holds no snapshot, which would keep vacuum from what is deleted
# meanwhile, and no lock on the table, and takes next to no time of the CPU.
sub cpu_seconds
{
	my ($pid) = @_;
	my @fields = split / /, slurp_file("/proc/$pid/stat") =~ s/.*\) //r;

	return ($fields[11] + $fields[12]) / 100;
}

$waiter->send(wait_sql());
is_waiting($node, $waiter);
SKIP:
{
	skip 'there is no /proc', 1 if !-e "/proc/${\$waiter->pid}/stat";
	my $before = cpu_seconds($waiter->pid);

	usleep(2_000_000);
	cmp_ok(cpu_seconds($waiter->pid) - $before, '<', 0.2, 'waiting costs no CPU to speak of');
}
my $holds_snapshot = sprintf q{
SELECT count(*) FROM pg_stat_activity
WHERE pid = %d AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)}, $waiter->pid;
my @held = map { usleep(10_000); $node->safe_psql('postgres', $holds_snapshot) } 1 .. 20;
cmp_ok(scalar(grep { $_ } @held), '<=', 3, 'it has a snapshot while it looks only');
$node->safe_psql('postgres', q{
CREATE TABLE deleted AS SELECT generate_series(1, 1000) AS n;
DELETE FROM deleted});
like(($node->psql('postgres', 'VACUUM (VERBOSE) deleted'))[2], qr/tuples: 1000 removed/,
	'vacuum removes what is deleted meanwhile');
$node->safe_psql('postgres', q{
SET lock_timeout = '10s';
BEGIN; LOCK TABLE eventstore.events; ROLLBACK});
pass('nor does it hold a lock');

# It ends when it is told to.
$node->safe_psql('postgres', "SELECT pg_cancel_backend(${\$waiter->pid})");
like($waiter->answer, qr/canceling statement due to user request/, 'it can be cancelled');
is($waiter->query('SELECT 1'), '1', 'and the session goes on');

# On a standby.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $reader = session($standby);
$reader->send(wait_sql());
ok(is_waiting($standby, $reader), 'a session waits on a standby');
$last = append($node, 'Account-1');
is($reader->answer, $last, 'and learns of the event there');
$reader->quit;
$position = $last;

# With the server it stops.
$waiter->send(wait_sql());
is_waiting($node, $waiter);
$standby->stop;
$node->stop('fast');
like($waiter->answer, qr/terminating connection/, 'it ends with the server');
done_testing();
