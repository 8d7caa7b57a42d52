/*
 * setting_guard.c
 *		Refuses to work in a session whose settings were made by a role that
 *		may not make them.
 *
 * As long as the library is not loaded, anybody can give any value to a name that
 * begins with atlas_events, in the options of a connection or with SET. When
 * the library is loaded, PostgreSQL drops those that the role may not set, with a
 * WARNING. What the value had replaced is lost by then: the tenant that a
 * superuser has fixed with ALTER ROLE, or a smaller limit. The session would act
 * for the empty tenant, within the default limits.
 *
 * So every call of such a session is refused. The setting atlas_events.tenant gets a
 * value that says so: parallel workers inherit it, and policies of others that read it
 * find no tenant of this name.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "base/compat.h"
#include "base/setting_guard.h"

#define PREFIX "atlas_events."
#define REFUSED_TENANT "(refused: a role that may not set it did)"

bool		atlas_settings_are_refused = false;

static bool some_was_dropped = false;	/* in this process, for good */

/* The rule by which PostgreSQL applies the value that a setting had before it was defined. */
static bool
had_the_right(const char *name, GucContext context, Oid role)
{
	return (context != PGC_USERSET && context != PGC_BACKEND) ||
		pg_parameter_aclcheck(name, role, ACL_SET) == ACLCHECK_OK;
}

/* Will PostgreSQL drop the value, or one that it would go back to? */
static bool
will_be_dropped(const struct config_generic *setting)
{
	const char *name = setting->name;

	if (!had_the_right(name, setting->scontext, setting->srole) ||
		!had_the_right(name, setting->reset_scontext, setting->reset_srole))
		return true;
	for (const GucStack *stack = setting->stack; stack != NULL; stack = stack->prev)
		if (!had_the_right(name, stack->scontext, stack->srole) ||
			(stack->state == GUC_SET_LOCAL &&
			 !had_the_right(name, stack->masked_scontext, stack->masked_srole)))
			return true;
	return false;
}

List *
atlas_settings_without_right(void)
{
	List	   *names = NIL;
	int			nsettings;
	struct config_generic **settings = atlas_all_settings(&nsettings);

	for (int i = 0; i < nsettings; i++)
		if ((settings[i]->flags & GUC_CUSTOM_PLACEHOLDER) != 0 &&
			pg_strncasecmp(settings[i]->name, PREFIX, strlen(PREFIX)) == 0 &&
			will_be_dropped(settings[i]))
			names = lappend(names, pstrdup(settings[i]->name));
	return names;
}

/* Is it one of ours that not everybody may set for a session? */
static bool
is_privileged(const char *name)
{
	int			nsettings;
	struct config_generic **settings = atlas_all_settings(&nsettings);

	for (int i = 0; i < nsettings; i++)
		if (pg_strcasecmp(settings[i]->name, name) == 0)
			return settings[i]->context == PGC_SUSET;
	return false;
}

void
atlas_settings_refuse(const List *names)
{
	ListCell   *cell;

	foreach(cell, names)
		if (is_privileged(lfirst(cell)))
			some_was_dropped = atlas_settings_are_refused = true;
	if (some_was_dropped)
		SetConfigOption("atlas_events.tenant", REFUSED_TENANT, PGC_SUSET, PGC_S_OVERRIDE);
}

void
atlas_settings_tenant_changed(const char *tenant, void *extra)
{
	atlas_settings_are_refused = some_was_dropped ||
		(tenant != NULL && strcmp(tenant, REFUSED_TENANT) == 0);
}

void
atlas_settings_raise(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("this session has made a setting of atlas_events that its role may not make"),
			 errdetail("It was made before the library was loaded, and has replaced the one that was made for the role."),
			 errhint("Connect again and do not make it. Who is to make it needs GRANT SET ON PARAMETER.")));
}
