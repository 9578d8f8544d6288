/* Mailboxes; see mpsc.h. Producers push on top of a list with one compare-and-swap; the consumer
 * takes the whole list and turns it round. Whoever pushes onto an empty list wakes the consumer,
 * so a batch costs one wake-up. */
#include "postern/mpsc.h"

#include <stddef.h>

#include "postern/must.h"

void mpsc_init(struct mpsc *q, void (*wake)(void *arg), void *arg)
{
	atomic_init(&q->head, NULL);
	q->wake = wake;
	q->arg = arg;
}

/* newest..oldest linked by next. The release pairs with the acquire of mpsc_take_all: the consumer
 * sees the nodes as their producers left them. Nodes are only ever taken all at once, so there is
 * no ABA case: a head seen again has the same meaning, "push on top of me". */
static void push(struct mpsc *q, struct mpsc_node *newest, struct mpsc_node *oldest)
{
	struct mpsc_node *head = atomic_load_explicit(&q->head, memory_order_relaxed);

	/* read before the push: once pushed, the consumer may free the box with its last message */
	void (*wake)(void *arg) = q->wake;
	void *arg = q->arg;

	do
		oldest->next = head;
	while (!atomic_compare_exchange_weak_explicit(
		&q->head, &head, newest, memory_order_release, memory_order_relaxed));
	if (!head && wake)
		wake(arg);
}

void mpsc_post(struct mpsc *q, struct mpsc_node *n)
{
	push(q, n, n);
}

static struct mpsc_node *reverse(struct mpsc_node *n)
{
	struct mpsc_node *done = NULL;

	while (n) {
		struct mpsc_node *next = n->next;

		n->next = done;
		done = n;
		n = next;
	}
	return done;
}

void mpsc_post_chain(struct mpsc *q, struct mpsc_node *first, struct mpsc_node *last)
{
	must(first && last);
	last->next = NULL;
	push(q, reverse(first), first);
}

struct mpsc_node *mpsc_take_all(struct mpsc *q)
{
	/* the plain load spares an empty box the locked exchange, and its line the bouncing */
	if (mpsc_empty(q))
		return NULL;
	return reverse(atomic_exchange_explicit(&q->head, NULL, memory_order_acquire));
}

bool mpsc_empty(const struct mpsc *q)
{
	return !atomic_load_explicit(&q->head, memory_order_relaxed);
}

void mpsc_batch_add(struct mpsc_batch *b, struct mpsc_node *n)
{
	n->next = NULL;
	if (b->last)
		b->last->next = n;
	else
		b->first = n;
	b->last = n;
}

void mpsc_batch_post(struct mpsc_batch *b, struct mpsc *q)
{
	if (b->first)
		mpsc_post_chain(q, b->first, b->last);
	*b = (struct mpsc_batch){ 0 };
}
