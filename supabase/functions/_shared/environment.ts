/** A variable that the function cannot do without; the platform's are always there. */
export function needed(name: string): string {
  const value = Deno.env.get(name);
  if (!value) throw new Error(`set ${name} (supabase secrets set ${name}=…)`);
  return value;
}
