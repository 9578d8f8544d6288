/* Finds all words of all rules in one pass over a reply (Aho and Corasick). Built by
 * classify_file.c when rules are read, asked by classify.c. Pure; immutable once it is built. */
#include <errno.h>
#include <stdlib.h>

#include "classify_rule.h"

#define NODES_MAX 32000u

int vocabulary_add(struct vocabulary *v, struct slice word)
{
	char **words;
	uint16_t *lengths;

	for (uint16_t i = 0; i < v->nwords; i++) {
		if (slice_eq(slice_of(v->word[i]), word))
			return i;
	}
	if (v->nwords == WORDS_MAX)
		return -ENOSPC;
	words = realloc(v->word, (v->nwords + 1u) * sizeof(*words));
	if (!words)
		return -ENOMEM;
	v->word = words;
	lengths = realloc(v->length, (v->nwords + 1u) * sizeof(*lengths));
	if (!lengths)
		return -ENOMEM;
	v->length = lengths;
	v->word[v->nwords] = slice_dup(word);
	if (!v->word[v->nwords])
		return -ENOMEM;
	v->length[v->nwords] = (uint16_t)word.n;
	return v->nwords++;
}

/* Bytes that no word has share class 0: from there everything leads back to the root. */
static size_t classes_number(struct vocabulary *v)
{
	size_t bytes = 1;

	v->nclasses = 1;
	for (uint16_t i = 0; i < v->nwords; i++) {
		for (const char *p = v->word[i]; *p; p++) {
			uint8_t *class = &v->class_of[(unsigned char)*p];

			if (*class == 0)
				*class = (uint8_t)v->nclasses++;
			bytes++;
		}
	}
	return bytes;
}

static void trie_fill(struct vocabulary *v)
{
	v->nnodes = 1;
	for (uint16_t i = 0; i < v->nwords; i++) {
		size_t node = 0;

		for (const char *p = v->word[i]; *p; p++) {
			uint16_t *next =
				&v->next[node * v->nclasses + v->class_of[(unsigned char)*p]];

			if (*next == 0)
				*next = v->nnodes++;
			node = *next;
		}
		v->out[node] = (uint16_t)(i + 1);
	}
}

/* Breadth first: each node's failure is known before its children are looked at. */
static void links_fill(struct vocabulary *v, uint16_t *queue, uint16_t *fail)
{
	size_t head = 0, tail = 0;

	for (size_t c = 1; c < v->nclasses; c++) {
		if (v->next[c])
			queue[tail++] = v->next[c];
	}
	while (head < tail) {
		size_t node = queue[head++];

		for (size_t c = 1; c < v->nclasses; c++) {
			uint16_t *next = &v->next[node * v->nclasses + c];
			uint16_t back = v->next[(size_t)fail[node] * v->nclasses + c];

			if (*next == 0) {
				*next = back;
				continue;
			}
			fail[*next] = back;
			v->link[*next] = v->out[back] ? back : v->link[back];
			queue[tail++] = *next;
		}
	}
}

int vocabulary_build(struct vocabulary *v)
{
	size_t nodes = classes_number(v);
	uint16_t *scratch = NULL;
	int r = 0;

	if (nodes > NODES_MAX)
		return -ENOSPC;
	v->next = calloc(nodes * v->nclasses, sizeof(*v->next));
	v->out = calloc(nodes, sizeof(*v->out));
	v->link = calloc(nodes, sizeof(*v->link));
	scratch = calloc(nodes * 2, sizeof(*scratch));
	if (!v->next || !v->out || !v->link || !scratch) {
		r = -ENOMEM;
		goto out;
	}
	trie_fill(v);
	links_fill(v, scratch, scratch + nodes);
out:
	free(scratch);
	return r;
}

static bool is_short(const struct vocabulary *v, uint16_t id)
{
	/* characters beyond ASCII take three bytes where words are not set apart by blanks */
	return v->length[id] <= 3 && !((unsigned char)v->word[id][0] & 0x80);
}

void vocabulary_find(const struct vocabulary *v, const struct reply_view *text, word_set *found)
{
	size_t node = 0;

	memset(found, 0, sizeof(*found));
	for (uint32_t i = 0; i < text->n; i++) {
		size_t at;

		node = v->next[node * v->nclasses + v->class_of[(unsigned char)text->text[i]]];
		for (at = v->out[node] ? node : v->link[node]; at; at = v->link[at]) {
			uint16_t id = (uint16_t)(v->out[at] - 1);

			/* the text starts and ends with a blank, so both neighbours exist */
			if (is_short(v, id) &&
				(text->text[i + 1] != ' ' || text->text[i - v->length[id]] != ' '))
				continue;
			found->bits[id / 64] |= UINT64_C(1) << (id % 64);
		}
	}
}

void vocabulary_deinit(struct vocabulary *v)
{
	for (uint16_t i = 0; i < v->nwords; i++)
		free(v->word[i]);
	free(v->word);
	free(v->length);
	free(v->next);
	free(v->out);
	free(v->link);
	memset(v, 0, sizeof(*v));
}
