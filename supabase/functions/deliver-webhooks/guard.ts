// Public addresses only (against server-side request forgery).
//
// A check of the URL before the request is not enough: a name may have another address a moment
// later. So the name is looked up here, once, and only checked addresses are connected to.

import { isPublic, literalOf } from "../_shared/addresses.ts";

/** A slower name server is not waited for. */
const DNS_MS = 5_000;

/** More addresses of one name are not tried. */
const MOST_ADDRESSES = 8;

export class AddressRefused extends Error {}

export class NoAddress extends Error {}

/** Addresses of a name; rejects when there is none. */
export type Resolve = (name: string, kind: "A" | "AAAA", signal: AbortSignal) => Promise<string[]>;

const system: Resolve = (name, kind, signal) => Deno.resolveDns(name, kind, { signal });

/**
 * The checked addresses of `url`, in the order to try.
 *
 * Throws AddressRefused, unless `url` is https and all addresses found are public; NoAddress.
 */
export async function addressesOf(
  url: URL,
  resolve: Resolve = system,
  patience: number = DNS_MS,
): Promise<string[]> {
  const { protocol, hostname } = url;
  const literal = literalOf(hostname);
  // For development and tests; the system then looks the name up.
  if (Deno.env.get("DISPATCHER_ALLOW_PRIVATE") === "true") return [literal ?? hostname];
  if (protocol !== "https:") throw new AddressRefused(hostname);
  const found = literal === undefined ? await resolved(hostname, resolve, patience) : [literal];
  if (found.length === 0) throw new NoAddress(hostname);
  if (!found.every(isPublic)) throw new AddressRefused(hostname);
  return found.slice(0, MOST_ADDRESSES);
}

/** One kind of record may fail: only addresses that were found are connected to. */
async function resolved(hostname: string, resolve: Resolve, patience: number): Promise<string[]> {
  const late = AbortSignal.timeout(patience);
  const never = new Promise<never>((_, reject) => {
    late.addEventListener("abort", () => reject(late.reason), { once: true });
  });
  const asked = (["A", "AAAA"] as const).map((kind) =>
    Promise.race([resolve(hostname, kind, late), never])
  );
  const answers = await Promise.allSettled(asked);
  return answers.flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
}
