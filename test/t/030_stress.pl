# A random load of all kinds of appenders and followers, while the table and its
# indexes are vacuumed, rebuilt, rewritten and moved, and sessions cancelled and
# terminated.  See docs/testing.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Stress;
use EventStore::Test;
use Test::More;

stress_rounds(30, 300, sub {
	my ($seed, $seconds) = @_;
	my $node = new_stressed_store("stressed_$seed");

	# The rest is for the checks.
	finish_stress(
		start_stress(seed => $seed, seconds => 0.85 * $seconds, write_to => [$node]));
	check_store($node);
	check_files($node);
	end_round($node);
});

done_testing();
