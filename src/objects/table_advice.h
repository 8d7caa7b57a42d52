/*
 * table_advice.h
 *		What a DBA should know about the registered tables.
 */
#ifndef ATLAS_TABLE_ADVICE_H
#define ATLAS_TABLE_ADVICE_H

/*
 * The first thing about the registered tables that a DBA should look at, as a sentence;
 * NULL when all is well. Tables that are locked are passed over.
 */
extern const char *atlas_object_types_advice(void);

#endif							/* ATLAS_TABLE_ADVICE_H */
