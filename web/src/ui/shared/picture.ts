/** A picture that is to stand for somebody, made small in this browser before it goes anywhere. */
import { RefusedError } from "../../connection/ask";

/** What the server takes as such a picture. */
export const picture_types = "image/png,image/jpeg,image/gif,image/webp";

/** Larger than it is ever shown, also where a pixel is a third of one. */
const side_max = 512;
const bytes_max = 1024 * 1024;

/**
 * At most 512 pixels at its longer side, and nothing in it but pixels: a camera's place and time stay here.
 * A GIF stays as it is while it is small enough, so that it moves.
 */
export async function smallPicture(file: File): Promise<Blob> {
  if (file.type === "image/gif" && file.size <= bytes_max) return file;
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw refused("this file is not a picture that can be shown");
  }
  const scale = Math.min(1, side_max / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  // A browser that writes no WebP answers with a PNG.
  const small = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/webp", 0.9));
  if (!small || small.size > bytes_max) throw refused("this picture cannot be made small enough");
  return small;
}

/** As the server would say it. */
function refused(message: string): RefusedError {
  return new RefusedError({ kind: "invalid", code: "not_a_picture", message });
}
