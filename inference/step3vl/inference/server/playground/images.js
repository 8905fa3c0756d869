// The images of a question: read, checked and displayed.
import { element } from "./text.js";

// A file as a data URL. Raises an error whose message follows the file's name.
export async function readImage(file) {
  if (!file.type.startsWith("image/")) throw new Error("is not an image");
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("cannot be read"));
    reader.readAsDataURL(file);
  });
  if (!(await isTiff(file)) && !(await decodes(url))) throw new Error("is damaged, or not in an image format that is known here");
  return url;
}

async function decodes(url) {
  try {
    const image = element("img", { src: url });
    await image.decode();
    (await createImageBitmap(image)).close();
    return image.naturalWidth > 0;
  } catch {
    return false;
  }
}

// The server reads TIFF, and most browsers do not.
async function isTiff(file) {
  const start = await file.slice(0, 4).text();
  return start === "II*\0" || start === "MM\0*";
}

export function thumbnail(source, name, remove) {
  const image = element("img", { src: source, alt: name });
  const thumb = element("div", { className: "thumb" }, image);
  image.addEventListener("error", () => image.replaceWith(element("span", { className: "no-preview" }, `${name}: no preview`)));
  if (remove) thumb.append(element("button", { type: "button", ariaLabel: `Remove ${name}`, title: "Remove", onclick: remove }, "✕"));
  return thumb;
}
