// Claim, send, say how it went, until nothing is due or the time is up.

import { success } from "../_shared/envelope.ts";
import { bearerOf, rpc } from "../_shared/supabase.ts";
import { Lines } from "./lines.ts";
import { type Delivery, type Fate, send } from "./sending.ts";

const BATCH = 50;

/** More is claimed when all were sent, or after so long: an endpoint that hangs holds up no other. */
const CLAIM_EVERY_MS = 1_000;

/** Attempts begin within this time; the last one then has its own length left. */
const BEGIN_MS = 35_000;

const LEASE_SECONDS = 60;

export async function answer(request: Request): Promise<Response> {
  // With the caller's own token, so that the database decides who may dispatch.
  const token = bearerOf(request);
  const until = Date.now() + BEGIN_MS;
  const lines = new Lines((delivery) => dispatch(delivery, token), until);
  try {
    while (Date.now() < until) {
      const due = lines.hasRoom ? await claim(token) : [];
      lines.put(due);
      if (due.length === 0 && lines.idle) break;
      await lines.pause(CLAIM_EVERY_MS);
    }
  } finally {
    await lines.ended();
  }
  return success(lines.counts);
}

async function claim(token: string): Promise<Delivery[]> {
  const params = { p_limit: BATCH, p_lease_seconds: LEASE_SECONDS };
  return await rpc("claim_deliveries", params, token) as Delivery[];
}

/** One attempt, settled. What is not settled comes again after its lease. */
async function dispatch(delivery: Delivery, token: string): Promise<Fate> {
  const fate = await send(delivery);
  await rpc("settle_delivery", {
    p_id: delivery.id,
    p_claim_token: delivery.claim_token,
    p_status_code: fate.status ?? null,
    p_latency_ms: fate.latencyMs,
    p_answer: fate.text ?? null,
    p_error: fate.error ?? null,
    p_retry_after_seconds: fate.retryAfterSeconds ?? null,
  }, token);
  return fate;
}
