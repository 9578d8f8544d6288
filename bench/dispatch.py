#!/usr/bin/env python3
"""What the dispatcher's thread costs a message, and its share of a core at 5,000 messages a second: 300 tenants whose routes are known, one
cluster, 20 connections, against the simulator.

Usage: bench/dispatch.py --build DIRECTORY [--messages N]
"""
import argparse
import os
import pathlib
import time

from tenants import Relay, Simulator, scenario, send_all, threads_cpu

PROVIDER = {"connections_per_cluster": 20, "connections_per_lane": 20, "connections_per_cluster_subnet": 20, "messages_per_connection": 50,
            "lane_message_rate": "none", "lane_connect_rate": "none", "tls": "none"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--messages", type=int, default=12000)
    args = p.parse_args()
    os.environ.setdefault("POSTERN", str(args.build.resolve() / "relay/cli/postern"))
    os.environ.setdefault("M365SIM", str(args.build.resolve() / "tests/sim/m365sim"))
    args.tenants, args.latency, args.tls = 300, "1ms", False
    rounds = args.messages // args.tenants
    with Simulator(scenario(args), hash=False) as sim:
        relay = Relay(sim, sources={"a1": "127.0.1.1"}, queue={"max_size": "1GiB"}, log={"level": "notice"}, http=False,
                      providers={"microsoft365": PROVIDER})
        with relay:
            for _ in range(3):
                send_all(relay.address(), args)
            sim.wait(deliveries=3 * args.tenants, timeout=60)
            before, start = threads_cpu(relay.pid)["dispatch"], time.monotonic()
            for _ in range(rounds):
                send_all(relay.address(), args)
            sim.wait(deliveries=(3 + rounds) * args.tenants, timeout=120)
            took, n = time.monotonic() - start, rounds * args.tenants
            cost = (threads_cpu(relay.pid)["dispatch"] - before) / n
    print(f"dispatcher: {cost * 1e6:.1f} µs a message at {n / took:.0f} messages/s; {cost * 5000 * 100:.1f} % of a core at 5,000/s")


if __name__ == "__main__":
    main()
