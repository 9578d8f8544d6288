#!/usr/bin/env python3
"""Checks who may know whom: every #include of every room against the table below (README, Architecture).

Usage: rooms.py SOURCE-ROOT. Prints each breach as file:line and ends with 1 if there was one.
"""
import os
import pathlib
import re
import sys

# A room's own public headers in include/postern/, and the rooms below that it may include.
ROOMS = {
    "relay/base": (["must", "authors", "selector", "buf", "arena", "clock", "rng", "hash", "addr", "mpsc", "log", "text", "foreign", "message", "zone", "counter", "events", "list", "wake"], []),
    "relay/smtp": (["smtp_command", "smtp_data", "smtp_proxy", "smtp_server", "smtp_reply", "smtp_client", "classify", "transport", "dsn", "transcript"],
                   ["relay/base"]),
    "relay/policy": (["class", "policy", "policy_why", "policy_state"], ["relay/base", "relay/smtp"]),
    "relay/sched": (["feed", "match", "opening", "places", "ranks", "turns", "wait_class"], ["relay/base", "relay/smtp", "relay/policy"]),
    "relay/history": (["history"], ["relay/base"]),
    "relay/rehearse": (["rehearse"], ["relay/base", "relay/smtp", "relay/policy", "relay/sched"]),
    "queue/raw": (["rawfile"], ["relay/base"]),
    "queue": (["queue"], ["relay/base", "queue/raw"]),
    "queue/repair": (["queue_check"], ["relay/base", "queue/raw", "queue"]),
    "relay/net": (["loop", "stream"], ["relay/base"]),
    "relay/dns": (["dns", "resolver"], ["relay/base", "relay/net"]),
    "relay/trust": (["dkim", "spf"], ["relay/base"]),
    "relay/inbound": (["inbound"], ["relay/base", "relay/smtp", "relay/net", "queue", "relay/trust"]),
    "relay/outbound": (["outbound"], ["relay/base", "relay/smtp", "relay/net", "queue"]),
    "relay/worker": (["worker"], ["relay/base", "relay/smtp", "relay/net", "queue", "relay/trust", "relay/inbound", "relay/outbound"]),
    "relay/dispatch": (["dispatch"], ["relay/base", "relay/smtp", "relay/policy", "relay/sched", "relay/history", "queue", "relay/net", "relay/dns", "relay/trust", "relay/inbound", "relay/outbound", "relay/worker"]),
    "conf": (["config"], ["relay/base", "relay/smtp", "relay/policy", "queue", "relay/net", "relay/dns", "relay/trust", "relay/inbound", "relay/outbound", "relay/worker",
                          "relay/dispatch"]),
    "conf/import": (["import"], ["relay/base", "conf"]),
    "conf/scenario": (["scenario"], ["relay/base", "relay/policy", "relay/rehearse", "conf"]),
    "relay/ops": (["ops", "answer"], ["relay/base", "relay/smtp", "relay/policy", "relay/history", "queue", "relay/net", "relay/dns", "relay/trust", "relay/inbound", "relay/outbound", "relay/worker", "relay/dispatch", "conf"]),
    "relay/daemon": (["daemon"], ["relay/base", "relay/smtp", "relay/policy", "queue", "relay/net", "relay/dns", "relay/trust", "relay/inbound", "relay/outbound",
                                  "relay/worker", "relay/dispatch", "conf", "relay/ops"]),
    "relay/cli": ([], ["relay/base", "relay/smtp", "relay/policy", "relay/rehearse", "queue", "queue/repair", "relay/dns", "relay/trust", "conf", "conf/import", "conf/scenario",
                       "relay/ops",
                       "relay/daemon"]),
}
# A room that works on another's inside: it may include its inner headers, never the other way round.
INSIDE = {"queue/repair": "queue", "conf/scenario": "conf", "conf/import": "conf"}
# System headers that only some rooms may touch.
LIBRARIES = {
    "uv.h": ["relay/net", "relay/dns", "relay/trust", "relay/inbound", "relay/outbound", "relay/worker", "relay/dispatch", "relay/ops", "relay/cli"],
    "ares.h": ["relay/dns", "relay/cli"],
    "openssl/": ["relay/net", "relay/trust", "relay/cli"],
    "lmdb.h": ["queue", "queue/repair", "relay/cli"],
    "jansson.h": ["relay/ops", "relay/cli"],
    "microhttpd.h": ["relay/ops"],
    "idn2.h": ["relay/dns"],
}
# Pure rooms: no socket, clock, thread or file.
PURE = ["relay/smtp", "relay/policy", "relay/sched", "relay/history", "relay/rehearse", "relay/trust"]
IMPURE = re.compile(r"<(sys/(socket|epoll|stat|time|mman|file|uio)\.h|pthread\.h|time\.h|unistd\.h|fcntl\.h|poll\.h|threads\.h|signal\.h|stdio\.h)>")
PURE_STDIO_OK = True  # snprintf into memory is pure; the pure-symbols test watches fopen and its kin

TRANSPORT = re.compile(r"(->|\.)transport\b")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def owner_of(header):
    for room, (headers, _) in ROOMS.items():
        if header in headers:
            return room
    return None


def is_inside(room, name):
    return room in INSIDE and os.path.dirname(os.path.normpath(os.path.join(room, name))) == INSIDE[room]


def check_line(room, text, allowed):
    m = INCLUDE.match(text)
    if not m:
        return None
    name = m.group(2)
    if name.startswith("postern/"):
        owner = owner_of(name[len("postern/"):-len(".h")])
        if owner is None:
            return f"{name} belongs to no room: add it to the table in tests/lint/rooms.py"
        if owner != room and owner not in allowed:
            return f"{room} may not know {owner} ({name})"
    elif m.group(1) == '"' and "/" in name and not is_inside(room, name):
        return f"a room's inner header is not included from another folder ({name})"
    for lib, rooms in LIBRARIES.items():
        if (name == lib or (lib.endswith("/") and name.startswith(lib))) and room not in rooms:
            return f"{room} may not use {name}"
    if room in PURE and IMPURE.search(text) and not (PURE_STDIO_OK and "stdio.h" in text):
        return f"{room} is pure and may not include {name}"
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    seen = breaches = 0
    for room, (headers, allowed) in ROOMS.items():
        files = sorted((root / room).glob("*.[ch]")) + [root / "include/postern" / f"{h}.h" for h in headers]
        for path in files:
            if not path.exists():
                continue
            seen += 1
            for number, text in enumerate(path.read_text().splitlines(), 1):
                what = check_line(room, text, allowed)
                if not what and room == "relay/policy" and path.suffix == ".c" and TRANSPORT.search(text):
                    what = "how sessions are led is not the policy's to read"
                if what:
                    print(f"{path.relative_to(root)}:{number}: {what}")
                    breaches += 1
    for path in sorted((root / "include/postern").glob("*.h")):
        if owner_of(path.stem) is None:
            print(f"{path.relative_to(root)}:1: belongs to no room")
            breaches += 1
    print(f"{seen} files, {breaches} breaches")
    return 1 if breaches or seen < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
