// The one shape of every answer (s3_sam3/contracts/bodies.py).

import { type ErrorCode, ERRORS } from "./contract.ts";

/** A refusal for the caller; `details` tell more than the code's own sentence. */
export class Refused extends Error {
  constructor(readonly code: ErrorCode, readonly details?: Record<string, unknown>) {
    super(code);
  }
}

export function success(data: unknown, status = 200): Response {
  return answer({ success: true, data, error: null }, status);
}

export function failure(refused: Refused): Response {
  const [status, retryable, message] = ERRORS[refused.code];
  const error = { code: refused.code, message, details: refused.details ?? null, retryable };
  return answer({ success: false, data: null, error }, status);
}

function answer(body: Record<string, unknown>, status: number): Response {
  const meta = { request_id: crypto.randomUUID(), timestamp: new Date().toISOString() };
  // Answers have URLs and secrets that are for this caller alone.
  return Response.json({ ...body, meta }, { status, headers: { "cache-control": "no-store" } });
}

type Handler = (request: Request) => Promise<Response>;

/** A handler that accepts POST only; errors become envelopes, and the log has their details. */
export function posted(handle: Handler): Handler {
  return async (request) => {
    try {
      if (request.method !== "POST") throw new Refused("method_not_allowed");
      return await handle(request);
    } catch (error) {
      if (error instanceof Refused) return withAllow(failure(error));
      console.error("failed", error);
      return failure(new Refused("internal"));
    }
  };
}

function withAllow(response: Response): Response {
  if (response.status === 405) response.headers.set("allow", "POST");
  return response;
}

/** The body as a JSON object. Throws Refused. */
export async function objectOf(request: Request): Promise<Record<string, unknown>> {
  const body: unknown = await request.json().catch(() => undefined);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Refused("invalid_request", { body: "must be a JSON object" });
  }
  return body as Record<string, unknown>;
}
