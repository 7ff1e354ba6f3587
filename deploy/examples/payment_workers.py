#!/usr/bin/env python3
"""Payment workers: ten consumers of one group in one process, over HTTP.

    pip install aiohttp
    ./payment_workers.py --url http://localhost:8080 --name worker

Three things see to it that no payment is lost:
1. A message is acknowledged only when its payment was made. Until then it is pending under its consumer.
2. Every --retry-every seconds, and when it starts, a consumer reads its own pending messages again: what
   failed, and what a crash of this process left behind. Its name must be the same each time.
3. The group's recovery policy gives the messages of a consumer that does not come back to the others, and
   puts what failed eight times aside, in orders:payments:dlq.

Delivery is at least once: a crash between the payment and its acknowledgement repeats the payment, so make
it under a key of its own (here the order's ID) that the payment provider knows again.
"""

import argparse
import asyncio
import random
import signal
from urllib.parse import quote

import aiohttp


class PaymentFailed(Exception):
    pass


async def pay(fields, failure_rate):
    """Stands for the call of a payment provider, which fails now and then."""
    if random.random() < failure_rate:
        raise PaymentFailed(fields["orderID"])
    print("paid", fields["orderID"], flush=True)


class Group:
    """A consumer group, by its URL."""

    def __init__(self, session, url, stream, group):
        self.session = session
        self.url = f"{url}/v1/streams/{quote(stream, safe='')}/groups/{quote(group, safe='')}"

    async def call(self, method, path, body=None, **query):
        """Asks until there is an answer: every call here may be repeated. What an unanswered read took is
        pending under the consumer, and its next look at its own pending messages finds it."""
        while True:
            try:
                async with self.session.request(method, self.url + path, params=query, json=body) as response:
                    answer = await response.json(content_type=None)  # A problem is JSON under another type.
                    if response.status < 400:
                        return answer
                    if response.status not in (429, 503, 504):
                        raise RuntimeError(f"{answer['code']}: {answer['detail']}")
                    pause = float(response.headers.get("Retry-After", 1))
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, asyncio.TimeoutError):
                pause = 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))

    async def create(self, max_idle_ms):
        await self.call("PUT", "", mkstream="true")
        await self.call("PUT", "/recovery", {"max_idle_ms": max_idle_ms, "max_deliveries": 8})

    async def read(self, consumer, **options):
        answer = await self.call("POST", f"/consumers/{quote(consumer, safe='')}/read", **options)
        return answer["messages"]

    async def ack(self, ids):
        await self.call("POST", "/ack", {"ids": ids})


class Consumer:
    def __init__(self, group, name, options, stopping):
        self.group = group
        self.name = name
        self.options = options
        self.stopping = stopping

    async def run(self):
        loop = asyncio.get_running_loop()
        retry_at = loop.time()
        while not self.stopping.is_set():
            if loop.time() >= retry_at:
                await self.retry_own()
                retry_at = loop.time() + self.options.retry_every
            wait_ms = max(1, int((retry_at - loop.time()) * 1000))
            messages = await self.unless_stopping(self.group.read(self.name, count=10, block_ms=wait_ms))
            await self.work(messages or [])

    async def retry_own(self):
        after = "pending"
        while messages := await self.group.read(self.name, id=after, count=100):
            after = messages[-1]["id"]
            await self.work(messages)

    async def work(self, messages):
        done = []
        for message in messages:
            try:
                if message["fields"] is not None:  # null: the message was trimmed meanwhile.
                    await pay(message["fields"], self.options.failure_rate)
                done.append(message["id"])
            except PaymentFailed as failure:
                print("failed", failure, flush=True)  # It stays pending, and is tried again.
        if done:
            await self.group.ack(done)

    async def unless_stopping(self, reading):
        """Hanging up on a waiting read loses nothing: what was read for it goes to the next reader."""
        read = asyncio.ensure_future(reading)
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({read, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if read.done():
            return read.result()
        read.cancel()
        return None


async def main(options):
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    connector = aiohttp.TCPConnector(limit=options.consumers + 1)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=90)  # Above the gateway's longest wait (50 s).
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        group = Group(session, options.url, options.stream, options.group)
        await group.create(options.max_idle_ms)
        consumers = [
            Consumer(group, f"{options.name}-{number}", options, stopping).run()
            for number in range(1, options.consumers + 1)
        ]
        await asyncio.gather(*consumers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Workers that make payments from a stream.")
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--stream", default="orders:payments")
    parser.add_argument("--group", default="payment-processors")
    parser.add_argument("--name", default="worker", help="consumers are NAME-1, NAME-2, …")
    parser.add_argument("--consumers", type=int, default=10)
    parser.add_argument("--retry-every", type=float, default=30, help="seconds")
    parser.add_argument("--max-idle-ms", type=int, default=60000, help="of the recovery policy: more than a payment takes")
    parser.add_argument("--failure-rate", type=float, default=0.05, help="of the pretended payments")
    asyncio.run(main(parser.parse_args()))
