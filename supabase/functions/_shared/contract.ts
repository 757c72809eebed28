// The contract, as in s3_sam3/contracts/ and s3_sam3/signatures.py; tests/functions compares them.

/** Result files of one attempt, and what each is (object_keys.py, listener/task_objects.py). */
export const RESULT_FILES: Readonly<Record<string, string>> = {
  "manifest.json": "application/json",
  "mask.png": "image/png",
  "overlay.webp": "image/webp",
};

/** Longest life of a signed URL, in seconds (limits.py). */
export const SIGNED_URL_SECONDS = 900;

/** Largest result file that a URL is signed for, in bytes (limits.py: an upload's limit). */
export const MAX_FILE_BYTES = 50 * 1024 * 1024;

/** Errors that our functions answer (errors.py): status, retryable, message. */
export const ERRORS = {
  unauthenticated: [401, false, "Send `Authorization: Bearer <Supabase access token>`."],
  forbidden: [403, false, "This account may not do that."],
  not_found: [404, false, "There is nothing here under that id for you."],
  method_not_allowed: [
    405,
    false,
    "This path does not take that method. `Allow` lists the ones it takes.",
  ],
  invalid_request: [
    400,
    false,
    "The request does not fit the contract. `details` names each field.",
  ],
  source_not_found: [
    404,
    false,
    "No upload of yours has that image_url. Upload the picture first.",
  ],
  upstream_unavailable: [
    503,
    true,
    "The database or the object store does not answer. Try again shortly.",
  ],
  internal: [500, true, "Something failed on our side. Quote `meta.request_id`."],
} as const satisfies Record<string, readonly [number, boolean, string]>;

export type ErrorCode = keyof typeof ERRORS;

/** Headers of Standard Webhooks 1.0 (signatures.py). */
export const ID_HEADER = "webhook-id";
export const TIMESTAMP_HEADER = "webhook-timestamp";
export const SIGNATURE_HEADER = "webhook-signature";

/** How far a sender's clock may be from ours, in either direction, in seconds. */
export const TOLERANCE_SECONDS = 300;

/** Whether `key` is an upload of that user, and a plain one (object_keys.py). */
export function isUploadOf(key: string, userId: string): boolean {
  const prefix = `uploads/${userId}/`;
  const name = key.slice(prefix.length);
  return key.startsWith(prefix) && name !== "" && !name.includes("/") && !name.includes("..");
}
