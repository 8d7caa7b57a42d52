/*
 * submit.h
 *		Storing events: the primary object is looked up, the event and its
 *		place in the queue are written.
 */
#ifndef ATLAS_SUBMIT_H
#define ATLAS_SUBMIT_H

#include "submit/submission.h"

/*
 * Stores every submission that is not refused: those that are refused say why
 * in event.error, all others have their event_id. Inside SPI_connect().
 */
extern void atlas_submit(AtlasSubmission *submissions, int nsubmissions);

#endif							/* ATLAS_SUBMIT_H */
