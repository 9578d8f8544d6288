#!/usr/bin/env python3
"""Checks that the files of a room call each other in one direction: no circle of more than two files.

Usage: circles.py LIBRARY [MOST]: who calls whom is read out of the symbols of the library's objects. MOST (0 where not given) is how many
files may still lie in larger circles: it only ever gets less. With -v the calls inside each circle are told, and else the reading order.
"""
import re
import subprocess
import sys

TOGETHER = 2  # files that may call each other: a thing and its half


def objects(library):
    """File → (symbols it defines, symbols it wants)."""
    out = subprocess.run(["nm", "-P", library], check=True, capture_output=True, text=True).stdout
    files, defined, wanted = {}, None, None
    for line in out.splitlines():
        head = re.match(r".*?\[?([\w.-]+?)(\.c)?\.o\]?:$", line)
        if head:
            defined, wanted = files.setdefault(head.group(1), (set(), set()))
            continue
        parts = line.split()
        if len(parts) >= 2 and defined is not None:
            if parts[1] in "TDRBC":
                defined.add(parts[0])
            elif parts[1] == "U":
                wanted.add(parts[0])
    return files


def calls(files):
    """File → {file that it calls: the symbols}."""
    owner = {symbol: name for name, (defined, _) in files.items() for symbol in defined}
    graph = {name: {} for name in files}
    for name, (_, wanted) in files.items():
        for symbol in wanted:
            if owner.get(symbol, name) != name:
                graph[name].setdefault(owner[symbol], set()).add(symbol)
    return graph


def components(graph):
    """Strongly connected components, callees first (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def main():
    args = [a for a in sys.argv[1:] if a != "-v"]
    verbose = "-v" in sys.argv
    files = objects(args[0])
    graph, most = calls(files), int(args[1]) if len(args) > 1 else 0
    found = components(graph)
    circles = [c for c in found if len(c) > TOGETHER]
    inside = sum(len(c) for c in circles)
    for circle in circles:
        print(f"circle of {len(circle)}: {' '.join(circle)}")
        for name in circle if verbose or inside > most else []:
            for other in sorted(set(graph[name]) & set(circle)):
                print(f"  {name} -> {other}: {' '.join(sorted(graph[name][other]))}")
    if verbose:
        print("order:", " ".join("+".join(c) for c in found))
    print(f"{len(files)} files, {inside} in circles, {most} may be")
    if inside < most:
        print(f"fewer than before: write {inside} in tests/lint/meson.build, so that it stays so")
    return 1 if inside > most or not files else 0


if __name__ == "__main__":
    sys.exit(main())
