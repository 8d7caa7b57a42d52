/*
 * identity.c
 *		As whom, and with which search_path, our SQL runs.
 *
 * Our own tables are read and written as the owner of the extension, so that callers
 * need EXECUTE on a function and no right on a table. SQL that is not ours runs as
 * the owner of the relation that it reads, in a security-restricted operation.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rls.h"

#include "base/extension.h"
#include "base/identity.h"

#define SEARCH_PATH "pg_catalog, pg_temp"

void
atlas_set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* Do unqualified names mean PostgreSQL's own objects already? */
static bool
search_path_is_restricted(void)
{
	return strcmp(namespace_search_path, SEARCH_PATH) == 0;
}

int
atlas_restrict_search_path(void)
{
	int			guc_level;

	if (search_path_is_restricted())
		return 0;
	guc_level = NewGUCNestLevel();
	atlas_set_for_now("search_path", SEARCH_PATH);
	return guc_level;
}

void
atlas_restore_search_path(int guc_level)
{
	if (guc_level > 0)
		AtEOXact_GUC(true, guc_level);
}

void
atlas_take_rights_of_owner(AtlasIdentity *saved)
{
	Oid			owner = atlas_extension()->owner;

	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	SetUserIdAndSecContext(owner, saved->security_context | SECURITY_LOCAL_USERID_CHANGE);
	saved->guc_level = 0;
	saved->keep_settings = true;
}

void
atlas_become_owner(AtlasIdentity *saved)
{
	atlas_take_rights_of_owner(saved);
	saved->guc_level = atlas_restrict_search_path();
}

void
atlas_become(Oid role, AtlasIdentity *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	SetUserIdAndSecContext(role, saved->security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	saved->guc_level = NewGUCNestLevel();
	saved->keep_settings = false;
	if (!search_path_is_restricted())
		atlas_set_for_now("search_path", SEARCH_PATH);
	if (!row_security)
		atlas_set_for_now("row_security", "on");
}

void
atlas_return(const AtlasIdentity *saved)
{
	if (saved->guc_level > 0)
		AtEOXact_GUC(saved->keep_settings, saved->guc_level);
	SetUserIdAndSecContext(saved->user, saved->security_context);
}
