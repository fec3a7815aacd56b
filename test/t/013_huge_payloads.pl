# Payloads so large that jsonb may have no room for them: one that just fits,
# and one that has an item too many.

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

$node->stop;
done_testing();
