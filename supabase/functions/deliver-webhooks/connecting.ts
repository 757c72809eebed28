// Connects to an address that was checked. `fetch` would look the name up once more.

/** A slower address is passed over. */
const CONNECT_MS = 5_000;

export class NoConnection extends Error {}

export class NoTls extends Error {}

/** Connected to the first of `addresses` that answers, with TLS if `url` is https. The caller closes it. */
export async function connected(
  url: URL,
  addresses: readonly string[],
  limit: AbortSignal,
): Promise<Deno.Conn> {
  const plain = await toFirst(addresses, portOf(url), limit);
  return url.protocol === "https:" ? await secured(plain, url.hostname, limit) : plain;
}

/** `work`, unless `limit` comes first: then its reason is thrown, and `over` gets the late value. */
export async function within<Value>(
  limit: AbortSignal,
  work: Promise<Value>,
  over: (late: Value) => void = () => {},
): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    work.then(over, () => {});
    reject(limit.reason);
  };
  if (limit.aborted) onAbort();
  limit.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    limit.removeEventListener("abort", onAbort);
  }
}

async function toFirst(
  addresses: readonly string[],
  port: number,
  limit: AbortSignal,
): Promise<Deno.Conn> {
  for (const hostname of addresses) {
    const patience = AbortSignal.any([limit, AbortSignal.timeout(CONNECT_MS)]);
    try {
      return await within(patience, Deno.connect({ hostname, port }), closed);
    } catch {
      limit.throwIfAborted();
    }
  }
  throw new NoConnection();
}

async function secured(
  plain: Deno.Conn,
  hostname: string,
  limit: AbortSignal,
): Promise<Deno.Conn> {
  // The certificate must be for the name, whatever the address.
  const bare = hostname.replace(/^\[|\]$/g, "");
  let conn: Deno.Conn = plain;
  try {
    const tls = await Deno.startTls(plain as Deno.TcpConn, { hostname: bare });
    conn = tls;
    await within(limit, tls.handshake());
    return tls;
  } catch {
    closed(conn);
    limit.throwIfAborted();
    throw new NoTls();
  }
}

function portOf(url: URL): number {
  return url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
}

/** Close `conn`, which may be closed already. */
export function closed(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // It was.
  }
}
