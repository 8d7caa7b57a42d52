/*
 * limits.c
 *		What the evaluation of conditions may take of one event, looked at while it runs.
 *
 * A timer looks every ten milliseconds at how long the evaluation has run and how much memory
 * it has. It must not raise an error, and can only have one raised where the code that it has
 * interrupted looks whether something is wrong. PostgreSQL's executor of paths looks at two
 * things with every item: at the depth of the stack, and at interrupts. The timer makes the
 * stack look too deep. A request to cancel the query would do as well, but there is one for
 * everybody: ours could not be told from one of the user or of statement_timeout that comes at
 * the same moment, and one that comes too late would cancel what runs next. As it is, those
 * stay what they are, and nothing is left behind: the base of the stack is that of before
 * when the evaluation ends, and when an error or a message is about to be reported.
 *
 * Time is counted in ticks of the timer during which something was evaluated, so that it
 * need not be asked for with every condition. A process that is not given the processor gets
 * one tick for many.
 */
#include "postgres.h"

#include <signal.h>

#include "conditions/limits.h"
#include "miscadmin.h"
#include "nodes/memnodes.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"


/* The stack is never within max_stack_depth of this address. */
#define FAR_AWAY ((pg_stack_base_t) 1)

static TimeoutId timer = MAX_TIMEOUTS;	/* that: not registered */
static int	narmed = 0;

/* What the timer looks at, and what it has found. */
static volatile MemoryContext watched = NULL;
static volatile sig_atomic_t ticks = 0;
static volatile sig_atomic_t exceeded = ATLAS_WITHIN_LIMITS;
static volatile pg_stack_base_t stack_base;	/* while exceeded: the real one */
static ErrorContextCallback on_error;

/* The timer: runs in a signal handler. */
static void
look_at_evaluation(void)
{
	if (watched == NULL || exceeded != ATLAS_WITHIN_LIMITS)
		return;
	ticks++;
	if (ticks > ATLAS_CONDITION_TIME / ATLAS_TICK)
		exceeded = ATLAS_TIME_IS_UP;
	else if (watched->mem_allocated > (Size) ATLAS_CONDITION_MEMORY * 1024 * 1024)
		exceeded = ATLAS_MEMORY_IS_UP;
	else
		return;
	stack_base = set_stack_base();
	restore_stack_base(FAR_AWAY);
}

void
atlas_limits_arm(void)
{
	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, look_at_evaluation);
	if (narmed++ == 0)
		enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ATLAS_TICK), ATLAS_TICK);
}

void
atlas_limits_disarm(void)
{
	if (--narmed == 0)
		disable_timeout(timer, false);
}

void
atlas_limits_next_event(void)
{
	ticks = 0;
}

int
atlas_limits_ticks(void)
{
	return ticks;
}

/* Gives the stack its base back. The timer does nothing any more. */
static void
stop_watching(void)
{
	watched = NULL;
	if (exceeded != ATLAS_WITHIN_LIMITS)
		restore_stack_base(stack_base);
}

/*
 * Called before an error is reported, and before other code is asked for its context; but also
 * for a message to the log or the client. After a message the evaluation goes on, and the timer looks at it again.
 */
static void
error_in_evaluation(void *arg)
{
	int			category = ERRCODE_TO_CATEGORY(geterrcode());
	bool		is_message = category == ERRCODE_SUCCESSFUL_COMPLETION || category == ERRCODE_WARNING;
	MemoryContext context = watched;

	stop_watching();
	if (!is_message)
		return;
	exceeded = ATLAS_WITHIN_LIMITS;
	watched = context;
}

void
atlas_limits_watch(MemoryContext context)
{
	exceeded = ATLAS_WITHIN_LIMITS;
	on_error.callback = error_in_evaluation;
	on_error.previous = error_context_stack;
	error_context_stack = &on_error;
	watched = context;
}

AtlasLimit
atlas_limits_unwatch(void)
{
	AtlasLimit	result;

	stop_watching();
	result = exceeded;
	exceeded = ATLAS_WITHIN_LIMITS;
	error_context_stack = on_error.previous;
	return result;
}
