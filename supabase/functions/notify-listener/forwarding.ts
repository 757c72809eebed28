// A Database Webhook cannot sign. It proves itself to this function by a shared secret, and this
// function sends a signed hint to each registered listener. Bodies have ids only: a listener looks
// into the database itself, and what a hint says decides nothing.

import { inBackground } from "../_shared/background.ts";
import { needed } from "../_shared/environment.ts";
import { objectOf, Refused, success } from "../_shared/envelope.ts";
import { rpc, serviceKey } from "../_shared/supabase.ts";
import { equal, signedHeaders, utf8 } from "../_shared/webhooks.ts";

/** Set it in the dashboard as a header of the webhook; the listener knows the same name. */
export const SECRET_HEADER = "x-webhook-secret";

const TIMEOUT_MS = 5_000;

interface WakeTarget {
  readonly name: string;
  readonly url: string;
  /** Newest first; two for a day after a rotation. Each signs. */
  readonly secrets: readonly string[];
}

export async function answer(request: Request): Promise<Response> {
  const given = request.headers.get(SECRET_HEADER) ?? "";
  if (!await equal(given, needed("NOTIFY_LISTENER_SECRET"))) throw new Refused("unauthenticated");
  const hint = thinOf(await objectOf(request));
  // pg_net waits for a batch's slowest answer, so this function waits for no listener.
  inBackground(tellAll(hint));
  return success({ accepted: true }, 202);
}

/** The webhook's body without user data. Throws Refused. */
export function thinOf(body: Record<string, unknown>): string {
  const { type, schema, table, record } = body;
  const row = (record ?? {}) as Record<string, unknown>;
  if (table !== "segmentation_results" || typeof row.id !== "string") {
    throw new Refused("invalid_request", { record: "must be a row of segmentation_results" });
  }
  const thin = { id: row.id, kind: row.kind ?? null, status: row.status ?? null };
  return JSON.stringify({ type, schema, table, record: thin, old_record: null });
}

async function tellAll(hint: string): Promise<void> {
  const targets = await rpc("wake_targets", {}, serviceKey()) as WakeTarget[];
  // One id for all listeners: it is one event.
  const id = `msg_${crypto.randomUUID().replaceAll("-", "")}`;
  await Promise.all(targets.map((target) => tell(target, id, utf8(hint))));
}

async function tell(target: WakeTarget, id: string, body: Uint8Array<ArrayBuffer>): Promise<void> {
  try {
    const now = Math.floor(Date.now() / 1000);
    const response = await fetch(target.url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...await signedHeaders(target.secrets, id, now, body),
      },
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.body?.cancel();
    if (!response.ok) console.warn("listener_refused", target.name, response.status);
  } catch (error) {
    console.warn("listener_unreachable", target.name, String(error));
  }
}
