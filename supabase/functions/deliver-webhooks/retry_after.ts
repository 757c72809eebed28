// Reads Retry-After headers as adapters/retrying.py does; both pass tests/vectors.

const LONGEST_SECONDS = 86_400;

/** `Thu, 26 Nov 2026 12:00:30 GMT`, its old form with `-`, and that of C's asctime. */
const DATES = [
  /^([a-z]{3,9}, )?\d{1,2}[ -][a-z]{3}[ -](\d{2}|\d{4}) \d{2}:\d{2}:\d{2}( GMT| [+-]\d{4})?$/i,
  /^[a-z]{3} [a-z]{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/i,
];

/** Seconds to wait from `now`, rounded up, at most a day; undefined: no wait is asked for. */
export function retryAfter(header: string, now: Date): number | undefined {
  const text = header.trim();
  const seconds = /^[0-9]{1,20}$/.test(text) ? Number(text) : secondsUntil(text, now);
  return seconds > 0 ? Math.min(seconds, LONGEST_SECONDS) : undefined;
}

function secondsUntil(text: string, now: Date): number {
  if (!DATES.some((spelling) => spelling.test(text))) return NaN;
  // Without a zone Date.parse would take this machine's.
  const zoned = /(GMT|[+-]\d{4})$/i.test(text) ? text : `${text} GMT`;
  const away = (Date.parse(zoned) - now.getTime()) / 1000;
  return away > 0 ? Math.floor(away) + 1 : NaN;
}
