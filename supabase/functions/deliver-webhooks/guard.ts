// Public addresses only (against server-side request forgery).
//
// `fetch` resolves the name once more and cannot be told the address, so a name that changes
// between the two looks gets past this check; package dispatcher/ checks the address that it
// connects to. On the hosted platform a function has no network of ours around it.

import { isPublic, literalOf } from "../_shared/addresses.ts";

export class AddressRefused extends Error {}

/** Throws AddressRefused, unless `url` is https and all addresses of its host are public. */
export async function checkAddress(url: string): Promise<void> {
  if (Deno.env.get("DISPATCHER_ALLOW_PRIVATE") === "true") return;
  const { protocol, hostname } = new URL(url);
  const addresses = await addressesOf(hostname);
  if (protocol !== "https:" || addresses.length === 0 || !addresses.every(isPublic)) {
    throw new AddressRefused(hostname);
  }
}

async function addressesOf(hostname: string): Promise<string[]> {
  const literal = literalOf(hostname);
  if (literal !== undefined) return [literal];
  const asked = (["A", "AAAA"] as const).map((kind) => Deno.resolveDns(hostname, kind));
  const answers = await Promise.allSettled(asked);
  return answers.flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
}
