# What operators do to replicas: events are left out, tables come and go, stores
# are copied by other means.  A replica that lacks an event says so, and no two
# stores hand out the same position without being told to.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_store('publisher', streaming => 'logical', by_hand => 1);
my $replica = new_store('replica', by_hand => 1, conf => q{
wal_retrieve_retry_interval = 100ms
max_logical_replication_workers = 8
max_worker_processes = 16
});
my $source = $publisher->connstr . ' dbname=postgres';
my @following = (
	'read_all()', 'read_all_backwards()', 'settled_position()', q{read_category('Account')});
my $appending = q{append_event('Account-1', 'Happened', '{}')};

$publisher->safe_psql('postgres',
	'CREATE PUBLICATION store FOR TABLE eventstore.events, eventstore.watermark');

# An empty store in a database of its own.
sub new_replica
{
	my ($dbname) = @_;

	$replica->safe_psql('postgres', "CREATE DATABASE $dbname");
	$replica->safe_psql($dbname, 'CREATE EXTENSION eventstore');
	return;
}

sub subscribe
{
	my ($dbname, $options) = @_;

	$replica->safe_psql($dbname,
		"CREATE SUBSCRIPTION $dbname CONNECTION '$source' PUBLICATION store" . ($options // ''));
	return;
}

sub catch_up
{
	my ($dbname) = @_;

	$replica->poll_query_until($dbname,
		q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel})
	  or die 'the tables are not ready';
	$publisher->wait_for_catchup($dbname);
	return;
}

sub append_and_advance
{
	my $last = append($publisher, @_);

	$publisher->safe_psql('postgres', 'SELECT eventstore.advance_watermark()');
	return $last;
}

sub is_refused
{
	my ($dbname, $sql, $message, $description) = @_;
	my ($status, $stdout, $stderr) =
	  $replica->psql($dbname, "\\set VERBOSITY verbose\nSELECT * FROM eventstore.$sql");

	like($stderr, qr/ERROR:  55000: (?=.*$message).*DETAIL:  .*HINT:  /s, "$description: $sql");
	return;
}

sub lacks_events
{
	my ($dbname, $description) = @_;

	is_refused($dbname, $_, 'are not those of its publisher', $description)
	  foreach @following, 'advance_watermark()';
	like($replica->safe_psql($dbname, 'SELECT * FROM eventstore.verify()'),
		qr/^the watermark counts the events up to it\|\d+ up to position \d+, and there are \d+$/m,
		"$description: verify() says so");
	return;
}

sub is_settled
{
	my ($dbname, $position, $description) = @_;

	is($replica->safe_psql($dbname, 'SELECT eventstore.settled_position()'), $position, $description);
	return;
}

append_and_advance('Account-1', 'Account-2', 'Account-1');

#
# A subscription that is created again without the slot that it had
#

new_replica('gap');
subscribe('gap');
catch_up('gap');
is_settled('gap', 3, 'a replica');
$replica->safe_psql('gap', 'DROP SUBSCRIPTION gap');
is_refused('gap', $_, 'a logical replica without a subscription', 'without its subscription')
  foreach @following, $appending, 'advance_watermark()';
append_and_advance('Account-1');
subscribe('gap', ' WITH (copy_data = off)');
is_settled('gap', 3, 'nothing has arrived yet');
my $last = append_and_advance('Account-2');
catch_up('gap');
is($replica->safe_psql('gap', 'SELECT count(*) FROM eventstore.events'), 4, 'an event was left out');
lacks_events('gap', 'an event was left out');
$replica->safe_psql('gap', 'DROP SUBSCRIPTION gap; DROP EXTENSION eventstore; CREATE EXTENSION eventstore');
subscribe('gap');
catch_up('gap');
is_settled('gap', $last, 'as the HINT says, everything is copied');

#
# A table that is left out of the publication for some time
#

$publisher->safe_psql('postgres', 'ALTER PUBLICATION store DROP TABLE eventstore.events');
append_and_advance('Account-3');
$publisher->safe_psql('postgres', 'ALTER PUBLICATION store ADD TABLE eventstore.events');
append_and_advance('Account-3');
catch_up('gap');
lacks_events('gap', 'events were not published for some time');
$replica->safe_psql('gap', 'DROP SUBSCRIPTION gap');

#
# A part of the events
#

$publisher->safe_psql('postgres', q{
CREATE PUBLICATION part FOR TABLE eventstore.events WHERE (stream_id = 'Account-1'), eventstore.watermark});
new_replica('part');
$replica->safe_psql('part', "CREATE SUBSCRIPTION part CONNECTION '$source' PUBLICATION part");
catch_up('part');
lacks_events('part', 'a part is not the whole');
$publisher->safe_psql('postgres', q{
ALTER PUBLICATION part DROP TABLE eventstore.watermark;
ALTER PUBLICATION part ADD TABLE eventstore.watermark (only_row, settled_position)});
$replica->safe_psql('part', 'ALTER SUBSCRIPTION part REFRESH PUBLICATION');
$last = append_and_advance('Account-1');
catch_up('part');
is_settled('part', $last, 'as the HINT says, the watermark is published without its tally');
$replica->safe_psql('part', q{
DROP SUBSCRIPTION part; DROP EXTENSION eventstore; CREATE EXTENSION eventstore;});
$replica->safe_psql('part', "CREATE SUBSCRIPTION part CONNECTION '$source' PUBLICATION part");
catch_up('part');
is_settled('part', $last, 'a part with a watermark that does not count');
$last = append_and_advance('Account-2', 'Account-1');
catch_up('part');
is_settled('part', $last, '... goes on');
is($replica->safe_psql('part', q{SELECT * FROM eventstore.verify()}), '', '... and is sound');
$replica->safe_psql('part', 'DROP SUBSCRIPTION part; SELECT eventstore.continue_positions()');
is($replica->safe_psql('part', "SELECT last_position FROM eventstore.$appending; SELECT eventstore.advance_watermark()"),
	$last + 1 . "\n" . ($last + 1), '... and can be continued');
is($replica->safe_psql('part', q{SELECT events = (SELECT count(*) FROM eventstore.events) FROM eventstore.watermark}),
	't', '... and counts again');

#
# advance_watermark() on what is to be a replica
#

new_replica('early');
is($replica->safe_psql('early', 'SELECT eventstore.advance_watermark()'), 0, 'an empty store');
subscribe('early');
catch_up('early');
is_settled('early', $last, 'its watermark did not keep the publisher\'s out');

# The row is gone.
$replica->safe_psql('early', 'DELETE FROM eventstore.watermark');
is_refused('early', $_, 'cannot be followed.*has no row here.*advance_watermark\(\) here', 'no watermark') foreach @following;
$last = append_and_advance('Account-4');
catch_up('early');
is($replica->safe_psql('early', 'SELECT eventstore.advance_watermark()'), 0, 'as the HINT says');
is_refused('early', $_, 'No watermark has arrived', 'not yet') foreach @following;
$last = append_and_advance('Account-4');
catch_up('early');
is_settled('early', $last, 'the publisher\'s watermark has arrived');
is($replica->safe_psql('early', q{SELECT * FROM eventstore.verify()}), '', '... and all is sound');

#
# Seeded by a dump, with the position of the sequence.  Nothing has arrived since.
#

new_replica('seeded');
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump.sql';
$publisher->command_ok([ 'pg_dump', '--no-publications', '-f', $dump, '-d', $source ], 'dump');
$replica->safe_psql('postgres', 'DROP DATABASE seeded; CREATE DATABASE seeded TEMPLATE template0');
$replica->command_ok([ 'psql', '-qXf', $dump, '-d', $replica->connstr('seeded'), '-v', 'ON_ERROR_STOP=1' ], 'restore');
subscribe('seeded', ' WITH (copy_data = off)');
is_settled('seeded', $last, 'what was seeded is settled');
is_refused('seeded', $appending, 'to a logical replica', 'while it is a replica');
$replica->safe_psql('seeded', 'DROP SUBSCRIPTION seeded');
is_refused('seeded', $_, 'a logical replica without a subscription', 'seeded by a dump') foreach @following, $appending;

my $session = session($replica, 'seeded');
is($session->query(qq{
BEGIN; SELECT eventstore.continue_positions(); SELECT last_position FROM eventstore.$appending; ROLLBACK}),
	"$last\n" . ($last + 1), 'it is told to go on');
like($session->query("SELECT FROM eventstore.$appending"), qr/without a subscription/, '... which is rolled back');
is_refused('seeded', $_, 'a logical replica without a subscription', 'for others, too') foreach @following, $appending;
is($session->query(qq{
SELECT eventstore.continue_positions(); SELECT last_position FROM eventstore.$appending}),
	$last + 1 . "\n" . ($last + 2), '... and goes on');
$session->quit;

# A subscription that was a mistake.
new_replica('mistake');
$replica->safe_psql('mistake', "SELECT FROM eventstore.$appending; SELECT eventstore.advance_watermark()");
$replica->safe_psql('mistake', q{
CREATE SUBSCRIPTION mistake CONNECTION 'dbname=nowhere' PUBLICATION store WITH (connect = off)});
is($replica->safe_psql('mistake', "SELECT last_version FROM eventstore.$appending"), 2, 'a subscription that brings nothing');
$replica->safe_psql('mistake', q{
ALTER SUBSCRIPTION mistake SET (slot_name = NONE);
DROP SUBSCRIPTION mistake});
is($replica->safe_psql('mistake', "SELECT last_version FROM eventstore.$appending"), 3, '... leaves nothing behind');

$_->stop foreach $replica, $publisher;
done_testing();
