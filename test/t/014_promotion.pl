# A reader that begins on a standby and goes on after its promotion reads under
# the snapshot that it has taken before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_store('primary', streaming => 1, by_hand => 1);

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my %reads = (
	'read_all' => q{SELECT global_position FROM eventstore.read_all()},
	'read_category' => q{SELECT global_position FROM eventstore.read_category('Account')},
	'read_all_backwards' => q{SELECT global_position FROM eventstore.read_all_backwards()},
	'settled_position' => q{SELECT eventstore.settled_position()});

# An event is still open when a later one is committed.
my $first = append($primary, 'Account-01');
my $open = session($primary);
$open->query(q{
BEGIN;
SELECT eventstore.append_event('Account-02', 'Happened', '{}')});
my $last = append($primary, 'Account-03');
$primary->wait_for_catchup($standby);

# Cursors have a snapshot from the beginning, and read when they are asked.
my %readers;
foreach my $read (sort keys %reads)
{
	$readers{$read} = session($standby);
	$readers{$read}->query("BEGIN; DECLARE c CURSOR FOR $reads{$read}");
}

$open->query('COMMIT');
$primary->wait_for_catchup($standby);
$primary->stop;
$standby->promote;

# What the session learns in between is under a later snapshot.
foreach my $read (sort keys %reads)
{
	is($readers{$read}->query('SELECT eventstore.settled_position()'),
		$last, "$read: after the promotion all is settled");
	is($readers{$read}->query('FETCH ALL FROM c'),
		$first, "$read: a cursor from before stops in front of what was open then");
	is($readers{$read}->query('CLOSE c; ' . $reads{'settled_position'}),
		$last, "$read: and all is settled still");
	$readers{$read}->quit;
}
check_seen(
	[ map { "$_" } split /\n/, $standby->safe_psql('postgres', $reads{'read_all'}) ],
	[ $first, $first + 1, $last ],
	'a new reader');

$standby->stop;
done_testing();
