#!/usr/bin/env python3
"""Shows Postern at work: real messages from a real client (Python's smtplib), through the relay, to a simulated Microsoft 365 where one
subnet of our source addresses is being deferred. Everything stays on 127.0.0.0/8 and in a temporary directory.

Usage: tests/demo.py [--messages N]        POSTERN and M365SIM name the binaries
"""
import argparse
import collections
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))
from lib.relay import Relay, message  # noqa: E402
from lib.sim import Simulator  # noqa: E402

SCENARIO = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-8"}  latency = "5ms" }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-8"}  latency = "5ms" }
cluster "NAM04" { form = "new"  site = "CH3"  forest = "namprd04"  addresses = {"127.2.4.1-8"}  latency = "20ms" }
tenant "t{0..99999}.example" { cluster = {"EUR01", "EUR05", "NAM04"} }
rule "subnet a at EUR01" {
    source = {"127.0.11.0/24"}  cluster = {"EUR01"}  phase = "mail"
    reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}"
}
"""
SOURCES = {"a1": "127.0.11.1", "a2": "127.0.11.2", "b1": "127.0.12.1", "b2": "127.0.12.2"}
DOMAINS = 60


def say(text=""):
    print(text, flush=True)


def bar(done, total, width=40):
    filled = width * done // total
    return "[" + "#" * filled + "." * (width - filled) + f"] {done}/{total}"


def send_all(relay, total):
    """Four clients at once, as application servers are."""
    def client(k):
        relay.send_many((f"demo-{i}", f"user{i}@t{i % DOMAINS}.example") for i in range(k, total, 4))

    threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    return threads


def follow(sim, relay, total, threads):
    deadline = time.monotonic() + 120
    tty = sys.stdout.isatty()
    shown = -1
    while True:
        summary = sim.summary()
        done, deferred = summary["recipients"], len(relay.find("deferred"))
        if tty or done * 10 // total != shown:
            shown = done * 10 // total
            print(f"{chr(13) if tty else ''}  delivered {bar(done, total)}   deferred so far {deferred}  ", end="" if tty else "\n", flush=True)
        if done >= total or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if tty:
        print()
    for t in threads:
        t.join()
    relay.wait_event("delivered", count=total)


def table(title, rows, head):
    say(f"\n{title}")
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        say("  " + "  ".join(str(v).ljust(w) if i == 0 else str(v).rjust(w) for i, (v, w) in enumerate(zip(row, widths))))


def summarize(sim, relay, total, seconds):
    subnet = {name: address.rsplit(".", 1)[0] + ".0/24" for name, address in SOURCES.items()}
    delivered, deferred = collections.Counter(), collections.Counter()
    for d in sim.deliveries():
        delivered[d["source"], d["cluster"]] += 1
    for e in relay.find("deferred"):
        deferred[e["source"], e.get("host", "")] += 1
    clusters = ["EUR01", "EUR05", "NAM04"]
    rows = [[f"{name}  {address}  ({subnet[name]})", *(delivered[address, c] for c in clusters),
             sum(n for (s, _), n in deferred.items() if s == name)] for name, address in SOURCES.items()]
    table("What went where, from which source (messages delivered, as the receiver counted them):", rows,
          ["source", *clusters, "deferrals met"])
    example = next(iter(relay.find("deferred")), None)
    if example:
        say("\nOne deferral, and how that message went on:")
        for e in relay.find(("accepted", "deferred", "delivered", "held"), id=example["id"]):
            say("  " + "  ".join(f"{k}={e[k]}" for k in ("event", "to", "source", "host", "cluster", "reply", "verdict", "reason", "next")
                                 if k in e))
    ids = [d["id"] for d in sim.deliveries()]
    bounced = len(relay.find("bounced")) + len(relay.find("expired"))
    say(f"\n{len(ids)} messages delivered in {seconds:.1f} s, {len(ids) - len(set(ids))} of them twice, {bounced} bounced, "
        f"{relay.json('queue')[0]['summary']['messages'] if isinstance(relay.json('queue'), list) else relay.json('queue')['summary']['messages']} "
        f"still queued; protocol violations seen by the receiver: {sim.violations()['total']}")
    return len(set(ids)) == total == len(ids) and not bounced


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--messages", type=int, default=600)
    args = p.parse_args()
    say("Starting a simulated Microsoft 365: clusters EUR01, EUR05 and NAM04, tenants t0.example to t59.example.")
    say("At EUR01 it defers everything that comes from 127.0.11.0/24: 451 4.4.4 Temporary server error … ATTR3")
    with Simulator(SCENARIO) as sim, Relay(sim, sources=SOURCES, queue={"retry": ["2s", "5s", "10s"]}) as relay:
        host, port = relay.address()
        say(f"Starting Postern on {host}:{port}, with sources a1 a2 (127.0.11.0/24) and b1 b2 (127.0.12.0/24).")
        say(f"\nSending {args.messages} messages by SMTP, from four clients:")
        begun = time.monotonic()
        threads = send_all(relay, args.messages)
        follow(sim, relay, args.messages, threads)
        ok = summarize(sim, relay, args.messages, time.monotonic() - begun)
        say(f"\nThe relay's own view (postern lanes):\n{relay.cli('lanes').stdout}")
    say("That was the real relay. To point an application at yours:")
    say("  1. install it:    ninja -C build-demo install   (or run build-demo/relay/cli/postern in place)")
    say("  2. configure it:  cp conf/postern.conf /etc/postern/postern.conf, set hostname, listener and sources; postern check")
    say("  3. start it:      systemctl enable --now postern   (conf/postern.service), or: postern run -c FILE")
    say("  4. set the application's SMTP server (smarthost) to the listener's address and port, 2525 in the sample;")
    say("     no password is needed from networks in its `allow` list. Watch: postern stats, postern queue --domains, the log.")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
