/*
 * rule_windows.h
 *		Which hits are matches, now that some have come.
 */
#ifndef ATLAS_RULE_WINDOWS_H
#define ATLAS_RULE_WINDOWS_H

#include "nodes/pg_list.h"

#include "rules/rule.h"

/*
 * Adds the matches to a list of AtlasHit: of the hits that were written just now, of rules that need
 * several, and of those after them that may be matches because of them. The hits are in the order of
 * atlas_hit_compare(). Nobody else writes hits: see rule_lock.h. Inside SPI_connect(), as the
 * owner of the extension.
 */
extern List *atlas_rule_windows_look(List *matches, const List *hits);

#endif							/* ATLAS_RULE_WINDOWS_H */
