/* replies.rules as it was when this was built (made by embed.sh). */
#pragma once

extern const char builtin_rules[];
