/*
 * find_objects.c
 *		The objects of a type that have events that match a query, by their newest one.
 *
 * An event matches if its document matches, and if it satisfies the condition.
 *
 * The events that match are read from the newest on, and their objects are noted. All
 * events of the period count for an object, also those on other pages, and an object is on
 * the page on which its newest event is. So two questions are open about an object that is
 * seen for the first time:
 *	- Has it a newer event, before which this page begins? Then it was on an earlier page.
 *	- How many events has it that have not been read yet?
 * There are two ways to answer them. One reads on: the events of the period before this
 * page, and those behind it. The other one walks along the object's own timeline. The
 * first is cheap where few events match, however many events the object has, and the
 * second where many match that are of other objects. Nobody knows beforehand which is the
 * cheaper one, so they take turns, the walks first, because most objects have few events: in each
 * round, reading and walking may look at twice as
 * many entries as in the round before. A walk that does not come to its end is dropped, and
 * what has been read meanwhile is left out of the next one.
 *
 * The objects of one event are on one page. A page ends with the event with which it is
 * full, or before the first event that has an object about which a question is open when
 * the budget is spent. Then at least the objects of one event are settled, whatever that
 * costs, so that a chain of pages comes to its end.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "read/event_conditions.h"
#include "read/event_objects.h"
#include "read/object_walk.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "search/find_objects.h"

#define FIRST_ROUND 200			/* entries that may be looked at in the first round */
#define LAST_ROUND (PG_INT64_MAX / 4)

typedef enum CandidateState
{
	CANDIDATE_OPEN,				/* a question about it is open */
	CANDIDATE_EARLIER,			/* it is on an earlier page */
	CANDIDATE_COUNTED			/* all its events are counted */
} CandidateState;

/* An object of an event that matches. */
typedef struct Candidate
{
	const text *object_id;		/* hash key */
	CandidateState state;
	bool		is_new;			/* it is not on an earlier page */
	int64		nevents;		/* that were counted so far */
	pg_uuid_t	newest_event;
	TimestampTz newest_at;
	pg_uuid_t	above;			/* the event that was read before its newest one */
} Candidate;

/* The events of a part of the period, from the newest on. */
typedef struct Reading
{
	pg_uuid_t	low;			/* where the part begins */
	pg_uuid_t	position;		/* what has ids from this one on has been read */
	AtlasMatches *matches;		/* NULL: nothing has been read */
} Reading;

typedef struct ObjectSearch
{
	const AtlasObjectsQuery *query;
	const text *object_type;
	AtlasBudget *budget;
	AtlasEventTables tables;
	AtlasEventObjects *event_objects;
	AtlasEventConditions *conditions;	/* NULL: there is no condition */
	Reading		earlier;		/* the part from which earlier pages were made */
	Reading		page;			/* the part with which this page begins */
	HTAB	   *candidates;		/* of Candidate */
	Candidate **order;			/* those whose newest event is not in the earlier part, by it */
	int			norder;
	int			size;
	int			nsettled;		/* no question is open about the first ones */
	int			nfound;			/* so many of them have enough events */
} ObjectSearch;

/* ----- Candidates ----- */

/* The key is a pointer to the id. */
static uint32
hash_object_id(const void *key, Size size)
{
	const text *id = *(const text *const *) key;

	return hash_bytes((const unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
}

static int
compare_object_ids(const void *a, const void *b, Size size)
{
	return atlas_compare_text(*(const text *const *) a, *(const text *const *) b);
}

static HTAB *
make_candidates(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(const text *);
	control.entrysize = sizeof(Candidate);
	control.hash = hash_object_id;
	control.match = compare_object_ids;
	control.hcxt = CurrentMemoryContext;
	return hash_create("atlas_events candidates", 256, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* Adds one at the end of the order. */
static void
append_candidate(ObjectSearch *search, Candidate *candidate)
{
	if (search->norder == search->size)
	{
		search->size *= 2;
		search->order = repalloc_huge(search->order, sizeof(Candidate *) * search->size);
	}
	search->order[search->norder++] = candidate;
}

/* Notes that an event of the earlier part has the object. */
static void
note_earlier(ObjectSearch *search, text *object_id)
{
	bool		is_known;
	Candidate  *candidate = hash_search(search->candidates, &object_id, HASH_ENTER, &is_known);

	candidate->state = CANDIDATE_EARLIER;
	if (is_known)
		pfree(object_id);
}

/* Counts an event for the object, which becomes a candidate if it was none. */
static void
note_event(ObjectSearch *search, text *object_id, const pg_uuid_t *event_id,
		   TimestampTz occurred_at)
{
	bool		is_known;
	Candidate  *candidate = hash_search(search->candidates, &object_id, HASH_ENTER, &is_known);

	if (is_known)
	{
		if (candidate->state == CANDIDATE_OPEN)
			candidate->nevents++;
		pfree(object_id);
		return;
	}
	candidate->state = CANDIDATE_OPEN;
	candidate->is_new = false;
	candidate->nevents = 1;
	candidate->newest_event = *event_id;
	candidate->newest_at = occurred_at;
	candidate->above = search->page.position;
	append_candidate(search, candidate);
}

/* Does an event that matches count? It costs one more if there is a condition. */
static bool
counts(ObjectSearch *search, const pg_uuid_t *event_id)
{
	if (search->conditions == NULL)
		return true;
	atlas_budget_spend(search->budget, 1);
	return atlas_event_conditions_hold_for(search->conditions, event_id);
}

/* ----- Reading on ----- */

/* A part of the period, of which nothing has been read. */
static void
begin_reading(Reading *reading, const pg_uuid_t *low, const pg_uuid_t *high)
{
	reading->low = *low;
	reading->position = *high;
	reading->matches = NULL;
}

static bool
is_read_through(const Reading *reading)
{
	return atlas_event_id_compare(&reading->position, &reading->low) <= 0;
}

/* Makes matches of a range of ids; also for questions about single events. */
static AtlasMatches *
begin_matches_of_part(ObjectSearch *search, const pg_uuid_t *low, const pg_uuid_t *high)
{
	AtlasMatchesScope scope = {
		.tenant = search->query->tenant,
		.query = search->query->query,
		.is_indexable = search->query->is_indexable,
		.low = *low,
		.high = *high,
		.wanted = search->query->max_objects,
	};

	return atlas_matches_begin(&scope, search->budget, search->tables.snapshot);
}

/* Notes the objects of an event that was read. */
static void
note_objects(ObjectSearch *search, const Reading *reading, const pg_uuid_t *event_id)
{
	TimestampTz occurred_at = 0;
	List	   *ids = atlas_event_objects_of(search->event_objects, event_id, &occurred_at);

	atlas_budget_spend(search->budget, 1 + list_length(ids));
	for (int i = 0; i < list_length(ids); i++)
	{
		if (reading == &search->earlier)
			note_earlier(search, list_nth(ids, i));
		else
			note_event(search, list_nth(ids, i), event_id, occurred_at);
	}
	list_free(ids);
}

/* Reads on until the budget has come down to the floor, or the part has been read. */
static void
read_on(ObjectSearch *search, Reading *reading, int64 floor)
{
	if (reading->matches == NULL && !is_read_through(reading))
		reading->matches = begin_matches_of_part(search, &reading->low, &reading->position);
	while (!is_read_through(reading) && search->budget->left > floor)
	{
		pg_uuid_t	event_id;

		CHECK_FOR_INTERRUPTS();
		if (!atlas_matches_next(reading->matches, &event_id))
		{
			reading->position = *atlas_matches_searched_until(reading->matches);
			return;
		}
		if (counts(search, &event_id))
			note_objects(search, reading, &event_id);
		reading->position = event_id;
	}
}

/* ----- Walking along a timeline ----- */

/*
 * Counts the events of an object with ids from low up to high that match, or finds the
 * first one of them. Returns false if the budget comes down to the floor before that.
 */
static bool
walk_along(ObjectSearch *search, const Candidate *candidate, const pg_uuid_t *low,
		   const pg_uuid_t *high, bool is_one_enough, int64 floor, int64 *nevents)
{
	AtlasTimelineObject object = {search->object_type, candidate->object_id};
	AtlasObjectWalk *walk;
	pg_uuid_t	event_id;
	bool		is_finished = true;

	*nevents = 0;
	if (atlas_event_id_compare(low, high) >= 0)
		return true;
	walk = atlas_object_walk_begin(&search->tables, search->query->tenant, &object, low, high);
	while ((!is_one_enough || *nevents == 0) && atlas_object_walk_next(walk, &event_id))
	{
		CHECK_FOR_INTERRUPTS();
		is_finished = search->budget->left > floor;
		if (!is_finished)
			break;
		atlas_budget_spend(search->budget, 1);
		if (atlas_matches_has(search->page.matches, &event_id) && counts(search, &event_id))
			(*nevents)++;
	}
	atlas_object_walk_end(walk);
	return is_finished;
}

/*
 * Answers the questions that are open about a candidate. Returns false if the budget comes
 * down to the floor before that.
 */
static bool
settle(ObjectSearch *search, Candidate *candidate, int64 floor)
{
	int64		nevents;

	if (candidate->state != CANDIDATE_OPEN)
		return true;
	if (!candidate->is_new)
	{
		if (!walk_along(search, candidate, &search->earlier.low, &search->earlier.position, true,
						floor, &nevents))
			return false;
		if (nevents > 0)
		{
			candidate->state = CANDIDATE_EARLIER;
			return true;
		}
		candidate->is_new = true;
	}
	if (!walk_along(search, candidate, &search->page.low, &search->page.position, false, floor,
					&nevents))
		return false;
	candidate->nevents += nevents;
	candidate->state = CANDIDATE_COUNTED;
	return true;
}

/* ----- The page ----- */

static bool
is_found(const ObjectSearch *search, const Candidate *candidate)
{
	return candidate->state == CANDIDATE_COUNTED && candidate->nevents >= search->query->times;
}

/* Does the candidate at this place have the same newest event as the one before it? */
static bool
shares_event(const ObjectSearch *search, int place)
{
	return place > 0 && place < search->norder &&
		atlas_event_id_compare(&search->order[place - 1]->newest_event,
							   &search->order[place]->newest_event) == 0;
}

/* Are there objects enough? All objects of the last event are on the page. */
static bool
is_full(const ObjectSearch *search)
{
	return search->nfound >= search->query->max_objects && !shares_event(search, search->nsettled);
}

/* Is nothing left of the period? */
static bool
is_period_done(const ObjectSearch *search)
{
	return search->nsettled == search->norder && is_read_through(&search->page);
}

/* Settles the next candidate. Returns false if the budget comes down to the floor before that. */
static bool
settle_next(ObjectSearch *search, int64 floor)
{
	Candidate  *candidate = search->order[search->nsettled];

	if (!settle(search, candidate, floor))
		return false;
	if (is_found(search, candidate))
		search->nfound++;
	search->nsettled++;
	return true;
}

/* Would the page be full if all candidates had enough events? */
static bool
has_enough_candidates(const ObjectSearch *search)
{
	return search->nfound + search->norder - search->nsettled >= search->query->max_objects;
}

/*
 * One round: reads on if there are too few candidates, then walks, and if that does not
 * settle all of them, reads on in both parts.
 */
static void
search_round(ObjectSearch *search, int64 entries)
{
	AtlasBudget *budget = search->budget;
	int64		floor;

	if (!has_enough_candidates(search))
		read_on(search, &search->page, Max(budget->left - entries, 0));
	floor = Max(budget->left - entries, 0);
	while (search->nsettled < search->norder && !is_full(search) && settle_next(search, floor))
		 /* next candidate */ ;
	if (search->nsettled == search->norder || is_full(search))
		return;
	read_on(search, &search->page, Max(budget->left - entries, 0));
	read_on(search, &search->earlier, Max(budget->left - entries, 0));
}

/*
 * Goes round by round until the page is full or complete, or the budget is spent. Then at
 * least the objects of the first event are settled.
 */
static void
search_page(ObjectSearch *search)
{
	int64		entries = FIRST_ROUND;

	do
	{
		search_round(search, entries);
		entries = Min(entries * 2, LAST_ROUND);
	} while (!is_full(search) && !is_period_done(search) && !atlas_budget_is_spent(search->budget));

	while (search->nsettled < search->norder &&
		   atlas_event_id_compare(&search->order[search->nsettled]->newest_event,
								  &search->order[0]->newest_event) == 0)
		(void) settle_next(search, -1);
}

/* Puts the objects on the page, but none of an event whose objects are not all settled. */
static void
make_page(const ObjectSearch *search, AtlasObjectsPage *page)
{
	int			end = search->nsettled;

	while (end < search->norder && shares_event(search, end))
		end--;
	for (int i = 0; i < end; i++)
	{
		const Candidate *candidate = search->order[i];
		AtlasObjectFound *found;

		if (!is_found(search, candidate))
			continue;
		found = palloc(sizeof(AtlasObjectFound));
		found->object_id = candidate->object_id;
		found->nevents = candidate->nevents;
		found->newest_event = candidate->newest_event;
		found->newest_at = candidate->newest_at;
		page->objects = lappend(page->objects, found);
	}
	page->is_cut = !is_full(search) && !is_period_done(search);
	page->searched_until = end < search->norder ? search->order[end]->above : search->page.position;
}

/* Without a limit, the budget still says how much has been looked at. */
void
atlas_find_objects_page(const AtlasObjectsQuery *query, AtlasBudget *budget, AtlasObjectsPage *page)
{
	AtlasBudget unlimited = {.is_limited = true, .left = PG_INT64_MAX};
	ObjectSearch search = {.query = query, .size = 64};
	pg_uuid_t	begin = query->high;

	memset(page, 0, sizeof(*page));
	if (atlas_event_id_compare(&query->before, &begin) < 0)
		begin = query->before;
	if (atlas_event_id_compare(&query->low, &begin) >= 0)
		return;
	search.budget = budget->is_limited ? budget : &unlimited;
	search.object_type = cstring_to_text(query->object_type);
	search.candidates = make_candidates();
	search.order = palloc(sizeof(Candidate *) * search.size);
	begin_reading(&search.earlier, &begin, &query->high);
	begin_reading(&search.page, &query->low, &begin);

	atlas_event_tables_open(&search.tables);
	search.event_objects = atlas_event_objects_begin(&search.tables, query->tenant,
													 search.object_type);
	if (query->condition != NULL)
		search.conditions = atlas_event_conditions_begin(&search.tables, query->tenant, NULL,
														 query->condition);
	search_page(&search);
	make_page(&search, page);
	if (search.conditions != NULL)
		atlas_event_conditions_end(search.conditions);
	atlas_event_objects_end(search.event_objects);
	if (search.earlier.matches != NULL)
		atlas_matches_end(search.earlier.matches);
	if (search.page.matches != NULL)
		atlas_matches_end(search.page.matches);
	atlas_event_tables_close(&search.tables);
}
