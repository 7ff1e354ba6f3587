#!/usr/bin/env node
// A payment worker for Node 18 and later, without a package to install.
//
//     ./payment-worker.mjs [NAME]          NAME is the consumer's, and the same at each start
//
// SLUICE_URL, STREAM, GROUP, RETRY_EVERY_MS, MAX_IDLE_MS and FAILURE_RATE are taken from the environment. What keeps
// payments from being lost is told in payment_workers.py.

const { env } = process;
const stream = env.STREAM ?? "orders:payments";
const group = env.GROUP ?? "payment-processors";
const name = process.argv[2] ?? "worker-1";
const retryEvery = Number(env.RETRY_EVERY_MS ?? 30_000);
const maxIdle = Number(env.MAX_IDLE_MS ?? 60_000);
const failureRate = Number(env.FAILURE_RATE ?? 0.05);
const base = env.SLUICE_URL ?? "http://localhost:8080";
const url = `${base}/v1/streams/${encodeURIComponent(stream)}/groups/${encodeURIComponent(group)}`;
const consumer = `/consumers/${encodeURIComponent(name)}`;

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stopping.abort());

/** Stands for the call of a payment provider, which fails now and then. */
async function pay({ orderID }) {
  if (Math.random() < failureRate) throw new Error("the provider did not answer");
  console.log("paid", orderID);
}

/** Asks until there is an answer: every call here may be repeated. Undefined when `signal` was raised. */
async function call(method, path, { body, signal } = {}) {
  const request = { method, signal };
  if (body) Object.assign(request, { body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  for (;;) {
    let pause = 1;
    try {
      const response = await fetch(url + path, request);
      const answer = await response.json();
      if (response.ok) return answer;
      if (![429, 503, 504].includes(response.status)) {
        throw new Error(`${answer.code}: ${answer.detail}`, { cause: "refused" });
      }
      pause = Number(response.headers.get("retry-after") ?? 1);
    } catch (error) {
      if (signal?.aborted) return undefined;
      if (error.cause === "refused") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause * 1000 * (0.5 + Math.random())));
  }
}

async function work(messages) {
  const done = [];
  for (const { id, fields } of messages) {
    try {
      if (fields !== null) await pay(fields); // null: the message was trimmed meanwhile.
      done.push(id);
    } catch (error) {
      console.log("failed", fields.orderID, error.message); // It stays pending, and is tried again.
    }
  }
  if (done.length > 0) await call("POST", "/ack", { body: { ids: done } });
}

/** What failed, and what a crash left behind. */
async function retryOwn() {
  let after = "pending";
  for (;;) {
    const { messages } = await call("POST", `${consumer}/read?id=${after}&count=100`);
    if (messages.length === 0) return;
    after = messages.at(-1).id;
    await work(messages);
  }
}

await call("PUT", "?mkstream=true");
await call("PUT", "/recovery", { body: { max_idle_ms: maxIdle, max_deliveries: 8 } });
let retryAt = Date.now();
while (!stopping.signal.aborted) {
  if (Date.now() >= retryAt) {
    await retryOwn();
    retryAt = Date.now() + retryEvery;
  }
  const wait = Math.max(1, retryAt - Date.now());
  // Hanging up on a waiting read loses nothing: what was read for it goes to the next reader.
  const read = await call("POST", `${consumer}/read?count=10&block_ms=${wait}`, { signal: stopping.signal });
  await work(read?.messages ?? []);
}
