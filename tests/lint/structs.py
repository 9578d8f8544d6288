#!/usr/bin/env python3
"""Checks that no struct has more than 40 members: one that has knows too many things.

Usage: structs.py SOURCE-ROOT [-v]. Members of structs inside a struct count as its own. Those that had more when this check came stand
in the table below with their number, which only ever gets less. -v tells the largest.
"""
import pathlib
import re
import sys

MOST = 40
KNOWN = {
}
ROOMS = ["include", "relay", "queue", "conf", "bench"]
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRUCT = re.compile(r"\bstruct\s+(\w+)\s*\{")


def body_of(text, start):
    """What stands between the brace at start and its end."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start + 1:i]
    return text[start + 1:]


def members(body):
    """Declarators; enumerators of an enum that is declared in passing are none."""
    body = re.sub(r"\benum\s*\w*\s*\{[^}]*\}", "enum e", body)
    body = re.sub(r"^\s*#.*$", "", body, flags=re.M)
    count = 0
    while (inner := re.search(r"\b(struct|union)\s*\w*\s*\{([^{}]*)\}", body)):
        count += members(inner.group(2)) - (not re.match(r"\s*;", body[inner.end():]))
        body = body[:inner.start()] + "struct s" + (" " if not re.match(r"\s*;", body[inner.end():]) else " ANON") + body[inner.end():]
    for declaration in body.split(";"):
        declaration = re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", declaration))
        declaration = re.sub(r"\[[^\]]*\]", "", declaration).strip()
        if declaration and "ANON" not in declaration:
            count += declaration.count(",") + 1
    return count


def main():
    root, verbose = pathlib.Path(sys.argv[1]), "-v" in sys.argv
    found, breaches = {}, 0
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.[ch]")):
            text = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), path.read_text())
            for m in STRUCT.finditer(text):
                line = text.count("\n", 0, m.start()) + 1
                found[m.group(1), str(path.relative_to(root))] = (members(body_of(text, m.end() - 1)), line)
    for (name, path), (n, line) in sorted(found.items(), key=lambda kv: -kv[1][0]):
        if n > KNOWN.get(name, MOST):
            print(f"{path}:{line}: struct {name} has {n} members, {KNOWN.get(name, MOST)} may be")
            breaches += 1
        elif verbose and n > 25:
            print(f"{path}:{line}: struct {name} has {n} members")
    print(f"{len(found)} structs, {breaches} breaches")
    return 1 if breaches or len(found) < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
