/*
 * rfc3339.h
 *		Dates and times of the internet: 2026-03-01T09:15:00.123456+05:30.
 */
#ifndef ATLAS_RFC3339_H
#define ATLAS_RFC3339_H

#include "datatype/timestamp.h"

/* Reads a date-time of RFC 3339. Returns false if the string is not one. */
extern bool atlas_parse_rfc3339(const char *string, TimestampTz *result);

#endif							/* ATLAS_RFC3339_H */
