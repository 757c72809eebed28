// Claimed deliveries, a queue per endpoint, as in webhooks/delivery/endpoint_queues.py: no endpoint
// holds up another. What is let go costs no attempt; it is due again when its lease ends.

import type { Delivery, Outcome } from "./sending.ts";

/** Open requests to one endpoint; after a failure there is one at a time, until one succeeds. */
const AT_ONCE = 4;

/** After as many failures in a row the database sends nothing more there for a while. */
const CIRCUIT_FAILURES = 5;

/** Claimed deliveries of one endpoint, and of all. */
const LONGEST_QUEUE = 50;
const MOST_IN_HAND = 500;

interface Queue {
  readonly waiting: Delivery[];
  running: number;
  failures: number;
  /** Nothing more goes there in this run. */
  closed: boolean;
}

/** Sends a delivery and answers how it went; rejects when that is unknown. */
export type Dispatch = (delivery: Delivery) => Promise<Outcome>;

export class EndpointQueues {
  readonly counts = { sent: 0, delivered: 0 };
  #queues = new Map<string, Queue>();
  #running = new Set<Promise<void>>();

  /** No attempt begins after `until` (milliseconds, as Date.now() has them). */
  constructor(private readonly dispatch: Dispatch, private readonly until: number) {}

  get idle(): boolean {
    return this.#running.size === 0;
  }

  /** Whether more may be claimed. */
  get hasRoom(): boolean {
    let inHand = this.#running.size;
    for (const queue of this.#queues.values()) inHand += queue.waiting.length;
    return inHand < MOST_IN_HAND;
  }

  /** Queues what was claimed, and sends what may be sent. */
  put(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const queue = this.#queueOf(delivery.endpoint_id);
      if (!queue.closed && queue.waiting.length < LONGEST_QUEUE) queue.waiting.push(delivery);
    }
    for (const queue of this.#queues.values()) this.#pump(queue);
  }

  /** Wait until nothing is being sent, or for `milliseconds`. */
  async pause(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    await Promise.race([this.ended(), promise]);
    clearTimeout(timer);
  }

  /** Wait until nothing is being sent. */
  async ended(): Promise<void> {
    while (!this.idle) await Promise.all(this.#running);
  }

  #queueOf(endpoint: string): Queue {
    const known = this.#queues.get(endpoint);
    if (known !== undefined) return known;
    const queue = { waiting: [], running: 0, failures: 0, closed: false };
    this.#queues.set(endpoint, queue);
    return queue;
  }

  #pump(queue: Queue): void {
    while (queue.running < (queue.failures > 0 ? 1 : AT_ONCE)) {
      const delivery = Date.now() < this.until ? queue.waiting.shift() : undefined;
      if (delivery === undefined) return;
      const work = this.#one(queue, delivery);
      this.#running.add(work);
      work.finally(() => this.#running.delete(work));
    }
  }

  async #one(queue: Queue, delivery: Delivery): Promise<void> {
    queue.running += 1;
    this.counts.sent += 1;
    try {
      this.#learn(queue, await this.dispatch(delivery));
    } catch (reason) {
      console.warn("not_settled", String(reason));
    } finally {
      queue.running -= 1;
      this.#pump(queue);
    }
  }

  #learn(queue: Queue, { status = 0, retryAfterSeconds }: Outcome): void {
    if (status >= 200 && status < 300) {
      this.counts.delivered += 1;
      queue.failures = 0;
      return;
    }
    queue.failures += 1;
    const asked = (status === 429 || status === 503) && retryAfterSeconds !== undefined;
    if (asked || status === 410 || queue.failures >= CIRCUIT_FAILURES) {
      // The database knows for how long.
      queue.closed = true;
      queue.waiting.length = 0;
    }
  }
}
