# A transaction goes on while a subscription is created: it neither follows nor
# appends any more, also where it takes no new lock and so is not told by the
# way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('primary', streaming => 'logical', by_hand => 1);
my $source = $node->connstr . ' dbname=source';

$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', q{
	CREATE EXTENSION eventstore;
	CREATE PUBLICATION p FOR TABLE eventstore.events, eventstore.watermark;
	SELECT pg_create_logical_replication_slot('s', 'pgoutput')});
# This store has handed out positions above those that are to come.
$node->safe_psql('postgres', q{SELECT setval('eventstore.events_global_position_seq', 1000)});

my $follower = session($node);
$follower->query(q{
	BEGIN;
	SELECT count(*) FROM eventstore.events;
	SELECT count(*) FROM eventstore.read_all()});

my $appender = session($node);
$appender->query(q{BEGIN; SELECT eventstore.append_event('B-1', 'T', '1')});

my $late = session($node, 'source');
$late->query(q{BEGIN; SELECT eventstore.append_event('A-1', 'T', '1')});
$node->safe_psql('source', q{SELECT eventstore.append_event('A-2', 'T', '2')});
# Of two events, the one with the higher position arrives first.
$node->safe_psql('postgres', qq{CREATE SUBSCRIPTION s CONNECTION '$source' PUBLICATION p
	WITH (create_slot = false, copy_data = false)});
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM eventstore.events') or die;

like($follower->query('SELECT global_position FROM eventstore.read_all()'),
	qr/ERROR/, 'the transaction no longer follows');
like($follower->query('ROLLBACK; SELECT FROM eventstore.read_all()'),
	qr/ERROR/, '... nor does the next one');
like($appender->query(q{SELECT eventstore.append_event('B-1', 'T', '2')}),
	qr/ERROR/, 'the transaction no longer appends');
$late->query('COMMIT');

$_->quit for $follower, $appender, $late;
$node->stop;
done_testing();
