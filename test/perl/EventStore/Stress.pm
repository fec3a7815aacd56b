=pod

=head1 NAME

EventStore::Stress - run test/stress/stress.py, and test what comes of it

=head1 SYNOPSIS

  use EventStore::Stress;

  stress_rounds(30, 300, sub {
	my ($seed, $seconds) = @_;
	my $node = new_stressed_store("stressed_$seed");
	my $stress = start_stress(seed => $seed, seconds => $seconds, write_to => [$node]);

	finish_stress($stress);
	check_store($node);
	end_round($node);
  });

=head1 DESCRIPTION

The load is made by threads of a Python program, since it takes sessions that
are cancelled, terminated, and have cursors and prepared transactions, all at
the same time.  The program also compares what was sent, stored and read, and
says what came out; the servers and all other checks are the tests' matter.

docs/testing.md tells how to run it for longer, and how to repeat a run.

=cut

package EventStore::Stress;

use strict;
use warnings;

use Exporter 'import';
use EventStore::Test;
use File::Basename qw(dirname);
use IPC::Run ();
use Test::More;

our @EXPORT = qw(
  stress_rounds
  new_stressed_store
  start_stress
  stress_asks_for
  stress_is_told
  finish_stress
  end_round
);

# Debian's, which has psycopg2.
my $python = '/usr/bin/python3';
my $program = dirname(__FILE__) . '/../../stress/stress.py';

=pod

=over

=item stress_rounds(seconds, at_most, round)

Call the function with a seed and a number of seconds.  If the environment asks
for more time than a round may take, call it again with the next seed, so that
what fails after an hour can be repeated alone.

=cut

sub stress_rounds
{
	my ($seconds, $at_most, $round) = @_;
	my $seed = $ENV{STRESS_SEED} // int rand 1_000_000;
	my $end = time + ($ENV{STRESS_SECONDS} // $seconds);

	system($python, '-c', 'import psycopg2') == 0
	  or die "this test needs python3-psycopg2 for $python";
	do
	{
		my $rest = $end - time;
		my $length = $rest > $at_most ? $at_most : $rest;

		note("STRESS_SEED=$seed STRESS_SECONDS=$length");
		subtest("seed $seed" => sub { $round->($seed, $length) })
		  or diag("to repeat this, set STRESS_SEED=$seed STRESS_SECONDS=$length");
		$seed++;
	} while ($end - time >= $seconds);
	return;
}

=pod

=item new_stressed_store(name, parameters)

See new_store().

=cut

sub new_stressed_store
{
	my ($name, %params) = @_;
	my $node = new_store($name, %params, conf => q{
deadlock_timeout = 100ms
allow_in_place_tablespaces = on
# Statements can be long.
log_min_error_statement = panic
# Whoever walks from the watermark on sees little of the store.
eventstore.watermark_interval = 1h
} . ($params{conf} // ''));

	$node->safe_psql('postgres', q{CREATE TABLESPACE elsewhere LOCATION ''});
	return $node;
}

=pod

=item start_stress(seed => number, seconds => number, write_to => [node, ...],
follow_at => node, torn_down => boolean)

Start the program.  It writes to whichever of the servers takes writes.

=cut

sub start_stress
{
	my (%params) = @_;
	my @nodes = @{ $params{write_to} };
	my $write_to = sprintf 'host=%s port=%s dbname=postgres target_session_attrs=read-write',
	  join(',', map { $_->host } @nodes), join(',', map { $_->port } @nodes);
	my @arguments =
	  ('--seed', $params{seed}, '--seconds', $params{seconds}, '--write-to', $write_to);
	my %stress = (in => '', out => '', err => '');

	push @arguments, '--follow-at', $params{follow_at}->connstr('postgres')
	  if $params{follow_at};
	push @arguments, '--wait-points' if has_wait_points($nodes[0]);
	push @arguments, '--torn-down' if $params{torn_down};
	$stress{timeout} = IPC::Run::timeout($params{seconds} + 2 * $EventStore::Test::patience);
	$stress{run} = IPC::Run::start([ $python, '-BX', 'faulthandler', $program, @arguments ],
		'<', \$stress{in}, '>', \$stress{out}, '2>', \$stress{err}, $stress{timeout});
	return \%stress;
}

=pod

=item stress_asks_for(stress, what)

Wait until the program asks for something.

=item stress_is_told(stress)

Tell the program that it is done.

=cut

sub stress_asks_for
{
	my ($stress, $what) = @_;

	$stress->{run}->pump until $stress->{out} =~ /^$what$/m || !$stress->{run}->pumpable;
	return;
}

sub stress_is_told
{
	my ($stress) = @_;

	$stress->{in} .= "done\n";
	$stress->{run}->pump while length $stress->{in} && $stress->{run}->pumpable;
	return;
}

=pod

=item finish_stress(stress)

Wait for the end of the program; each of its verdicts is a test.

=cut

sub finish_stress
{
	my ($stress) = @_;
	my $is_well = 1;

	ok($stress->{run}->finish, 'the program ended well')
	  or diag("status $?: $stress->{err}");
	foreach my $line (split /\n/, $stress->{out})
	{
		if ($line =~ /^(not )?ok - (.*)/)
		{
			$is_well = ok(!$1, $2);
		}
		elsif ($line =~ /^# *(.*)/)
		{
			$is_well ? note($1) : diag($1);
		}
	}
	return;
}

=pod

=item end_round(node, ...)

Stop the servers.  They take a lot of room, so they are kept only if a test of
the round failed.

=cut

sub end_round
{
	my (@nodes) = @_;

	$_->teardown_node foreach @nodes;
	return if !Test::More->builder->is_passing;
	$_->clean_node foreach @nodes;
	return;
}

=pod

=back

=cut

1;
