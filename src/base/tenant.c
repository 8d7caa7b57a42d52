/*
 * tenant.c
 *		The tenant that a session acts for.
 *
 * The tenant is that of the setting atlas_events.tenant. The code of a registered view,
 * policy or index has none: it runs in the sessions of others.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/setting_guard.h"
#include "base/tenant.h"

char	   *atlas_tenant_setting = NULL;

/* How many lookups by a statement run, one inside of the other. */
static int	lookups_of_owner = 0;

void
atlas_begin_code_of_owner(void)
{
	lookups_of_owner++;
}

void
atlas_end_code_of_owner(void)
{
	lookups_of_owner--;
}

bool
atlas_in_lookup_of_owner(void)
{
	return lookups_of_owner > 0;
}

bool
atlas_in_code_of_owner(void)
{
	/* A parallel worker has the security context of its leader, but not the count. */
	return atlas_in_lookup_of_owner() || (IsParallelWorker() && InSecurityRestrictedOperation());
}

void
atlas_refuse_code_of_owner(void)
{
	if (atlas_in_code_of_owner())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("events cannot be used while an object is looked up"),
				 errdetail("Code of a registered view, policy or index runs in the session of others, but not with their tenant.")));
}

text *
atlas_session_tenant(void)
{
	atlas_refuse_code_of_owner();
	atlas_settings_check();
	return cstring_to_text(atlas_tenant_setting ? atlas_tenant_setting : "");
}
