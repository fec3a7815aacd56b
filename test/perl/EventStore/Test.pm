=pod

=head1 NAME

EventStore::Test - what the TAP tests of the event store share

=head1 SYNOPSIS

  use EventStore::Test;

  my $node = new_store('primary');
  my ($expected, @appenders) = start_appenders($node, 8, 200);
  my $follower = start_follower($node, 'all', 100);
  finish_appenders(@appenders);
  end_load($node);
  check_follower($node, $follower, 'a follower of the whole store');

=head1 DESCRIPTION

The load consists of psql processes that run scripts made from seeded random
numbers.  Each transaction carries a tag that is stored in its events, and its
script says "ok <tag>" after the commit, so what must be stored is known.  A
follower is a psql process in which a procedure pages through the store and
reports each event to its client.

=cut

package EventStore::Test;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(mkpath);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  skip_before
  new_store
  has_wait_points
  private_installation
  kill_server
  start_killed_server
  start_after_crash
  append
  start_psql
  finish_psql
  start_appenders
  finish_appenders
  acknowledged
  start_gate_keeper
  end_load
  start_follower
  start_sampler
  finish_follower
  seen
  last_seen
  stored
  compare_seen
  check_seen
  check_follower
  check_samples
  check_events
  check_store
  check_indexes
  check_files
  session
  wait_until_blocked
  wait_for
);

# Every wait of the tests ends after this many seconds at the latest.
our $patience = $PostgreSQL::Test::Utils::timeout_default;

my $directory;
my $nscripts = 0;

# What a follower reports of an event.
my $event_line =
  q{concat_ws('|', e.global_position, e.event_id, e.stream_id, e.version)};
my $event_line_quoted = $event_line =~ s/'/''/gr;

=pod

=head1 SERVERS

=over

=item skip_before(major, feature)

Skip the test file where PostgreSQL is too old for what it tests.

=cut

sub skip_before
{
	my ($major, $feature) = @_;

	plan skip_all => "no $feature before PostgreSQL $major"
	  if (`pg_config --version` =~ /(\d+)/)[0] < $major;
	return;
}

=pod

=item new_store(name, streaming => level, conf => text, install_path => path, by_hand => boolean)

A running server with an event store, and what the followers need, in the
database "postgres".  With "by_hand", no worker advances the watermark, so that the
test can.

=cut

sub new_store
{
	my ($name, %params) = @_;
	my $node =
	  PostgreSQL::Test::Cluster->new($name,
		$params{install_path} ? (install_path => $params{install_path}) : ());

	$node->init(
		allows_streaming => $params{streaming},
		extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', qq{
log_statement = none
max_connections = 50
shared_buffers = 32MB
max_prepared_transactions = 20
autovacuum = off
});
	$node->append_conf('postgresql.conf', $params{conf}) if $params{conf};
	$node->append_conf('postgresql.conf', 'eventstore.notify = off') if $params{by_hand};
	$node->start;
	$node->safe_psql('postgres', q{
CREATE EXTENSION eventstore;
SELECT 'CREATE EXTENSION amcheck' FROM pg_available_extensions WHERE name = 'amcheck' \gexec
});
	create_followers($node);
	return $node;
}

# The bodies of the followers.  They write nothing, so they run on a standby.
sub create_followers
{
	my ($node) = @_;

	$node->safe_psql('postgres', qq{
CREATE PROCEDURE follow(how text, max_count bigint, after_position bigint)
LANGUAGE plpgsql AS \$\$
DECLARE
	page text := CASE how
		WHEN 'all' THEN
			'SELECT * FROM eventstore.read_all(\$1, \$2)'
		WHEN 'category' THEN
			'SELECT * FROM eventstore.read_category(''Account'', \$1, \$2)'
		WHEN 'settled' THEN
			'SELECT * FROM eventstore.events
			 WHERE global_position > \$1 AND global_position <= \$3
			 ORDER BY global_position LIMIT \$2'
		WHEN 'careless' THEN
			'SELECT * FROM eventstore.events
			 WHERE global_position > \$1
			 ORDER BY global_position LIMIT \$2'
		END;
	at bigint := after_position;
	settled bigint;
	lines text[];
	reached bigint;
	ended boolean := false;
BEGIN
	WHILE ended IS NOT TRUE LOOP
		IF how = 'settled' THEN
			settled := eventstore.settled_position(at);
		END IF;

		EXECUTE format('SELECT array_agg($event_line_quoted ORDER BY n),
							   (array_agg(global_position ORDER BY n DESC))[1],
							   bool_or(event_type = ''LoadEnded'')
						FROM (SELECT row_number() OVER () AS n, p.* FROM (%s) p) e', page)
			INTO lines, reached, ended USING at, max_count, settled;
		COMMIT;

		IF lines IS NULL THEN
			at := coalesce(settled, at);
			PERFORM pg_sleep(0.005);
		ELSE
			at := reached;
			RAISE INFO '%', array_to_string(lines, E'\\n');
		END IF;
	END LOOP;
END \$\$;

-- What is said to be settled, and how many events there are up to there.
CREATE PROCEDURE sample(interval_seconds float)
LANGUAGE plpgsql AS \$\$
DECLARE
	line text;
	ended boolean := false;
BEGIN
	WHILE NOT ended LOOP
		SELECT concat_ws('|',
					'settled', s, (SELECT count(*) FROM eventstore.events
								   WHERE global_position <= s),
					'newest', n, (SELECT count(*) FROM eventstore.events
								  WHERE global_position <= n),
					'category', c, (SELECT count(*) FROM eventstore.events
									WHERE global_position <= c)),
			   EXISTS (SELECT FROM eventstore.read_stream('Account-end'))
			INTO line, ended
			FROM coalesce((SELECT global_position
						   FROM eventstore.read_all_backwards(NULL, 1)), 0) AS n,
				 eventstore.settled_position() AS s,
				 coalesce((SELECT max(global_position)
						   FROM eventstore.read_category('Account', greatest(n - 100, 0),
														 NULL)), 0) AS c;
		COMMIT;
		RAISE INFO '%', line;
		PERFORM pg_sleep(interval_seconds);
	END LOOP;
END \$\$;

-- Hold up those who reach the wait points, and let them go, by turns.
CREATE PROCEDURE keep_gate(closed_seconds float, open_seconds float)
LANGUAGE plpgsql AS \$\$
DECLARE
	points text[] := ARRAY['gate-entered', 'positions-taken', 'rows-inserted'];
	turn int := 0;
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity
				  WHERE application_name LIKE 'appender%') LOOP
		PERFORM pg_advisory_lock(hashtext(points[1 + turn % 3]));
		PERFORM pg_sleep(closed_seconds);
		PERFORM pg_advisory_unlock(hashtext(points[1 + turn % 3]));
		turn := turn + 1;
		COMMIT;
		PERFORM pg_sleep(open_seconds);
	END LOOP;
END \$\$;
});
	return;
}

=pod

=item has_wait_points(node)

Was the extension built with WAIT_POINTS=yes?

=cut

sub has_wait_points
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{
LOAD 'eventstore';
SELECT count(*) FROM pg_settings WHERE name = 'eventstore.wait_points'});
}

=pod

=item private_installation()

Make an installation of PostgreSQL whose extension directory can be written
to.  Returns its path, for new_store(), and that of the extension directory.

The server looks for its files relative to its own place, so this needs copies
of the programs that look for it, and links to everything else.

=cut

sub private_installation
{
	my %path;

	foreach my $what ('bindir', 'sharedir', 'pkglibdir')
	{
		chomp($path{$what} = `pg_config --$what`);
	}

	my $root = PostgreSQL::Test::Utils::tempdir_short;
	my ($shared) = "$path{bindir}\n$path{sharedir}" =~ m{^(.*/).*\n\1};
	my %private = map { $_ => $path{$_} =~ s{^\Q$shared\E}{$root/}r } keys %path;

	mkpath($_) foreach $private{bindir}, dirname($private{pkglibdir}),
	  "$private{sharedir}/extension";
	link_all($path{bindir}, $private{bindir}, qr/^(postgres|initdb|pg_ctl)$/);
	link_all($path{sharedir}, $private{sharedir}, qr/^extension$/);
	link_all("$path{sharedir}/extension", "$private{sharedir}/extension");
	symlink($path{pkglibdir}, $private{pkglibdir}) or die "symlink: $!"
	  if !-e $private{pkglibdir};

	foreach my $program ('postgres', 'initdb', 'pg_ctl')
	{
		copy("$path{bindir}/$program", "$private{bindir}/$program") or die "copy: $!";
		chmod(0755, "$private{bindir}/$program");
	}
	return (dirname($private{bindir}), "$private{sharedir}/extension");
}

# Link what is in a directory, but for some names.
sub link_all
{
	my ($from, $to, $except) = @_;

	foreach my $file (glob "$from/*")
	{
		my $name = basename($file);

		next if defined $except && $name =~ $except;
		symlink($file, "$to/$name") or die "symlink: $!";
	}
	return;
}

=pod

=item append(node, stream, ...)

Append one event to each of the streams; returns the last position.

=cut

sub append
{
	my ($node, @streams) = @_;
	my $sql = join "\n", map
	{
		"SELECT last_position FROM eventstore.append_event('$_', 'Happened', '{}');"
	} @streams;

	return (split /\n/, $node->safe_psql('postgres', $sql))[-1];
}

=pod

=item kill_server(node)

Kill the postmaster and all of its children at once.

=item start_killed_server(node)

It starts when nobody is attached to the old shared memory any more.

=cut

sub kill_server
{
	my ($node) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');

	$node->kill9;
	kill 'KILL', @pids;
	return;
}

sub start_killed_server
{
	my ($node) = @_;

	wait_for(
		sub {
			return 1 if $node->start(fail_ok => 1);
			$node->stop('fast', fail_ok => 1);
			return 0;
		},
		'the server to start');
	return;
}

=pod

=item start_after_crash(node)

The same, and roll back what was prepared: that would hold up followers until
somebody decides.

=cut

sub start_after_crash
{
	my ($node) = @_;

	start_killed_server($node);
	$node->safe_psql('postgres', "ROLLBACK PREPARED '$_'")
	  foreach split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
	return;
}

=pod

=back

=head1 PROCESSES

=over

=item start_psql(node, name, argument, ...)

Start psql with the arguments in the background; what it says goes to files.

=cut

sub scratch_file
{
	my ($name) = @_;

	$directory //= PostgreSQL::Test::Utils::tempdir('eventstore');
	return "$directory/$name";
}

sub start_psql
{
	my ($node, $name, @arguments) = @_;
	my $base = scratch_file(join '_', ++$nscripts, $node->name, $name);
	my %process = (name => $name, out => "$base.out", err => "$base.err");

	$process{run} = IPC::Run::start(
		[
			'psql', '-XAtq',
			'-v', 'ON_ERROR_STOP=1',
			'-v', 'VERBOSITY=terse',
			'-d', $node->connstr('postgres') . " application_name=$name",
			@arguments
		],
		'<', '/dev/null', '>', $process{out}, '2>', $process{err});
	return \%process;
}

=pod

=item finish_psql(process)

Wait for its end; returns whether it ended well.

=cut

sub finish_psql
{
	my ($process) = @_;
	my $well = $process->{run}->finish;

	diag("$process->{name}: " . slurp_file($process->{err}))
	  if !$well && !$process->{may_fail};
	return $well;
}

=pod

=back

=head1 LOAD

=over

=item start_appenders(node, count, transactions, seed => number, round => number)

Start appenders, each with so many transactions of all kinds.  Returns a hash
of the number of events by the tag of the transactions that are to commit, and
the processes.  The tags of each round differ.

Where the extension has wait points, every second one stops inside the append
gate, too, for as long as start_gate_keeper() makes it.

=cut

sub start_appenders
{
	my ($node, $count, $ntransactions, %params) = @_;
	my $wait_points = has_wait_points($node);
	my %expected;
	my @appenders;

	srand($params{seed} // 1);
	foreach my $appender (1 .. $count)
	{
		my $name = "appender" . ($params{round} // '') . "_$appender";
		my $file = scratch_file("$name.sql");
		my $script = "SET statement_timeout = '${patience}s';\n\\o /dev/null\n";

		$script .= q{
LOAD 'eventstore';
SET eventstore.wait_points = 'gate-entered', 'positions-taken', 'rows-inserted';
} if $wait_points && $appender % 2;

		foreach my $number (1 .. $ntransactions)
		{
			my $tag = join '-', $params{round} // 0, $appender, $number;
			my ($sql, $nevents) = make_transaction($tag);

			$script .= $sql;
			next if !$nevents;
			$script .= "\\echo ok $tag\n";
			$expected{$tag} = $nevents;
		}
		append_to_file($file, $script);
		push @appenders, start_psql($node, $name, '-f', $file);
	}
	return (\%expected, @appenders);
}

=pod

=item start_gate_keeper(node)

Start a process that holds appenders up inside the append gate, now and then,
until there are none.

=cut

sub start_gate_keeper
{
	my ($node) = @_;

	$node->poll_query_until('postgres', q{
SELECT EXISTS (SELECT FROM pg_stat_activity
			   WHERE application_name LIKE 'appender%')})
	  or die 'there are no appenders';
	return start_call($node, 'gate_keeper', 'keep_gate(0.01, 0.01)');
}

# Stream locks are taken in the order of the stream names, so that the load
# has no deadlocks.
sub pick_streams
{
	my ($count) = @_;
	my %streams;

	while (keys %streams < $count)
	{
		my $type = rand() < 0.6 ? 'Account' : 'Order';
		$streams{ sprintf "%s-%02d", $type, 1 + int rand 20 } = 1;
	}
	return sort keys %streams;
}

sub pause_sql
{
	my ($at_most) = @_;

	return sprintf "SELECT pg_sleep(%.4f);\n", rand($at_most);
}

# One transaction as a psql script, and how many events it commits.
sub make_transaction
{
	my ($tag) = @_;
	my $nevents = 0;
	my $append = sub {
		return sprintf "SELECT eventstore.append_event('%s', 'Happened',"
		  . " '{\"tag\": \"%s\", \"n\": %d}');\n", shift, $tag, ++$nevents;
	};
	my $batch = sub {
		my ($stream, $count) = @_;
		my @events = map
		{
			sprintf '{"event_type": "Happened", "data": {"tag": "%s", "n": %d}}',
			  $tag, ++$nevents
		} 1 .. $count;

		return sprintf "SELECT eventstore.append_events('%s', '[%s]');\n",
		  $stream, join ', ', @events;
	};
	my @streams = pick_streams(3);
	my $kind = rand;
	my $sql;

	if ($kind < 0.25)
	{
		return ($append->($streams[0]), 1);
	}
	elsif ($kind < 0.35)
	{
		return ($batch->($streams[0], 2 + int rand 20), $nevents);
	}
	elsif ($kind < 0.355)
	{
		# more than one turn in the gate
		return ($batch->($streams[0], 1200), $nevents);
	}
	elsif ($kind < 0.365)
	{
		# more subtransactions than a snapshot has room for
		return (
			"BEGIN;\n" . join('',
				map { "SAVEPOINT s$_;\n" . $append->($streams[0]) } 1 .. 70)
			  . pause_sql(0.01) . "COMMIT;\n", $nevents);
	}

	if ($kind < 0.45)
	{
		# the transaction id comes early, the position late
		$sql = "BEGIN;\nSELECT txid_current();\n"
		  . pause_sql(0.02)
		  . $append->($streams[0]);
	}
	elsif ($kind < 0.6)
	{
		$sql = "BEGIN;\n"
		  . join(pause_sql(0.01), map { $append->($_) } @streams);
	}
	elsif ($kind < 0.7)
	{
		$sql = "BEGIN;\n"
		  . $append->($streams[0])
		  . "SAVEPOINT s;\n"
		  . $batch->($streams[1], 3)
		  . pause_sql(0.01)
		  . "RELEASE s;\n"
		  . $append->($streams[2]);
	}
	elsif ($kind < 0.8)
	{
		$sql = "BEGIN;\nSAVEPOINT s;\n"
		  . $append->($streams[0])
		  . pause_sql(0.01)
		  . "ROLLBACK TO s;\n";
		$nevents = 0;
		$sql .= $append->($streams[1]);
	}
	elsif ($kind < 0.9)
	{
		my $commits = rand() < 0.5;

		$sql = "BEGIN;\n"
		  . $append->($streams[0])
		  . $append->($streams[1])
		  . "PREPARE TRANSACTION '$tag';\n"
		  . pause_sql(0.01)
		  . ($commits ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$tag';\n";
		return ($sql, $commits ? $nevents : 0);
	}
	else
	{
		$sql = "BEGIN;\n"
		  . $batch->($streams[0], 2)
		  . pause_sql(0.01)
		  . "ROLLBACK;\n";
		return ($sql, 0);
	}
	return ("$sql" . pause_sql(0.005) . "COMMIT;\n", $nevents);
}

=pod

=item finish_appenders(appender, ...)

=cut

sub finish_appenders
{
	my (@appenders) = @_;
	my $nwell = grep { finish_psql($_) } @appenders;

	is($nwell, scalar @appenders, 'the appenders ended well');
	return;
}

=pod

=item acknowledged(appender, ...)

The tags of the transactions that their clients know to be committed.

=cut

sub acknowledged
{
	my (@appenders) = @_;

	return map { slurp_file($_->{out}) =~ /^ok (\S+)$/mg } @appenders;
}

=pod

=item end_load(node)

Append the event at which followers end.

=cut

sub end_load
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{
SELECT last_position
FROM eventstore.append_event('Account-end', 'LoadEnded', '{}')});
}

=pod

=back

=head1 FOLLOWERS

=over

=item start_follower(node, how, max_count, after_position)

Start a follower of the whole store ("all"), of the category Account
("category"), one that queries the table up to settled_position ("settled"),
or one that goes by positions alone ("careless").

=cut

sub start_follower
{
	my ($node, $how, $max_count, $after_position) = @_;

	return start_call($node, $how,
		sprintf "follow('%s', %d, %d)", $how, $max_count, $after_position // 0);
}

=pod

=item start_sampler(node)

Start a process that writes down, again and again, what is said to be settled
and how many events there are up to there.

=cut

sub start_sampler
{
	my ($node) = @_;

	return start_call($node, 'sampler', 'sample(0.02)');
}

sub start_call
{
	my ($node, $name, $call) = @_;

	return start_psql($node, $name,
		'-c', "SET statement_timeout = '${patience}s'", '-c', "CALL $call");
}

=pod

=item finish_follower(follower)

=cut

sub finish_follower
{
	my ($follower) = @_;

	ok(finish_psql($follower), "follower \"$follower->{name}\" reached the end");
	return;
}

=pod

=item seen(follower), last_seen(follower)

The events that the follower has reported, as "position|id|stream|version",
and the position of the last one.

=cut

sub seen
{
	my ($follower) = @_;
	my @events =
	  slurp_file($follower->{err}) =~ /^(?:INFO:  )?(\d+\|[0-9a-f-]{36}\|\S+\|\d+)$/mg;

	return @events;
}

sub last_seen
{
	my ($follower) = @_;
	my $last = (seen($follower))[-1];

	return defined $last ? (split /\|/, $last)[0] : 0;
}

=pod

=item stored(node, condition)

The events that are stored, in the form in which followers report them.  Those
go by the indexes, so this does not.

=cut

sub stored
{
	my ($node, $condition) = @_;

	$condition //= 'true';
	return split /\n/, $node->safe_psql('postgres', qq{
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT $event_line FROM eventstore.events e
WHERE $condition ORDER BY global_position});
}

=pod

=item compare_seen(seen, stored)

Compare lists of events: how many were missed, are unknown, came twice or out
of order.

=item check_seen(seen, stored, description)

Test that they are the same events in the same order.

=cut

sub compare_seen
{
	my ($seen, $stored) = @_;
	my %is_stored = map { $_ => 1 } @$stored;
	my %times;
	my %found = (missed => 0, unknown => 0, twice => 0, disordered => 0);
	my $last = 0;

	foreach my $event (@$seen)
	{
		my ($position) = split /\|/, $event;

		$found{unknown}++ if !$is_stored{$event};
		$found{twice}++ if $times{$event}++;
		$found{disordered}++ if $position < $last;
		$last = $position;
	}
	$found{missed} = grep { !$times{$_} } @$stored;
	return \%found;
}

sub check_seen
{
	my ($seen, $stored, $description) = @_;
	my $found = compare_seen($seen, $stored);

	is( join(', ', map { "$found->{$_} $_" } qw(missed unknown twice disordered)),
		'0 missed, 0 unknown, 0 twice, 0 disordered',
		"$description saw each of " . @$stored . ' events once, in order');
	return;
}

=pod

=item check_follower(node, follower, description)

Test that the follower reached the end and saw each event once and in order.

=cut

sub check_follower
{
	my ($node, $follower, $description) = @_;
	my @stored = stored($node,
		$follower->{name} eq 'category' ? q{stream_type = 'Account'} : 'true');

	finish_follower($follower);
	check_seen([ seen($follower) ], \@stored, $description);
	return;
}

=pod

=item check_samples(node, sampler)

Test that nothing was committed later at or below what was said to be settled.

=cut

sub check_samples
{
	my ($node, $sampler) = @_;
	my @positions = map { /^(\d+)/ } stored($node);
	my %nsamples;
	my %wrong = (settled => 0, newest => 0, category => 0);

	finish_follower($sampler);
	foreach my $line (slurp_file($sampler->{err}) =~ /^INFO:  (settled.*)$/mg)
	{
		my @fields = split /\|/, $line;

		while (my ($what, $position, $count) = splice @fields, 0, 3)
		{
			my $now = grep { $_ <= $position } @positions;

			$nsamples{$what}++;
			$wrong{$what}++ if $now != $count;
		}
	}
	is_deeply(\%wrong, { settled => 0, newest => 0, category => 0 },
		"what was called settled was settled, in $nsamples{settled} samples");
	return;
}

=pod

=item check_events(node, expected)

Test that just the expected transactions are stored, each of them whole, and
that the store is sound.

=cut

sub check_events
{
	my ($node, $expected) = @_;
	my %stored = map { split /\|/ } split /\n/,
	  $node->safe_psql('postgres', q{
SELECT data->>'tag', count(DISTINCT data->>'n') || '/' || count(*)
FROM eventstore.events WHERE data->>'tag' IS NOT NULL GROUP BY 1});
	my %wanted = map { $_ => "$expected->{$_}/$expected->{$_}" } keys %$expected;

	is_deeply(\%stored, \%wanted,
		'stored are the ' . keys(%wanted) . ' committed transactions, each of them whole');
	check_store($node);
	return;
}

=pod

=item check_store(node)

Test that streams have no holes, that verify() finds nothing, and the indexes.

=cut

sub check_store
{
	my ($node) = @_;

	check_streams($node);
	is($node->safe_psql('postgres', 'SELECT * FROM eventstore.verify()'),
		'', 'verify() finds nothing');
	check_indexes($node);
	return;
}

sub check_streams
{
	my ($node) = @_;

	is( $node->safe_psql('postgres', q{
SELECT stream_id, global_position FROM (
	SELECT stream_id, version, global_position,
		   row_number() OVER stream AS place,
		   lag(global_position, 1, 0::bigint) OVER stream AS previous
	FROM eventstore.events
	WINDOW stream AS (PARTITION BY stream_id ORDER BY version)) e
WHERE version <> place OR global_position <= previous}),
		'',
		'versions have no gaps, and positions follow them');
	return;
}

=pod

=item check_indexes(node, dbname)

Test that the indexes are sound and that each row has its entries in them.
Works on a standby, and beside a load.

=item check_files(node)

Test the indexes once more, for all that can be tested on a primary where
nothing else goes on, and the table.

=cut

# Call a function of amcheck for each index, with further arguments.
sub is_accepted
{
	my ($node, $dbname, $function, $description) = @_;
	my ($status, $stdout, $stderr) = $node->psql($dbname, qq{
SELECT 'SELECT ' || format('$function', indexrelid::regclass)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND i.indisvalid AND
	(c.relnamespace = 'eventstore'::regnamespace OR i.indrelid IN (
		SELECT reltoastrelid FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace))
\\gexec
}, on_error_stop => 0);

	return is($stderr, '', $description);
}

sub has_amcheck
{
	my ($node, $dbname) = @_;

	return $node->safe_psql($dbname,
		q{SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'});
}

sub check_indexes
{
	my ($node, $dbname) = @_;

	$dbname //= 'postgres';
  SKIP:
	{
		skip 'there is no amcheck here', 1 if !has_amcheck($node, $dbname);
		is_accepted($node, $dbname, 'bt_index_check(%L, true)',
			'each row has its entries in the indexes, on ' . $node->name);
	}
	return;
}

sub check_files
{
	my ($node) = @_;

  SKIP:
	{
		skip 'there is no amcheck here', 2 if !has_amcheck($node, 'postgres');
		is_accepted($node, 'postgres', 'bt_index_parent_check(%L, true, true)',
			'each page of the indexes is in its place, on ' . $node->name);
		is( $node->safe_psql('postgres', q{
SELECT * FROM verify_heapam('eventstore.events', check_toast => true)}),
			'', 'the table is sound, on ' . $node->name);
	}
	return;
}

=pod

=back

=head1 SESSIONS

=over

=item session(node, dbname, parameters)

A psql session to send statements to, see EventStore::Test::Session.  The
connection parameters are for such as replication=database.

=cut

sub session
{
	my ($node, $dbname, $parameters) = @_;

	return EventStore::Test::Session->new($node, $dbname // 'postgres', $parameters // '');
}

=pod

=item wait_until_blocked(node, session)

Wait until the session waits for a heavyweight lock.

=cut

sub wait_until_blocked
{
	my ($node, $session) = @_;
	my $pid = $session->pid;

	$node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $pid AND NOT granted)")
	  or die 'the session does not wait';
	return;
}

=pod

=item wait_for(condition, description)

Wait until the function returns true.

=cut

sub wait_for
{
	my ($condition, $description) = @_;

	for (my $i = 0; $i < $patience * 100; $i++)
	{
		return 1 if $condition->();
		usleep(10_000);
	}
	die "timed out waiting for: $description";
}

=pod

=back

=cut

package EventStore::Test::Session;

use strict;
use warnings;

=pod

=head1 NAME

EventStore::Test::Session - a psql session in the background

=head1 METHODS

=over

=item new(node, dbname, parameters)

=cut

sub new
{
	my ($class, $node, $dbname, $parameters) = @_;
	my $self = bless { in => '', out => '', nsent => 0 }, $class;

	$self->{timeout} = IPC::Run::timeout($EventStore::Test::patience);
	$self->{run} = IPC::Run::start(
		[
			'psql', '-XAtq', '-v', 'VERBOSITY=verbose',
			'-d', $node->connstr($dbname) . " $parameters", '-f', '-'
		],
		'<', \$self->{in}, '>', \$self->{out}, '2>&1', $self->{timeout});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

=pod

=item pid()

The server process of the session.

=cut

sub pid
{
	return shift->{pid};
}

=pod

=item send(sql)

Send statements, and do not wait for them.

=cut

sub send
{
	my ($self, $sql) = @_;

	$self->{nsent}++;
	$self->{in} .= "$sql\n;\n\\echo -- answered $self->{nsent}\n";
	$self->{run}->pump_nb;
	return;
}

=pod

=item answer()

Wait for the end of what was sent; returns what it printed, errors included.

=cut

sub answer
{
	my ($self) = @_;
	my $end = qr/^-- answered $self->{nsent}\n/m;

	$self->{timeout}->start;
	$self->{run}->pump until $self->{out} =~ $end || !$self->{run}->pumpable;
	$self->{timeout}->reset;

	my ($answer) = split $end, $self->{out}, 2;
	$self->{out} = '';
	$answer //= '';
	$answer =~ s/^-- answered \d+\n//mg;
	chomp $answer;
	return $answer;
}

=pod

=item query(sql)

Send statements, and return the answer.

=cut

sub query
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->answer;
}

=pod

=item quit()

=back

=cut

sub quit
{
	my ($self) = @_;

	$self->{in} .= "\\q\n";
	eval { $self->{run}->finish };
	return;
}

1;
