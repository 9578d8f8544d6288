"""Raw SMTP and DNS: bytes as a test wants them, replies as they come."""
import re
import socket
import ssl
import struct

from .process import DEADLINE


class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.text = "\n".join(lines)
        self.code = int(lines[0][:3]) if re.match(r"[2-5]\d\d", lines[0]) else None

    def __repr__(self):
        return repr(self.text)


class Smtp:
    """One connection. flight() sends at once and reads as many replies as asked for."""

    def __init__(self, host, port, source=None, greet=True, ehlo="client.example"):
        self.socket = socket.create_connection((host, port), DEADLINE, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.banner = self.reply() if greet else None
        if greet and ehlo and self.banner.code == 220:
            self.hello = self.command(f"EHLO {ehlo}")

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        while b"\n" not in self.buffer:
            block = self.socket.recv(65536)
            if not block:
                raise EOFError(self.buffer)
            self.buffer += block
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def reply(self):
        lines = [self.line()]
        while re.match(r"\d\d\d-", lines[-1]):
            lines.append(self.line())
        return Reply(lines)

    def command(self, text):
        self.send(text + "\r\n")
        return self.reply()

    def flight(self, *parts, replies):
        self.send(b"".join(p if isinstance(p, bytes) else p.encode() + b"\r\n" for p in parts))
        return [self.reply() for _ in range(replies)]

    def starttls(self, context=None, host=None, session=None):
        answer = self.command("STARTTLS")
        assert answer.code == 220, answer
        return self.handshake(context, host, session)

    def handshake(self, context=None, host=None, session=None):
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname=host, session=session)
        return self.socket

    def at_eof(self):
        """Waits for the end; what came before it."""
        data = self.buffer
        try:
            while True:
                block = self.socket.recv(65536)
                if not block:
                    return data
                data += block
        except ConnectionResetError:
            return data + b"<RST>"

    def mail(self, to, id="x", body=b"", sender="sender@example.org"):
        """One message in one BDAT flight; all replies."""
        content = f"X-Test-Id: {id}\r\n\r\n".encode() + body
        recipients = [to] if isinstance(to, str) else to
        return self.flight(f"MAIL FROM:<{sender}>", *[f"RCPT TO:<{r}>" for r in recipients], f"BDAT {len(content)} LAST",
                           content, replies=2 + len(recipients))

    def quit(self):
        answer = self.command("QUIT")
        self.close()
        return answer

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
NAMES = {v: k for k, v in TYPES.items()}


def dns_query(name, type, id=1, edns=None):
    packet = struct.pack(">HHHHHH", id, 0x0100, 1, 0, 0, 1 if edns else 0)
    packet += b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x) + b"\0"
    packet += struct.pack(">HH", TYPES[type], 1)
    if edns:
        packet += b"\0" + struct.pack(">HHIH", 41, edns, 0, 0)
    return packet


def _name(p, at):
    labels, end = [], None
    while p[at]:
        if p[at] >= 0xC0:
            end = end or at + 2
            at = (p[at] & 0x3F) << 8 | p[at + 1]
            continue
        labels.append(p[at + 1:at + 1 + p[at]].decode())
        at += 1 + p[at]
    return ".".join(labels), end or at + 1


def _data(p, at, n, type):
    if type == "A":
        return socket.inet_ntoa(p[at:at + n])
    if type == "AAAA":
        return socket.inet_ntop(socket.AF_INET6, p[at:at + n])
    if type == "MX":
        return struct.unpack(">H", p[at:at + 2])[0], _name(p, at + 2)[0]
    if type in ("PTR", "CNAME", "NS"):
        return _name(p, at)[0]
    if type == "TXT":
        out, end = b"", at + n
        while at < end:
            out += p[at + 1:at + 1 + p[at]]
            at += 1 + p[at]
        return out.decode()
    return p[at:at + n]


class DnsReply:
    def __init__(self, p):
        self.id, flags, questions, answers, authorities, additional = struct.unpack(">HHHHHH", p[:12])
        self.rcode, self.truncated, self.ad = flags & 15, bool(flags & 0x200), bool(flags & 0x20)
        self.additional = additional
        at = 12
        for _ in range(questions):
            at = _name(p, at)[1] + 4
        self.records = []
        self.authority = []
        for i in range(answers + authorities):
            owner, at = _name(p, at)
            type, _, ttl, n = struct.unpack(">HHIH", p[at:at + 10])
            at += 10
            type = NAMES.get(type, type)
            (self.records if i < answers else self.authority).append((owner, type, ttl, _data(p, at, n, type)))
            at += n

    def values(self, type):
        return [r[3] for r in self.records if r[1] == type]


class Dns:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = host, int(port)

    def send(self, packet):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(DEADLINE)
        s.connect(self.address)
        s.send(packet)
        return s

    def raw(self, packet):
        with self.send(packet) as s:
            return s.recv(65536)

    def ask(self, name, type, edns=None):
        return DnsReply(self.raw(dns_query(name, type, edns=edns)))

    def ask_tcp(self, name, type):
        packet = dns_query(name, type)
        with socket.create_connection(self.address, DEADLINE) as s:
            s.sendall(struct.pack(">H", len(packet)) + packet)
            f = s.makefile("rb")
            n, = struct.unpack(">H", f.read(2))
            return DnsReply(f.read(n))

    def mx(self, domain):
        return sorted(self.ask(domain, "MX").values("MX"))

    def host(self, domain):
        """One address of the domain's first MX host."""
        return self.ask(self.mx(domain)[0][1], "A").values("A")[0]
