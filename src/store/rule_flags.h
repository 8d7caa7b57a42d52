/*
 * rule_flags.h
 *		Whether this database has rules at all.
 */
#ifndef ATLAS_RULE_FLAGS_H
#define ATLAS_RULE_FLAGS_H

/* Watches for changes of the rules; from _PG_init(). */
extern void atlas_rule_flags_init(void);

/*
 * Is a rule of any tenant enabled, so that events are to be evaluated? In a transaction that has
 * an id, inside SPI_connect(), with the rights of the owner of the extension.
 */
extern bool atlas_any_rule_enabled(void);

/* Is one of them still to begin? */
extern bool atlas_any_rule_waits(void);

#endif							/* ATLAS_RULE_FLAGS_H */
