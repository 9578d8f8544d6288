/* MAIL and RCPT: the envelope of the inbound state machine. Called from its table of states; pure.
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>

#include "postern/must.h"
#include "postern/text.h"

#define KEY_MAX	     272 /* SMTP_DOMAIN_MAX, or an address literal */
#define FIRST_ROOM   4u
#define WALK_MAX     16u /* recipients up to which a walk is as good as a hash table */
#define REPLY_MEMORY "452 4.3.1 Not enough memory for this envelope; try again later"

static char *lower(char *text)
{
	for (char *p = text; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p |= 0x20;
	}
	return text;
}

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	}
	return true;
}

static void literal_key(char *out, struct slice domain)
{
	struct addr a = { 0 };
	char text[ADDR_TEXT_MAX];
	int r = smtp_literal_parse(&a, domain);

	must(r == 0); /* or else the address would not have been parsed */
	addr_format(text, &a);
	snprintf(out, KEY_MAX, a.family == ADDR_V6 ? "[IPv6:%s]" : "[%s]", text);
}

/* The name under which queue and routing know a domain. NULL, or the reply that refuses it. */
static const char *domain_key(const struct smtp_server *s, char out[KEY_MAX], struct slice domain)
{
	int r;

	if (domain.p[0] == '[') {
		literal_key(out, domain);
		return NULL;
	}
	if (is_ascii(domain)) {
		memcpy(out, domain.p, domain.n);
		out[domain.n] = '\0';
		lower(out);
		return NULL;
	}
	if (!s->p->domain_to_ascii)
		return "550 5.6.7 Non-ASCII domains are not accepted here; give the name in its "
		       "xn-- form";
	r = s->p->domain_to_ascii(domain, out, KEY_MAX);
	if (r == -ENOMEM)
		return REPLY_MEMORY;
	if (r || !is_ascii(slice_of(lower(out))) || !smtp_domain_valid(slice_of(out)))
		return "550 5.1.2 Domain is not a valid internationalized name";
	return NULL;
}

/* ---- MAIL ---- */

bool server_may_relay(const struct smtp_server *s)
{
	return s->peer.trusted || s->user[0];
}

static enum smtp_reject mail_refusal(const struct smtp_server *s, const char **line)
{
	if (s->p->require_tls && !s->peer.tls) {
		*line = "530 5.7.0 Encryption required; send STARTTLS first";
		return REJECT_TLS_REQUIRED;
	}
	if (s->p->require_auth && !s->user[0]) {
		*line = "530 5.7.0 Authentication required; send AUTH first";
		return REJECT_AUTH_REQUIRED;
	}
	return REJECT_NONE;
}

static const char *pool_of(const struct smtp_server *s, struct slice domain)
{
	char key[KEY_MAX];
	const char *pool = NULL;

	if (s->user_pool[0])
		return s->user_pool;
	if (s->p->pool_for_sender && domain.n > 0 && !domain_key(s, key, domain))
		pool = s->p->pool_for_sender(s->p->arg, slice_of(key));
	return pool ? pool : s->p->pool;
}

/* Decodes xtext into the message's arena; what is between bytes over 127 is decoded on its own,
 * since they stand for themselves. NULL when memory is out: syntax was looked at by the command
 * parser. */
static const char *decoded(struct smtp_server *s, struct slice in)
{
	size_t i = 0;

	buf_reset(&s->scratch);
	while (i < in.n) {
		size_t from = i;

		while (i < in.n && (unsigned char)in.p[i] < 0x80)
			i++;
		if (i > from && xtext_decode(&s->scratch, (struct slice){ in.p + from, i - from }))
			return NULL;
		from = i;
		while (i < in.n && (unsigned char)in.p[i] >= 0x80)
			i++;
		if (i > from && buf_add(&s->scratch, in.p + from, i - from))
			return NULL;
	}
	return arena_strdup(&s->message->arena, buf_slice(&s->scratch));
}

static int fill_envelope(struct smtp_server *s, const struct smtp_command *c)
{
	struct message *m = s->message;
	const char *pool = pool_of(s, c->path.domain);

	m->sender = arena_strdup(&m->arena, c->path.address);
	m->pool = arena_strdup(&m->arena, slice_of(pool ? pool : ""));
	if (c->envid.p)
		m->envid = decoded(s, c->envid);
	m->body_type = (uint8_t)c->body;
	m->ret = (uint8_t)c->ret;
	if (c->smtputf8)
		m->flags |= MESSAGE_SMTPUTF8;
	return m->sender && m->pool && (m->envid || !c->envid.p) ? 0 : -ENOMEM;
}

int server_mail(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	const char *line = NULL;
	enum smtp_reject why = mail_refusal(s, &line);

	if (s->p->transactions_max && s->messages >= s->p->transactions_max)
		return server_end(s, out, REJECT_MESSAGES,
			"421 4.7.0 Enough messages for one connection; connect again");
	s->refused = true; /* until the end of this function says otherwise */
	if (why)
		return server_refuse(s, out, why, line);
	if (c->size_given && s->p->size_max && c->size > s->p->size_max)
		return server_defer(s, out, REJECT_SIZE,
			"552 5.3.4 Message is larger than this server accepts");
	s->message = message_new();
	if (!s->message || fill_envelope(s, c)) {
		server_reset(s);
		s->refused = true;
		return server_defer(s, out, REJECT_MEMORY, REPLY_MEMORY);
	}
	s->refused = false;
	s->state = STATE_MAIL;
	return server_say(out, "250 2.1.0 Ok");
}

/* ---- RCPT ---- */

static uint32_t hash_add(uint32_t h, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 16777619u;
	return h;
}

static uint32_t recipient_hash(const struct smtp_server *s, struct slice local, struct slice key)
{
	return hash_add(hash_add((uint32_t)s->session ^ 2166136261u, local), key);
}

/* A domain has no '@', so the last one ends the local part. */
static struct slice local_of(const struct recipient *r)
{
	const char *at = strrchr(r->address, '@');

	return (struct slice){ r->address, (size_t)(at - r->address) };
}

static bool is_recipient(const struct recipient *r, struct slice local, struct slice key)
{
	return slice_eq(slice_of(r->domain), key) && slice_eq(local_of(r), local);
}

/* Where the recipient is, or where it would be entered. */
static uint32_t *find_slot(struct smtp_server *s, struct slice local, struct slice key)
{
	const struct recipient_set *set = &s->set;
	uint32_t i = recipient_hash(s, local, key) & (set->nslots - 1);

	while (set->slots[i] &&
		!is_recipient(&s->message->recipients[set->slots[i] - 1], local, key))
		i = (i + 1) & (set->nslots - 1);
	return &set->slots[i];
}

static bool is_known(struct smtp_server *s, struct slice local, struct slice key)
{
	const struct message *m = s->message;

	if (s->set.nslots)
		return *find_slot(s, local, key) != 0;
	for (uint32_t i = 0; i < m->nrecipients; i++) {
		if (is_recipient(&m->recipients[i], local, key))
			return true;
	}
	return false;
}

static int grow_set(struct smtp_server *s, uint32_t n)
{
	struct message *m = s->message;

	s->set.slots = arena_alloc(&m->arena, n * sizeof(*s->set.slots));
	s->set.nslots = s->set.slots ? n : 0;
	if (!s->set.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->nrecipients; i++) {
		const struct recipient *r = &m->recipients[i];

		*find_slot(s, local_of(r), slice_of(r->domain)) = i + 1;
	}
	return 0;
}

static int make_room(struct smtp_server *s)
{
	struct message *m = s->message;
	uint32_t room = s->set.room ? s->set.room * 2 : FIRST_ROOM;
	struct recipient *more;

	if (m->nrecipients < s->set.room)
		return 0;
	more = arena_alloc(&m->arena, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	if (m->nrecipients)
		memcpy(more, m->recipients, m->nrecipients * sizeof(*more));
	m->recipients = more;
	s->set.room = room;
	return 0;
}

/* Asked before the list of recipients doubles: whoever names many has to have room for them. */
static bool has_room(struct smtp_server *s)
{
	const struct message *m = s->message;

	if (!s->peer.envelope_room || s->set.room == 0 || m->nrecipients < s->set.room)
		return true;
	return s->peer.envelope_room(
		s->peer.arg, m->arena.total + s->set.room * sizeof(struct recipient));
}

static int add_recipient(struct smtp_server *s, const struct smtp_command *c, const char *key)
{
	struct message *m = s->message;
	struct recipient *r;

	if (make_room(s))
		return -ENOMEM;
	if (m->nrecipients >= WALK_MAX && m->nrecipients * 2 >= s->set.nslots &&
		grow_set(s, s->set.room * 4))
		return -ENOMEM;
	r = &m->recipients[m->nrecipients];
	*r = (struct recipient){
		.address = arena_strdup(&m->arena, c->path.address),
		.domain = arena_strdup(&m->arena, slice_of(key)),
		.orcpt = c->orcpt.p ? decoded(s, c->orcpt) : NULL,
		.notify = c->notify,
		.index = m->nrecipients,
	};
	if (!r->address || !r->domain || (c->orcpt.p && !r->orcpt))
		return -ENOMEM;
	m->nrecipients++;
	if (s->set.nslots)
		*find_slot(s, c->path.local, slice_of(key)) = m->nrecipients;
	return 0;
}

static int refuse_relaying(struct smtp_server *s, struct buf *out)
{
	char line[ADDR_TEXT_MAX + 128];

	snprintf(line, sizeof(line),
		"550 5.7.1 Relaying denied for %s; authenticate, or have this network allowed",
		s->peer.client_text);
	return server_refuse(s, out, REJECT_RELAY, line);
}

/* Mail for postmaster here, without a domain or at our own name, is for somebody elsewhere: this
 * relay has no mailboxes. */
static bool is_our_postmaster(const struct smtp_server *s, const struct smtp_path *path)
{
	return slice_case_eq(path->local, SLICE_LIT("postmaster")) &&
	       (path->domain.n == 0 || slice_case_eq(path->domain, slice_of(s->p->hostname)));
}

/* Without the first label, where what is left has still two. */
static const char *parent_domain(const char *hostname)
{
	const char *dot = strchr(hostname, '.');

	return dot && strchr(dot + 1, '.') ? dot + 1 : hostname;
}

static int postmaster_path(
	const struct smtp_server *s, struct smtp_path *ret, char *text, size_t max)
{
	if (s->p->postmaster)
		snprintf(text, max, "%s", s->p->postmaster);
	else
		snprintf(text, max, "postmaster@%s", parent_domain(s->p->hostname));
	return smtp_mailbox_parse(ret, slice_of(text), false);
}

static int enter_recipient(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	char key[KEY_MAX];
	const char *why = domain_key(s, key, c->path.domain);

	if (why && why[0] == '4')
		return server_defer(s, out, REJECT_MEMORY, why);
	if (why)
		return server_refuse_recipient(s, out, why);
	if (!is_known(s, c->path.local, slice_of(key))) {
		if (s->p->recipients_max && s->message->nrecipients >= s->p->recipients_max)
			return server_defer(s, out, REJECT_RECIPIENTS,
				"452 4.5.3 Too many recipients; send the others in another "
				"message");
		if (!has_room(s))
			return server_defer(s, out, REJECT_MEMORY,
				"452 4.5.3 Too many recipients in open transactions; try again "
				"later");
		if (add_recipient(s, c, key))
			return server_defer(s, out, REJECT_MEMORY, REPLY_MEMORY);
	}
	s->state = STATE_RCPT;
	return server_say(out, "250 2.1.5 Ok");
}

int server_rcpt(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	struct smtp_command elsewhere = *c;
	char text[SMTP_MAILBOX_MAX + 1];

	if (c->path.utf8 && !(s->message->flags & MESSAGE_SMTPUTF8))
		return server_refuse_recipient(
			s, out, "553 5.6.7 Non-ASCII address; give the SMTPUTF8 parameter to MAIL");
	if (!server_may_relay(s))
		return refuse_relaying(s, out);
	if (!is_our_postmaster(s, &c->path))
		return enter_recipient(s, c, out);
	if (postmaster_path(s, &elsewhere.path, text, sizeof(text)))
		return server_refuse_recipient(
			s, out, "550 5.1.1 No mailboxes here; give the address with its domain");
	return enter_recipient(s, &elsewhere, out);
}
