#!/usr/bin/env python3
"""Checks that pure rooms stay pure: the undefined symbols of their libraries against a list of what they may call.

Usage: pure.py LIBRARY BASE-LIBRARY [PURE-LIBRARY …]: symbols defined by the other libraries are allowed.
"""
import subprocess
import sys

# Memory, strings and arithmetic; nothing that asks the system anything.
ALLOWED = set("""
malloc calloc realloc free memcpy memmove memset memcmp memchr memrchr memmem strlen strnlen strcmp strncmp strcasecmp strncasecmp
strchr strrchr strstr strcpy strncpy strcat strspn strcspn strpbrk strdup strndup snprintf vsnprintf __snprintf_chk __vsnprintf_chk
__memcpy_chk __memmove_chk __memset_chk __strcpy_chk __strcat_chk __stpcpy_chk strtol strtoul strtoll strtoull strtod qsort bsearch
abs labs log exp pow sqrt floor ceil round log2 log1p fmin fmax lround llround fabs explicit_bzero __explicit_bzero_chk
__ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc tolower toupper isalnum isalpha isdigit isspace isxdigit
__stack_chk_fail _GLOBAL_OFFSET_TABLE_ abort __errno_location exit
__isoc99_sscanf rawmemchr stpcpy strtok_r strsep __isoc23_strtoul __isoc23_strtol memccpy mempcpy __strncpy_chk __strncat_chk strncat
""".split())
# Base functions that ask the system: not for pure rooms.
FORBIDDEN_BASE = {"clock_mono_ms", "clock_mono_us", "clock_wall_ms", "rng_entropy", "log_open", "log_emit", "log_event", "mpsc_post", "zone_load"}
SANITIZER = ("__asan", "__ubsan", "__tsan", "__sanitizer", "__msan", "__start_", "__stop_", "__gcov", "__llvm")


def symbols(library, defined):
    flag = "--defined-only" if defined else "--undefined-only"
    out = subprocess.run(["nm", flag, "-P", library], check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in out.splitlines() if line and not line.endswith(":") and " " in line}


def main():
    library, others = sys.argv[1], sys.argv[2:]
    own = symbols(library, True)
    known = set().union(*(symbols(o, True) for o in others)) if others else set()
    bad = sorted(s for s in symbols(library, False) - own
                 if (s in FORBIDDEN_BASE or s not in ALLOWED | known) and not s.startswith(SANITIZER))
    for s in bad:
        print(f"{library}: calls {s}")
    print(f"{len(own)} symbols defined, {len(bad)} forbidden calls")
    return 1 if bad or not own else 0


if __name__ == "__main__":
    sys.exit(main())
