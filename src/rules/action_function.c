/*
 * action_function.c
 *		The functions that rules call, and the roles in whose sessions they do so.
 *
 * Whoever may replace a function has it done what he likes with the rights of the role that calls it. So an action
 * must belong to the role that the rule belongs to, or to a superuser, both when the rule is made and each time
 * when it is called. The name may stand for another function by then, which is looked at anew.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "rules/action_function.h"

/* Does the function take one jsonb, and return one value or none? */
static bool
takes_jsonb(const FormData_pg_proc *form)
{
	return form->prokind == PROKIND_FUNCTION && !form->proretset && !OidIsValid(form->provariadic) &&
		form->pronargs == 1 && form->proargtypes.values[0] == JSONBOID;
}

/* Is it a type that only PostgreSQL itself calls a function for? */
static bool
is_called_by_server(Oid type)
{
	return type == TRIGGEROID || type == EVENT_TRIGGEROID || type == INTERNALOID;
}

List *
atlas_action_function_problems(Oid function, Oid role)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	List	   *problems = NIL;

	if (!HeapTupleIsValid(tuple))
		return list_make1("does not exist");
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (!takes_jsonb(form) || is_called_by_server(form->prorettype))
		problems = lappend(problems, "must be a function that takes (jsonb), and returns one value or none");
	if (form->proowner != role && !superuser_arg(form->proowner))
		problems = lappend(problems, "must belong to the owner of the rule, or to a superuser");
	if (!atlas_may_execute(function, role) || !atlas_may_use_schema(form->pronamespace, role))
		problems = lappend(problems, "may not be executed by the owner of the rule");
	ReleaseSysCache(tuple);
	return problems;
}

const char *
atlas_action_role_problem(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		may_log_in;

	if (!HeapTupleIsValid(tuple))
		return "does not exist";
	may_log_in = ATLAS_WORKERS_NEED_NO_LOGIN || ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!may_log_in)
		return "may not log in";
	if (!atlas_may_connect(MyDatabaseId, role))
		return "may not connect to this database";
	return NULL;
}

/* Finds the function, or raises an error. */
static Oid
find_function(const char *schema, const char *name)
{
	Oid			arguments[] = {JSONBOID};
	List	   *names = list_make2(makeString(pstrdup(schema)), makeString(pstrdup(name)));
	Oid			function = LookupFuncName(names, 1, arguments, false);
	List	   *problems = atlas_action_function_problems(function, GetUserId());

	if (problems != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s(jsonb) %s", quote_qualified_identifier(schema, name), (char *) linitial(problems))));
	return function;
}

/* As SET CONSTRAINTS ALL IMMEDIATE does it. What a function has left for the end of the transaction belongs to its call. */
static void
fire_deferred_triggers(void)
{
	ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);

	statement->constraints = NIL;
	statement->deferred = false;
	AfterTriggerSetState(statement);
}

void
atlas_action_function_call(const char *schema, const char *name, Jsonb *argument)
{
	Oid			function = find_function(schema, name);
	FmgrInfo	info;

	LOCAL_FCINFO(fcinfo, 1);

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	fmgr_info(function, &info);
	InitFunctionCallInfoData(*fcinfo, &info, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(argument);
	fcinfo->args[0].isnull = false;
	(void) FunctionCallInvoke(fcinfo);
	PopActiveSnapshot();
	fire_deferred_triggers();
}
