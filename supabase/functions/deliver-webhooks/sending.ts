// One attempt: a signed POST to an address that a stranger chose.

import { SignatureError, signedHeaders, utf8 } from "../_shared/webhooks.ts";
import { AddressRefused, checkAddress } from "./guard.ts";

const USER_AGENT = "S3-Webhooks/1.0";
const TIMEOUT_MS = 15_000;

/** For the first bytes after the status; a receiver that drips them is not waited for. */
const ANSWER_BODY_MS = 2_000;
const KEPT_CHARACTERS = 1024;
const LONGEST_RETRY_AFTER_SECONDS = 86_400;

/** A row of `claim_deliveries`. */
export interface Delivery {
  readonly id: string;
  readonly claim_token: number;
  readonly url: string;
  /** Newest first; each signs. */
  readonly secrets: readonly string[];
  /** The exact text to sign and send, as UTF-8. */
  readonly body: string;
}

/** What came of an attempt. */
export interface Fate {
  readonly latencyMs: number;
  /** Absent: there was no answer, and `error` says why. */
  readonly status?: number;
  readonly text?: string;
  readonly retryAfterSeconds?: number;
  /** A sentence for the endpoint's owner; it tells nothing about our network. */
  readonly error?: string;
}

/** Post `delivery`, signed for this moment by every secret. Never throws for its fate. */
export async function send(delivery: Delivery): Promise<Fate> {
  const begun = performance.now();
  const since = () => Math.round(performance.now() - begun);
  try {
    await checkAddress(delivery.url);
    const response = await post(delivery);
    const latencyMs = since();
    return {
      status: response.status,
      latencyMs,
      text: await startOf(response),
      retryAfterSeconds: retryAfter(response.headers.get("retry-after"), new Date()),
    };
  } catch (error) {
    return { latencyMs: since(), error: sentence(error) };
  }
}

async function post(delivery: Delivery): Promise<Response> {
  const body = utf8(delivery.body);
  const now = Math.floor(Date.now() / 1000);
  return await fetch(delivery.url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "user-agent": USER_AGENT,
      "accept-encoding": "identity",
      ...await signedHeaders(delivery.secrets, delivery.id, now, body),
    },
    body,
    // A redirect could lead to an address that nobody checked.
    redirect: "manual",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}

/** The first characters of the body; the status is known, so no fault here changes the outcome. */
async function startOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return "";
  const decoder = new TextDecoder();
  const timer = setTimeout(() => reader.cancel().catch(() => {}), ANSWER_BODY_MS);
  let text = "";
  try {
    while (text.length < KEPT_CHARACTERS) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // It broke off; what came is kept.
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => {});
  }
  // Postgres keeps every character but this one.
  return text.replaceAll("\0", "\ufffd").slice(0, KEPT_CHARACTERS);
}

/** Seconds to wait by a Retry-After header, in seconds or as an HTTP date; at most a day. */
export function retryAfter(header: string | null, now: Date): number | undefined {
  const text = (header ?? "").trim();
  const seconds = /^[0-9]{1,20}$/.test(text)
    ? Number(text)
    : Math.ceil((Date.parse(text) - now.getTime()) / 1000);
  return seconds > 0 ? Math.min(seconds, LONGEST_RETRY_AFTER_SECONDS) : undefined;
}

function sentence(error: unknown): string {
  if (error instanceof AddressRefused) return "The address is not public, or not https.";
  if (error instanceof SignatureError) return "The secret cannot sign.";
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return `No answer within ${TIMEOUT_MS / 1000} seconds.`;
  }
  return "No connection, or the answer was no HTTP.";
}
