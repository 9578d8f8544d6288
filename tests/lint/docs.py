#!/usr/bin/env python3
"""Checks that documents stay true to the tree, and that files introduce themselves.

Usage: docs.py SOURCE-ROOT POSTERN. Every file that README.md, doc/ and the other documents name exists; links between documents
lead somewhere; no line of a document is over 120 columns; every .c opens with a comment; every option that
doc/LIMITS.md names is one, every option of the table is told by `postern check --defaults`, every command and metric that a document
gives exists, every event is in the manual page, every module of tests in a list. Prints each breach as file:line and ends with 1 if there was one.
"""
import pathlib
import re
import subprocess
import sys

DOCUMENTS = ["README.md", "CHANGELOG.md", "SECURITY.md", "doc/*.md", "doc/decisions/*.md"]
WIDTH = 120
ROOMS = ["relay", "queue", "conf", "include", "tests", "bench", "doc"]
# A file of the tree: with its folder, or by its name alone when it ends like one
PATH = re.compile(r"`((?:%s)/[\w./*-]+|[\w-]+\.(?:c|h|py|sh|rules))`" % "|".join(ROOMS))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
METRIC = re.compile(r"`postern_([a-z_]+)`")
COMMAND = re.compile(r"\bpostern ([a-z][a-z-]+)\b")
NOT_COMMANDS = {"is", "and"}


def names_of(root):
    found = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True).stdout.split()
    if not found:  # not a checkout: an unpacked archive
        found = [str(p.relative_to(root)) for top in ROOMS for p in (root / top).rglob("*") if p.is_file()]
    return {f.rsplit("/", 1)[-1] for f in found}


def exists(root, names, text):
    if "/" not in text:
        return text in names
    return any(root.glob(text.rstrip("/")))


def check_document(root, path, names, commands):
    metrics = [p.read_text() for p in (root / "relay/ops").glob("*.c")]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if len(line) > WIDTH:
            yield number, f"{len(line)} columns, more than {WIDTH}"
        for m in PATH.finditer(line):
            if not exists(root, names, m.group(1)):
                yield number, f"there is no {m.group(1)}"
        for m in METRIC.finditer(line):
            if not any(m.group(1) in text for text in metrics):
                yield number, f"there is no metric postern_{m.group(1)}"
        for m in LINK.finditer(line):
            if not (path.parent / m.group(1)).exists():
                yield number, f"the link leads nowhere: {m.group(1)}"
        for code in re.findall(r"`([^`]+)`", line):
            for m in COMMAND.finditer(code):
                if m.group(1) not in commands | NOT_COMMANDS:
                    yield number, f"there is no command postern {m.group(1)}"


def sources(root):
    for top in ["relay", "queue", "conf", "tests", "bench"]:
        yield from sorted((root / top).rglob("*.c"))


def check_sources(root):
    for path in sources(root):
        if not path.read_text().startswith("/*"):
            yield path, "opens without a comment: what it is, who calls it, on which thread"


def check_events(root):
    """Every event of the tables is in the manual page, and no line is begun by a name of its own."""
    page = (root / "conf/man/postern.8").read_text().replace("\\-", "-")
    policy = (root / "include/postern/policy.h").read_text()
    tables = (root / "include/postern/events.h").read_text() + policy[policy.index("#define POLICY_EVENTS"):]
    events = re.findall(r"X\([A-Z_0-9]+, *\"([a-z-]+)\"", tables[:tables.index("enum", tables.index("#define POLICY_EVENTS"))])
    families = re.findall(r"([a-z]+-)\*", page)
    for name in events:
        if not re.search(r"(?<![\w-])%s(?![\w-])" % name, page) and not name.startswith(tuple(families)):
            yield f"conf/man/postern.8: the event {name} is not told of"
    for path in sources(root):
        for m in re.finditer(r'log_line_begin\([^;"]*,\s*"', path.read_text()):
            if path.relative_to(root).parts[0] not in ("tests", "bench"):
                yield f"{path.relative_to(root)}: an event that is in no table"
    if len(events) < 40:
        yield "the tables of events were not found"


def check_lists(root):
    """A module of tests that is in no list is never run."""
    for folder in ["e2e", "crash"]:
        listed = (root / "tests" / folder / "meson.build").read_text()
        for path in sorted((root / "tests" / folder).glob("test_*.py")):
            name = path.stem[len("test_"):]
            if f"'{name}'" not in listed and f"'test_{name}'" not in listed:
                yield f"{path.relative_to(root)}:1: in no list of {path.parent.relative_to(root)}/meson.build: it is never run"


def table_options(root):
    """Names in the option tables: the rows' macros have the name first."""
    text = (root / "conf/options.c").read_text()
    return set(re.findall(r"^\t[A-Z_]+\(\"([a-z_0-9]+)\"", text, re.M))


def check_options(root, told):
    described = set(re.findall(r"^\s+([a-z_0-9]+)(?: =|\s+\()", told, re.M))
    for name in sorted(table_options(root) - described):
        yield f"conf/options.c: {name} is not told by postern check --defaults"
    for number, line in enumerate((root / "doc/LIMITS.md").read_text().splitlines(), 1):
        for name in re.findall(r"`([a-z]+_[a-z_]+)`", line):
            if name not in described and not name.startswith("postern_"):
                yield f"doc/LIMITS.md:{number}: {name} is no option"


def main():
    root, postern = pathlib.Path(sys.argv[1]), sys.argv[2]
    told = subprocess.run([postern, "check", "--defaults"], capture_output=True, text=True, check=True).stdout
    help_text = subprocess.run([postern, "--help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"^  ([a-z-]+) ", help_text, re.M))
    names = names_of(root)
    breaches = []
    documents = [p for pattern in DOCUMENTS for p in sorted(root.glob(pattern))]
    for path in documents:
        breaches += [f"{path.relative_to(root)}:{n}: {what}" for n, what in check_document(root, path, names, commands)]
    breaches += [f"{path.relative_to(root)}:1: {what}" for path, what in check_sources(root)]
    breaches += list(check_options(root, told)) + list(check_events(root)) + list(check_lists(root))
    print("\n".join(breaches + [f"{len(documents)} documents, {len(list(sources(root)))} sources, {len(breaches)} breaches"]))
    return 1 if breaches or len(documents) < 15 or len(commands) < 15 or len(table_options(root)) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
