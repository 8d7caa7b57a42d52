/*
 * make_way.h
 *		Makes linkers leave a database that a command needs for itself.
 */
#ifndef ATLAS_MAKE_WAY_H
#define ATLAS_MAKE_WAY_H

/* Installs the hooks; from _PG_init(), when the library is preloaded. */
extern void atlas_make_way_init(void);

#endif							/* ATLAS_MAKE_WAY_H */
