#!/usr/bin/env python3
"""Watches consumer groups: lag, pending messages, and consumers that are dead.

    ./watch_groups.py --url http://localhost:8080              every 10 s, for ever
    ./watch_groups.py --once --stream orders:payments          once; exits with 1 when something is wrong

A consumer is taken for dead when it holds messages and has not been heard of for --dead-after seconds. Keep
that above the longest wait of a read (max_block_ms, 50 s): a consumer that waits does not talk to Redis.
"""

import argparse
import json
import sys
import time
import urllib.request
from urllib.parse import quote, urlencode


class Gateway:
    def __init__(self, url, token):
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path, **query):
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        with urllib.request.urlopen(urllib.request.Request(url, headers=self.headers), timeout=30) as response:
            return json.load(response)

    def streams(self):
        query = {}
        while True:
            page = self.get("/v1/streams", **query)
            for stream in page["streams"]:
                # A name that is no UTF-8 comes percent-encoded, as the URL wants it.
                yield stream["name"] if "name_encoding" in stream else quote(stream["name"], safe="")
            if page["cursor"] is None:
                return
            query = {"cursor": page["cursor"]}


def alerts(gateway, stream, options):
    """What is wrong with the groups of a stream, a line each; what is right goes to the output."""
    path = f"/v1/streams/{stream}/groups"
    for group in gateway.get(path)["groups"]:
        encoded = group["name"] if "name_encoding" in group else quote(group["name"], safe="")
        name = f"{stream} {group['name']}"
        lag = "unknown" if group["lag"] is None else group["lag"]
        print(f"{name}: lag {lag}, pending {group['pending']}, consumers {group['consumers']}")
        if group["lag"] is not None and group["lag"] > options.max_lag:
            yield f"{name}: {group['lag']} messages wait to be read"
        for consumer in gateway.get(f"{path}/{encoded}/consumers")["consumers"]:
            idle = consumer["idle_ms"] / 1000
            if consumer["name"] != "unowned" and consumer["pending"] > 0 and idle > options.dead_after:
                yield f"{name}: {consumer['name']} holds {consumer['pending']} messages and was last heard of {idle:.0f} s ago"


def main(options):
    gateway = Gateway(options.url, options.token)
    while True:
        streams = [quote(name, safe="") for name in options.stream] or list(gateway.streams())
        found = [alert for stream in streams for alert in alerts(gateway, stream, options)]
        for alert in found:
            print("ALERT", alert, file=sys.stderr)
        sys.stdout.flush()
        if options.once:
            return 1 if found else 0
        time.sleep(options.interval)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Watches consumer groups, and tells of dead consumers.")
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--token", help="of the gateway, where it wants one")
    parser.add_argument("--stream", action="append", default=[], help="may be repeated; all streams without it")
    parser.add_argument("--dead-after", type=float, default=120, help="seconds")
    parser.add_argument("--max-lag", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=10, help="seconds")
    parser.add_argument("--once", action="store_true")
    sys.exit(main(parser.parse_args()))
