// One attempt: a signed POST to an address that a user chose.

import { SignatureError, signedHeaders, utf8 } from "../_shared/webhooks.ts";
import { closed, connected, NoConnection, NoTls, within } from "./connecting.ts";
import { addressesOf, AddressRefused, NoAddress, type Resolve } from "./guard.ts";
import { Answer, requestOf } from "./http.ts";
import { retryAfter } from "./retry_after.ts";

const USER_AGENT = "S3-Webhooks/1.0";
const TIMEOUT_MS = 15_000;

/** For the first bytes of the body; a receiver that sends them slowly is not waited for. */
const ANSWER_BODY_MS = 2_000;
const KEPT_CHARACTERS = 1024;

/** A row of `claim_deliveries`. */
export interface Delivery {
  readonly id: string;
  readonly claim_token: number;
  readonly endpoint_id: string;
  readonly url: string;
  /** Newest first; each signs. */
  readonly secrets: readonly string[];
  /** The exact text to sign and send, as UTF-8. */
  readonly body: string;
}

/** What came of an attempt. */
export interface Outcome {
  readonly latencyMs: number;
  /** Absent: there was no answer, and `error` says why. */
  readonly status?: number;
  readonly text?: string;
  readonly retryAfterSeconds?: number;
  /** A sentence for the endpoint's owner; it reveals nothing about our network. */
  readonly error?: string;
}

/** Posts `delivery`, signed now with every secret. A failed attempt is an outcome too. */
export async function send(delivery: Delivery, resolve?: Resolve): Promise<Outcome> {
  const begun = performance.now();
  const since = () => Math.round(performance.now() - begun);
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let conn: Deno.Conn | undefined;
  try {
    const url = new URL(delivery.url);
    conn = await connected(url, await addressesOf(url, resolve), limit);
    const answer = await posted(conn, url, delivery, limit);
    const head = await within(limit, answer.head());
    const latencyMs = since();
    return {
      status: head.status,
      latencyMs,
      text: await startOf(answer.body(head)),
      retryAfterSeconds: retryAfter(head.headers.get("retry-after") ?? "", new Date()),
    };
  } catch (error) {
    return { latencyMs: since(), error: sentence(error) };
  } finally {
    // This ends a read that is still open.
    if (conn !== undefined) closed(conn);
  }
}

async function posted(
  conn: Deno.Conn,
  url: URL,
  delivery: Delivery,
  limit: AbortSignal,
): Promise<Answer> {
  const body = utf8(delivery.body);
  const now = Math.floor(Date.now() / 1000);
  const headers = {
    "content-type": "application/json",
    "user-agent": USER_AGENT,
    "accept-encoding": "identity",
    ...await signedHeaders(delivery.secrets, delivery.id, now, body),
  };
  let unsent = requestOf(url, headers, body);
  while (unsent.length > 0) {
    unsent = unsent.subarray(await within(limit, conn.write(unsent)));
  }
  return new Answer((into) => conn.read(into));
}

/** The first characters of the body; the status is known, so no fault here changes the outcome. */
async function startOf(body: AsyncGenerator<Uint8Array>): Promise<string> {
  const patience = AbortSignal.timeout(ANSWER_BODY_MS);
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (text.length < KEPT_CHARACTERS) {
      const { done, value } = await within(patience, body.next());
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // It broke off, or comes slowly; what came is kept.
  }
  // The one character that Postgres cannot store.
  return text.replaceAll("\0", "\ufffd").slice(0, KEPT_CHARACTERS);
}

/** For the endpoint's owner, as in webhooks/delivery/sending.py; the error's own text may name our network. */
function sentence(error: unknown): string {
  if (error instanceof AddressRefused) return "The address is not public, or not https.";
  if (error instanceof SignatureError) return "The secret cannot sign.";
  if (error instanceof NoAddress) return "The name has no address.";
  if (error instanceof NoConnection) return "No connection.";
  if (error instanceof NoTls) {
    return "No TLS connection: the certificate does not fit, or it is no TLS.";
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return `No answer within ${TIMEOUT_MS / 1000} seconds.`;
  }
  return "The answer was no HTTP, or broke off.";
}
