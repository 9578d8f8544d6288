#!/usr/bin/env python3
"""Checks that files stay short enough to be read, and that what base has once is not written again.

Usage: files.py SOURCE-ROOT [-v]. A file has 600 lines at most: what is longer has parts with names of their own. Those that were longer when
this check came stand in the table below with the most they may have, which only ever gets less; -v tells how long they are. And the struct
that a member lies in is found by container() of postern/list.h, not by offsetof and a cast in place.
"""
import pathlib
import re
import sys

MOST = 600
KNOWN = {
}
ROOMS = ["include", "relay", "queue", "conf", "bench", "tests"]
BY_HAND = re.compile(r"\(char \*\)\s*\w+\s*-\s*offsetof\(")


def main():
    root, verbose = pathlib.Path(sys.argv[1]), "-v" in sys.argv
    seen = breaches = 0
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.[ch]")):
            name, text = str(path.relative_to(root)), path.read_text()
            seen += 1
            lines, most = text.count("\n"), KNOWN.get(name, MOST)
            if lines > most:
                print(f"{name}:{lines}: has {lines} lines, {most} may be")
                breaches += 1
            elif verbose and name in KNOWN:
                print(f"{name}: {lines}, {most} may be" + (": no longer needs its line in the table" if lines <= MOST else ""))
            if room != "tests":
                for m in BY_HAND.finditer(text):
                    print(f"{name}:{text.count(chr(10), 0, m.start()) + 1}: container() does this")
                    breaches += 1
    for name in KNOWN:
        if not (root / name).exists():
            print(f"{name} is gone: take it out of the table in tests/lint/files.py")
            breaches += 1
    print(f"{seen} files, {breaches} breaches")
    return 1 if breaches or seen < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
