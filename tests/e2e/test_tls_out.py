"""TLS to the receiver: which certificates do, what happens when the handshake does not work, and sessions taken up again."""
import os
import pathlib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.liar import Liar  # noqa: E402

CERTIFICATES = ("trusted", "self", "expired", "wrong-name")
SHORT = {"timeout_tls": "1s", "timeout_starttls": "1s"}


def scenario(extra=""):
    text = 'cluster "NONE" { addresses = {"127.1.9.1"}  without = {"STARTTLS"} }\ntenant "none.example" { cluster = {"NONE"} }\n'
    for i, kind in enumerate(CERTIFICATES):
        text += f'cluster "{kind}" {{ addresses = {{"127.1.{i}.1"}}  certificate = "{kind}" }}\n'
        text += f'tenant "{kind}.example" {{ cluster = {{"{kind}"}} }}\n'
    return text + extra


class Modes(RelayCase):
    def outcome(self, mode, **options):
        """Domain → TLS version by which its message came, or the reason of its deferral."""
        sim = self.simulator(scenario())
        relay = self.relay(sim, providers={"microsoft365": {"tls": mode, "ca_file": sim.ca_file if mode == "verify" else None, **options}},
                           queue={"retry": ["10m"]})
        domains = [f"{k}.example" for k in (*CERTIFICATES, "none")]
        relay.send_many((d, f"u@{d}") for d in domains)
        relay.wait_event(("delivered", "deferred"), count=len(domains))
        got = {e["domain"]: e.get("reason", "") for e in relay.find("deferred")}
        for d in sim.deliveries():
            self.assertNotIn(d["tenant"], got)
            got[d["tenant"]] = d["tls"]
            e, = relay.find("delivered", domain=d["tenant"])
            self.assertEqual(bool(e.get("tls")), bool(d["tls"]), e)
        self.assertEqual(relay.find(("bounced", "expired")), [])
        return got

    def test_none(self):
        self.assertEqual(set(self.outcome("none").values()), {None})

    def test_opportunistic_takes_any_certificate(self):
        got = self.outcome("opportunistic")
        self.assertIsNone(got.pop("none.example"))
        self.assertEqual(set(got.values()), {"TLSv1.3"})

    def test_require_takes_any_certificate_but_never_clear_text(self):
        got = self.outcome("require")
        self.assertIn("TLS required but not offered", got.pop("none.example"))
        self.assertEqual(set(got.values()), {"TLSv1.3"})

    def test_verify_takes_the_right_certificate_only(self):
        got = self.outcome("verify")
        self.assertEqual(got.pop("trusted.example"), "TLSv1.3")
        self.assertIn("TLS required but not offered", got.pop("none.example"))
        for domain, reason in got.items():
            with self.subTest(domain):
                self.assertRegex(reason, "(?i)certificate")


class Broken(RelayCase):
    FAULTS = {
        "garbage": ('tls = "garbage"', ""),
        "silence": ('tls = "stall"', ""),
        "dropped": ("", 'action = "drop"  phase = "tls"'),
        "dropped at STARTTLS": ("", 'action = "drop"  phase = "starttls"'),
    }

    def run_broken(self, mode, cluster, rule, **options):
        rules = 'rule "asked" { cluster = {"BAD"}  phase = "starttls"  action = "delay"  delay = "1ms" }\n'
        if rule:
            rules = f'rule "asked" {{ cluster = {{"BAD"}}  {rule} }}\n'
        return self.start(scenario(f'cluster "BAD" {{ addresses = {{"127.1.8.1"}}  {cluster} }}\ntenant "bad.example" {{ cluster = {{"BAD"}} }}\n' + rules),
                          providers={"microsoft365": {"tls": mode, "connection_idle_max": "1s", "lane_connect_rate": "none", **SHORT, **options}},
                          queue={"retry": ["1s"]})

    def test_opportunistic_goes_on_in_clear_and_remembers(self):
        for name, (cluster, rule) in self.FAULTS.items():
            with self.subTest(name):
                if name == "dropped at STARTTLS":
                    continue
                sim, relay = self.run_broken("opportunistic", cluster, rule)
                relay.send("first", "u@bad.example")
                relay.wait_event("delivered")
                self.assertEqual(sim.rules()["asked"], 1)
                self.assertEqual(sim.summary()["connections"]["opened"], 2)
                sim.wait(open=0)
                relay.send("second", "u@bad.example")
                relay.wait_event("delivered", count=2)
                self.assertEqual(sim.rules()["asked"], 1, "TLS was tried again")
                self.assertEqual([d["tls"] for d in sim.deliveries()], [None, None])
                self.assertEqual(relay.find("deferred"), [])
                sim.check_once([("first", "u@bad.example"), ("second", "u@bad.example")])

    def test_memory_ends(self):
        sim, relay = self.run_broken("opportunistic", 'tls = "garbage"', "", tls_failure_memory="2s")
        deadline, n = time.monotonic() + 20, 0
        while sim.rules()["asked"] < 2:
            relay.send(f"m{n}", "u@bad.example")
            n += 1
            relay.wait_event("delivered", count=n)
            sim.wait(open=0)
            self.assertLess(time.monotonic(), deadline)
        self.assertGreater(n, 1)

    def test_required_is_never_clear(self):
        for mode in ("require", "verify"):
            for name, (cluster, rule) in self.FAULTS.items():
                with self.subTest(mode=mode, fault=name):
                    sim, relay = self.run_broken(mode, cluster, rule)
                    relay.send("m", "u@bad.example")
                    relay.wait_event("deferred", count=2)
                    self.assertEqual(sim.summary()["mails"], 0)
                    self.assertEqual(relay.find(("bounced", "delivered")), [])

    def test_refused_starttls(self):
        """454: opportunistic goes on in clear on the same connection; require puts off."""
        rule = 'phase = "starttls"  reply = "454 4.7.0 TLS not available"'
        sim, relay = self.run_broken("opportunistic", "", rule)
        relay.send("m", "u@bad.example")
        relay.wait_event("delivered")
        self.assertEqual(sim.summary()["connections"]["opened"], 1)
        sim, relay = self.run_broken("require", "", rule)
        relay.send("m", "u@bad.example")
        relay.wait_event("deferred")
        self.assertEqual(sim.summary()["mails"], 0)

    def test_other_hosts_keep_their_tls(self):
        sim, relay = self.run_broken("opportunistic", 'tls = "garbage"', "")
        relay.send("bad", "u@bad.example")
        relay.wait_event("delivered")
        relay.send("good", "u@trusted.example")
        relay.wait_event("delivered", count=2)
        self.assertEqual({d["id"]: d["tls"] for d in sim.deliveries()}, {"bad": None, "good": "TLSv1.3"})


class Sessions(RelayCase):
    def test_sessions_are_resumed(self):
        for mode in ("opportunistic", "verify"):
            with self.subTest(mode):
                sim = self.simulator(scenario())
                relay = self.relay(sim, providers={"microsoft365": {"tls": mode, "ca_file": sim.ca_file if mode == "verify" else None,
                                                                    "messages_per_connection": 1}})
                for i in range(5):
                    relay.send(f"m{i}", "u@trusted.example")
                    relay.wait_event("delivered", count=i + 1)
                connections = sim.summary()["connections"]
                self.assertEqual((connections["opened"], connections["tls"]), (5, 5))
                self.assertGreaterEqual(connections["tls_resumed"], 4)

    def test_receiver_that_wants_tls(self):
        sim, relay = self.start(scenario('tenant "secure.example" { cluster = {"trusted"}  require_tls = "yes" }'))
        relay.send("m", "u@secure.example")
        relay.wait_event("delivered")
        self.assertEqual(sim.deliveries()[0]["tls"], "TLSv1.3")

    def test_extensions_are_asked_for_again_behind_tls(self):
        sim, relay = self.start(scenario())
        relay.send("m", "u@trusted.example")
        relay.wait_event("delivered")
        sim.check_no_violations()


class OwnCertificate(RelayCase):
    """A receiver that knows the relay by a certificate, as a tenant's connector does."""

    SCENARIO = ('cluster "NONE" { addresses = {"127.1.1.1"} }\n'
                'records = {"partner.example MX 10 mx.partner.example", "mx.partner.example A 127.6.0.1"}\n')

    def begin(self, **options):
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="postern-own-certificate-")))
        ca = Authority(directory / "ca")
        own = [*ca.certificate("relay", "DNS:relay.test.example"), *ca.certificate("other", "DNS:other.test.example")]
        for path in own:
            path.chmod(0o600)
        peer = self.enterContext(Liar("127.6.0.1", tls=ca.certificate("mx", "DNS:mx.partner.example"), client_ca=ca.file))
        relay = self.relay(self.simulator(self.SCENARIO), queue={"retry": ["10m"]}, providers={
            "default": {"port": peer.port, "tls": "verify", "ca_file": ca.file, **{k: own[v] for k, v in options.items()}}})
        return own, peer, relay

    def test_shown(self):
        own, peer, relay = self.begin(certificate=0, key=1)
        relay.send("m", "u@partner.example")
        relay.wait_event("delivered")
        self.assertEqual(peer.sessions[-1].certificate["subjectAltName"], (("DNS", "relay.test.example"),))
        relay.providers["default"].update(certificate=own[2], key=own[3])
        self.assertEqual(relay.reload()["event"], "reloaded")
        relay.send("n", "u@partner.example")
        relay.wait_event("delivered", count=2)
        names = {s.certificate["subjectAltName"][0][1] for s in peer.sessions}
        self.assertIn("other.test.example", names)

    def test_not_shown(self):
        own, peer, relay = self.begin()
        relay.send("m", "u@partner.example")
        relay.wait_event("deferred")
        self.assertEqual(peer.mails, [])

    def test_wrong_key(self):
        own, peer, relay = self.begin(certificate=0, key=1)
        relay.providers["default"]["key"] = own[3]
        relay.write_config()
        done = relay.cli("reload", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(own[3]), done.stderr)
        relay.send("m", "u@partner.example")
        relay.wait_event("delivered")


if __name__ == "__main__":
    unittest.main()
