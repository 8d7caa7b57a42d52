/*
 * linker_note.h
 *		The linker's own note of what it is at, in the database.
 */
#ifndef ATLAS_LINKER_NOTE_H
#define ATLAS_LINKER_NOTE_H

#include "utils/uuid.h"

/*
 * Reads the note of the linker before. Returns false when there is none: that
 * linker ended in good order. ids are the events it was at, if it noted them.
 * Inside SPI_connect(), as the owner of the extension, like the others.
 */
extern bool atlas_linker_note_read(pg_uuid_t **ids, int *nids);

/* Notes that a linker is at work, at these events; durable at commit. */
extern void atlas_linker_note_write(const pg_uuid_t *ids, int nids);

/* Removes the note: this linker ends in good order. */
extern void atlas_linker_note_clear(void);

#endif							/* ATLAS_LINKER_NOTE_H */
