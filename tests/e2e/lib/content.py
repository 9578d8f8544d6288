"""What a message must look like when it comes out: the message that went in, and what a relay adds to it."""
import re

from .process import Failed

RECEIVED = re.compile(rb"Received: from [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)+")
FIELD = re.compile(rb"[!-9;-~]{1,198}[ \t]*:")
ADDED_DATE = re.compile(rb"Date: \w\w\w, \d\d? \w\w\w \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n")
ADDED_ID = re.compile(rb"Message-ID: <[0-9a-z]+@[^<>\r\n]+>\r\n")


def crlf(text):
    """With every line end as CRLF."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", text)


def dots(content):
    """As DATA wants it, with the end."""
    stuffed = re.sub(rb"(^|\r\n)\.", rb"\1..", content)
    return stuffed + (b".\r\n" if content.endswith(b"\r\n") or not content else b"\r\n.\r\n")


def header_end(content):
    """(offset where the header section ends, names of its fields in lower case, whether a blank line stands there)"""
    at, names = 0, []
    while at < len(content):
        end = content.find(b"\r\n", at)
        line = content[at:] if end < 0 else content[at:end + 2]
        if line == b"\r\n":
            return at, names, True
        field = FIELD.match(line)
        if field:
            names.append(field[0][:-1].strip().lower())
        elif not (names and line[:1] in b" \t"):
            return at, names, False
        at += len(line)
    return at, names, True # all header: no blank line is missing


def strip_received(content):
    """(the relay's own Received field, the rest)"""
    field = RECEIVED.match(content)
    if not field:
        raise Failed(f"no Received field of the relay on top: {content[:200]}")
    return field[0], content[field.end():]


def check_same(sent, came, what=""):
    """came is sent, byte for byte, but for Received on top, Date and Message-ID where they were missing, and the blank
    line before a body that had none. The Received field."""
    received, rest = strip_received(came)
    end, names, blank = header_end(sent)
    expected, at = sent[:end], end
    if expected and not expected.endswith(b"\r\n") and not {b"date", b"message-id"} <= set(names):
        expected += b"\r\n"
        at += 2
    added = b""
    for name, pattern in ((b"date", ADDED_DATE), (b"message-id", ADDED_ID)):
        if name not in names:
            field = pattern.match(rest, at + len(added))
            if not field:
                raise Failed(f"{what}: no {name.decode()} was added: {rest[at:at + 200]}")
            added += field[0]
    expected += added + (b"" if blank else b"\r\n") + sent[end:]
    if rest != expected:
        n = next((i for i, (a, b) in enumerate(zip(rest, expected)) if a != b), min(len(rest), len(expected)))
        raise Failed(f"{what}: differs at {n} of {len(expected)} (came: {len(rest)}): {rest[max(0, n - 40):n + 60]} for "
                     f"{expected[max(0, n - 40):n + 60]}")
    return received
