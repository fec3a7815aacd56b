# Commands for which nobody may be connected to a database: its worker makes way
# at once, whoever runs them, in sessions that know nothing of the event store.

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

# A few tenths of a second, and as much again for a busy machine; where nobody
# makes way, the commands fail after five.  Copies of the files take their time.
my $at_most = 1;
my $copying = 2;
my $superuser = getpwuid($<);
my $node = new_store('main');

sub run_sql
{
	my ($sql, $dbname, $user) = @_;

	return $node->safe_psql($dbname // 'postgres', $sql,
		extra_params => [ '-U', $user // $superuser ]);
}

run_sql(q{
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE elsewhere LOCATION '';
CREATE ROLE owner LOGIN CREATEDB;
GRANT CREATE ON TABLESPACE elsewhere TO owner;
GRANT CREATE ON TABLESPACE pg_default TO owner});

# A database with a store and a worker: at rest; looking again and again, since
# something prepared is open; or held up in a step by a trigger.
sub make_database
{
	my ($dbname, $how) = @_;

	run_sql("CREATE DATABASE $dbname OWNER owner");
	run_sql("CREATE EXTENSION eventstore; ${\append_sql('Account-1')}", $dbname);
	start_worker($dbname, $how);
	return;
}

sub start_worker
{
	my ($dbname, $how) = @_;

	run_sql(q{
CREATE OR REPLACE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(600);
	RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER tarry BEFORE INSERT OR UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION tarry()}, $dbname)
	  if $how eq 'held up';
	run_sql(append_sql('Account-1'), $dbname);
	wait_for(sub { run_sql(sprintf q{
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'eventstore worker' AND datname = '%s' AND (wait_event = 'PgSleep') = %s},
		$dbname, $how eq 'held up' ? 'true' : 'false') }, "a worker that is $how");
	return;
}

foreach my $user ($superuser, 'owner')
{
	foreach my $how ('at rest', 'held up')
	{
		my $who = $user eq 'owner' ? 'the owner' : 'a superuser';
		my $run = sub { my ($sql) = @_; run_sql($sql, 'template1', $user) };

		make_database('one', $how);
		takes_at_most($at_most, sub { $run->('ALTER DATABASE one RENAME TO two') },
			"$who renames a database whose worker is $how");
		start_worker('two', $how);
		takes_at_most($at_most + $copying, sub { $run->('ALTER DATABASE two SET TABLESPACE elsewhere') },
			'moves it to another tablespace');
		start_worker('two', $how);
		takes_at_most($at_most + $copying, sub { $run->('CREATE DATABASE three TEMPLATE two') },
			'makes another one from it');
		start_worker('two', $how);
		takes_at_most($at_most, sub { $run->('DROP DATABASE two') }, 'and drops it');
		start_worker('three', $how);
		takes_at_most($at_most, sub { $run->('DROP DATABASE three WITH (FORCE)') },
			'the other one, too, by force');
		has_workers($node, '', 'no worker is left');
	}
}

# The owner may change.
make_database('one', 'at rest');
run_sql('CREATE ROLE heir LOGIN CREATEDB; ALTER DATABASE one OWNER TO heir');
run_sql(append_sql('Account-1'), 'one');
takes_at_most($at_most, sub { run_sql('DROP DATABASE one WITH (FORCE)', 'template1', 'heir') },
	'a new owner drops it by force');

# Somebody else is in the way; the worker comes back.
make_database('one', 'at rest');
my $other = session($node, 'one');
my (undef, undef, $error) = $node->psql('template1', 'ALTER DATABASE one RENAME TO two');
like($error, qr/is being accessed by other users/, 'a database in use is not renamed');
start_listening($node, 'one');
hears(run_sql(append_sql('Account-1'), 'one'), 'afterwards appends are announced');
has_workers($node, 'one', 'by another worker');

# While somebody waits in vain for the others to go, no worker can connect.
my $waiting = session($node, 'template1');
run_sql(q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'});
wait_for(sub { workers($node) eq '' }, 'no worker');
$waiting->send('DROP DATABASE one');
$node->poll_query_until('postgres', q{
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'AccessExclusiveLock' AND granted)})
  or die 'nobody drops the database';
foreach (1 .. 3)
{
	my ($position) = $other->query(append_sql('Account-1')) =~ /^(\d+)$/m;
	takes_at_most(1, sub { hears($position, 'an append is announced') },
		'while the database is to be dropped');
}
like($waiting->answer, qr/is being accessed by other users/, 'which fails');
$_->quit foreach $other, $waiting;

# Nor does it make way for those who may not do such things.
stop_listening();
run_sql('CREATE ROLE stranger LOGIN');
make_database('mine', 'at rest');
start_listening($node, 'mine');
my $script = PostgreSQL::Test::Utils::tempdir . '/refused.sql';
append_to_file($script, q{
DROP DATABASE mine;
ALTER DATABASE mine RENAME TO yours;
CREATE DATABASE yours TEMPLATE mine;
} x 30000);
my @strangers = map {
	IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('template1') . ' user=stranger', '-f', $script ],
		'>', '/dev/null', '2>', '/dev/null')
} 1 .. 3;
my $appending = session($node, 'mine');
foreach (1 .. 4)
{
	takes_at_most(1, sub { hears($appending->query(append_sql('Account-1')), 'an append is announced') },
		'while a role without rights tries to drop, rename and copy the database');
	usleep(200_000);
}
is(scalar(grep { $_->pumpable } @strangers), 3, 'which goes on all the time');
$_->kill_kill foreach @strangers;
$appending->quit;

stop_listening();
$node->stop('fast');
done_testing();
