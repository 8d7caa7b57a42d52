/*
 * budget.h
 *		Types only: how much a call may still look at.
 */
#ifndef ATLAS_BUDGET_H
#define ATLAS_BUDGET_H

#include "c.h"

/* Counts rows and index entries that are looked at. */
typedef struct AtlasBudget
{
	bool		is_limited;
	int64		left;			/* never below zero */
} AtlasBudget;

static inline void
atlas_budget_spend(AtlasBudget *budget, int64 entries)
{
	if (budget->is_limited)
		budget->left = budget->left > entries ? budget->left - entries : 0;
}

static inline bool
atlas_budget_is_spent(const AtlasBudget *budget)
{
	return budget->is_limited && budget->left == 0;
}

#endif							/* ATLAS_BUDGET_H */
