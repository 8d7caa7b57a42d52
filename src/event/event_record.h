/*
 * event_record.h
 *		Reading an event from the composite type, or from arguments.
 */
#ifndef ATLAS_EVENT_RECORD_H
#define ATLAS_EVENT_RECORD_H

#include "event/event.h"

/* Reads an event from the values of its fields, in the order of AtlasEventField. */
extern void atlas_event_from_datums(AtlasEvent *event, const Datum *values, const bool *nulls);

/* Reads an event from a value of the composite type atlas_event. */
extern void atlas_event_from_record(AtlasEvent *event, Datum record, bool isnull);

#endif							/* ATLAS_EVENT_RECORD_H */
