# A random load on a primary, with followers on its standby, which is promoted in
# the middle: followers go on, and so do those who have a snapshot from before;
# appenders move over.  See docs/testing.md.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Stress;
use EventStore::Test;
use PostgreSQL::Test::Cluster;
use Test::More;

stress_rounds(20, 120, sub {
	my ($seed, $seconds) = @_;
	my $torn_down = $seed % 2;
	my $primary = new_stressed_store("primary_$seed", streaming => 1);

	$primary->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new("standby_$seed");
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->append_conf('postgresql.conf', q{
hot_standby_feedback = on
wal_receiver_status_interval = 1
max_standby_streaming_delay = 1s
});
	$standby->start;

	my $stress = start_stress(
		seed => $seed,
		seconds => 0.4 * $seconds,
		write_to => [ $primary, $standby ],
		follow_at => $standby,
		torn_down => $torn_down);

	stress_asks_for($stress, 'stop the primary');
	$primary->stop($torn_down ? 'immediate' : 'fast');
	$standby->poll_query_until('postgres',
		'SELECT pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()')
	  or die 'the standby does not replay all that it has';
	check_indexes($standby);
	stress_is_told($stress);

	stress_asks_for($stress, 'promote the standby');
	$standby->promote;
	stress_is_told($stress);

	finish_stress($stress);
	check_store($standby);
	check_files($standby);
	end_round($primary, $standby);
});

done_testing();
