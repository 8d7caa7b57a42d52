/*
 * session.c
 *		For whom the session acts: atlas_tenant(), and atlas_is_client(), which says
 *		whether the session's own client asks.
 *
 * The Events API believes what a session says about its request: claims, headers and
 * settings, which any code in a session can set. It may do so only where nobody else's
 * code runs. That is in the session of a client, but not while the server executes
 * something for the owner of a table or a view, such as an index expression in ANALYZE,
 * which is a security-restricted operation.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/tenant.h"

PG_FUNCTION_INFO_V1(atlas_tenant);
PG_FUNCTION_INFO_V1(atlas_is_client);

/*
 * While a lookup runs the code of the owner of a table, there is no tenant, and so the
 * policies of the log show nothing to that code.
 */
Datum
atlas_tenant(PG_FUNCTION_ARGS)
{
	if (atlas_in_code_of_owner())
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(atlas_session_tenant());
}

/* Background workers, autovacuum and parallel workers are not clients. */
Datum
atlas_is_client(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(MyBackendType == B_BACKEND && !InSecurityRestrictedOperation());
}
