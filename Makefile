# atlas_events: PGXS build. jansson and utf8proc are found through pkg-config.
#
#   make && make install        build and install for the server of PG_CONFIG
#   make installcheck           SQL and isolation tests, against a running server
#   make prove_installcheck     TAP tests, which start servers of their own

MODULE_big = atlas_events
OBJS = atlas_events.o $(patsubst %.c,%.o,$(sort $(wildcard src/*/*.c)))

EXTENSION = atlas_events atlas_events_api
DATA = atlas_events--1.0.sql
DATA_built = atlas_events_api--1.0.sql
PGFILEDESC = "atlas_events - events on the timelines of support objects"

REGRESS = setup $(filter-out setup,$(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql))))
REGRESS_OPTS = --inputdir=. --encoding=UTF8
ISOLATION = $(sort $(patsubst specs/%.spec,%,$(wildcard specs/*.spec)))
ISOLATION_OPTS = --inputdir=.

# What the API's install script is made of, in the order in which it runs.
API_SQL = $(addprefix src/api/, schema.sql core.sql request.sql refused_queries.sql \
	rejections.sql answers.sql submit.sql read.sql search.sql openapi.sql query_parameters.sql \
	rules.sql rule_matches.sql privileges.sql)

PKG_CONFIG ?= pkg-config
LIBRARIES = jansson libutf8proc
PG_CPPFLAGS = -iquote $(CURDIR)/src $(shell $(PKG_CONFIG) --cflags $(LIBRARIES))
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs $(LIBRARIES))

# For our own builds: make WERROR=1 turns every warning into an error.
ifdef WERROR
PG_CFLAGS = -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered -Werror
endif

# For script/fuzz: FUZZ is libFuzzer, the library has the fuzz target in it.
ifdef FUZZ
OBJS += fuzz/fuzz.o fuzz/fuzz_check.o fuzz/fuzz_memory.o fuzz/fuzz_oracle.o fuzz/fuzz_query.o fuzz/fuzz_run.o
SHLIB_LINK += -Wl,-Bsymbolic $(FUZZ) -lstdc++ -lm
endif

EXTRA_CLEAN = output_iso tmp_check

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*/*.h fuzz/*.h)

atlas_events_api--1.0.sql: Makefile $(API_SQL) src/api/openapi.json
	sed -e '/^@openapi\.json@$$/{' -e 'r src/api/openapi.json' -e 'd' -e '}' $(API_SQL) >$@

ifdef FUZZ
src/event/conversion.o src/event/event_fields.o src/event/event_json.o src/event/json_payload.o: override CPPFLAGS += -include fuzz/palloc.h
src/search/headline.o src/search/headline_text.o src/search/query.o src/search/query_tree.o: override CPPFLAGS += -include fuzz/palloc.h
endif

# The TAP tests use PostgreSQL's own modules, which pgxs installs beside the
# regression drivers.
.PHONY: prove_installcheck
prove_installcheck:
	rm -rf $(CURDIR)/tmp_check
	TESTDIR='$(CURDIR)' TESTDATADIR='$(CURDIR)/tmp_check' TESTLOGDIR='$(CURDIR)/tmp_check/log' \
	PATH='$(bindir):$(PATH)' PGPORT='6$(DEF_PGPORT)' \
	PG_REGRESS='$(top_builddir)/src/test/regress/pg_regress' \
	$(PROVE) -I '$(top_srcdir)/src/test/perl' -I '$(CURDIR)/t' $(PROVE_FLAGS) $(if $(PROVE_TESTS),$(PROVE_TESTS),t/*.pl)
