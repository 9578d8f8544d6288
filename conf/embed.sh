#!/bin/sh
# Prints a C file that holds the text of FILE: embed.sh FILE
set -eu
printf '/* Made from %s; do not edit. */\n#include "rules.h"\n\nconst char builtin_rules[] =\n' "${1##*/}"
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/.*/	"&\\n"/' "$1"
printf '\t"";\n'
