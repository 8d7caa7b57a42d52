/*
 * linker_note.h
 *		The note that a linker keeps of its work, in the database.
 */
#ifndef ATLAS_LINKER_NOTE_H
#define ATLAS_LINKER_NOTE_H

#include "rules/rule_notes.h"
#include "store/event_keys.h"
#include "store/queue_claim.h"

/*
 * Reads the note of the linker before. Returns false if there is none, because that linker
 * ended in good order. keys are the events that it was at work on, if it noted them, and backlog says
 * in which step. This, and the other functions, run inside SPI_connect() as the owner of
 * the extension.
 */
extern bool atlas_linker_note_read(AtlasBacklog *backlog, AtlasEventKey **keys, int *nkeys);

/*
 * The rule that the linker before was trying on the first of these events, without a reason; NULL if there is none.
 */
extern AtlasRuleFault *atlas_linker_note_read_rule(void);

/* Notes that a linker works at these events. Durable at commit. */
extern void atlas_linker_note_write(AtlasBacklog backlog, const AtlasEventKey *keys, int nkeys);

/* Notes that it tries this rule on the first of the events, which are noted already. */
extern void atlas_linker_note_rule(const AtlasRuleFault *rule);

/* Removes the note, because this linker ends in good order. */
extern void atlas_linker_note_clear(void);

#endif							/* ATLAS_LINKER_NOTE_H */
