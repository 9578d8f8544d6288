#!/usr/bin/env python3
"""Shows Postern at work: real messages from a real client (Python's smtplib), through the relay, to a simulated Microsoft 365 where one
subnet of our source addresses is being deferred. Everything stays on 127.0.0.0/8 and in a temporary directory, and ends with the program.

Usage: tests/demo.py [--messages N] [--stay]        POSTERN and M365SIM name the binaries
"""
import argparse
import collections
import datetime
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))
from lib.relay import Relay  # noqa: E402
from lib.sim import Simulator  # noqa: E402

SCENARIO = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-8"}  latency = "25ms" }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-8"}  latency = "25ms" }
cluster "NAM04" { form = "new"  site = "CH3"  forest = "namprd04"  addresses = {"127.2.4.1-8"}  latency = "40ms" }
tenant "t{0..99999}.example" { cluster = {"EUR01", "EUR05", "NAM04"} }
rule "subnet a at EUR01" {
    source = {"127.0.11.0/24"}  cluster = {"EUR01"}  phase = "mail"
    reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}"
}
"""
CLUSTERS = ["EUR01", "EUR05", "NAM04"]
SOURCES = {"a1": "127.0.11.1", "a2": "127.0.11.2", "b1": "127.0.12.1", "b2": "127.0.12.2"}
DEFERRED_SUBNET, OTHER_SUBNET = "127.0.11.0/24", "127.0.12.0/24"
CAPS = {"connections_per_lane": 5, "connections_per_cluster": 20, "lane_message_rate": "600/1m"}  # those built in, said once more
DOMAINS = 60
CLIENTS = 4


def say(text=""):
    print(text, flush=True)


def bar(done, total, width=40):
    filled = width * done // total
    return "[" + "#" * filled + "." * (width - filled) + f"] {done}/{total}"


def send_all(relay, total, failures):
    """Several clients at once, as application servers are."""
    def client(k):
        try:
            relay.send_many((f"demo-{i}", f"user{i}@t{i % DOMAINS}.example") for i in range(k, total, CLIENTS))
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=client, args=(k,), daemon=True) for k in range(CLIENTS)]
    for t in threads:
        t.start()
    return threads


def follow(sim, relay, total, failures):
    deadline = time.monotonic() + 120
    tty = sys.stdout.isatty()
    shown = -1
    while not failures:
        done, deferred = sim.summary()["recipients"], len(relay.find("deferred"))
        if tty or done * 10 // total != shown:
            shown = done * 10 // total
            text = f"  delivered {bar(done, total)}   met a deferral: {deferred}"
            print(f"\r{text}  " if tty else text, end="" if tty else "\n", flush=True)
        if done >= total or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if tty:
        print()


def table(title, head, rows):
    say(f"\n{title}")
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        say("  " + "  ".join(str(v).ljust(w) if isinstance(v, str) else str(v).rjust(w) for v, w in zip(row, widths)).rstrip())


def seconds(event):
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def show_traffic(sim, relay):
    delivered, deferred = collections.Counter(), collections.Counter()
    for d in sim.deliveries():
        delivered[d["source"], d["cluster"]] += 1
    for e in relay.find("deferred"):
        deferred[e["source"]] += 1
    rows = [[name, address, address.rsplit(".", 1)[0] + ".0/24", *(delivered[address, c] for c in CLUSTERS), deferred[name]]
            for name, address in SOURCES.items()]
    table("What went where, from which source (messages delivered, as the receiver counted them):",
          ["source", "address", "subnet", *CLUSTERS, "deferrals met"], rows)
    at = {s: sum(n for (a, c), n in delivered.items() if c == "EUR01" and a.startswith(s[:-4])) for s in (DEFERRED_SUBNET, OTHER_SUBNET)}
    elsewhere = sum(n for (a, c), n in delivered.items() if c != "EUR01" and a.startswith(DEFERRED_SUBNET[:-4]))
    lanes = [x for x in relay.json("lanes") if x["cluster"] == "EUR01"]
    blamed = any(x["subnet"] == DEFERRED_SUBNET and x.get("cause") == "subnet" for x in lanes)
    say(f"\n{DEFERRED_SUBNET} met {sum(deferred.values())} deferrals at EUR01" + (", was found to be their cause, and rests there" if blamed else "")
        + f". Of EUR01's messages {at[OTHER_SUBNET]}\nwent from {OTHER_SUBNET} and {at[DEFERRED_SUBNET]} from {DEFERRED_SUBNET}. "
        f"The other clusters take mail from {DEFERRED_SUBNET}, and had {elsewhere} messages from it.")
    table("The relay's own view of the lanes at EUR01 (postern lanes shows all, and more of each):",
          ["source", "subnet", "health", "cause", "delivered", "deferred", "until"],
          [[x["source"], x["subnet"], x["health"], x.get("cause") or "", x["delivered"], x["deferred"], (x.get("until") or "")[11:19]]
           for x in lanes])


def show_caps(sim):
    lane, cluster = max(x["peak"] for x in sim.lanes().values()), max(x["peak"] for x in sim.clusters().values())
    say(f"\nNo faster than the receiver likes it: from one source to one cluster at most {lane} connections at once (cap: "
        f"{CAPS['connections_per_lane']}), to one cluster {cluster}\n(cap: {CAPS['connections_per_cluster']}), as the receiver counted them, "
        f"and no more than {CAPS['lane_message_rate'].split('/')[0]} messages a minute from one source to one cluster.")


def show_example(relay):
    example = next(iter(relay.find("deferred")), None)
    if not example:
        return
    say(f"\nOne deferral, as the delivery log tells it (message {example['id']}):")
    for e in relay.find(("accepted", "deferred", "delivered", "held"), id=example["id"]):
        way = f" from {e['source']} to {e['host'].rsplit('[', 1)[1][:-1]} ({e['cluster']})" if e.get("host") else ""
        say(f"  {e['time'][11:23]}  {e['event']:9}{way}" + (f": {e['code']} {e['reply']}" if e.get("reply") else f" for {example['to']}"))
        if e["event"] == "deferred":
            say(f"  {'':12}  {'':9} verdict {e['verdict']}; {e['reason']}")


def summarize(sim, relay, total, took):
    show_traffic(sim, relay)
    show_caps(sim)
    show_example(relay)
    ids = [d["id"] for d in sim.deliveries()]
    first = {e["id"]: seconds(e) for e in relay.find("accepted")}
    late = [seconds(e) - first[e["id"]] for e in relay.find("delivered") if e["attempt"] > 1]
    bounced, waiting = len(relay.find(("bounced", "expired"))), relay.json("queue")["summary"]["messages"]
    say(f"\n{len(ids)} messages delivered in {took:.1f} s: {len(ids) - len(set(ids))} twice, {bounced} bounced, {waiting} still queued. "
        + (f"Those that met a deferral came\n{max(late):.1f} s after they were accepted at the latest. " if late else "")
        + f"Protocol violations seen by the receiver: {sim.violations()['total']}.")
    return len(set(ids)) == total == len(ids) and not bounced and not waiting


POINT = """
To point an application at a relay of your own:
  1. install     (as root, in this directory) ninja -C build-demo install; systemd-sysusers; systemd-tmpfiles --create
                 or a Debian package: dpkg-buildpackage -us -uc -b; apt install ../postern_*.deb      (README tells of both)
  2. configure   mkdir -p /etc/postern; cp conf/postern.conf /etc/postern/; edit it: hostname, who may send (listener, allow), sources;
                 postern check names every error with its line
  3. start       systemctl daemon-reload; systemctl enable --now postern      (or, anywhere: postern run -c FILE)
  4. applications: SMTP server (smarthost) = this machine, port 2525 as in the sample, no password from networks in `allow`, for example
                 python3 -c 'import smtplib; smtplib.SMTP("localhost", 2525).sendmail("me@example.org", "you@example.com", "Subject: hi\\n\\nhi")'
  5. watch       postern stats; postern queue --domains; postern lanes; the log"""


def stay(relay):
    host, port = relay.address()
    say(f"\nThe relay takes mail at {host}:{port} until you press Ctrl-C; what becomes of it is told here. In another terminal, for example:\n"
        f"  python3 -c 'import smtplib; smtplib.SMTP(\"{host}\", {port}).sendmail(\"me@example.org\", \"you@t1.example\", "
        "\"Subject: hi\\n\\nhi\")'")
    at = relay.mark()
    while True:
        for e in relay.find(("accepted", "delivered", "deferred", "bounced", "held", "expired"), since=at):
            say("  " + "  ".join(f"{k}={e[k]}" for k in ("event", "id", "from", "to", "source", "host", "cluster", "reply", "reason") if e.get(k)))
        at = relay.mark()
        time.sleep(0.1)


def demonstrate(args):
    say("Starting a simulated Microsoft 365: clusters EUR01, EUR05 and NAM04, tenants t0.example to t59.example. At EUR01 it defers\n"
        f"everything that comes from {DEFERRED_SUBNET}: 451 4.4.4 Temporary server error. Please try again later ATTR3")
    with Simulator(SCENARIO) as sim, Relay(sim, sources=SOURCES, providers={"microsoft365": CAPS},
                                           queue={"retry": ["2s", "5s", "10s"]}) as relay:
        host, port = relay.address()
        say(f"Starting Postern at {host}:{port}, with the sources a1 a2 ({DEFERRED_SUBNET}) and b1 b2 ({OTHER_SUBNET}).")
        say(f"\nSending {args.messages} messages by SMTP, from {CLIENTS} clients at once:")
        begun, failures = time.monotonic(), []
        threads = send_all(relay, args.messages, failures)
        follow(sim, relay, args.messages, failures)
        took = time.monotonic() - begun
        if failures:
            raise failures[0]
        for t in threads:
            t.join()
        relay.wait_event("delivered", count=args.messages)
        ok = summarize(sim, relay, args.messages, took)
        if args.stay:
            stay(relay)
    say("\nThat was the real relay; it and the simulator have ended, and nothing is left behind.")
    say(POINT)
    return 0 if ok else 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--messages", type=int, default=600, help="how many (default: 600)")
    p.add_argument("--stay", action="store_true", help="afterwards take mail of your own, until Ctrl-C")
    args = p.parse_args()
    if args.messages < 1:
        p.error("--messages must be 1 at least")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        return demonstrate(args)
    except KeyboardInterrupt:
        say("\nStopped. The relay and the simulator have ended, and nothing is left behind.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
