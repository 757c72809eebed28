// Claims, sends and settles, until nothing is due or the time is up.

import { success } from "../_shared/envelope.ts";
import { bearerOf, rpc } from "../_shared/supabase.ts";
import { EndpointQueues } from "./endpoint_queues.ts";
import { type Delivery, type Outcome, send } from "./sending.ts";

const BATCH = 50;

/** More is claimed when all were sent, or after so long: a slow endpoint holds up no other. */
const CLAIM_EVERY_MS = 1_000;

/** Attempts begin within this time; the last one may then take its whole timeout. */
const BEGIN_MS = 35_000;

const LEASE_SECONDS = 60;

export async function answer(request: Request): Promise<Response> {
  // With the caller's own token: the database decides who may dispatch.
  const token = bearerOf(request);
  const until = Date.now() + BEGIN_MS;
  const queues = new EndpointQueues((delivery) => dispatch(delivery, token), until);
  try {
    while (Date.now() < until) {
      const due = queues.hasRoom ? await claim(token) : [];
      queues.put(due);
      if (due.length === 0 && queues.idle) break;
      await queues.pause(CLAIM_EVERY_MS);
    }
  } finally {
    await queues.ended();
  }
  return success(queues.counts);
}

async function claim(token: string): Promise<Delivery[]> {
  const params = { p_limit: BATCH, p_lease_seconds: LEASE_SECONDS };
  return await rpc("claim_deliveries", params, token) as Delivery[];
}

/** One attempt, settled. What is not settled is due again after its lease. */
async function dispatch(delivery: Delivery, token: string): Promise<Outcome> {
  const outcome = await send(delivery);
  await rpc("settle_delivery", {
    p_id: delivery.id,
    p_claim_token: delivery.claim_token,
    p_status_code: outcome.status ?? null,
    p_latency_ms: outcome.latencyMs,
    p_answer: outcome.text ?? null,
    p_error: outcome.error ?? null,
    p_retry_after_seconds: outcome.retryAfterSeconds ?? null,
  }, token);
  return outcome;
}
