#!/bin/sh
# Prints a C file that holds the text of FILE as NAME: embed.sh FILE NAME
set -eu
printf '/* Made from %s; do not edit. */\n#include "page.h"\n\nconst char %s[] =\n' "${1##*/}" "$2"
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/.*/	"&\\n"/' "$1"
printf '\t"";\n'
