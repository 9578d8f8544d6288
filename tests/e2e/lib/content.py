"""What a message must look like when it comes out: the message that went in, and what a relay adds to it."""
import re

from .process import Failed

RECEIVED = re.compile(rb"Received: from [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)+")
MBOX = re.compile(rb">*From[ \t](?![ \t]*:)")
KNOWN = {b"from", b"to", b"cc", b"bcc", b"subject", b"date", b"sender", b"reply-to", b"message-id", b"in-reply-to", b"references", b"mime-version",
         b"received", b"received-spf", b"precedence", b"priority", b"importance", b"sensitivity", b"organization", b"user-agent", b"comments",
         b"keywords", b"errors-to", b"feedback-id"}
PREFIXES = (b"x-", b"content-", b"list-", b"resent-", b"arc-", b"dkim-", b"authentication-", b"auto-", b"return-", b"disposition-", b"thread-")
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


def is_known(name):
    return name in KNOWN or name.startswith(PREFIXES)


def lines_of(content):
    return re.findall(rb"(?:(?!\r\n).)*\r\n|.+\Z", content, re.DOTALL)


def mended(lines):
    """Lines that are no fields, as they stay in the section, and how many lines they are; None when the body begins with them."""
    out = []
    for n, line in enumerate(lines):
        field = FIELD.match(line)
        if line == b"\r\n" or line.startswith(b"--") or sum(map(len, lines[:n])) > 2000:
            return None
        if field and n and is_known(field[0][:-1].strip().lower()):
            return out, n
        out.append(line if field or (n and line[:1] in b" \t") else b"X-Postern-Malformed: " + line)
    return None


def header_of(content):
    """(the header section as the relay passes it on, names of its fields in lower case, whether a blank line stands behind it, the rest)"""
    lines, header, names = lines_of(content), [], []
    while lines and MBOX.match(lines[0]):
        lines.pop(0)
    while lines and lines[0] != b"\r\n":
        field = FIELD.match(lines[0])
        if field:
            names.append(field[0][:-1].strip().lower())
        elif not (names and lines[0][:1] in b" \t"):
            more = mended(lines)
            if not more:
                return b"".join(header), names, False, b"".join(lines)
            header += more[0]
            del lines[:more[1]]
            continue
        header.append(lines.pop(0))
    return b"".join(header), names, True, b"".join(lines)  # all header: no blank line is missing


def strip_received(content):
    """(the relay's own Received field, the rest)"""
    field = RECEIVED.match(content)
    if not field:
        raise Failed(f"no Received field of the relay on top: {content[:200]}")
    return field[0], content[field.end():]


def check_same(sent, came, what=""):
    """came is sent, byte for byte, but for Received on top, Date and Message-ID where they were missing, the blank line before a
    body that had none, lines of an mbox file on top, and lines that are no fields among fields. The Received field."""
    received, rest = strip_received(came)
    expected, names, blank, body = header_of(sent)
    at = len(expected)
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
    expected += added + (b"" if blank else b"\r\n") + body
    if rest != expected:
        n = next((i for i, (a, b) in enumerate(zip(rest, expected)) if a != b), min(len(rest), len(expected)))
        raise Failed(f"{what}: differs at {n} of {len(expected)} (came: {len(rest)}): {rest[max(0, n - 40):n + 60]} for "
                     f"{expected[max(0, n - 40):n + 60]}")
    return received
