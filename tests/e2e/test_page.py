"""The pages for people: each view shows what the simulator did, as HTML and as JSON, to whom it may, and harms no browser."""
import base64
import html.parser
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import DEADLINE, Deadline, find_program  # noqa: E402

EVIL = "<script>alert(1)</script> \\\"&amp;' <img src=x onerror=alert(2)>"
WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "old"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
tenant "u{0..9}.example" { cluster = {"EUR05"} }
rule "subnet-a" { source = {"127.0.1.0/24"}  cluster = {"EUR01"}  phase = "mail"
    reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}" }
rule "evil" { recipient = {"evil@*"}  phase = "rcpt"  reply = "452 4.2.2 The recipient's mailbox is full %s" }
""" % EVIL
SOURCES = {"a1": "127.0.1.1", "b1": "127.0.2.1"}
VIEWS = ["/", "/heat", "/heat?span=24h", "/lane?subnet=127.0.1.0%2F24&cluster=EUR01", "/waits", "/ramps", "/delays"]


class Sound(html.parser.HTMLParser):
    """Every element is closed where it must be, and none is there that could act or be styled in the text."""
    ALONE = {"meta", "link", "br", "rect", "line"}

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.text, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        if tag in ("img", "iframe", "form", "style") or any(n.startswith("on") or n == "style" for n in names):
            self.wrong.append(self.get_starttag_text())
        if tag == "script" and names != {"src": "/script.js", "defer": None}:
            self.wrong.append(self.get_starttag_text())
        if tag == "a":
            self.links.append(names["href"])
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.text.append(data)


class Page(RelayCase):
    def look(self, relay, path):
        page = Sound()
        page.feed(relay.get(path))
        self.assertEqual((page.wrong, page.open), ([], []), path)
        return page

    def until(self, relay, path, good):
        deadline = Deadline()
        while not good(model := json.loads(relay.get(path))):
            self.assertFalse(deadline.passed, model)
            time.sleep(0.1)
        return model

    def deferred_world(self):
        sim, relay = self.start(WORLD, sources=SOURCES, providers={"microsoft365": {"tls": "none"}}, queue={"retry": ["4h"]})
        self.sent, deadline = 0, Deadline()
        while not relay.find("health", subnet="127.0.1.0/24", cluster="EUR01"):
            self.assertFalse(deadline.passed, "the subnet was never found to be deferred")
            clients = [threading.Thread(target=relay.send_many, args=([(f"m{self.sent + i}", f"user{i}@{'tu'[i % 2]}{i % 10}.example")
                                                                       for i in range(k, 100, 4)],), kwargs={"sender": ""}) for k in range(4)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            self.sent += 100
            relay.wait_event("delivered", count=self.sent)
        relay.send("evil", "evil@u3.example", sender="")
        relay.wait_event("deferred", to="evil@u3.example")
        return sim, relay

    def test_what_the_simulator_did(self):
        sim, relay = self.deferred_world()
        waiting = self.until(relay, "/waits.json", lambda m: m["counted"] and [w["reason"] for w in m["by_reason"]] == ["backing off"])
        [only] = waiting["by_reason"]
        self.assertEqual((only["pool"], only["reason"], only["recipients"]), ("main", "backing off", 1))
        self.assertEqual(sum(a["recipients"] for a in waiting["ages"]), 1)
        self.assertEqual([d["domain"] for d in waiting["domains"]], ["u3.example"])
        # one subnet rests at one cluster, and the other does not
        heat = self.until(relay, "/heat.json", lambda m: {"EUR01", "EUR05"} <= {c["cluster"] for c in m["cells"]})
        cells = {(c["subnet"], c["cluster"]): c for c in heat["cells"]}
        a, b = cells["127.0.1.0/24", "EUR01"], cells["127.0.2.0/24", "EUR01"]
        self.assertIn(a["health"], ("resting", "probing"))
        self.assertEqual((a["cause"], a["delivered"], b["health"], b["deferred"]), ("subnet", 0, "healthy", 0))
        # the same numbers as the simulator's ledger and /metrics
        metrics = relay.metrics()
        self.assertEqual(sum(c["delivered"] for c in heat["cells"]), len(sim.deliveries()))
        self.assertEqual(sum(c["delivered"] for c in heat["cells"]), metrics["postern_delivered_total"])
        self.assertEqual(a["deferred"], len(relay.find(("deferred", "held"), source="a1", cluster="EUR01", code=451)))
        now = json.loads(relay.get("/now.json"))
        self.assertEqual(now["counts"]["delivered"], metrics["postern_delivered_total"])
        [alarm] = [w for w in now["alarms"] if w["kind"] == "subnet" and w["state"] in ("resting", "probing")]
        self.assertEqual((alarm["subnet"], alarm["cluster"]), ("127.0.1.0/24", "EUR01"))
        self.assertTrue(alarm["since"] and alarm["remedy"])
        # people read the same
        page = " ".join(self.look(relay, "/").text)
        self.assertIn("1 recipient waits", page)
        self.assertIn("EUR01 refuses the subnet 127.0.1.0/24", page)
        heat = self.look(relay, "/heat")
        lane = next(h for h in heat.links if h == "/lane?subnet=127.0.1.0%2F24&cluster=EUR01")
        page = " ".join(self.look(relay, lane).text)
        self.assertIn("a1", page)
        self.assertIn("EUR01 refuses the subnet 127.0.1.0/24", page)
        self.assertNotRegex(page, r"(?<![#\w])b1(?!\w)")  # but in a hashed address
        delays = json.loads(relay.get("/delays.json"))
        self.assertEqual(sum(r["delivered"] for r in delays["day"]), self.sent)

    def test_each_view_is_sound(self):
        _, relay = self.deferred_world()
        self.until(relay, "/waits.json", lambda m: m["counted"])
        for path in VIEWS:
            with self.subTest(path):
                page = self.look(relay, path)
                self.assertIn("Postern", " ".join(page.text))
                with urllib.request.urlopen(relay.http_address + path, timeout=DEADLINE) as r:
                    policy = r.headers["Content-Security-Policy"]
                self.assertIn("default-src 'none'", policy)
                self.assertNotIn("unsafe", policy)
        # addresses of anybody's making are only text
        for path in ("/lane?subnet=%3Cscript%3E&cluster=%22%27%3E%3Cimg%20src=x%20onerror=y%3E", "/lane", "/heat?span=%00%ff", "/lane?cluster=%ff%fe"):
            self.look(relay, path)
        for path in ("/.json", "/lan", "/lane/", "//", "/now", "/history"):
            with self.assertRaises(urllib.error.HTTPError, msg=path) as caught:
                relay.get(path)
            self.assertEqual(caught.exception.code, 404)
            caught.exception.close()

    def test_in_a_browser(self):
        browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        if not browser:
            self.skipTest("no chromium here")
        if os.environ.get("E2E_SANITIZED"):
            self.skipTest("one run of the script is enough")
        _, relay = self.deferred_world()
        self.until(relay, "/heat.json", lambda m: m["cells"])
        # virtual time: the script renews the view once in its ten seconds
        done = subprocess.run([browser, "--no-sandbox", "--disable-gpu", "--headless", f"--user-data-dir={relay.dir}/browser",
                               "--virtual-time-budget=15000", "--dump-dom", relay.http_address + "/heat"],
                              capture_output=True, text=True, timeout=120)
        self.assertRegex(done.stdout, r'data-renewed="[1-9]', done.stderr[-2000:])
        self.assertIn("Stop renewing", done.stdout)
        self.assertIn('href="/lane?subnet=127.0.1.0%2F24&amp;cluster=EUR01"', done.stdout)
        self.assertNotRegex(done.stderr, "Content Security Policy|Uncaught")


class Access(RelayCase):
    def code(self, relay, path, header=None):
        request = urllib.request.Request(relay.http_address + path, headers={"Authorization": header} if header else {})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as r:
                return r.status
        except urllib.error.HTTPError as e:
            e.close()
            return e.code

    def test_token(self):
        relay = self.relay(start=False)
        token = relay.dir / "token"
        token.write_text("0123456789abcdef\n")
        relay.http = {"token_file": token}
        relay.write_config()
        relay.start()
        basic = lambda password: "Basic " + base64.b64encode(f"me:{password}".encode()).decode()  # noqa: E731
        self.assertEqual(self.code(relay, "/health"), 200)
        for path in ("/", "/metrics", "/history.json", "/heat.json", "/style.css", "/nothing"):
            self.assertEqual(self.code(relay, path), 401)
            for header in ("Bearer 0123456789abcdeF", "Bearer ", "Bearer 0123456789abcdef0", "Basic !!!", basic("0123456789abcde"), basic("")):
                self.assertEqual(self.code(relay, path, header), 401, header)
            for header in ("Bearer 0123456789abcdef", basic("0123456789abcdef")):
                self.assertEqual(self.code(relay, path, header), 404 if path == "/nothing" else 200)

    def test_token_that_is_none(self):
        relay = self.relay(start=False)
        token = relay.dir / "token"
        relay.http = {"token_file": token}
        relay.write_config()
        for text in ("short\n", "two lines of it, both\nlong enough\n", "x" * 201, None):
            if text is None:
                token.unlink()
            else:
                token.write_text(text)
            done = subprocess.run([find_program("POSTERN", "postern"), "run", "-c", relay.config_path], capture_output=True, text=True,
                                  timeout=DEADLINE)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("token_file", done.stderr)
            self.assertNotIn('"event":"started"', done.stdout)

    def test_not_loopback(self):
        """All of this machine's other addresses count as those of others; the pages are then not shown without a token."""
        relay = self.relay(start=False)
        relay.http = {"address": "0.0.0.0:0"}
        relay.write_config()
        relay.start()
        relay.http_address = relay.http_address.replace("0.0.0.0", "127.0.0.1")
        self.assertEqual([self.code(relay, p) for p in ("/health", "/metrics", "/", "/heat.json", "/history.json")], [200, 200, 403, 403, 403])


if __name__ == "__main__":
    unittest.main()
