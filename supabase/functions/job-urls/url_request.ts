// The request of job-urls: {"token": 17, "writes": [{"name", "content_type", "bytes"}]}.

import { MAX_FILE_BYTES, RESULT_FILES } from "../_shared/contract.ts";
import { Refused } from "../_shared/envelope.ts";

/** A result file that the machine wants to write. */
export interface Write {
  readonly name: string;
  /** The URL is valid for a file of exactly that size. */
  readonly bytes: number;
}

export interface UrlRequest {
  /** The attempt's fencing token. */
  readonly token: number;
  readonly writes: readonly Write[];
}

/** Reads the request. Throws Refused, whose details name the field. */
export function urlRequestOf(body: Record<string, unknown>): UrlRequest {
  const { token, writes = [] } = body;
  if (!Number.isSafeInteger(token) || (token as number) < 1) {
    throw new Refused("invalid_request", { token: "must be a positive integer" });
  }
  const files = Object.keys(RESULT_FILES);
  if (!Array.isArray(writes) || writes.length > files.length) {
    throw new Refused("invalid_request", { writes: `must be a list of at most ${files.length}` });
  }
  return { token: token as number, writes: writes.map(writeOf) };
}

function writeOf(given: unknown): Write {
  const { name, content_type: type, bytes } = (given ?? {}) as Record<string, unknown>;
  if (typeof name !== "string" || !Object.hasOwn(RESULT_FILES, name)) {
    throw new Refused("forbidden", { writes: "the attempt may write result files only" });
  }
  if (type !== RESULT_FILES[name]) {
    throw new Refused("invalid_request", { content_type: `${name} is ${RESULT_FILES[name]}` });
  }
  // Without a signed size the store would accept a file of any size.
  if (!Number.isSafeInteger(bytes) || (bytes as number) < 0 || (bytes as number) > MAX_FILE_BYTES) {
    throw new Refused("invalid_request", { bytes: `must be 0 to ${MAX_FILE_BYTES}` });
  }
  return { name, bytes: bytes as number };
}
