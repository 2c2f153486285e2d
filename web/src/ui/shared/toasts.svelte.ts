/** Short words at the edge of the screen that go away by themselves, with at most one action. */

export interface Toast {
  id: number;
  text: string;
  kind: "info" | "error";
  action?: { label: string; run: () => void };
  /** Runs when the toast goes away without its action having been taken. */
  expired?: () => void;
}

const shown_ms = 5000;
const shown_max = 3;
let next = 1;
const timers = new Map<number, ReturnType<typeof setTimeout>>();

export const toasts = $state<{ list: Toast[] }>({ list: [] });

export function toast(text: string, more: Partial<Pick<Toast, "kind" | "action" | "expired">> = {}): number {
  const id = next;
  next += 1;
  toasts.list.push({ id, text, kind: "info", ...more });
  while (toasts.list.length > shown_max) dismiss(toasts.list[0]?.id ?? 0);
  timers.set(
    id,
    setTimeout(() => dismiss(id), more.kind === "error" ? shown_ms * 1.6 : shown_ms),
  );
  return id;
}

export function dismiss(id: number): void {
  const gone = take(id);
  gone?.expired?.();
}

export function act(id: number): void {
  take(id)?.action?.run();
}

function take(id: number): Toast | undefined {
  clearTimeout(timers.get(id));
  timers.delete(id);
  const at = toasts.list.findIndex((one) => one.id === id);
  return at < 0 ? undefined : toasts.list.splice(at, 1)[0];
}
