# Payloads so large that jsonb may have no room for them: one that just fits,
# and one that has an item too many.  And events that the server could store but
# not hand out again: a row's text, in which bytea takes two characters a byte
# and COPY doubles backslashes and line breaks, has less than 1 GB.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main');

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

$node->stop;
done_testing();
