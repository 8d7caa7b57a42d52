/*
 * tenant.h
 *		The tenant that a session acts for.
 */
#ifndef ATLAS_TENANT_H
#define ATLAS_TENANT_H

#include "c.h"

/* Setting atlas_events.tenant, see atlas_events.c. */
extern char *atlas_tenant_setting;

/*
 * The tenant of the session, as text. Raises an error while code of the owner of a
 * registered table runs, and in a session whose settings were dropped.
 */
extern text *atlas_session_tenant(void);

/* A lookup calls these before and after it runs code of the owner of a registered table. */
extern void atlas_begin_code_of_owner(void);
extern void atlas_end_code_of_owner(void);

/* Are we between those two calls? */
extern bool atlas_in_lookup_of_owner(void);

/*
 * Does code of the owner of a registered table run, here or in the leader of this
 * parallel worker? That code has no tenant, whatever the session has, because the
 * events of the tenant are not its owner's. The other call raises an error then.
 */
extern bool atlas_in_code_of_owner(void);
extern void atlas_refuse_code_of_owner(void);

#endif							/* ATLAS_TENANT_H */
