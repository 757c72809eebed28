// Calls SQL functions through PostgREST, as the holder of a token.

import { needed } from "./environment.ts";
import { Refused } from "./envelope.ts";

/** Longer than any statement of ours may take. */
const TIMEOUT_MS = 15_000;

/** The caller's own token. Throws Refused. */
export function bearerOf(request: Request): string {
  const [scheme, token] = (request.headers.get("authorization") ?? "").split(" ", 2);
  if (scheme.toLowerCase() !== "bearer" || !token) throw new Refused("unauthenticated");
  return token;
}

/** The key that passes row-level security; only notify-listener uses it. */
export function serviceKey(): string {
  return needed("SUPABASE_SERVICE_ROLE_KEY");
}

/**
 * Calls a function of `public` as the holder of `token`; answers its value.
 *
 * Throws Refused: `unauthenticated`, `forbidden`, `upstream_unavailable`; Error for a fault of ours.
 */
export async function rpc(
  name: string,
  params: Record<string, unknown>,
  token: string,
): Promise<unknown> {
  const anon = needed("SUPABASE_ANON_KEY");
  const response = await fetch(`${needed("SUPABASE_URL")}/rest/v1/rpc/${name}`, {
    method: "POST",
    headers: {
      // A new secret key (sb_secret_…) is accepted as bearer only if it is the apikey too.
      apikey: token.startsWith("sb_secret_") || token === envServiceKey() ? token : anon,
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(params),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => {
    throw new Refused("upstream_unavailable");
  });
  const text = await response.text();
  if (response.ok) return text === "" ? null : JSON.parse(text);
  if (response.status === 401) throw new Refused("unauthenticated");
  if (response.status === 403) throw new Refused("forbidden");
  if (response.status >= 500) throw new Refused("upstream_unavailable");
  throw new Error(`${name}: ${response.status} ${text.slice(0, 200)}`);
}

function envServiceKey(): string | undefined {
  return Deno.env.get("SUPABASE_SERVICE_ROLE_KEY");
}
