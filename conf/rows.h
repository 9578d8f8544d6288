/* How rows of option tables are written. ROWS_OF: the struct that the sections fill. */
#pragma once

#include "option.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Offset of a member; does not compile when its type is not one of those named. */
#define AT(s, m, t) (offsetof(s, m) + (size_t)0 * _Generic(((s *)0)->m, t : 1))
#define AT_TEXT(s, m)                                                                              \
	(offsetof(s, m) + (size_t)0 * _Generic(((s *)0)->m, char * : 1, const char * : 1))

#define TEXT(name, s, m, type, def, flags, help)                                                   \
	{                                                                                          \
		name, OPTION_##type, AT_TEXT(s, m), 0, def, 0, 0, help, flags, NULL                \
	}
#define FLAG(name, s, m, def, flags, help)                                                         \
	{                                                                                          \
		name, OPTION_BOOL, AT(s, m, bool), 0, def, 0, 0, help, flags, NULL                 \
	}
#define NUMBER(name, s, m, def, min, max, flags, help)                                             \
	{                                                                                          \
		name, OPTION_NUMBER, AT(s, m, uint32_t), 0, def, min, max, help, flags, NULL       \
	}
#define SIZE(name, s, m, def, min, max, flags, help)                                               \
	{                                                                                          \
		name, OPTION_SIZE, AT(s, m, uint64_t), 0, def, min, max, help, flags, NULL         \
	}
#define DURATION(name, s, m, def, min, max, flags, help)                                           \
	{                                                                                          \
		name, OPTION_DURATION, AT(s, m, ms_t), 0, def, min, max, help, flags, NULL         \
	}
#define RATE(name, s, m, def, flags, help)                                                         \
	{                                                                                          \
		name, OPTION_RATE, AT(s, m, struct rate), 0, def, 0, 0, help, flags, NULL          \
	}
#define CHOICE(name, s, m, enumeration, def, words, flags, help)                                   \
	{                                                                                          \
		name, OPTION_CHOICE, AT(s, m, enumeration), 0, def, 0, 0, help, flags, words       \
	}
#define LIST(name, s, m, n, type, ctype, def, max, flags, help)                                    \
	{                                                                                          \
		name, OPTION_##type, AT(s, m, ctype), AT(s, n, unsigned), def, 0, max, help,       \
			flags, NULL                                                                \
	}
#define UNBOUND(name, type, def, max, flags, help)                                                 \
	{                                                                                          \
		name, OPTION_##type, 0, 0, def, 0, max, help, (flags) | OPTION_UNBOUND, NULL       \
	}

#define SECOND 1000ll
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    1024ll
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define TIB    (1024 * GIB)

#define REQUIRED OPTION_REQUIRED
#define LIVE	 OPTION_LIVE
#define ZERO	 OPTION_ZERO

#define SINGLE(name, help, options)                                                                \
	{                                                                                          \
		name, help, options, COUNT(options), false, false, 0, 0, 0, 0                      \
	}
#define TITLED(name, help, options, s, array, n, title)                                            \
	{                                                                                          \
		name, help, options, COUNT(options), true, false, sizeof(s),                       \
			AT(ROWS_OF, array, s *), AT(ROWS_OF, n, unsigned), AT_TEXT(s, title)       \
	}
#define REPEATED(name, help, options, s, array, n, title)                                          \
	{                                                                                          \
		name, help, options, COUNT(options), true, true, sizeof(s),                        \
			AT(ROWS_OF, array, s *), AT(ROWS_OF, n, unsigned), AT_TEXT(s, title)       \
	}
