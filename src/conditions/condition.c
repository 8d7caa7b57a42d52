/*
 * condition.c
 *		Checking which paths are accepted as conditions.
 *
 * The compiled path is walked along, against a list of what is allowed, so that what a newer
 * PostgreSQL adds to the language is refused until it is listed here. A path is a chain of
 * items, such as $ .payload .name; an item may have chains of its own as arguments.
 */
#include "postgres.h"

#include "base/encoding.h"
#include "conditions/condition.h"
#include "conditions/path_place.h"
#include "miscadmin.h"

/* A check that is under way. */
typedef struct ConditionCheck
{
	const char *field;
	AtlasError *error;
	AtlasCondition *condition;
} ConditionCheck;

static void check_chain(ConditionCheck *check, JsonPathItem *first);

/* Adds a problem with an item of a chain. */
static void
refuse_item(ConditionCheck *check, JsonPathItem *first, JsonPathItem *item, const char *what)
{
	char	   *place;

	if (check->error->is_full)
		return;
	place = atlas_path_place(first, item);
	if (place[0] == '\0')
		atlas_add_problem(check->error, "not_allowed", check->field,
						  "%s is not allowed in a condition", what);
	else
		atlas_add_problem(check->error, "not_allowed", check->field,
						  "%s after %s is not allowed in a condition", what, place);
	pfree(place);
}

/* like_regex stands after its operand, which is a chain of its own. */
static void
refuse_regex(ConditionCheck *check, JsonPathItem *item)
{
	JsonPathItem operand;

	jspInitByBuffer(&operand, item->base, item->content.like_regex.expr);
	refuse_item(check, &operand, NULL, "like_regex");
	check_chain(check, &operand);
}

/* A variable has nothing before it. */
static void
refuse_variable(ConditionCheck *check, JsonPathItem *item)
{
	int32		length;
	char	   *name = jspGetString(item, &length);

	length = atlas_clipped_length(name, length, ATLAS_MAX_PLACE);
	name = psprintf("the variable $%.*s", length, name);
	refuse_item(check, item, item, name);
	pfree(name);
}

/* May the operand of a comparison find more than one value? */
static bool
may_find_many(JsonPathItem *operand)
{
	if (jspHasNext(operand))
		return true;
	switch (operand->type)
	{
		case jpiNull:
		case jpiString:
		case jpiNumeric:
		case jpiBool:
		case jpiAdd:
		case jpiSub:
		case jpiMul:
		case jpiDiv:
		case jpiMod:
			return false;
		default:
			return true;
	}
}

/* An item with two arguments. */
static void
check_operands(ConditionCheck *check, JsonPathItem *item)
{
	JsonPathItem left;
	JsonPathItem right;

	jspGetLeftArg(item, &left);
	jspGetRightArg(item, &right);
	if (item->type >= jpiEqual && item->type <= jpiGreaterOrEqual &&
		may_find_many(&left) && may_find_many(&right))
		check->condition->compares_paths = true;
	check_chain(check, &left);
	check_chain(check, &right);
}

/* The subscripts of an array. */
static void
check_subscripts(ConditionCheck *check, JsonPathItem *item)
{
	if (item->content.array.nelems > 1)
		check->condition->repeats_values = true;
	for (int i = 0; i < item->content.array.nelems; i++)
	{
		JsonPathItem from;
		JsonPathItem to;
		bool		has_end = jspGetArraySubscript(item, &from, &to, i);

		check_chain(check, &from);
		if (has_end)
			check_chain(check, &to);
	}
}

/* Notes which fields of the event are looked at: the one whose key follows, or else all. */
static void
note_facts(ConditionCheck *check, JsonPathItem *root)
{
	JsonPathItem next;
	int32		length;
	char	   *key;

	if (!jspGetNext(root, &next) || next.type != jpiKey)
	{
		check->condition->facts = ATLAS_ALL_FACTS;
		return;
	}
	key = jspGetString(&next, &length);
	check->condition->facts |= atlas_fact_of_key(key, length);
}

static bool
is_sign(const JsonPathItem *item)
{
	return item->type == jpiPlus || item->type == jpiMinus;
}

/* Checks an item of a chain, with its arguments. */
static void
check_item(ConditionCheck *check, JsonPathItem *first, JsonPathItem *item)
{
	JsonPathItem argument;

	switch (item->type)
	{
		case jpiNull:
		case jpiString:
		case jpiNumeric:
		case jpiBool:
		case jpiCurrent:
		case jpiKey:
		case jpiAnyKey:
		case jpiAnyArray:
		case jpiLast:
		case jpiType:
		case jpiSize:
		case jpiAbs:
		case jpiFloor:
		case jpiCeiling:
		case jpiDouble:
			break;
		case jpiKeyValue:
			check->condition->makes_values = true;
			break;
		case jpiRoot:
			note_facts(check, item);
			break;
		case jpiAnd:
		case jpiOr:
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
		case jpiAdd:
		case jpiSub:
		case jpiMul:
		case jpiDiv:
		case jpiMod:
		case jpiStartsWith:
			check_operands(check, item);
			break;
		case jpiNot:
		case jpiIsUnknown:
		case jpiPlus:
		case jpiMinus:
		case jpiFilter:
		case jpiExists:
			jspGetArg(item, &argument);
			if (is_sign(item) && is_sign(&argument))
				check->condition->repeats_values = true;
			check_chain(check, &argument);
			break;
		case jpiIndexArray:
			check_subscripts(check, item);
			break;
		case jpiAny:
			refuse_item(check, first, item, ".**");
			break;
		case jpiLikeRegex:
			refuse_regex(check, item);
			break;
		case jpiVariable:
			refuse_variable(check, item);
			break;
		default:
			refuse_item(check, first, item, psprintf(".%s()", jspOperationName(item->type)));
			break;
	}
}

static void
check_chain(ConditionCheck *check, JsonPathItem *first)
{
	JsonPathItem item = *first;
	JsonPathItem next;

	check_stack_depth();
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		check_item(check, first, &item);
		if (!jspGetNext(&item, &next))
			return;
		item = next;
	}
}

/* Is the path as a whole a predicate? One with something behind it is a path like others. */
static bool
is_predicate(JsonPathItem *first)
{
	switch (first->type)
	{
		case jpiAnd:
		case jpiOr:
		case jpiNot:
		case jpiIsUnknown:
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
		case jpiExists:
		case jpiStartsWith:
			return !jspHasNext(first);
		default:
			return false;
	}
}

void
atlas_condition_check(JsonPath *path, const char *field, AtlasError *error, AtlasCondition *condition)
{
	ConditionCheck check = {.field = field, .error = error, .condition = condition};
	JsonPathItem first;

	jspInit(&first, path);
	memset(condition, 0, sizeof(*condition));
	condition->path = path;
	condition->is_predicate = is_predicate(&first);
	check_chain(&check, &first);
}

void
atlas_condition_require(JsonPath *path, const char *field, AtlasCondition *condition)
{
	AtlasError	error = {0};

	atlas_condition_check(path, field, &error, condition);
	if (error.status != 0)
		atlas_raise(&error);
}
