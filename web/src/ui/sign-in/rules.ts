/** What is known to be refused before asking, so that the answer stands beside the field at once. */

const name_max = 32;
const password_min = 8;
const password_max = 256;

export function ruleOf(
  handle: string | undefined,
  password: string,
): { field: string; text: string } | undefined {
  if (handle !== undefined) {
    const name = handle.trim();
    if (name === "") return { field: "handle", text: "Choose a name." };
    if ([...name].length > name_max)
      return { field: "handle", text: `A name has at most ${name_max} characters.` };
    const bad = /[^\p{L}\p{N}\p{M}._-]/u.exec(name)?.[0];
    if (bad !== undefined) {
      return {
        field: "handle",
        text: bad.trim() === "" ? "A name has no spaces." : `A name has no “${bad}”.`,
      };
    }
  }
  const length = [...password].length;
  if (length < password_min) return { field: "password", text: `At least ${password_min} characters.` };
  if (length > password_max) return { field: "password", text: `At most ${password_max} characters.` };
  return undefined;
}
