#!/usr/bin/env python3
"""Keeps words that mean several things out of comments and documents: one word a thing (doc/GLOSSARY.md).

Usage: words.py SOURCE-ROOT. Looks into the comments of .c and .h files, and into documents and manual pages. Prints each breach as
file:line and what to say instead, and ends with 1 if there was one. KNOWN are places from before: they only ever get fewer.
"""
import pathlib
import re
import sys

# The words, what to say instead, and where they are banned; "" is everywhere.
BANNED = [
    (r"\bthe rest\b", "what is left, what follows, all others; a rest is what a lane that is found sick has", ""),
    (r"\b(?:makes?|made|making) way\b", "is given up, is put back, is closed for", ""),
    (r"\b(?:stands?|waits?|stand|wait) in line\b|\bthose in line\b", "waits its turn, waits for a place", ""),
    (r"\b(?:a|one|two|next|last|each|further) looks?\b(?!-)", "a check, a search, a try", ""),
    (r"\bwindows?\b", "a reading (of the due index), an interval (of time); a window is a lane's or a domain's", "queue"),
    (r"\bwindows?\b", "an interval", "relay/inbound"),
]
KNOWN = {}
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
TOPS = ["relay", "queue", "conf", "include", "tests", "bench"]
DOCUMENTS = ["README.md", "CHANGELOG.md", "SECURITY.md", "doc/*.md", "doc/decisions/*.md", "bench/README.md", "conf/man/*"]


def texts(root):
    """(path, text of comments or document with everything else blanked)."""
    for top in TOPS:
        for path in sorted((root / top).rglob("*.[ch]")):
            source = path.read_text()
            # strings first: one may hold what looks like a comment
            plain = STRING.sub(lambda m: " " * len(m.group()), source)
            kept = [" " if c != "\n" else c for c in source]
            for m in COMMENT.finditer(plain):
                kept[m.start():m.end()] = source[m.start():m.end()]
            yield path, "".join(kept)
    for pattern in DOCUMENTS:
        for path in sorted(root.glob(pattern)):
            if path.is_file():
                yield path, path.read_text()


def check(name, text):
    # a phrase may go on in the next line of a comment
    flat = re.sub(r"\n[ \t]*\*?", lambda m: " " * len(m.group()), text)
    for words, instead, room in BANNED:
        if room and not name.startswith(room + "/"):
            continue
        for m in re.finditer(re.sub(r" ", r" +", words), flat, re.I):
            yield text.count("\n", 0, m.start()) + 1, f'"{" ".join(m.group().split())}": say {instead}'


def main():
    root = pathlib.Path(sys.argv[1])
    breaches, known, files = [], 0, 0
    for path, text in texts(root):
        name = str(path.relative_to(root))
        found = sorted(check(name, text))
        files += 1
        if len(found) <= KNOWN.get(name, 0):
            known += len(found)
            if len(found) < KNOWN.get(name, 0):
                print(f"{name}: fewer than before, write {len(found)} into KNOWN, so that it stays so")
            continue
        breaches += [f"{name}:{line}: {what}" for line, what in found]
    print("\n".join(breaches + [f"{files} files, {len(breaches)} breaches, {known} known"]))
    return 1 if breaches or files < 300 else 0


if __name__ == "__main__":
    sys.exit(main())
