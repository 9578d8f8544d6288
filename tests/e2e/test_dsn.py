"""Notifications: who is told what, in which form, and what is passed on to a host that can tell itself (RFC 3461, 3464, 6533)."""
import email
import email.policy
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.relay import message  # noqa: E402

BASE = """
cluster "A" { addresses = {"127.1.1.1-4"} }
cluster "OLD" { addresses = {"127.1.2.1"}  without = {"DSN"} }
cluster "BACK" { addresses = {"127.1.3.1"} }
tenant "t{0..99}.example" { cluster = {"A"} }
tenant "old.example" { cluster = {"OLD"} }
tenant "back.example" { cluster = {"BACK"} }
rule "bad" { phase = "rcpt"  recipient = {"bad*@*"}  reply = "550 5.1.1 {rcpt}: no such user here" }
"""
FAST = {"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none"}}


class Report:
    """A notification as Python's email package reads it."""

    def __init__(self, delivery):
        with open(delivery["file"], "rb") as f:
            self.raw = f.read()
        self.delivery = delivery
        self.message = email.message_from_bytes(self.raw, policy=email.policy.default)
        self.text, self.status, self.returned = self.message.get_payload()
        blocks = self.status.get_payload()
        self.envelope, self.recipients = blocks[0], blocks[1:]


class DsnCase(RelayCase):
    def begin(self, **options):
        return self.start(BASE, sim_options={"store": True}, providers=FAST, **options)

    def reports(self, sim, count, to="s@back.example"):
        sim.wait(deliveries=count)
        return [Report(d) for d in sim.deliveries() if d["to"] == to]


class Failures(DsnCase):
    def test_form_of_a_bounce(self):
        sim, relay = self.begin()
        relay.send("lost", "bad@t1.example", sender="s@back.example", mail_options=["ENVID=id+2B7", "RET=HDRS"],
                   rcpt_options=["ORCPT=rfc822;First+2BLast@orig.example"], text=message("lost", headers=["Message-ID: <one@example.org>"]))
        report, = self.reports(sim, 1)
        m, d = report.message, report.delivery
        self.assertEqual((d["from"], d["to"]), ("", "s@back.example"))
        self.assertEqual(m.get_content_type(), "multipart/report")
        self.assertEqual(m["content-type"].params["report-type"], "delivery-status")
        self.assertEqual([p.get_content_type() for p in m.get_payload()], ["text/plain", "message/delivery-status", "text/rfc822-headers"])
        self.assertEqual(m["auto-submitted"], "auto-replied")
        self.assertIn("MAILER-DAEMON@relay.test.example", m["from"])
        self.assertIn("s@back.example", m["to"])
        self.assertTrue(m["date"] and m["message-id"] and m["subject"])
        self.assertIn("<one@example.org>", m["references"])
        self.assertEqual(report.envelope["reporting-mta"], "dns; relay.test.example")
        self.assertEqual(report.envelope["original-envelope-id"], "id+7")
        self.assertTrue(report.envelope["arrival-date"])
        r, = report.recipients
        self.assertEqual(r["original-recipient"], "rfc822;First+Last@orig.example")
        self.assertEqual(r["final-recipient"], "rfc822; bad@t1.example")
        self.assertEqual((r["action"], r["status"]), ("failed", "5.1.1"))
        self.assertIn("550", r["diagnostic-code"])
        self.assertIn("no such user here", r["diagnostic-code"])
        self.assertTrue(r["remote-mta"].startswith("dns; t1-example.mail.protection.outlook.com"))
        self.assertTrue(r["last-attempt-date"])
        self.assertIn("bad@t1.example", report.text.get_content())
        returned = report.returned.get_content()
        self.assertIn("X-Test-Id: lost", returned)
        self.assertNotIn("Hello.", returned)
        sim.check_no_violations()
        self.wait_metric(relay, "postern_dsns_total", 1)

    def test_names_the_host_as_the_recipients_domain_does(self):
        """Two domains share an address and so a connection: each is told of its own MX."""
        sim, relay = self.start(BASE + """
            cluster "ONE" { addresses = {"127.1.5.1"}  region_check = "no" }
            tenant "own{1..2}.example" { cluster = {"ONE"}  mx = {"10 mx.{domain} @ONE"} }
            """, sim_options={"store": True}, providers={"default": {"connections_per_lane": 1}})
        relay.send("good", "u@own1.example", sender="s@back.example")
        first = relay.wait_event("delivered", to="u@own1.example")
        relay.send("bad", "bad@own2.example", sender="s@back.example")
        second = relay.wait_event("bounced", to="bad@own2.example")
        self.assertEqual(first["session"], second["session"])
        self.assertEqual((first["host"], second["host"]), ("mx.own1.example[127.1.5.1]", "mx.own2.example[127.1.5.1]"))
        report, = self.reports(sim, 2)
        self.assertEqual(report.recipients[0]["remote-mta"], "dns; mx.own2.example")
        self.assertIn("The host mx.own2.example said", report.text.get_content())

    def test_whole_message_on_ret_full(self):
        sim, relay = self.begin()
        relay.send("full", "bad@t1.example", sender="s@back.example", mail_options=["RET=FULL"])
        report, = self.reports(sim, 1)
        self.assertEqual(report.returned.get_content_type(), "message/rfc822")
        inner = report.returned.get_payload(0)
        self.assertEqual(inner["x-test-id"], "full")
        self.assertIn("Hello.", inner.get_payload())

    def test_large_message_comes_back_as_its_headers(self):
        sim, relay = self.begin()
        relay.send("large", "bad@t1.example", sender="s@back.example", mail_options=["RET=FULL"], size=300000)
        report, = self.reports(sim, 1)
        self.assertEqual(report.returned.get_content_type(), "text/rfc822-headers")
        self.assertLess(len(report.raw), 100000)

    def test_several_recipients_of_one_transaction_in_one_report(self):
        sim, relay = self.begin()
        relay.send("some", ["bad1@t1.example", "good@t1.example", "bad2@t1.example"], sender="s@back.example")
        report, = self.reports(sim, 2)
        self.assertEqual({r["final-recipient"] for r in report.recipients}, {"rfc822; bad1@t1.example", "rfc822; bad2@t1.example"})

    def test_no_bounce_of_a_bounce(self):
        """The notification itself cannot be delivered: that is logged, and nobody is written to."""
        sim, relay = self.begin()
        relay.send("null", "bad@t1.example", sender="")
        relay.send("loop", "bad@t2.example", sender="bad-sender@t3.example")
        e = relay.wait_event("bounced", to="bad-sender@t3.example")
        self.assertEqual(e["from"], "")
        relay.wait_event("bounced", count=3)
        self.wait_metric(relay, "postern_dsns_total", 1)
        self.wait_queue(relay, messages=0)
        self.assertEqual(sim.summary()["messages"], 0)

    def test_notification_takes_the_pool_of_its_message(self):
        sim = self.simulator(BASE, store=True)
        relay = self.relay(sim, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, pools={"a": ["a1"], "b": ["b1"]},
                           listeners={"a": {"pool": "a"}, "b": {"pool": "b"}})
        relay.send("b", "bad@t1.example", sender="s@back.example", listener="b")
        sim.wait(deliveries=1)
        self.assertEqual(sim.deliveries()[0]["source"], "127.0.2.1")

    def test_notification_is_tried_again_like_mail(self):
        sim, relay = self.begin(queue={"retry": ["1s"]})
        sim.add_rule('rule "late" { cluster = {"BACK"}  phase = "rcpt"  limit = 2  reply = "450 4.2.0 later" }')
        relay.send("m", "bad@t1.example", sender="s@back.example")
        report, = self.reports(sim, 1)
        self.assertEqual(report.recipients[0]["status"], "5.1.1")
        self.assertEqual(len(relay.find("deferred", to="s@back.example")), 2)

    def test_postmaster(self):
        sim, relay = self.begin(root={"postmaster": "help@ops.example"})
        relay.send("m", "bad@t1.example", sender="s@back.example")
        report, = self.reports(sim, 1)
        self.assertIn("help@ops.example", report.message["from"])

    def test_nothing_that_a_host_says_breaks_out(self):
        sim, relay = self.begin()
        sim.add_rule('rule "evil" { phase = "rcpt"  recipient = {"evil@*"}  reply = "550-5.7.1 one\\n550-\\n550-Action: delivered\\n550 --x" }')
        relay.send("m", "evil@t1.example", sender="s@back.example")
        report, = self.reports(sim, 1)
        self.assertEqual([r["action"] for r in report.recipients], ["failed"])
        self.assertEqual(len(report.message.get_payload()), 3)


class Wishes(DsnCase):
    def test_notify_on_failure(self):
        rows = [(None, 1), ("FAILURE", 1), ("FAILURE,DELAY", 1), ("NEVER", 0), ("SUCCESS", 0), ("DELAY", 0)]
        sim, relay = self.begin()
        for i, (notify, _) in enumerate(rows):
            relay.send(f"n{i}", f"bad{i}@t1.example", sender="s@back.example", rcpt_options=[f"NOTIFY={notify}"] if notify else [])
        relay.wait_event("bounced", count=len(rows))
        reports = self.reports(sim, sum(n for _, n in rows))
        told = {r["final-recipient"] for report in reports for r in report.recipients}
        self.assertEqual(told, {f"rfc822; bad{i}@t1.example" for i, (_, n) in enumerate(rows) if n})
        self.wait_metric(relay, "postern_dsns_total", len(told))

    def test_passed_on_where_it_is_offered(self):
        sim, relay = self.begin()
        relay.send("d", "u@t1.example", sender="s@back.example", mail_options=["RET=HDRS", "ENVID=QQ+2B314"],
                   rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;who+2Bwhere@orig.example"])
        relay.wait_event("delivered", to="u@t1.example")
        d, = sim.deliveries()
        self.assertIn("RET=HDRS", d["mail_params"].split())
        self.assertIn("ENVID=QQ+2B314", d["mail_params"].split())
        self.assertIn("NOTIFY=SUCCESS,FAILURE", d["rcpt_params"].split())
        self.assertIn("ORCPT=rfc822;who+2Bwhere@orig.example", d["rcpt_params"].split())
        sim.check_no_violations()
        self.wait_metric(relay, "postern_delivered_total", 1)
        self.assertEqual(relay.metrics()["postern_dsns_total"], 0)

    def test_never_is_passed_on(self):
        sim, relay = self.begin()
        relay.send("d", "u@t1.example", rcpt_options=["NOTIFY=NEVER"])
        relay.wait_event("delivered")
        self.assertIn("NOTIFY=NEVER", sim.deliveries()[0]["rcpt_params"].split())

    def test_relayed_where_it_is_not_offered(self):
        """The next host will say nothing: we say that the message was passed on."""
        sim, relay = self.begin()
        relay.send("d", ["u@old.example"], sender="s@back.example", mail_options=["RET=FULL", "ENVID=e1"], rcpt_options=["NOTIFY=SUCCESS"])
        relay.send("plain", ["u@old.example"], sender="s@back.example")
        report, = self.reports(sim, 3)
        r, = report.recipients
        self.assertEqual((r["action"], r["final-recipient"]), ("relayed", "rfc822; u@old.example"))
        self.assertTrue(r["status"].startswith("2."))
        self.assertEqual(report.envelope["original-envelope-id"], "e1")
        self.assertEqual(report.returned.get_content_type(), "text/rfc822-headers")
        first = [d for d in sim.deliveries() if d["to"] == "u@old.example"][0]
        self.assertNotIn("ENVID", first["mail_params"])
        self.assertEqual(first["rcpt_params"], "")
        sim.check_no_violations()

    def test_delay_wish_for_success_only(self):
        sim, relay = self.begin(queue={"retry": ["1s"]})
        sim.add_rule('rule "late" { phase = "rcpt"  recipient = {"late@*"}  limit = 1  reply = "450 4.2.0 later" }')
        relay.send("m", "late@old.example", sender="s@back.example", rcpt_options=["NOTIFY=SUCCESS,DELAY"])
        report, = self.reports(sim, 2)
        self.assertEqual(report.recipients[0]["action"], "relayed")


class International(DsnCase):
    def send_utf8(self, relay, to, sender):
        with relay.client() as c:
            c.ehlo()
            self.assertEqual(c.docmd("MAIL", f"FROM:<{sender}> SMTPUTF8 BODY=8BITMIME")[0], 250)
            c.send(f"RCPT TO:<{to}>\r\n".encode())
            self.assertEqual(c.getreply()[0], 250)
            self.assertEqual(c.data("X-Test-Id: utf8\r\nSubject: Grüße\r\n\r\nö\r\n".encode())[0], 250)

    def test_report_about_an_address_in_utf8(self):
        sim, relay = self.begin()
        self.send_utf8(relay, "badjörg@t1.example", "s@back.example")
        report, = self.reports(sim, 1)
        self.assertIn("SMTPUTF8", report.delivery["mail_params"])
        types = [p.get_content_type() for p in report.message.get_payload()]
        self.assertEqual(types[:2], ["text/plain", "message/global-delivery-status"])
        self.assertIn("Final-Recipient: utf-8; badjörg@t1.example".encode(), report.raw)
        sim.check_no_violations()

    def test_host_without_smtputf8(self):
        """Not sent, told to the sender with the status of RFC 6531."""
        sim = self.simulator(BASE + 'cluster "ASCII" { addresses = {"127.1.4.1"}  without = {"SMTPUTF8"} }\n'
                             'tenant "ascii.example" { cluster = {"ASCII"} }\n', store=True)
        relay = self.relay(sim)
        self.send_utf8(relay, "jörg@ascii.example", "s@back.example")
        e = relay.wait_event("bounced")
        self.assertEqual(e["dsn"], "5.6.7")
        sim.wait(deliveries=1)
        self.assertIn(b"Status: 5.6.7", open(sim.deliveries()[0]["file"], "rb").read())


if __name__ == "__main__":
    unittest.main()
