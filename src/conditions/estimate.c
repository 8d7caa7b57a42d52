/*
 * estimate.c
 *		What a condition may do in an event without a look at its limits.
 *
 * While PostgreSQL evaluates a path it looks at interrupts with every item, but not in two
 * loops. A comparison compares each value that its one operand finds with each that the other
 * finds: two arrays of 60,000 numbers would keep a process for a minute, and nothing could
 * stop it. A sign makes a new number of each that its operand finds, which can be one long number
 * many times, named by a list of subscripts. So we estimate beforehand how many values each
 * operand can find, and refuse what would be too much. The estimate is never too low. It is too
 * high where arrays of different lengths have the same key.
 *
 * .keyvalue() makes three values of each that it finds, with keys that the event need not have.
 *
 * Nothing is estimated for a small event and a path without such lists and methods.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "conditions/estimate.h"
#include "miscadmin.h"
#include "utils/hsearch.h"

#define MAX_COMPARISONS 4.0e6	/* about 50 ms */
#define MAX_BYTES_COMPARED 1.0e9	/* about 100 ms */
#define MAX_BYTES_COPIED 64.0e6

/* Each object that .keyvalue() makes has so many keys. */
#define KEYVALUE_KEYS 3

/* A number takes at least so many bytes of memory when it is copied. */
#define BYTES_OF_COPY 64

/* A value takes at least so many bytes of an event, for its entry. */
#define BYTES_OF_VALUE 4

/* The longest array that is the value of a key. */
typedef struct KeyedArray
{
	char	   *key;			/* hash key */
	int			length;
	int			nvalues;
} KeyedArray;

typedef struct ValueCounts
{
	double		nvalues;		/* of the event */
	double		in_array;		/* the longest array */
	double		in_nested_array;	/* the longest array in an array */
	double		in_object;		/* the largest object */
	bool		is_lax;			/* the path looks into arrays by itself */
	bool		are_keys_known; /* all keys are those of the event */
	double		nbytes;			/* of all values, those of the path included */
	HTAB	   *keyed;			/* of KeyedArray */
} ValueCounts;

/* What an operand can find, at most. */
typedef struct Found
{
	double		nvalues;
	double		nbytes;
} Found;

static void estimate_chain(const ValueCounts *counts, JsonPathItem *first);

static uint32
hash_key_string(const void *key, Size size)
{
	const KeyedArray *array = key;

	return hash_bytes((const unsigned char *) array->key, array->length);
}

static int
compare_key_strings(const void *a, const void *b, Size size)
{
	const KeyedArray *left = a;
	const KeyedArray *right = b;

	if (left->length != right->length)
		return left->length < right->length ? -1 : 1;
	return memcmp(left->key, right->key, left->length);
}

static HTAB *
make_keyed_arrays(void)
{
	HASHCTL		control = {0};

	control.keysize = offsetof(KeyedArray, nvalues);
	control.entrysize = sizeof(KeyedArray);
	control.hash = hash_key_string;
	control.match = compare_key_strings;
	control.hcxt = CurrentMemoryContext;
	return hash_create("atlas_events arrays", 64, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* The entry for a key; NULL if no array has this key, unless it is to be made. */
static KeyedArray *
keyed_array(const ValueCounts *counts, char *key, int length, bool make)
{
	KeyedArray	wanted;
	KeyedArray *entry;
	bool		is_known;

	memset(&wanted, 0, sizeof(wanted));
	wanted.key = key;
	wanted.length = length;
	entry = hash_search(counts->keyed, &wanted, make ? HASH_ENTER : HASH_FIND, &is_known);
	if (make && !is_known)
		entry->nvalues = 0;
	return entry;
}

/* Counts an array, which is the value of a key, or a part of another array. */
static void
count_array(ValueCounts *counts, int nvalues, const JsonbValue *key)
{
	counts->in_array = Max(counts->in_array, nvalues);
	if (key->type == jbvString)
	{
		KeyedArray *entry = keyed_array(counts, key->val.string.val, key->val.string.len, true);

		entry->nvalues = Max(entry->nvalues, nvalues);
	}
	else
		counts->in_nested_array = Max(counts->in_nested_array, nvalues);
}

/* Counts the values of an event. The keys stay where they are in it. */
static void
count_values(ValueCounts *counts, Jsonb *event)
{
	JsonbIterator *iterator = JsonbIteratorInit(&event->root);
	JsonbValue	key = {.type = jbvNull};
	JsonbValue	value;
	JsonbIteratorToken token;

	counts->keyed = make_keyed_arrays();
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		check_stack_depth();	/* for our limits */
		if (token == WJB_KEY)
			key = value;
		else if (token == WJB_BEGIN_ARRAY)
			count_array(counts, value.val.array.nElems, &key);
		else if (token == WJB_BEGIN_OBJECT)
			counts->in_object = Max(counts->in_object, value.val.object.nPairs);
		if (token != WJB_KEY)
			key.type = jbvNull;
		if (token != WJB_END_ARRAY && token != WJB_END_OBJECT)
			counts->nvalues++;
	}
}

/* The longest array with this key. */
static double
growth_of_key(const ValueCounts *counts, JsonPathItem *item)
{
	const KeyedArray *array;
	int32		length;
	char	   *key = jspGetString(item, &length);

	if (!counts->are_keys_known)
		return Max(counts->in_array, 1);
	array = keyed_array(counts, key, length, false);
	return array == NULL ? 1 : Max(array->nvalues, 1);
}

/* Are the values of an array taken that an item finds? next is NULL if it is the last one. */
static bool
takes_values(const ValueCounts *counts, JsonPathItem *next)
{
	if (next == NULL || (next->type != jpiAnyArray && next->type != jpiIndexArray))
		return counts->is_lax;
	if (next->type == jpiAnyArray)
		return true;
	for (int i = 0; i < next->content.array.nelems; i++)
		if (next->content.array.elems[i].to != 0)
			return true;
	return false;
}

/* How many values there can be behind an item for each one before it. */
static double
growth(const ValueCounts *counts, JsonPathItem *item, JsonPathItem *next)
{
	switch (item->type)
	{
		case jpiKey:
			return takes_values(counts, next) ? growth_of_key(counts, item) : 1;
		case jpiAnyKey:
			return Max(counts->in_object, 1) * Max(counts->in_array, 1);
		case jpiKeyValue:
			return Max(counts->in_object, 1);
		case jpiAnyArray:
			return Max(counts->in_nested_array, 1);
		case jpiIndexArray:
			return Max(counts->in_nested_array, 1) * item->content.array.nelems;
		case jpiCurrent:
		case jpiFilter:
			/* In lax mode a filter looks into an array, and has its values. */
			if (!takes_values(counts, next))
				return 1;
			return Max(counts->is_lax ? counts->in_nested_array : counts->in_array, 1);
		default:
			return 1;
	}
}

/* What the operand of a comparison, or of a sign, can find. */
static Found
found_by_operand(const ValueCounts *counts, JsonPathItem *first)
{
	JsonPathItem item = *first;
	JsonPathItem next;
	double		found = 1;
	double		repeated = 1;	/* how often a value of the event can be there, or one made of it */

	check_stack_depth();
	/* Signs may stand before a path. */
	if (item.type == jpiPlus || item.type == jpiMinus)
	{
		Found		by_argument;

		jspGetArg(&item, &next);
		by_argument = found_by_operand(counts, &next);
		found = by_argument.nvalues;
		repeated = by_argument.nbytes / counts->nbytes;
	}
	for (;;)
	{
		bool		has_next = jspGetNext(&item, &next);

		CHECK_FOR_INTERRUPTS();
		found *= growth(counts, &item, has_next ? &next : NULL);
		found = Min(found, 1.0e18);
		if (item.type == jpiIndexArray)
			repeated = Min(repeated * item.content.array.nelems, 1.0e18);
		if (item.type == jpiKeyValue)
			repeated = Min(repeated * (1 + KEYVALUE_KEYS), 1.0e18);
		if (!has_next)
			return (Found) {Min(found, counts->nvalues * repeated), counts->nbytes * repeated};
		item = next;
	}
}

/* Refuses a comparison of too many values, or of too long ones. */
static void
estimate_comparison(const ValueCounts *counts, JsonPathItem *left, JsonPathItem *right)
{
	Found		on_left = found_by_operand(counts, left);
	Found		on_right = found_by_operand(counts, right);

	if (on_left.nvalues * on_right.nvalues > MAX_COMPARISONS ||
		Min(on_left.nvalues * on_right.nbytes, on_right.nvalues * on_left.nbytes) > MAX_BYTES_COMPARED)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a condition may compare too many values of one event with each other"),
				 errdetail("The one path may find %.0f values and the other one %.0f; %.0f comparisons are allowed.",
						   on_left.nvalues, on_right.nvalues, MAX_COMPARISONS),
				 errhint("Compare with a single value, such as the one at [0].")));
}

/* Refuses a sign before too long a list of numbers. */
static void
estimate_sign(const ValueCounts *counts, JsonPathItem *sign)
{
	Found		found = found_by_operand(counts, sign);
	JsonPathItem item = *sign;
	JsonPathItem argument;
	int			nsigns = 0;		/* that follow each other */
	double		nbytes;

	for (; item.type == jpiPlus || item.type == jpiMinus; item = argument)
	{
		CHECK_FOR_INTERRUPTS();
		jspGetArg(&item, &argument);
		nsigns++;
	}
	nbytes = nsigns == 1 ? found.nbytes : nsigns * Max(found.nbytes, found.nvalues * BYTES_OF_COPY);
	if (nbytes > MAX_BYTES_COPIED && nbytes > counts->nbytes)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a condition may copy too many numbers of one event"),
				 errdetail("A sign makes a new number of each that it stands before, which can be many: those of another sign, or the same one that a list of subscripts names again and again.")));
}

/* Looks at an item, and at those in its arguments. */
static void
estimate_item(const ValueCounts *counts, JsonPathItem *item)
{
	JsonPathItem left;
	JsonPathItem right;

	switch (item->type)
	{
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
		case jpiAnd:
		case jpiOr:
		case jpiAdd:
		case jpiSub:
		case jpiMul:
		case jpiDiv:
		case jpiMod:
		case jpiStartsWith:
			jspGetLeftArg(item, &left);
			jspGetRightArg(item, &right);
			if ((item->type >= jpiEqual && item->type <= jpiGreaterOrEqual) || item->type == jpiStartsWith)
				estimate_comparison(counts, &left, &right);
			estimate_chain(counts, &left);
			estimate_chain(counts, &right);
			break;
		case jpiPlus:
		case jpiMinus:
			estimate_sign(counts, item);
			jspGetArg(item, &left);
			estimate_chain(counts, &left);
			break;
		case jpiNot:
		case jpiIsUnknown:
		case jpiFilter:
		case jpiExists:
			jspGetArg(item, &left);
			estimate_chain(counts, &left);
			break;
		case jpiIndexArray:
			for (int i = 0; i < item->content.array.nelems; i++)
			{
				bool		has_end = jspGetArraySubscript(item, &left, &right, i);

				estimate_chain(counts, &left);
				if (has_end)
					estimate_chain(counts, &right);
			}
			break;
		default:
			break;
	}
}

static void
estimate_chain(const ValueCounts *counts, JsonPathItem *first)
{
	JsonPathItem item = *first;
	JsonPathItem next;

	check_stack_depth();
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		estimate_item(counts, &item);
		if (!jspGetNext(&item, &next))
			return;
		item = next;
	}
}

void
atlas_refuse_long_strides(Jsonb *event, const AtlasCondition *condition)
{
	ValueCounts counts = {
		.are_keys_known = !condition->makes_values,
		.in_object = condition->makes_values ? KEYVALUE_KEYS : 0,
		.is_lax = (condition->path->header & JSONPATH_LAX) != 0,
		.nbytes = (double) VARSIZE(event) + VARSIZE(condition->path),
	};
	double		most = VARSIZE(event) / BYTES_OF_VALUE;
	JsonPathItem first;

	if (!condition->repeats_values &&
		(!condition->compares_paths || (!condition->makes_values && most * most <= MAX_COMPARISONS)))
		return;
	count_values(&counts, event);
	jspInit(&first, condition->path);
	estimate_chain(&counts, &first);
}
