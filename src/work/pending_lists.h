/*
 * pending_lists.h
 *		The pending lists of the documents' GIN indexes.
 */
#ifndef ATLAS_PENDING_LISTS_H
#define ATLAS_PENDING_LISTS_H

#include "datatype/timestamp.h"

/* Notes that documents were written to a partition, so that its list may not be empty. */
extern void atlas_pending_list_note(Oid partition, int ndocuments);

/* Notes that any list may not be empty, because another linker or session has written documents. */
extern void atlas_pending_lists_note_all(void);

/*
 * Is it worth while to empty the lists now? It is after so many documents or some time, and
 * in any case when nothing more comes.
 */
extern bool atlas_pending_lists_due(TimestampTz now, bool nothing_comes);

/*
 * Empties the lists that are noted. What goes wrong is logged and raises no error. In a
 * transaction of its own, as the owner of the extension.
 */
extern void atlas_pending_lists_clean(TimestampTz now);

#endif							/* ATLAS_PENDING_LISTS_H */
