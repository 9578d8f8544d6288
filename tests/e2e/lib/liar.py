"""A receiver that offers what it cannot do, or otherwise fails in a way of its own; a thread a connection.

    with Liar("127.6.0.1", faults={"bdat-502"}) as peer: ... peer.mails, peer.sessions
"""
import re
import socket
import ssl
import threading
import time

FULL = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 50000000", "DSN", "SMTPUTF8")


class Mail:
    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __repr__(self):
        return repr(self.__dict__)


class Liar:
    """faults:
    bdat-CODE, bdat-silent, bdat-hangup     what becomes of BDAT
    input-lost, input-hangup                what follows a command in one read
    starttls-hangup, starttls-silent, handshake-hangup, tls-ehlo-hangup, tls-ehlo-silent   (tls: certificate and key)
    mail-params-CODE, rcpt-params-CODE, utf8-CODE   parameters refused, with a word of 5.5.4
    hangup-mail, hangup-rcpt, hangup-data, hangup-eod    always
    long-yes, lines-yes, long-hello         replies longer than anybody keeps
    dribble-PHASE                           a line of the reply each 0.1 s, never the last
    stop-reading                            after 354
    only_from: the addresses that meet the faults; None: all.
    client_ca: clients must show a certificate of it; sessions keep it."""

    def __init__(self, address, port=0, faults=(), offers=FULL, tls=None, only_from=None, client_ca=None):
        self.client_ca = client_ca
        self.faults, self.offers, self.tls, self.only_from = set(faults), offers, tls, only_from
        self.mails, self.sessions, self.handshakes = [], [], []
        self.lock = threading.Lock()
        self.listening = socket.create_server((address, port), backlog=200)
        self.port = self.listening.getsockname()[1]
        self.address = address
        self.open = set()
        self.ending = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.ending = True
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        with self.lock:
            for s in self.open:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while not self.ending:
            try:
                s, peer = self.listening.accept()
            except OSError:
                return
            with self.lock:
                self.open.add(s)
            threading.Thread(target=self._serve, args=(s, peer[0]), daemon=True).start()

    def _serve(self, s, source):
        session = Session(self, s, source)
        with self.lock:
            self.sessions.append(session)
        try:
            session.run()
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            with self.lock:
                self.open.discard(s)
            session.s.close()


class Session:
    def __init__(self, liar, s, source):
        self.liar, self.s, self.source, self.secure, self.certificate = liar, s, source, False, None
        self.buffer = b""
        self.commands = []
        self.faults = liar.faults if liar.only_from is None or source in liar.only_from else set()

    def say(self, text):
        self.s.sendall(text.encode() + b"\r\n")

    def fill(self):
        block = self.s.recv(65536)
        if not block:
            raise EOFError
        self.buffer += block

    def line(self):
        while b"\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def silence(self):
        while True:
            self.fill()
            self.buffer = b""

    def reply(self, phase, text):
        """What comes for a command of this phase; False: the session is over."""
        if f"hangup-{phase}" in self.faults:
            return False
        if f"dribble-{phase}" in self.faults:
            while True:
                self.say(f"{text[:3]}-wait")
                time.sleep(0.1)
        self.say(text)
        return True

    def hello(self, verb):
        offers = list(self.liar.offers) if verb == "EHLO" else []
        if self.liar.tls and not self.secure:
            offers.append("STARTTLS")
        if "long-hello" in self.faults:
            offers = [f"X-OF-OUR-OWN-{i} {'x' * 60}" for i in range(300)] + offers
        lines = ["mx.liar.example", *offers]
        self.s.sendall("".join(f"250{'-' if i + 1 < len(lines) else ' '}{t}\r\n" for i, t in enumerate(lines)).encode())

    def starttls(self):
        if "starttls-hangup" in self.faults:
            return False
        if "starttls-silent" in self.faults:
            self.silence()
        self.say("220 go")
        self.liar.handshakes.append(self.source)
        if "handshake-hangup" in self.faults:
            self.s.recv(10)
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.liar.tls)
        if self.liar.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.liar.client_ca)
        self.s = context.wrap_socket(self.s, server_side=True)
        self.certificate = self.s.getpeercert() if self.liar.client_ca else None
        self.secure, self.buffer = True, b""
        return True

    def refusal(self, kind):
        return next((f[len(kind) + 1:] for f in self.faults if f.startswith(kind + "-") and f[len(kind) + 1:].isdigit()), None)

    def finish(self, how, content):
        with self.liar.lock:
            found = re.search(rb"^X-Test-Id: (\S+)", content, re.M)
            self.liar.mails.append(Mail(id=found[1].decode() if found else None, how=how, secure=self.secure, source=self.source,
                                        mail=self.mail, to=self.to, size=len(content), time=time.monotonic()))
        if "long-yes" in self.faults:
            return self.reply("eod", "250 2.0.0 " + "y" * 3000)
        if "lines-yes" in self.faults:
            self.s.sendall(b"250-2.0.0 part of a yes\r\n" * 299)
        return self.reply("eod", "250 2.0.0 taken")

    def bdat(self, line):
        code = self.refusal("bdat")
        if code:
            # whoever does not know BDAT reads its content as commands
            self.say(f"{code} 5.5.1 what is that")
            return True
        if "bdat-hangup" in self.faults:
            return False
        content = self.take(int(line.split()[1]))
        if "bdat-silent" in self.faults:
            self.silence()
        return self.finish("BDAT", content)

    def data(self):
        if not self.reply("data", "354 go"):
            return False
        if "stop-reading" in self.faults:
            while not self.liar.ending:
                time.sleep(0.1)
            return False
        end, seen = b"\r\n.\r\n", 0
        while (at := self.buffer.find(end, seen)) < 0:
            seen = max(len(self.buffer) - len(end), 0)
            self.fill()
        content, self.buffer = self.buffer[:at + 2], self.buffer[at + len(end):]  # QUIT may come along (RFC 2920)
        return self.finish("DATA", content)

    def envelope(self, verb, line):
        params = line.partition(">")[2].upper()
        if verb == "MAIL":
            self.mail, self.to = line, []
            utf8 = "SMTPUTF8" in params
            code = self.refusal("utf8") if utf8 else None
            if not code and params.replace("SMTPUTF8", "").strip():
                code = self.refusal("mail-params")
            if code:
                self.mail = None
        else:
            if not self.mail:
                return self.reply("rcpt", "503 5.5.1 MAIL first")
            code = self.refusal("rcpt-params") if params.strip() else None
            if not code:
                self.to.append(line)
        return self.reply(verb.lower(), f"{code} 5.5.4 unsupported parameter" if code else "250 2.1.0 ok")

    def step(self, line):
        verb = line.split(" ")[0].upper()
        if verb in ("EHLO", "HELO"):
            if self.secure and "tls-ehlo-hangup" in self.faults:
                return False
            if self.secure and "tls-ehlo-silent" in self.faults:
                self.silence()
            self.hello(verb)
            return True
        if verb == "STARTTLS":
            return self.starttls()
        if verb in ("MAIL", "RCPT"):
            return self.envelope(verb, line)
        if verb in ("DATA", "BDAT"):
            if not self.mail or not self.to:
                if verb == "BDAT":
                    self.take(int(line.split()[1]))
                self.say("503 5.5.1 no recipients")
                return True
            return self.bdat(line) if verb == "BDAT" else self.data()
        self.say("221 bye" if verb == "QUIT" else "250 ok" if verb in ("RSET", "NOOP") else "500 5.5.1 what")
        return verb != "QUIT"

    def run(self):
        self.mail, self.to = None, []
        self.say("220 mx.liar.example ESMTP")
        go = True
        while go:
            line = self.line()
            self.commands.append(line)
            if self.buffer and "input-lost" in self.faults:
                self.buffer = b""
            if self.buffer and "input-hangup" in self.faults:
                return
            go = self.step(line)
