/*
 * action_function.h
 *		The functions that rules call, and the roles in whose sessions they do so.
 */
#ifndef ATLAS_ACTION_FUNCTION_H
#define ATLAS_ACTION_FUNCTION_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/*
 * Why a function cannot be the action of a rule of this role; NIL if it can. A list of char *, each of which goes
 * on a sentence that begins with the function.
 */
extern List *atlas_action_function_problems(Oid function, Oid role);

/* Why the role can have no session in this database, in the same way; NULL if it can. */
extern const char *atlas_action_role_problem(Oid role);

/*
 * Calls the function with this name as the current role, and fires the triggers that it has deferred. Raises an
 * error if it is not there, or cannot be the action of a rule of this role any more.
 */
extern void atlas_action_function_call(const char *schema, const char *name, Jsonb *argument);

#endif							/* ATLAS_ACTION_FUNCTION_H */
