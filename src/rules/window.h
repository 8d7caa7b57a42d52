/*
 * window.h
 *		Whether hits of a rule are matches.
 */
#ifndef ATLAS_WINDOW_H
#define ATLAS_WINDOW_H

#include "rules/rule.h"

/* The last hits of one rule and object, in the order of their events. */
typedef struct AtlasWindow
{
	int			times;
	int64		within;
	TimestampTz *last;			/* as many as there must be before a match */
	uint64		nhits;			/* that were added */
} AtlasWindow;

extern void atlas_window_init(AtlasWindow *window, const AtlasRule *rule);

/* Forgets all hits, before those of another object. */
extern void atlas_window_clear(AtlasWindow *window);

/*
 * Adds the next hit. Is it a match, because the window that ends with it has enough hits?
 * That is known if all hits of this time were added that are among the last before it.
 */
extern bool atlas_window_add(AtlasWindow *window, TimestampTz occurred_at);

#endif							/* ATLAS_WINDOW_H */
