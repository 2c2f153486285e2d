/** Ticks. See `clock.ts` for why this is a thread of its own. */
const context = self as unknown as {
  onmessage: ((event: MessageEvent<number>) => void) | null;
  postMessage(_: 0): void;
};
let timer: ReturnType<typeof setInterval> | undefined;

context.onmessage = (event) => {
  clearInterval(timer);
  if (event.data > 0) timer = setInterval(() => context.postMessage(0), event.data);
};
