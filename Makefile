# eventstore: an event store in PostgreSQL
#
#	make && make install		build and install
#	make installcheck			test against a running server, with wal_level = logical
#	make WAIT_POINTS=yes ...	with wait points, for the race tests
#
# For who works on it:
#
#	make quick					build, run regression tests and specs, on a kept cluster
#	make one T=append			... one of them, or several
#	make psql					psql to that cluster
#	make indent					indent the C sources
#	make check-style			what ./check looks at in the sources
#
# ./check does all of it, from nothing.

EXTENSION = eventstore
MODULE_big = eventstore
DATA_built = sql/eventstore--0.1.0.sql
SQL_PARTS = $(patsubst %,sql/parts/%.sql,storage guard append read query subscriptions replication verification rights)
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c))
PG_CPPFLAGS = -Isrc
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare

ifeq ($(WAIT_POINTS),yes)
PG_CPPFLAGS += -DES_WAIT_POINTS
endif

REGRESS = $(basename $(notdir $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test

ISOLATION = $(basename $(notdir $(wildcard test/specs/*.spec)))
ifneq ($(WAIT_POINTS),yes)
# These hold a backend at a wait point.
ISOLATION := $(filter-out gate_%,$(ISOLATION))
endif
ISOLATION_OPTS = --inputdir=test --outputdir=.

TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The script is made of its parts, in this order, and not kept: each statement
# stands in one place.
$(DATA_built): $(SQL_PARTS)
	cat $(SQL_PARTS) >$@

# With and without wait points, all is built anew.
FLAVOUR = src/.with-wait-points-$(or $(WAIT_POINTS),no)
$(FLAVOUR):
	rm -f src/.with-wait-points-*
	touch $@
EXTRA_CLEAN = src/.with-wait-points-*

$(OBJS): $(FLAVOUR) $(wildcard src/*.h src/*/*.h)

.PHONY: quick one psql indent check-style
quick:
	tools/quick
one:
	tools/quick $(T)
psql:
	tools/quick --psql
indent:
	tools/indent
check-style:
	./check sources
