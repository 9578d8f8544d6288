#!/usr/bin/env python3
"""10,000 tenants with one message each, all in one Microsoft cluster, 4 connections, a round trip of 40 ms: how well connections are used.
Postern, and beside it Postfix with the same cap, against the simulator; in turn, in the same run.

Usage: bench/tenants.py --build DIRECTORY [--tenants N] [--connections N] [--latency 40ms] [--tls] [--only postern|postfix] [--json]

Prints for each: transactions per round trip and connection (1: no round trip is wasted; from the first to the last delivery, so that
connecting and ending connections count against it), connections opened, the share of messages offered to an address that is not the
tenant's (ATTR35), seconds.

Fairness: Postfix has no limit by cluster, so its smtp transport has as many processes as connections are allowed, the only way to keep
such a cap over many destinations; its connection cache is on for everything, and a connection carries as many messages as Postern's.
Unpacked, it asks the machine's resolver, which knows nothing of the simulator: a map sends each tenant's mail straight to one of the
tenant's addresses. That is in its favour: it asks no DNS, and has 16 destinations to cache connections for instead of 10,000 names.
Needs root (for Postfix).
"""
import argparse
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
from lib.postfix import Postfix  # noqa: E402
from lib.relay import Relay, message  # noqa: E402
from lib.sim import Simulator  # noqa: E402

HOSTS = 16
PER_TENANT = 4
MESSAGES = 50  # on one connection


def scenario(args):
    return f"""
defaults {{ latency = "{args.latency}" }}
cluster "EUR01" {{ form = "new"  site = "DB5"  forest = "eurprd01"  addresses = {{"127.1.1.1-{HOSTS}"}}
    addresses_per_tenant = {PER_TENANT}  tls = "{'works' if args.tls else 'refused'}"{'' if args.tls else '  without = {"STARTTLS"}'} }}
tenant "t{{0..{args.tenants - 1}}}.example" {{ cluster = {{"EUR01"}} }}
"""


def send_all(address, args, clients=8):
    """One message per tenant, over a few connections that wait for nothing but the answer to the end of data."""
    def one(k):
        with socket.create_connection(address) as s:
            f = s.makefile("rwb")

            def say(text, replies=1):
                f.write(text)
                f.flush()
                for _ in range(replies):
                    while True:
                        line = f.readline()
                        if line[:1] not in b"23":
                            raise RuntimeError(line.decode(errors="replace"))
                        if line[3:4] != b"-":
                            break
            say(b"")
            say(b"EHLO client.example\r\n")
            for i in range(k, args.tenants, clients):
                text = message(f"m{i}").encode()
                say(f"MAIL FROM:<sender@example.org>\r\nRCPT TO:<u@t{i}.example>\r\nDATA\r\n".encode(), 3)
                say(text + b".\r\n")
            say(b"QUIT\r\n")
    threads = [threading.Thread(target=one, args=(k,)) for k in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def result(sim, name, args, seconds_latency):
    sim.wait(deliveries=args.tenants, timeout=1200)
    times = [d["time"] for d in sim.deliveries()]
    summary = sim.summary()
    cluster = sim.clusters()["EUR01"]
    took = max(times) - min(times)
    return {"relay": name, "seconds": round(took, 2), "connections_opened": summary["connections"]["opened"],
            "connections_peak": cluster["peak"],
            "per_round_trip_and_connection": round(args.tenants * seconds_latency / took / args.connections, 3),
            "allowed_connections": round(args.tenants / MESSAGES * 1.1, 1),
            "wrong_address_share": cluster["wrong_region"] / args.tenants, "duplicates": summary["duplicates"]}


def threads_cpu(pid):
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        name = (task / "comm").read_text().strip()
        found[name] = found.get(name, 0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def run_postern(args, latency):
    with Simulator(scenario(args), hash=False) as sim:
        relay = Relay(sim, sources={"a1": "127.0.1.1"}, queue={"max_size": "1GiB"}, log={"level": "notice"}, http=False, dns={"cache_max": 100000},
                      providers={"microsoft365": {"connections_per_cluster": args.connections, "connections_per_lane": args.connections,
                                                  "connections_per_cluster_subnet": args.connections,
                                                  "messages_per_connection": MESSAGES, "lane_message_rate": "none",
                                                  "lane_connect_rate": "none", "tls": "opportunistic" if args.tls else "none"}})
        with relay:
            send_all(relay.address(), args)
            r = result(sim, "Postern", args, latency)
            r["cpu_seconds_by_thread"] = threads_cpu(relay.pid)
            return r


def tenant_addresses(sim, args):
    """As the simulator's DNS would answer over time: all that belong to the tenant. Asked from the DNS itself, once each."""
    host, port = sim.dns.rsplit(":", 1)
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        for i in range(args.tenants):
            name = f"t{i}-example.mail.protection.outlook.com"
            query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0\0\1\0\1"
            s.sendto(query, (host, int(port)))
            answer = s.recv(4096)
            count = int.from_bytes(answer[6:8], "big")
            at, addresses = len(query), []
            for _ in range(count):
                while answer[at] and answer[at] < 0xc0:
                    at += answer[at] + 1
                at += 2 if answer[at] >= 0xc0 else 1
                length = int.from_bytes(answer[at + 8:at + 10], "big")
                addresses.append(".".join(str(b) for b in answer[at + 10:at + 10 + length]))
                at += 10 + length
            found[i] = addresses
    return found


def run_postfix(args, latency, directory):
    with Simulator(scenario(args), hash=False) as sim:
        n = str(args.connections)
        settings = {"transport_maps": f"texthash:{directory}/transport", "default_process_limit": "100",
                    "default_destination_concurrency_limit": n, "initial_destination_concurrency": n, "in_flow_delay": 0,
                    "qmgr_message_active_limit": 50000, "qmgr_message_recipient_limit": 50000,
                    "smtp_connection_cache_destinations": "static:all", "smtp_connection_cache_time_limit": "30s",
                    "smtp_connection_reuse_count_limit": MESSAGES, "smtp_connection_reuse_time_limit": "900s",
                    "smtp_tls_security_level": "may" if args.tls else "none", "smtp_bind_address": "127.0.1.1",
                    "smtp_address_preference": "ipv4", "smtpd_client_connection_count_limit": 0, "smtpd_recipient_restrictions":
                    "permit_mynetworks,reject", "max_use": 100000, "smtpd_client_event_limit_exceptions": "127.0.0.0/8"}
        postfix = Postfix(args.peers, directory, settings=settings, relay_to="127.0.0.1:1")
        main_cf = postfix.dir / "conf/main.cf"
        main_cf.write_text("".join(line for line in main_cf.read_text().splitlines(True) if not line.startswith("relayhost")))
        master = postfix.dir / "conf/master.cf"
        master.write_text(master.read_text().replace("smtp unix - - n - - smtp", f"smtp unix - - n - {n} smtp"))
        addresses = tenant_addresses(sim, args)
        (postfix.dir / "transport").write_text("".join(
            f"t{i}.example smtp:[{random.choice(addresses[i])}]:{sim.smtp_port}\n" for i in range(args.tenants)))
        with postfix:
            send_all(("127.0.0.1", postfix.port), args)
            return result(sim, "Postfix", args, latency)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--peers", type=pathlib.Path, help="unpacked Postfix (tests/peers.sh); default: unpacked into a temporary directory")
    p.add_argument("--tenants", type=int, default=10000)
    p.add_argument("--connections", type=int, default=4)
    p.add_argument("--latency", default="40ms")
    p.add_argument("--tls", action="store_true", help="the receiver offers STARTTLS")
    p.add_argument("--only", choices=["postern", "postfix"])
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    os.environ.setdefault("POSTERN", str(args.build.resolve() / "relay/cli/postern"))
    os.environ.setdefault("M365SIM", str(args.build.resolve() / "tests/sim/m365sim"))
    latency = float(args.latency.removesuffix("ms")) / 1000
    results = []
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        if args.only != "postfix":
            results.append(run_postern(args, latency))
        if args.only != "postern":
            if not args.peers:
                args.peers = pathlib.Path(directory) / "peers"
            subprocess.run(["sh", ROOT / "tests/peers.sh", args.peers], check=True, stderr=subprocess.DEVNULL)
            results.append(run_postfix(args, latency, pathlib.Path(directory) / "postfix"))
    for r in results:
        print(json.dumps(r) if args.json else f"{r.pop('relay')}: " + "  ".join(f"{k} {v}" for k, v in r.items()), flush=True)


if __name__ == "__main__":
    main()
