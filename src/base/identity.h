/*
 * identity.h
 *		As whom, and with which search_path, our SQL runs.
 */
#ifndef ATLAS_IDENTITY_H
#define ATLAS_IDENTITY_H

/* Who we were before atlas_become(). */
typedef struct AtlasIdentity
{
	Oid			user;
	int			security_context;
	int			guc_level;		/* 0 when no settings are to be restored */
	bool		keep_settings;	/* do changes by somebody's trigger stay? */
} AtlasIdentity;

/* Becomes the owner of the extension, to use its tables, and restricts the search_path. */
extern void atlas_become_owner(AtlasIdentity *saved);

/*
 * The same with the caller's search_path, because changing it takes time. For code
 * that runs SQL only by atlas_execute(), which restricts the search_path itself.
 */
extern void atlas_take_rights_of_owner(AtlasIdentity *saved);

/*
 * Becomes another role, as foreign-key checks do, for SQL that is not ours.
 * atlas_return() undoes every setting that is changed meanwhile.
 */
extern void atlas_become(Oid role, AtlasIdentity *saved);

extern void atlas_return(const AtlasIdentity *saved);

/* Sets a setting until the nest level of settings, or the subtransaction, ends. */
extern void atlas_set_for_now(const char *name, const char *value);

/*
 * Lets unqualified names mean PostgreSQL's own objects, and returns the nest level of
 * settings that the other call ends. A kept plan is made anew when the search_path is
 * not the one that it was made with, so there is one search_path for all of ours.
 */
extern int	atlas_restrict_search_path(void);
extern void atlas_restore_search_path(int guc_level);

#endif							/* ATLAS_IDENTITY_H */
