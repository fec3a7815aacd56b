=pod

=head1 NAME

EventStore::Worker - what the TAP tests of the background worker share

=head1 SYNOPSIS

  use EventStore::Worker;

  start_listening($node);
  hears(append($node, 'Account-1'), 'an append is announced');
  has_workers($node, 'postgres', 'it has started a worker');

=head1 FUNCTIONS

=over

=cut

package EventStore::Worker;

use strict;
use warnings;

use Exporter 'import';
use EventStore::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  append_sql
  start_listening
  stop_listening
  heard
  forget_heard
  hears
  workers
  has_workers
  worker_pid
  logged
  takes_at_most
);

my ($listener, @heard);

=pod

=item append_sql(stream)

A statement that appends an event and returns its position.

=cut

sub append_sql
{
	my ($stream) = @_;

	return "SELECT last_position FROM eventstore.append_event('$stream', 'Happened', '{}')";
}

=pod

=item start_listening(node, dbname)

Listen from now on; forgets what was heard.

=item stop_listening()

=cut

sub start_listening
{
	my ($node, $dbname) = @_;

	stop_listening();
	$listener = session($node, $dbname);
	$listener->query('LISTEN eventstore');
	return;
}

sub stop_listening
{
	$listener->quit if $listener;
	$listener = undef;
	@heard = ();
	return;
}

=pod

=item heard()

The positions that were announced since the listener began.

=item forget_heard()

Forget what was announced up to now, and return how many there were.

=item hears(position, description)

Test that a position is announced.

=cut

sub heard
{
	push @heard, $listener->query('SELECT WHERE false') =~ /"eventstore" with payload "(\d+)"/g;
	return @heard;
}

sub forget_heard
{
	my $n = () = heard();

	@heard = ();
	return $n;
}

sub hears
{
	my ($position, $description) = @_;

	ok(wait_for(sub { grep { $_ == $position } heard() }, $description), $description);
	return;
}

=pod

=item workers(node)

The databases that have a worker, by name, with commas between them.

=item has_workers(node, databases, description)

Test that these come to have workers, and no others.

=item worker_pid(node, dbname)

=cut

sub workers
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{
SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_stat_activity
WHERE backend_type = 'eventstore worker'});
}

sub has_workers
{
	my ($node, $databases, $description) = @_;

	ok(wait_for(sub { workers($node) eq $databases }, $description), $description);
	return;
}

sub worker_pid
{
	my ($node, $dbname) = @_;

	return $node->safe_psql('postgres', sprintf q{
SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND datname = '%s'},
		$dbname // 'postgres');
}

=pod

=item logged(node, pattern, from)

How often something is in the server's log, from a place in it on.

=cut

sub logged
{
	my ($node, $pattern, $from) = @_;
	my @matches = substr(slurp_file($node->logfile), $from // 0) =~ /$pattern/g;

	return scalar @matches;
}

=pod

=item takes_at_most(seconds, function, description)

=cut

sub takes_at_most
{
	my ($seconds, $function, $description) = @_;
	my $began = time;

	$function->();
	my $took = time - $began;
	cmp_ok($took, '<', $seconds, sprintf '%s, in %.2f s', $description, $took);
	return;
}

=pod

=back

=cut

1;
