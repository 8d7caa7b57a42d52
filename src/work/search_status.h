/*
 * search_status.h
 *		How far the documents are by which events are found.
 */
#ifndef ATLAS_SEARCH_STATUS_H
#define ATLAS_SEARCH_STATUS_H

#include "datatype/timestamp.h"

typedef struct AtlasSearchStatus
{
	bool		in_effect;
	int64		waiting;		/* documents */
	Interval   *oldest_age;		/* NULL: no new event waits */
	TimestampTz missing_since;	/* DT_NOEND: none is missing */
	bool		was_requested;	/* a rebuild; the rest is about it. Times are 0 if there are none */
	TimestampTz since;
	TimestampTz requested_at;
	TimestampTz started_at;
	TimestampTz finished_at;
	TimestampTz position;
	int64		documents;
} AtlasSearchStatus;

/* Inside SPI_connect(), as the owner of the extension; what it returns is in SPI's memory. */
extern void atlas_search_status(AtlasSearchStatus *status);

/* What a DBA should know of it. NULL if all is well, or if search is not in effect. */
extern const char *atlas_search_advice(int late_after_seconds);

#endif							/* ATLAS_SEARCH_STATUS_H */
