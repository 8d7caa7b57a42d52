/*
 * arguments.h
 *		Arguments that several SQL functions for readers have.
 */
#ifndef ATLAS_ARGUMENTS_H
#define ATLAS_ARGUMENTS_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/uuid.h"

#include "objects/object_type.h"
#include "search/query.h"

/* Where a function has the arguments of a period and of a page. */
typedef struct AtlasRangeArguments
{
	int			since;
	int			until;
	int			before_event;	/* -1: it does not count */
} AtlasRangeArguments;

/* Refuses a call without this argument, in the words of the Events API. */
extern void atlas_require_argument(bool given, const char *field, const char *message);

/* The object type of this name; an error when there is none. */
extern AtlasObjectType *atlas_type_argument(const text *given);

/* An argument of type text; NULL when it is null. */
extern text *atlas_text_argument(FunctionCallInfo fcinfo, int number);

/* An argument of type int that is at least 1. */
extern int	atlas_size_argument(FunctionCallInfo fcinfo, int number, const char *name, int if_null);

/* The same in the words of the Events API. */
extern int	atlas_count_argument(FunctionCallInfo fcinfo, int number, int if_null, const char *field);

/* The query of a search, which everything satisfies if it is null. */
extern void atlas_query_argument(FunctionCallInfo fcinfo, int number, AtlasSearchQuery *query);

/* The smallest id that an event of this time, or of a later one, can have. */
extern void atlas_first_id(TimestampTz time, pg_uuid_t *id);

/*
 * The range of the ids: from that of since up to that of until, and below before_event.
 * The ids of all events are below the largest uuid.
 */
extern void atlas_range_arguments(FunctionCallInfo fcinfo, const AtlasRangeArguments *places,
								  pg_uuid_t *low, pg_uuid_t *high);

#endif							/* ATLAS_ARGUMENTS_H */
