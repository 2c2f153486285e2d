/** The closed set of what a message can look like. A view must draw each, and nothing else. */
export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "bold" | "italic" | "strike"; children: Inline[] }
  /** `href` begins with `http:`, `https:` or `mailto:`, and nothing else. */
  | { kind: "link"; href: string; children: Inline[] }
  /** The handle as it was written, without `@`. */
  | { kind: "mention"; handle: string }
  | { kind: "break" };

export type Block =
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "code_block"; text: string; language: string }
  | { kind: "quote"; blocks: Block[] }
  | { kind: "list"; ordered: boolean; start: number; items: Block[][] };
