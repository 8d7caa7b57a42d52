/*
 * session.c
 *		atlas_is_client(): does the session's own client ask?
 *
 * The Events API believes what a session says of its request: claims, headers
 * and settings, which any code in a session can set. It may do so only where
 * nobody else's code runs: in the session of a client, and not while the server
 * executes something for the owner of a table or a view, such as an index
 * expression in ANALYZE, which is a security-restricted operation.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

PG_FUNCTION_INFO_V1(atlas_is_client);

/* Background workers, autovacuum and parallel workers are no clients. */
Datum
atlas_is_client(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(MyBackendType == B_BACKEND && !InSecurityRestrictedOperation());
}
