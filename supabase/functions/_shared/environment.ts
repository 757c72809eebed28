/** A required variable; the platform's own are always set. */
export function needed(name: string): string {
  const value = Deno.env.get(name);
  if (!value) throw new Error(`set ${name} (supabase secrets set ${name}=…)`);
  return value;
}
