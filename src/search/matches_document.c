/*
 * matches_document.c
 *		Does a document match a query, and how frequent are the query's lexemes?
 *
 * What a GIN index knows of a document is which lexemes it has. A document that has those of the
 * query may match. Where the query has phrases or weights, PostgreSQL's @@ then looks at
 * the document itself; where it has none, that is not necessary.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tsearch/ts_utils.h"
#include "utils/fmgrprotos.h"

#include "base/compat.h"
#include "search/lexemes.h"
#include "search/matches_document.h"
#include "search/query_tree.h"

#define CACHE_LINE 64
#define MAX_PREFETCHED 4096		/* bytes */
#define DISPENSABLE_SHARE 0.5

/* What the callback of TS_execute() needs. */
typedef struct LexemesOfDocument
{
	TSQuery		query;
	TSVector	document;
} LexemesOfDocument;

/*
 * No cache has the documents of a long walk. Looking for a lexeme goes to a handful of places, each
 * of which depends on the one before, so that it would wait for memory each time. This took a
 * quarter off the walk.
 */
void
atlas_document_prefetch(TSVector document)
{
	int			size = Min(VARSIZE(document), MAX_PREFETCHED);

	for (int i = 0; i < size; i += CACHE_LINE)
		__builtin_prefetch((const char *) document + i);
}

/* The text of an item of the query. */
static char *
operand_text(TSQuery query, const QueryOperand *operand)
{
	return GETOPERAND(query) + operand->distance;
}

/* Is the lexeme in the document, or one that begins with it if the operand is a prefix? */
static bool
has_lexeme(TSQuery query, const QueryOperand *operand, TSVector document)
{
	const WordEntry *low = ARRPTR(document);
	const WordEntry *end = low + document->size;
	const WordEntry *high = end;

	while (low < high)
	{
		const WordEntry *middle = low + (high - low) / 2;
		int			order = tsCompareString(operand_text(query, operand), operand->length,
											STRPTR(document) + middle->pos, middle->len, false);

		if (order == 0)
			return true;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return operand->prefix && low < end &&
		tsCompareString(operand_text(query, operand), operand->length,
						STRPTR(document) + low->pos, low->len, true) == 0;
}

/* Called by TS_execute(): maybe, where the place or the weight of the lexeme counts. */
static TSTernaryValue
lexeme_of_document(void *arg, QueryOperand *operand, ExecPhraseData *data)
{
	const LexemesOfDocument *lexemes = arg;

	if (atlas_is_tenant_lexeme(operand_text(lexemes->query, operand)))
		return TS_YES;
	if (!has_lexeme(lexemes->query, operand, lexemes->document))
		return TS_NO;
	return operand->weight != 0 || data != NULL ? TS_MAYBE : TS_YES;
}

/* Do places and weights not matter? */
static bool
has_lexemes_only(TSQuery query)
{
	const QueryItem *items = GETQUERY(query);

	for (int i = 0; i < query->size; i++)
		if (items[i].type == QI_OPR ? items[i].qoperator.oper == OP_PHRASE : items[i].qoperand.weight != 0)
			return false;
	return true;
}

void
atlas_document_query_init(AtlasDocumentQuery *query, TSQuery tsquery)
{
	query->query = tsquery;
	query->is_exact = has_lexemes_only(tsquery);
	query->nsampled = 0;
	query->nfound = palloc0(sizeof(int) * Max(tsquery->size, 1));
}

bool
atlas_document_may_match(const AtlasDocumentQuery *query, TSVector document)
{
	LexemesOfDocument lexemes = {.query = query->query, .document = document};

	return query->query->size > 0 &&
		TS_execute(GETQUERY(query->query), &lexemes, TS_EXEC_PHRASE_NO_POS, lexeme_of_document);
}

bool
atlas_document_matches(const AtlasDocumentQuery *query, TSVector document)
{
	return query->is_exact ||
		DatumGetBool(DirectFunctionCall2(ts_match_vq, TSVectorGetDatum(document),
										 TSQueryGetDatum(query->query)));
}

void
atlas_document_sample(AtlasDocumentQuery *query, TSVector document)
{
	const QueryItem *items = GETQUERY(query->query);

	for (int i = 0; i < query->query->size; i++)
		if (items[i].type == QI_VAL && has_lexeme(query->query, &items[i].qoperand, document))
			query->nfound[i]++;
	query->nsampled++;
}

/*
 * What is read for a part of the query. Of what is needed together, the rarest is read; of
 * alternatives, all are. What is negated finds nothing. Items follow their operators, the
 * right one at once.
 */
static double
share_read(const AtlasDocumentQuery *query, const QueryItem *item)
{
	double		left;
	double		right;

	check_stack_depth();
	if (item->type == QI_VAL)
		return (double) query->nfound[item - GETQUERY(query->query)] / Max(query->nsampled, 1);
	if (item->qoperator.oper == OP_NOT)
		return 1;
	right = share_read(query, item + 1);
	left = share_read(query, item + item->qoperator.left);
	return item->qoperator.oper == OP_OR ? Min(left + right, 1) : Min(left, right);
}

int
atlas_document_prefixes(const AtlasDocumentQuery *query)
{
	const QueryItem *items = GETQUERY(query->query);
	int			nprefixes = 0;

	for (int i = 0; i < query->query->size; i++)
		if (items[i].type == QI_VAL && items[i].qoperand.prefix)
			nprefixes++;
	return nprefixes;
}

double
atlas_document_share_read(const AtlasDocumentQuery *query)
{
	const QueryItem *items = GETQUERY(query->query);
	double		share;

	if (query->query->size == 0)
		return 1;
	share = share_read(query, items);

	/* Whatever begins with a prefix is collected first. */
	for (int i = 0; i < query->query->size; i++)
		if (items[i].type == QI_VAL && items[i].qoperand.prefix)
			share += (double) query->nfound[i] / Max(query->nsampled, 1);
	return share;
}

/* Is it a lexeme that an index need not look for, if something else is required? */
static bool
is_dispensable(const AtlasDocumentQuery *query, const QTNode *node, bool is_only_tenant)
{
	const QueryItem *item = node->valnode;

	if (item->type != QI_VAL)
		return false;
	return atlas_is_tenant_lexeme(operand_text(query->query, &item->qoperand)) ? is_only_tenant :
		query->nsampled > 0 &&
		query->nfound[item - GETQUERY(query->query)] >= query->nsampled * DISPENSABLE_SHARE;
}

/* What is left of a part of the query of which everything is required. */
static QTNode *
keep_indispensable(const AtlasDocumentQuery *query, QTNode *node, bool is_only_tenant)
{
	check_stack_depth();
	if (node->valnode->type != QI_OPR || node->valnode->qoperator.oper != OP_AND)
		return is_dispensable(query, node, is_only_tenant) ? NULL : node;
	return atlas_query_and(keep_indispensable(query, node->child[1], is_only_tenant),
						   keep_indispensable(query, node->child[0], is_only_tenant));
}

TSQuery
atlas_document_index_query(const AtlasDocumentQuery *query, bool is_only_tenant)
{
	QTNode	   *node = keep_indispensable(query, QT2QTN(GETQUERY(query->query), GETOPERAND(query->query)),
										  is_only_tenant);

	return atlas_query_requires_lexeme(node) ? QTN2QT(node) : query->query;
}
