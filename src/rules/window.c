/*
 * window.c
 *		Whether hits of a rule are matches.
 *
 * A hit is a match if the window that ends with it, occurred_at > hit.occurred_at - within, has at
 * least as many hits as the rule needs, itself included, in the order of event ids. That is so if the
 * hit that stands so many places before it is in the window. So nothing but the times of the
 * last hits need be kept.
 */
#include "postgres.h"

#include "rules/window.h"

void
atlas_window_init(AtlasWindow *window, const AtlasRule *rule)
{
	window->times = rule->times;
	window->within = rule->within;
	window->last = palloc(sizeof(TimestampTz) * rule->times);
	atlas_window_clear(window);
}

void
atlas_window_clear(AtlasWindow *window)
{
	window->nhits = 0;
}

bool
atlas_window_add(AtlasWindow *window, TimestampTz occurred_at)
{
	int			before = window->times - 1;
	bool		result;

	if (before == 0)
		return true;
	result = window->nhits >= before &&
		window->last[window->nhits % before] > occurred_at - window->within;
	window->last[window->nhits % before] = occurred_at;
	window->nhits++;
	return result;
}
