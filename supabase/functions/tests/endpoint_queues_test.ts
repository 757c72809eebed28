import assert from "node:assert/strict";

import { EndpointQueues } from "../deliver-webhooks/endpoint_queues.ts";
import type { Delivery, Outcome } from "../deliver-webhooks/sending.ts";

/** Takes deliveries and answers when told. */
class Hand {
  readonly open: { delivery: Delivery; end: (outcome: Outcome) => void }[] = [];
  readonly queues: EndpointQueues;

  constructor(until = Infinity) {
    this.queues = new EndpointQueues((delivery) => {
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      this.open.push({ delivery, end: resolve });
      return promise;
    }, until);
  }

  /** Answer the oldest open request of `endpoint`. */
  async answer(endpoint: string, outcome: Partial<Outcome>): Promise<void> {
    const place = this.open.findIndex(({ delivery }) => delivery.endpoint_id === endpoint);
    const [{ end }] = this.open.splice(place, 1);
    end({ latencyMs: 1, ...outcome });
    // Whatever follows from it is a matter of microtasks.
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }

  openOf(endpoint: string): number {
    return this.open.filter(({ delivery }) => delivery.endpoint_id === endpoint).length;
  }
}

function some(endpoint: string, count: number): Delivery[] {
  const rest = { claim_token: 1, endpoint_id: endpoint, url: "", secrets: [], body: "{}" };
  return Array.from({ length: count }, (_, place) => ({ id: `m${place}`, ...rest }));
}

Deno.test("an endpoint has four requests open, whatever others do", async () => {
  const hand = new Hand();
  hand.queues.put([...some("one", 50), ...some("other", 2)]);

  assert.deepEqual([hand.openOf("one"), hand.openOf("other")], [4, 2]);
  await hand.answer("one", { status: 200 });
  assert.equal(hand.openOf("one"), 4);
});

Deno.test("who failed gets one at a time until it takes one", async () => {
  const hand = new Hand();
  hand.queues.put(some("one", 50));
  for (let count = 0; count < 4; count++) await hand.answer("one", { status: 500 });
  assert.equal(hand.openOf("one"), 1);

  await hand.answer("one", { status: 204 });
  assert.equal(hand.openOf("one"), 4);
});

for (
  const [law, outcome, times] of [
    ["five failures in a row", { status: 500 }, 5],
    ["five times no answer", { error: "No connection." }, 5],
    ["410", { status: 410 }, 1],
    ["429 with Retry-After", { status: 429, retryAfterSeconds: 5 }, 1],
    ["503 with Retry-After", { status: 503, retryAfterSeconds: 5 }, 1],
  ] as const
) {
  Deno.test(`nothing more goes to an endpoint after ${law}`, async () => {
    const hand = new Hand();
    hand.queues.put(some("one", 50));
    for (let count = 0; count < times; count++) await hand.answer("one", outcome);
    while (hand.openOf("one") > 0) await hand.answer("one", { status: 200 });
    hand.queues.put(some("one", 50));

    assert.equal(hand.openOf("one"), 0);
    assert(hand.queues.idle);
    assert(hand.queues.counts.sent <= Math.max(4, times));
  });
}

Deno.test("negative control: 429 without Retry-After is one failure of five", async () => {
  const hand = new Hand();
  hand.queues.put(some("one", 50));
  for (let count = 0; count < 4; count++) await hand.answer("one", { status: 429 });

  assert.equal(hand.openOf("one"), 1);
});

Deno.test("no attempt begins when the time is up, and those that run are waited for", async () => {
  const late = new Hand(Date.now());
  late.queues.put(some("one", 5));
  assert.equal(late.openOf("one"), 0);

  const hand = new Hand();
  hand.queues.put(some("one", 1));
  const ended = hand.queues.ended().then(() => "ended");
  await hand.answer("one", { status: 200 });
  assert.equal(await ended, "ended");
  assert.deepEqual(hand.queues.counts, { sent: 1, delivered: 1 });
});

Deno.test("what is in hand is bounded, and endpoints that hang leave room for others", () => {
  const hand = new Hand();
  for (let count = 0; count < 20; count++) hand.queues.put(some("hangs", 50));
  assert(hand.queues.hasRoom);

  for (let count = 0; count < 10; count++) hand.queues.put(some(`hangs too ${count}`, 50));
  assert(!hand.queues.hasRoom);
});
