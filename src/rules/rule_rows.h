/*
 * rule_rows.h
 *		Rows of atlas_rule_hits and atlas_rule_matches.
 */
#ifndef ATLAS_RULE_ROWS_H
#define ATLAS_RULE_ROWS_H

#include "nodes/pg_list.h"

#include "rules/rule.h"

/*
 * Writes rows for hits, of AtlasHit, in the order of their events; those that are there are left as
 * they are. Missing partitions are made, and *makes_partitions says so meanwhile. Inside SPI_connect(), as the owner of the extension.
 */
extern void atlas_rule_hits_write(const List *hits, bool *makes_partitions);

/* The same for matches. Returns those that are new. */
extern List *atlas_rule_matches_write(List *matches, bool *makes_partitions);

/* The order of rules, objects and events, and that of events alone, for list_sort(). */
extern int	atlas_hit_compare(const ListCell *a, const ListCell *b);
extern int	atlas_hit_compare_events(const ListCell *a, const ListCell *b);

#endif							/* ATLAS_RULE_ROWS_H */
