/*
 * setting_guard.h
 *		Settings that a role without the right to it made before the library
 *		was loaded.
 */
#ifndef ATLAS_SETTING_GUARD_H
#define ATLAS_SETTING_GUARD_H

#include "nodes/pg_list.h"

/*
 * From _PG_init(): the first call, before the settings are defined, finds those
 * whose value PostgreSQL is about to drop; the second one, afterwards, notes that
 * this session must not go on without them.
 */
extern List *atlas_settings_without_right(void);
extern void atlas_settings_refuse(const List *names);

/* Assign hook of atlas_events.tenant. */
extern void atlas_settings_tenant_changed(const char *tenant, void *extra);

extern bool atlas_settings_are_refused;
extern void atlas_settings_raise(void);

/* Raises an error if a setting of this session was dropped. */
static inline void
atlas_settings_check(void)
{
	if (unlikely(atlas_settings_are_refused))
		atlas_settings_raise();
}

#endif							/* ATLAS_SETTING_GUARD_H */
