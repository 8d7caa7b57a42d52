/*
 * rule_status.h
 *		How many rules there are, and what a DBA should know of them.
 */
#ifndef ATLAS_RULE_STATUS_H
#define ATLAS_RULE_STATUS_H

typedef struct AtlasRuleStatus
{
	int64		enabled;
	int64		switched_off;	/* because of their conditions */
	int64		actions_due;	/* those that are tried again later included */
	int64		actions_failed;
	bool		are_paused;		/* some rules do not act here: see atlas_resume_actions() */
	const char *last;			/* the name of one of these; NULL: there is none */
} AtlasRuleStatus;

/* Of all tenants. Inside SPI_connect(), as the owner of the extension. */
extern void atlas_rule_status(AtlasRuleStatus *status);

/* What a DBA should know. NULL if all is well. */
extern const char *atlas_rule_advice(const AtlasRuleStatus *status);

#endif							/* ATLAS_RULE_STATUS_H */
