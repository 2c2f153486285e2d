/** Puts a floating element beside an anchor, inside the window. */

const gap = 6;
const margin = 8;

type Anchor = HTMLElement | { x: number; y: number };

function box(anchor: Anchor): { left: number; right: number; top: number; bottom: number } {
  if (anchor instanceof HTMLElement) return anchor.getBoundingClientRect();
  return { left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y };
}

/** Below the anchor if there is room, else above; its right edges together where it lies in the right half. */
export function place(element: HTMLElement, anchor: Anchor): void {
  const from = box(anchor);
  const width = element.offsetWidth;
  const height = element.offsetHeight;
  const below = from.bottom + gap;
  const above = from.top - gap - height;
  const top = below + height + margin <= window.innerHeight || above < margin ? below : above;
  const left = from.left > window.innerWidth / 2 ? from.right - width : from.left;
  element.style.top = `${clamp(top, window.innerHeight - height - margin)}px`;
  element.style.left = `${clamp(left, window.innerWidth - width - margin)}px`;
}

function clamp(value: number, most: number): number {
  return Math.max(margin, Math.min(value, most));
}
