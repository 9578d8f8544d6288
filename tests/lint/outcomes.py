#!/usr/bin/env python3
"""Checks that the error rule is true: what a caller tells apart, the function's header lists; and that no code decides by a name's letters.

Usage: outcomes.py SOURCE-ROOT [-v]. Where a value that a function of ours returned is compared with -ESOMETHING, the comment at that
function's declaration (or definition, for one of the same file) has to name ESOMETHING, or say whose errno it is ("-errno of open"). A function has one form of answer: not -1 here and
-ESOMETHING there. Names that a table has (events, states, reasons) are for people: code compares the enum. Prints each breach as file:line
and ends with 1 if there was one. (doc/HACKING.md, Errors)
"""
import pathlib
import re
import sys

ROOMS = ["relay", "queue", "conf"]
COMMENT = re.compile(r"/\*.*?\*/", re.S)
# A declaration or definition at the left margin, with the comment that stands right above it or behind it
FUNCTION = re.compile(r"^(?:static |inline |_Noreturn |extern )*(?:const )?(?:struct |enum |unsigned )*\w+ \**(\w+)\(([^;{}]*)\)[^;{}()]*([;{])", re.M)
COMPARED = re.compile(r"\b(\w+) *[!=]= *-(E[A-Z0-9]+)\b")
TABLES = [("include/postern/events.h", "LOG_EVENTS"), ("include/postern/policy.h", "POLICY_EVENTS"), ("include/postern/policy_state.h", "POLICY_STATES")]
# Words that are options or keys of a request as well
PLAIN = {"held", "http", "root"}


def comments_of(text):
    """Function → what comments say of it: those of its paragraph up to it, and the one behind it."""
    said = {}
    for m in FUNCTION.finditer(text):
        begin = text.rfind("\n\n", 0, m.start())
        end = text.find("\n", m.end())
        found = COMMENT.findall(text[max(begin, 0):end if end > 0 else len(text)])
        said[m.group(1)] = said.get(m.group(1), "") + " ".join(found)
    return said


def functions_of(text):
    """(name, start, body) of each definition."""
    for m in FUNCTION.finditer(text):
        if m.group(3) == "{":
            end = text.find("\n}", m.end())
            yield m.group(1), m.end(), text[m.end():end]


def origin(body, at, name):
    """The function whose answer the variable has: that of the last assignment before, if it is a call."""
    last = None
    line = body[body.rfind("\n", 0, at) + 1:at]
    depth = len(line) - len(line.lstrip("\t")) if "else if" in line else None  # what other branches do does not count
    for m in re.finditer(r"(?<![\w.>])%s *= *(?!=)([^;]*);" % name, body[:at]):
        before = body[body.rfind("\n", 0, m.start()) + 1:m.start()]
        if depth is not None and len(before) - len(before.lstrip("\t")) > depth:
            continue
        call = re.match(r"(?:[^;=?]*\? *)?(\w+)\(", m.group(1))
        last = call.group(1) if call else None
    return last


def check_file(name, text, said, own):
    for function, start, body in functions_of(text):
        for m in COMPARED.finditer(body):
            callee = origin(body, m.start(), m.group(1))
            listed = own.get(callee, "") + said.get(callee, "")
            known = callee in own or callee in said
            if known and m.group(2) not in listed and "errno" not in listed:
                yield start + m.start(), f"{callee} is not said to answer -{m.group(2)}"
        if re.search(r"\breturn -1;", body) and re.search(r"\breturn -E[A-Z]+", body):
            yield start, f"{function} answers -1 in one place and an errno in another"


def names_of(root):
    for path, table in TABLES:
        text = (root / path).read_text()
        begin = text.index(f"#define {table}(X)")
        end = re.compile(r"[^\\]\n").search(text, begin).end()
        yield from re.findall(r'X\([A-Z_0-9]+, *"([a-z-]+)"', text[begin:end])


def check_names(text, names):
    for m in re.finditer(r'\b(?:str(?:case)?n?cmp|strcasecmp|memcmp|strstr)\s*\([^;]*?"([a-z-]+)"', text):
        if m.group(1) in names:
            yield m.start(), f'compares with "{m.group(1)}", which is a name in a table: compare the enum'


def main():
    root, verbose = pathlib.Path(sys.argv[1]), "-v" in sys.argv
    said = {}
    for room in ["include"] + ROOMS:
        for path in sorted((root / room).rglob("*.h")):
            for f, c in comments_of(path.read_text()).items():
                said[f] = said.get(f, "") + c
    names = set(names_of(root)) - PLAIN
    breaches, seen, compared = [], 0, 0
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.c")):
            text, name = path.read_text(), str(path.relative_to(root))
            seen += 1
            compared += len(COMPARED.findall(text))
            found = list(check_file(name, text, said, comments_of(text)))
            if not name.startswith(("relay/cli/", "conf/")):
                found += list(check_names(text, names))
            breaches += [f"{name}:{text.count(chr(10), 0, at) + 1}: {what}" for at, what in found]
    print("\n".join(breaches + [f"{seen} files, {compared} comparisons, {len(names)} names, {len(breaches)} breaches"]))
    return 1 if breaches or seen < 150 or compared < 50 or len(names) < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
