/*
 * query_tree.c
 *		Makes the nodes of a tsquery, the way in which PostgreSQL's own parser makes them.
 *
 * Nodes are in the current memory context and have two children at most, so that
 * QTN2QT() can write them down as they are. In PostgreSQL's trees the first child is the
 * right operand, and the second one is the left operand.
 */
#include "postgres.h"

#include "utils/pg_crc.h"

#include "search/query_tree.h"

/* A node without children. */
static QTNode *
new_node(QueryItemType type)
{
	QTNode	   *node = palloc0(sizeof(QTNode));

	node->valnode = palloc0(sizeof(QueryItem));
	node->valnode->type = type;
	return node;
}

/* An operator on one operand, or on two if there is a left one. */
static QTNode *
new_operator(int8 oper, QTNode *right, QTNode *left)
{
	QTNode	   *node = new_node(QI_OPR);

	node->valnode->qoperator.oper = oper;
	node->valnode->qoperator.left = 1;	/* that of one operand; QTN2QT() sets others */
	node->nchild = left != NULL ? 2 : 1;
	node->child = palloc(sizeof(QTNode *) * 2);
	node->child[0] = right;
	node->child[1] = left;
	return node;
}

QTNode *
atlas_query_value(const char *text, int length, bool is_prefix)
{
	QTNode	   *node = new_node(QI_VAL);
	pg_crc32	crc;

	Assert(length > 0 && length <= MAXSTRLEN);
	INIT_LEGACY_CRC32(crc);
	COMP_LEGACY_CRC32(crc, text, length);
	FIN_LEGACY_CRC32(crc);
	node->valnode->qoperand.prefix = is_prefix;
	node->valnode->qoperand.valcrc = (int32) crc;
	node->valnode->qoperand.length = length;
	node->word = pnstrdup(text, length);
	return node;
}

QTNode *
atlas_query_not(QTNode *node)
{
	return new_operator(OP_NOT, node, NULL);
}

QTNode *
atlas_query_and(QTNode *left, QTNode *right)
{
	if (left == NULL || right == NULL)
		return left != NULL ? left : right;
	return new_operator(OP_AND, right, left);
}

QTNode *
atlas_query_or(QTNode *left, QTNode *right)
{
	if (left == NULL || right == NULL)
		return left != NULL ? left : right;
	return new_operator(OP_OR, right, left);
}

QTNode *
atlas_query_phrase(QTNode *left, QTNode *right, int distance)
{
	QTNode	   *node = new_operator(OP_PHRASE, right, left);

	node->valnode->qoperator.distance = Min(distance, MAXENTRYPOS);
	return node;
}

/* A phrase has all of its lexemes, like AND. */
bool
atlas_query_requires_lexeme(const QTNode *node)
{
	if (node == NULL)
		return false;
	if (node->valnode->type == QI_VAL)
		return true;
	switch (node->valnode->qoperator.oper)
	{
		case OP_NOT:
			return false;
		case OP_OR:
			return atlas_query_requires_lexeme(node->child[0]) &&
				atlas_query_requires_lexeme(node->child[1]);
		default:
			return atlas_query_requires_lexeme(node->child[0]) ||
				atlas_query_requires_lexeme(node->child[1]);
	}
}
