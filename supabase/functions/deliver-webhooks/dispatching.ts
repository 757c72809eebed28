// Claim, send, say how it went, until nothing is due or the time is up.

import { success } from "../_shared/envelope.ts";
import { bearerOf, rpc } from "../_shared/supabase.ts";
import { type Delivery, send } from "./sending.ts";

/** So many are sent at once; the slowest of them holds up the next batch. */
const BATCH = 50;

/** Claims begin within this time; the last batch then has the length of one attempt left. */
const CLAIM_MS = 35_000;

const LEASE_SECONDS = 60;

export async function answer(request: Request): Promise<Response> {
  // With the caller's own token, so that the database decides who may dispatch.
  const token = bearerOf(request);
  const until = Date.now() + CLAIM_MS;
  let sent = 0;
  let delivered = 0;
  while (Date.now() < until) {
    const due = await claim(token);
    if (due.length === 0) break;
    const fates = await Promise.allSettled(due.map((delivery) => dispatch(delivery, token)));
    for (const fate of fates) {
      if (fate.status === "rejected") console.warn("not_settled", String(fate.reason));
    }
    sent += due.length;
    delivered += fates.filter((fate) => fate.status === "fulfilled" && fate.value).length;
  }
  return success({ sent, delivered });
}

async function claim(token: string): Promise<Delivery[]> {
  const params = { p_limit: BATCH, p_lease_seconds: LEASE_SECONDS };
  return await rpc("claim_deliveries", params, token) as Delivery[];
}

/** One attempt; whether the receiver has it. What is not settled comes again after its lease. */
async function dispatch(delivery: Delivery, token: string): Promise<boolean> {
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
  return fate.status !== undefined && fate.status >= 200 && fate.status < 300;
}
