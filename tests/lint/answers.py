#!/usr/bin/env python3
"""Checks that text of others reaches a terminal, or JSON, only by the functions that make it fit for that.

Usage: answers.py SOURCE-ROOT. In relay/cli and relay/daemon nothing but print.c writes to standard output and error; in relay/ops and relay/cli
strings go into JSON by json_text, entries into lists by answers_add. Prints each breach as file:line and ends with 1 if there was one.
"""
import pathlib
import re
import sys

# What writes: plots, keys, evidence and a trial of the disk into a file, wake-ups of a thread by its descriptor, and the one place.
WRITERS = {"relay/cli/print.c", "relay/cli/rehearse_svg.c", "relay/cli/key_file.c", "relay/cli/evidence.c", "relay/cli/doctor_machine.c", "relay/daemon/service.c", "relay/daemon/service_reload.c"}
PRINTS = re.compile(r"(?<![\w.>])(printf|puts|putchar|putc|fputs|fputc|fwrite|json_dumpf|perror|vprintf|write|dprintf)\s*\(|"
                    r"(?<!\w)v?fprintf\s*\(\s*(stderr|stdout)")
LISTS = re.compile(r"(?<!\w)(json_array_append_new|json_array_append|json_string|json_stringn|json_string_nocheck)\s*\(")
PACK = re.compile(r'json_pack\s*\(\s*"([^"]*)"\s*(?:,\s*"([^"]*)")?')


def values_of(form):
    """The letters of values in a json_pack format; keys are every other s."""
    keys, out = [], []
    expect_key = []
    for c in form:
        if c == "{":
            if expect_key and expect_key[-1] is False:
                expect_key[-1] = True
            expect_key.append(True)
        elif c in "}]":
            expect_key.pop()
        elif c == "[":
            if expect_key and expect_key[-1] is False:
                expect_key[-1] = True
            expect_key.append(None)
        elif c.isalpha():
            if expect_key and expect_key[-1] is True:
                keys.append(c)
                expect_key[-1] = False
            else:
                out.append(c)
                if expect_key and expect_key[-1] is False:
                    expect_key[-1] = True
    return out


def check(path, name):
    text = path.read_text()
    found = []
    if name.startswith(("relay/cli/", "relay/daemon/")) and name not in WRITERS:
        found += [(m.start(), f"{m.group(0)} goes past print.c") for m in PRINTS.finditer(text)]
    if name != "relay/ops/answer.c":
        found += [(m.start(), f"{m.group(1)} goes past answer.c") for m in LISTS.finditer(text)]
        for m in PACK.finditer(text):
            if "s" in values_of(m.group(1)) and m.group(2) != "command":  # a request's: refused as a whole
                found.append((m.start(), f'json_pack("{m.group(1)}"): texts go in by json_text'))
    return [f"{name}:{text.count(chr(10), 0, at) + 1}: {what}" for at, what in found]


def main():
    root = pathlib.Path(sys.argv[1])
    files = [f for room in ("cli", "daemon", "ops") for f in sorted((root / "relay" / room).glob("*.c"))]
    breaches = [b for path in files for b in check(path, str(path.relative_to(root)))]
    print("\n".join(breaches + [f"{len(files)} files, {len(breaches)} breaches"]))
    return 1 if breaches or len(files) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
