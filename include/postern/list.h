/* Doubly linked lists of embedded nodes, with a head that is no element. No memory, no threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list {
	struct list *prev, *next;
};
static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_add(struct list *head, struct list *l) /* at the end */
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}
static inline void list_del(struct list *l) /* out of whichever it is in, if any */
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* The struct whose member that pointer points to. */
#define container(p, type, member) ((type *)((uintptr_t)(p)-offsetof(type, member)))
