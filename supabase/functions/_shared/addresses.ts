// Which addresses are public, as in adapters/guard.py; both pass tests/vectors.

const NOT_PUBLIC_4 = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"],
  ...["172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"],
  ...["198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"],
  // Azure's platform service: a public address with private answers.
  "168.63.129.16/32",
];

/** All of IPv6 that is assigned; the rest is local, multicast or reserved. */
const UNICAST_6 = "2000::/3";

/** Protocol assignments (Teredo among them) and documentation. */
const NOT_PUBLIC_6 = ["2001::/23", "2001:db8::/32", "3fff::/20"];

/** IPv6 networks whose addresses contain an IPv4 address, and how many bits are to its right. */
const WRAPPED: readonly (readonly [string, bigint])[] = [
  ["::ffff:0:0/96", 0n],
  ["64:ff9b::/96", 0n],
  ["2002::/16", 80n],
];

/** Whether `text` is an address on the open internet; a name is not. */
export function isPublic(text: string): boolean {
  const four = numberOf4(text);
  if (four !== undefined) return isPublic4(four);
  const six = numberOf6(text);
  if (six === undefined) return false;
  for (const [network, shift] of WRAPPED) {
    if (within6(six, network)) return isPublic4((six >> shift) & 0xffff_ffffn);
  }
  return within6(six, UNICAST_6) && !NOT_PUBLIC_6.some((network) => within6(six, network));
}

/** The address in a URL's host name, if it is one; IPv6 stands there in brackets. */
export function literalOf(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, "");
  return (numberOf4(bare) ?? numberOf6(bare)) === undefined ? undefined : bare;
}

function isPublic4(address: bigint): boolean {
  return !NOT_PUBLIC_4.some((network) => {
    const [base, bits] = network.split("/");
    return within(address, numberOf4(base)!, 32n - BigInt(bits));
  });
}

function within6(address: bigint, network: string): boolean {
  const [base, bits] = network.split("/");
  return within(address, numberOf6(base)!, 128n - BigInt(bits));
}

function within(address: bigint, base: bigint, hostBits: bigint): boolean {
  return address >> hostBits === base >> hostBits;
}

function numberOf4(text: string): bigint | undefined {
  const parts = text.split(".");
  const isPart = (part: string) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256;
  if (parts.length !== 4 || !parts.every(isPart)) return undefined;
  return parts.reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
}

function numberOf6(text: string): bigint | undefined {
  if (!/^[0-9a-f:.]+$/i.test(text)) return undefined;
  let hostname;
  try {
    // The platform's own parser writes every spelling in one way.
    hostname = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return undefined;
  }
  const [left, right] = hostname.split("::").map((side) => side === "" ? [] : side.split(":"));
  const gap = right === undefined ? [] : Array(8 - left.length - right.length).fill("0");
  const groups = [...left, ...gap, ...(right ?? [])];
  return groups.reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}
