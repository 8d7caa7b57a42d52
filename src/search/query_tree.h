/*
 * query_tree.h
 *		The nodes that a tsquery is made of.
 */
#ifndef ATLAS_QUERY_TREE_H
#define ATLAS_QUERY_TREE_H

#include "postgres.h"

#include "tsearch/ts_type.h"
#include "tsearch/ts_utils.h"

/* A lexeme, or everything that begins like it. The text is copied. */
extern QTNode *atlas_query_value(const char *text, int length, bool is_prefix);

extern QTNode *atlas_query_not(QTNode *node);

/* Where one of the two is NULL, these return the other one. */
extern QTNode *atlas_query_and(QTNode *left, QTNode *right);
extern QTNode *atlas_query_or(QTNode *left, QTNode *right);

/* The right one stands so many positions behind the end of the left one. */
extern QTNode *atlas_query_phrase(QTNode *left, QTNode *right, int distance);

/*
 * Does whatever satisfies the query have one of its lexemes? If not, a GIN index has to
 * read everything. NULL is satisfied by everything.
 */
extern bool atlas_query_requires_lexeme(const QTNode *node);

#endif							/* ATLAS_QUERY_TREE_H */
