// Standard Webhooks 1.0, as in s3_sam3/signatures.py; both pass tests/vectors.

import { ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE_SECONDS } from "./contract.ts";

const SECRET_PREFIX = "whsec_";
const VERSION_PREFIX = "v1,";
const MAX_SIGNATURES = 32;
const HMAC = { name: "HMAC", hash: "SHA-256" };

/** Why a webhook does not prove who sent it; named as the classes of s3_sam3/signatures.py. */
export type Fault =
  | "BadSecret"
  | "MissingHeader"
  | "BadTimestamp"
  | "OldTimestamp"
  | "FutureTimestamp"
  | "WrongSignature";

export class SignatureError extends Error {
  constructor(readonly fault: Fault) {
    super(fault);
  }
}

type Bytes = Uint8Array<ArrayBuffer>;

/** The three headers that go with `body`, one signature for each secret. Throws SignatureError. */
export async function signedHeaders(
  secrets: readonly string[],
  id: string,
  timestamp: number,
  body: Bytes,
): Promise<Record<string, string>> {
  const signed = signedText(id, timestamp, body);
  const signatures = await Promise.all(secrets.map((secret) => signature(secret, signed)));
  return {
    [ID_HEADER]: id,
    [TIMESTAMP_HEADER]: String(timestamp),
    [SIGNATURE_HEADER]: signatures.join(" "),
  };
}

/** The webhook's id, if one of `secrets` signed `body` about `now` (seconds). Throws SignatureError. */
export async function verify(
  secrets: readonly string[],
  headers: Headers,
  body: Bytes,
  now: number,
): Promise<string> {
  const id = required(headers, ID_HEADER);
  const timestamp = checkedTimestamp(required(headers, TIMESTAMP_HEADER), now);
  const offered = required(headers, SIGNATURE_HEADER).split(" ").slice(0, MAX_SIGNATURES);
  const signed = signedText(id, timestamp, body);
  for (const secret of secrets) {
    const key = await keyOf(secret, "verify");
    for (const each of offered) {
      const bytes = each.startsWith(VERSION_PREFIX) && decoded(each.slice(VERSION_PREFIX.length));
      if (bytes && await crypto.subtle.verify(HMAC, key, bytes, signed)) return id;
    }
  }
  throw new SignatureError("WrongSignature");
}

/** Whether two texts are equal, compared in constant time. */
export async function equal(one: string, other: string): Promise<boolean> {
  const key = await crypto.subtle.generateKey(HMAC, false, ["sign", "verify"]) as CryptoKey;
  const mac = await crypto.subtle.sign(HMAC, key, utf8(one));
  return await crypto.subtle.verify(HMAC, key, mac, utf8(other));
}

export function utf8(text: string): Bytes {
  return new TextEncoder().encode(text);
}

async function signature(secret: string, signed: Bytes): Promise<string> {
  const mac = await crypto.subtle.sign(HMAC, await keyOf(secret, "sign"), signed);
  return VERSION_PREFIX + btoa(String.fromCharCode(...new Uint8Array(mac)));
}

function signedText(id: string, timestamp: number, body: Bytes): Bytes {
  const head = utf8(`${id}.${timestamp}.`);
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

function required(headers: Headers, name: string): string {
  const value = headers.get(name);
  if (!value) throw new SignatureError("MissingHeader");
  return value;
}

function checkedTimestamp(text: string, now: number): number {
  // The signature covers these digits; "007" is another text of the same value.
  if (!/^(0|[1-9][0-9]{0,14})$/.test(text)) throw new SignatureError("BadTimestamp");
  const timestamp = Number(text);
  if (timestamp < now - TOLERANCE_SECONDS) throw new SignatureError("OldTimestamp");
  if (timestamp > now + TOLERANCE_SECONDS) throw new SignatureError("FutureTimestamp");
  return timestamp;
}

function keyOf(secret: string, use: KeyUsage): Promise<CryptoKey> {
  const key = secret.startsWith(SECRET_PREFIX) && decoded(secret.slice(SECRET_PREFIX.length));
  if (!key || key.length === 0) throw new SignatureError("BadSecret");
  return crypto.subtle.importKey("raw", key, HMAC, false, [use]);
}

/** Canonical base64 only: `atob` accepts more than other decoders. */
function decoded(text: string): Bytes | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined;
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
