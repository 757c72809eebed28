interface EdgeRuntime {
  waitUntil(work: Promise<unknown>): void;
}

/** Lets `work` go on after the answer; otherwise a hosted function is stopped with its answer. */
export function inBackground(work: Promise<unknown>): void {
  const logged = work.catch((error) => console.error("background_failed", String(error)));
  (globalThis as { EdgeRuntime?: EdgeRuntime }).EdgeRuntime?.waitUntil(logged);
}
