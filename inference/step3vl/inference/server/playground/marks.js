// The points and boxes of an answer, rendered on the image of the question. Coordinates range from 0 to 1000.
import { element } from "./text.js";

const COLOURS = ["#c92a2a", "#1864ab", "#237032", "#b8420a", "#862e9c", "#0b6478", "#a61e4d", "#5f3dc4"]; // white text is readable on each
const OBJECT = /\{[^{}]*"(?:point_2d|bbox_2d)"[^{}]*\}/g;

// [{kind: "point" | "box", at: [x, y] | [x1, y1, x2, y2], label}] in the order of the text.
export function findMarks(text) {
  const marks = [];
  for (const [candidate] of text.matchAll(OBJECT)) {
    let object;
    try {
      object = JSON.parse(candidate);
    } catch {
      continue;
    }
    for (const [key, kind, size] of [["point_2d", "point", 2], ["bbox_2d", "box", 4]]) {
      const value = object[key];
      const positions = Array.isArray(value?.[0]) ? value : [value];
      for (const at of positions) {
        if (Array.isArray(at) && at.length === size && at.every(Number.isFinite)) {
          const label = String(object.label ?? object.text ?? object.name ?? "");
          marks.push({ kind, at: at.map((coordinate) => Math.min(1000, Math.max(0, coordinate))), label });
        }
      }
    }
  }
  return marks;
}

// The image with its marks, a legend that picks one out, and a button that saves both as one image.
export function markedImage(images, marks) {
  const canvas = element("div", { className: "canvas" });
  const legend = element("figcaption");
  const figure = element("figure", { className: "marks" }, canvas, legend);
  const show = (source) => {
    canvas.replaceChildren(element("img", { src: source, alt: "The image with the marks of the answer" }));
    const rendered = marks.map((mark, index) => renderMark(mark, COLOURS[index % COLOURS.length], index));
    canvas.append(...rendered.flat());
    legend.replaceChildren(
      ...marks.map((mark, index) => {
        const pick = element("button", { className: "legend", type: "button" }, name(mark, index));
        pick.style.setProperty("--mark", COLOURS[index % COLOURS.length]);
        const only = (chosen) =>
          rendered.forEach((parts, other) => parts.forEach((part) => part.classList.toggle("dim", chosen && other !== index)));
        for (const event of ["pointerenter", "focus"]) pick.addEventListener(event, () => only(true));
        for (const event of ["pointerleave", "blur"]) pick.addEventListener(event, () => only(false));
        return pick;
      }),
      element("button", { type: "button", className: "save", onclick: () => save(source, marks) }, "Save image"),
    );
    if (images.length > 1) {
      legend.prepend(
        ...images.map((other, index) =>
          element("button", { type: "button", disabled: other === source, onclick: () => show(other) }, `Image ${index + 1}`),
        ),
      );
    }
  };
  show(images[0]);
  return figure;
}

const name = (mark, index) => mark.label || `${mark.kind} ${index + 1}`;

function corners(mark) {
  const [x, y, right = x, bottom = y] = mark.at;
  return { left: Math.min(x, right), top: Math.min(y, bottom), right: Math.max(x, right), bottom: Math.max(y, bottom) };
}

function renderMark(mark, colour, index) {
  const { left, top, right, bottom } = corners(mark);
  const percent = (value) => `${value / 10}%`;
  const shape = element("div", { className: mark.kind, style: { left: percent(left), top: percent(top) } });
  shape.style.setProperty("--mark", colour);
  if (mark.kind === "box") Object.assign(shape.style, { width: percent(right - left), height: percent(bottom - top) });
  const tag = element("span", { className: "tag", textContent: name(mark, index), style: { top: percent(top), left: percent(left) } });
  tag.style.background = colour;
  tag.classList.toggle("below", top < 60);
  tag.classList.toggle("left", left > 820);
  return [shape, tag];
}

// The image at its own size with the marks in it, as a PNG.
async function save(source, marks) {
  const image = element("img", { src: source });
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = element("canvas", { width, height });
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const stroke = Math.max(2, Math.round(Math.max(width, height) / 300));
  pen.font = `600 ${stroke * 6}px system-ui, sans-serif`;
  marks.forEach((mark, index) => {
    const { left, top, right, bottom } = corners(mark);
    const [x, y] = [(left / 1000) * width, (top / 1000) * height];
    pen.strokeStyle = pen.fillStyle = COLOURS[index % COLOURS.length];
    pen.lineWidth = stroke;
    if (mark.kind === "box") {
      pen.strokeRect(x, y, ((right - left) / 1000) * width, ((bottom - top) / 1000) * height);
    } else {
      pen.beginPath();
      pen.arc(x, y, stroke * 3, 0, 7);
      pen.fill();
    }
    pen.fillText(name(mark, index), x, y > stroke * 10 ? y - stroke * 2 : y + stroke * 8);
  });
  canvas.toBlob((blob) => download(blob, "marks.png"));
}

export function download(blob, file) {
  const link = element("a", { href: URL.createObjectURL(blob), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
