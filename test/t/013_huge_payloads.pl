# Payloads so large that jsonb may have no room for them: one that just fits,
# and one that has an item too many.  And events that the server could store but
# not hand out again: a row's text, in which bytea takes two characters a byte
# and COPY doubles backslashes and line breaks, has less than 1 GB.  And messages of
# the output plugin, which have less than 1 GB as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main', streaming => 'logical');

# An array of this many ones
sub append_array
{
	my ($nitems) = @_;

	return $node->psql('postgres', qq{
\\set VERBOSITY verbose
SELECT last_version FROM eventstore.append_event('Order-1', 'T', ('[1' || repeat(',1', $nitems - 1) || ']')::json)});
}

my ($status, $out, $err) = append_array(16_777_217);
like($err, qr/ERROR:  (54000|XX000): /, 'more than jsonb can hold is refused');
like($err, qr/^DETAIL:  Strings, arrays and objects of jsonb have at most/m, '... with a detail');
like($err, qr/^HINT:  Take it out, or append as binary_data/m, '... and a hint');
like($err, qr/^CONTEXT:  data\nappend to stream "Order-1"$/m, '... and its place');

is((append_array(16_777_216))[1], 1, 'as much as jsonb can hold is accepted');
is( $node->safe_psql('postgres',
		'SELECT count(jsonb_typeof(data)) FROM eventstore.events_jsonb'),
	1, '... and can be read');

my $half = 2**29;
my %unreadable = (
	'binary_data' => "binary_data => convert_to(repeat('x', $half), 'SQL_ASCII')",
	'line breaks' => "data => ('1' || repeat(E'\\n', $half))::json",
	'data and metadata' =>
	  "data => ('1' || repeat(' ', $half))::json, metadata => ('1' || repeat(' ', $half))::json");

foreach my $what (sort keys %unreadable)
{
	my ($refused, undef, $message) = $node->psql('postgres', qq{
\\set VERBOSITY verbose
SELECT eventstore.append_event('Order-2', 'T', $unreadable{$what})});
	is($refused, 3, "$what that no query could return are refused");
	like($message, qr/ERROR:  54000: .*^DETAIL: .*^HINT: /ms, '... with a code, a detail and a hint');
}
$node->command_ok([ 'pg_dump', '-f', '/dev/null', $node->connstr('postgres') ],
	'the store can be dumped');

#
# Messages of the output plugin
#

# Receive what there is; returns whether that ended well, a summary of each message,
# and what was said.
sub receive
{
	my (@options) = @_;
	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');

	# what comes behind tells the client that it is there
	$node->safe_psql('postgres', q{SELECT FROM pg_logical_emit_message(false, 'test', 'end')});
	my $is_well = IPC::Run::run(
		[
			'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'huge', '--start', '--no-loop',
			"--endpos=$end", '-f', '-', map { ('-o', $_) } @options
		],
		'<', '/dev/null', '2>', \my $said, '|',
		[ 'perl', '-ne', 'print length, " ", /("data":\d+|"message":"\w+")/, "\n"' ], '>', \my $summary,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	return ($is_well, $summary // '', $said // '');
}

sub has_memory
{
	open(my $meminfo, '<', '/proc/meminfo') or return 0;
	my ($available) = map { /^MemAvailable:\s*(\d+) kB/ } <$meminfo>;
	return $available && $available > 8 * 2**20;
}

SKIP:
{
	skip 'this takes more memory than there is', 4 if !has_memory();

	$node->safe_psql('postgres', q{
SELECT FROM pg_create_logical_replication_slot('huge', 'eventstore');
SELECT FROM pg_logical_emit_message(false, 'huge', '\xff'::bytea || convert_to(repeat('x', 805306200), 'SQL_ASCII'))});
	my ($is_well, $summary, $said) = receive('message_prefixes=huge');
	ok($is_well && $summary =~ /^(\d+) "message":"huge"$/ && $1 > 2**30 - 1000,
		'a message just below 1 GB is sent') or diag($summary . $said);

	$node->safe_psql('postgres', q{
BEGIN;
SELECT eventstore.append_event('Order-3', 'Before', '1');
SELECT FROM pg_logical_emit_message(true, 'huge', '\xff'::bytea || convert_to(repeat('x', 805306400), 'SQL_ASCII'));
SELECT eventstore.append_event('Order-3', 'Behind', '3');
COMMIT;
SELECT eventstore.append_event('Order-3', 'Later', '4')});
	($is_well, $summary, $said) = receive('message_prefixes=huge');
	ok(!$is_well, 'a larger one is an error');
	like($said, qr/HINT:  A message has at most 1 GB\./, '... which says what to do');
	like((receive())[1], qr/^\d+ "data":1\n\d+ "data":3\n\d+ "data":4$/,
		'with a filter that leaves it out, the slot goes on');

	$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('huge')});
}

$node->stop;
done_testing();
