// Claimed deliveries, a line per endpoint, as dispatcher/lines.py has them: none stands in another's
// way. What is let go costs no attempt; it comes again when its lease ends.

import type { Delivery, Fate } from "./sending.ts";

/** Requests that one endpoint has open; one that failed gets one at a time until it takes one. */
const AT_ONCE = 4;

/** After as many failures in a row the database sends nothing more there for a while. */
const CIRCUIT_FAILURES = 5;

/** Deliveries in hand of one endpoint, and of all. */
const LONGEST_LINE = 50;
const MOST_IN_HAND = 500;

interface Line {
  readonly waiting: Delivery[];
  running: number;
  failures: number;
  /** Nothing more goes there in this run. */
  closed: boolean;
}

/** Sends a delivery and says how it went; rejects when nobody knows. */
export type Dispatch = (delivery: Delivery) => Promise<Fate>;

export class Lines {
  readonly counts = { sent: 0, delivered: 0 };
  #lines = new Map<string, Line>();
  #running = new Set<Promise<void>>();

  /** No attempt begins after `until` (milliseconds, as Date.now() has them). */
  constructor(private readonly dispatch: Dispatch, private readonly until: number) {}

  get idle(): boolean {
    return this.#running.size === 0;
  }

  /** Whether more may be claimed. */
  get hasRoom(): boolean {
    let inHand = this.#running.size;
    for (const line of this.#lines.values()) inHand += line.waiting.length;
    return inHand < MOST_IN_HAND;
  }

  /** Let what was claimed join its lines, and send what may be sent. */
  put(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const line = this.#lineOf(delivery.endpoint_id);
      if (!line.closed && line.waiting.length < LONGEST_LINE) line.waiting.push(delivery);
    }
    for (const line of this.#lines.values()) this.#pump(line);
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

  #lineOf(endpoint: string): Line {
    const known = this.#lines.get(endpoint);
    if (known !== undefined) return known;
    const line = { waiting: [], running: 0, failures: 0, closed: false };
    this.#lines.set(endpoint, line);
    return line;
  }

  #pump(line: Line): void {
    while (line.running < (line.failures > 0 ? 1 : AT_ONCE)) {
      const delivery = Date.now() < this.until ? line.waiting.shift() : undefined;
      if (delivery === undefined) return;
      const work = this.#one(line, delivery);
      this.#running.add(work);
      work.finally(() => this.#running.delete(work));
    }
  }

  async #one(line: Line, delivery: Delivery): Promise<void> {
    line.running += 1;
    this.counts.sent += 1;
    try {
      this.#learn(line, await this.dispatch(delivery));
    } catch (reason) {
      console.warn("not_settled", String(reason));
    } finally {
      line.running -= 1;
      this.#pump(line);
    }
  }

  #learn(line: Line, { status = 0, retryAfterSeconds }: Fate): void {
    if (status >= 200 && status < 300) {
      this.counts.delivered += 1;
      line.failures = 0;
      return;
    }
    line.failures += 1;
    const asked = (status === 429 || status === 503) && retryAfterSeconds !== undefined;
    if (asked || status === 410 || line.failures >= CIRCUIT_FAILURES) {
      // The database knows until when.
      line.closed = true;
      line.waiting.length = 0;
    }
  }
}
