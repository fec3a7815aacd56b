# The events in dpkg's log, as calls of append_events() for psql.
#
#	-v clients=N -v client=I	of the packages, every Nth from the Ith on
#	-v list=1					instead, a line for each event of all packages
#
# Each package is a stream.  Its events go out in batches: those of one run of
# dpkg together, but at most ten.  The client knows the version of each of its
# streams, since it appends to them alone, and says so with each batch.
#
# An event's id is made of the time and the line of its log entry, so that
# sending a batch again can't store it twice.

BEGIN {
	digit = "[0-9]"
	timestamp = "^" digit digit digit digit "-" digit digit "-" digit digit \
		" " digit digit ":" digit digit ":" digit digit "$"
	batch_size = 10
	if (!clients)
		clients = 1
	queued = 0
}

function quoted(text)
{
	gsub(/["\\]/, "\\\\&", text)
	gsub(/[\001-\037]/, "?", text)
	return "\"" text "\""
}

# A UUID of version 8, in which the parts can be read.
function log_uuid(kind)
{
	return sprintf("%s%s%s-%s%s-80%s-%s000-%012x", substr($1, 1, 4), substr($1, 6, 2),
		substr($1, 9, 2), substr($2, 1, 2), substr($2, 4, 2), substr($2, 7, 2), kind, FNR)
}

function is_mine(package)
{
	if (!(package in share))
		share[package] = packages++ % clients
	return list || share[package] == client
}

function send(package,		literal)
{
	literal = batch[package]
	gsub(/'/, "''", literal)
	printf "SELECT * FROM eventstore.append_events('Package-%s', '[%s]', %d);\n",
		package, literal, version[package]
	version[package] += size[package]
	delete batch[package]
	delete size[package]
}

function send_all(		i)
{
	for (i = 0; i < queued; i++)
		if (queue[i] in size)
			send(queue[i])
	queued = 0
}

function event(package, type, data,		metadata, text)
{
	if (package !~ /^[a-z0-9][a-z0-9+.:-]*$/ || !is_mine(package))
		return

	if (list) {
		printf "Package-%s\t%d\t%s\t%s\t%s %s\n", package, ++version[package], type, data, $1, $2
		return
	}

	metadata = sprintf("{\"logged_at\":\"%sT%s\",\"line\":%d}", $1, $2, FNR)
	text = sprintf("{\"event_type\":\"%s\",\"event_id\":\"%s\",%s\"data\":%s,\"metadata\":%s}",
		type, log_uuid("8"), run ? "\"correlation_id\":\"" run "\"," : "", data, metadata)

	if (!(package in size))
		queue[queued++] = package
	batch[package] = (package in size) ? batch[package] "," text : text
	if (++size[package] == batch_size)
		send(package)
}

function change(from, to)
{
	return "{\"from\":" quoted(from) ",\"to\":" quoted(to) "}"
}

function one(name, value)
{
	return "{\"" name "\":" quoted(value) "}"
}

($1 " " $2) !~ timestamp	{ next }
$3 == "startup"				{ send_all(); run = log_uuid("9"); next }
NF < 5						{ next }
$3 == "install" && $5 == "<none>" { event($4, "PackageInstalled", one("version", $6)); next }
$3 == "install"				{ event($4, "PackageReinstalled", change($5, $6)); next }
$3 == "upgrade"				{ event($4, "PackageUpgraded", change($5, $6)); next }
$3 == "remove"				{ event($4, "PackageRemoved", one("version", $5)); next }
$3 == "purge"				{ event($4, "PackagePurged", one("version", $5)); next }
$3 == "disappear"			{ event($4, "PackageDisappeared", one("version", $5)); next }
$3 == "configure"			{ event($4, "PackageConfigured", one("version", $5)); next }
$3 == "trigproc"			{ event($4, "TriggersProcessed", one("version", $5)); next }
$3 == "status" {
	event($5, "StatusChanged", "{\"status\":" quoted($4) ",\"version\":" quoted($6) "}")
	next
}
$3 == "file" {
	path = $0
	sub(/^[^\/]*/, "", path)
	event($4, "FileInstalled", one("path", path))
}

END { send_all() }
