interface EdgeRuntime {
  waitUntil(work: Promise<unknown>): void;
}

/** Let `work` go on after the answer; a hosted function would else be stopped with it. */
export function inBackground(work: Promise<unknown>): void {
  const logged = work.catch((error) => console.error("background_failed", String(error)));
  (globalThis as { EdgeRuntime?: EdgeRuntime }).EdgeRuntime?.waitUntil(logged);
}
