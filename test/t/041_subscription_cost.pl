# What subscriptions cost: a session that fetches and acknowledges for ever
# stays as large as it was, the books stay as small, and a filter that matches
# almost nothing costs in proportion to what is new.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main', conf => 'jit = off');
my $session = session($node);

sub query
{
	return $node->safe_psql('postgres', shift);
}

query(q{
CREATE PROCEDURE append_many(batches int) LANGUAGE plpgsql AS $$
DECLARE
	batch json := (SELECT json_agg(json_build_object('event_type', 'T', 'data', i)) FROM generate_series(1, 1000) i);
BEGIN
	FOR i IN 1 .. batches LOOP
		PERFORM eventstore.append_events('Stream-' || i % 100, batch);
		COMMIT;
	END LOOP;
END $$;
CREATE PROCEDURE cycle(cycles int) LANGUAGE plpgsql AS $$
DECLARE
	event record;
BEGIN
	FOR i IN 1 .. cycles LOOP
		SELECT * INTO STRICT event FROM eventstore.fetch_events('cycles', 'c', 1);
		IF i % 100 = 0 THEN
			PERFORM eventstore.nack_event('cycles', 'c', 0, event.global_position, 'no', '0');
		END IF;
		PERFORM eventstore.ack_events('cycles', 'c', 0, event.global_position);
		COMMIT;
	END LOOP;
END $$;
SELECT eventstore.create_subscription('cycles', max_attempts => 2);
CALL append_many(300);
VACUUM (ANALYZE) eventstore.events});

#
# 20,000 cycles
#

# What the session has allocated, and how many plans it keeps.
sub memory
{
	return split /\|/, $session->query(q{
SELECT sum(total_bytes), count(*) FILTER (WHERE name = 'CachedPlan')
FROM pg_backend_memory_contexts});
}

sub books_size
{
	return query(q{
SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
WHERE c.relnamespace = 'eventstore'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^subscription'});
}

is($session->query('CALL cycle(1000)'), '', 'a session warms up');
my ($bytes, $nplans) = memory();
my $size = books_size();
is($session->query('CALL cycle(20000)'), '', '... and goes on for 20,000 cycles');
my ($bytes_after, $nplans_after) = memory();
cmp_ok($bytes_after, '<', $bytes + 200_000, "its memory stays as it was ($bytes, $bytes_after)");
cmp_ok($nplans_after, '<=', $nplans + 5, "it plans nothing anew ($nplans, $nplans_after)");
cmp_ok(books_size(), '<=', $size + 200_000, "the books stay as they were ($size), with no vacuum");

#
# Filters
#

query(q{
SELECT count(*) FROM (
	SELECT eventstore.append_event('Rare-' || i, 'Rare', '1') FROM generate_series(1, 10) i) e;
VACUUM eventstore.events});

# The pages that a fetch looks at.
sub cost
{
	my ($subscription) = @_;
	my $plan = $session->query(qq{
EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT * FROM eventstore.fetch_events('$subscription', 'c')});
	my ($pages) = $plan =~ /^ *Buffers: (.*)$/m;
	my ($nrows) = $plan =~ /rows=(\d+)/;
	my $npages = 0;

	$npages += $_ foreach $pages =~ /(?:hit|read)=(\d+)/g;
	return ($nrows, $npages);
}

my %filters = (
	by_stream => q{stream_types => '{Rare}'},
	by_event => q{event_types => '{Rare}'},
	by_both => q{stream_types => '{Rare,Never}', event_types => '{Rare}'});

sub acknowledge
{
	my ($name) = @_;

	query(qq{
SELECT eventstore.ack_events('$name', 'c', 0, fetched_to)
FROM eventstore.subscription_partitions WHERE subscription_id = '$name'});
	return;
}

foreach my $name (sort keys %filters)
{
	query("SELECT eventstore.create_subscription('$name', $filters{$name})");
	my ($nrows, $npages) = cost($name);
	is($nrows, 10, "$name: 10 of 300,000 events match");
	note("$name: $npages pages at first");
	acknowledge($name);
}

query('CALL append_many(1)');
foreach my $name (sort keys %filters)
{
	my ($nrows, $npages) = cost($name);
	is($nrows, 0, "$name: of 1,000 more, none");
	cmp_ok($npages, '<', 500, "$name: ... which costs what is new");

	($nrows, $npages) = cost($name);
	is($nrows, 0, "$name: nothing is new");
	cmp_ok($npages, '<', 50, "$name: ... which costs next to nothing");
}

append($node, 'Stream-1');
query(q{SELECT eventstore.append_event('Rare-1', 'Rare', '1')});
foreach my $name (sort keys %filters)
{
	my ($nrows, $npages) = cost($name);
	is($nrows, 1, "$name: one more");
	cmp_ok($npages, '<', 100, "$name: ... at little cost");
	acknowledge($name);
}

#
# Names that are stored compressed don't pile up while many are passed over.
#

SKIP:
{
	my $status = '/proc/' . $session->pid . '/status';
	my $peak = sub { return slurp_file($status) =~ /^VmPeak:\s+(\d+) kB$/m ? $1 : undef };

	skip 'no VmPeak here', 1 if !-r $status || !defined $peak->();
	query(q{
SELECT eventstore.create_subscription('long', event_types => '{Never}', after_position => (
	SELECT max(global_position) FROM eventstore.events));
SELECT eventstore.append_events(repeat('s', 2000), (
	SELECT json_agg(json_build_object('event_type', repeat('t', 2000), 'data', i)) FROM generate_series(1, 10000) i))});
	cost('by_stream');
	my $before = $peak->();
	is((cost('long'))[0], 0, 'none of 10,000 events with long names matches');
	cmp_ok($peak->(), '<', $before + 5_000, '... and they take no memory');
}

is(query('SELECT * FROM eventstore.verify()'), '', 'verify() finds nothing');

$session->quit;
$node->stop;
done_testing();
