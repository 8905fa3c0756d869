// Elements, and text for the clipboard.
import { announce } from "./announcer.js";

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  const { dataset, style, ...others } = properties;
  Object.assign(node, others);
  Object.assign(node.dataset, dataset);
  Object.assign(node.style, style);
  node.append(...children);
  return node;
}

// A button that copies what `text()` returns.
export function copyButton(label, text) {
  const button = element("button", { type: "button", className: "copy" }, label);
  button.addEventListener("click", async () => {
    const result = (await copy(text(), button)) ? "Copied" : "Not copied";
    button.textContent = result;
    announce(result);
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // There is no clipboard on a page without TLS. The field lies beside the button: a dialog keeps the focus inside.
    const field = element("textarea", { value: text, className: "hidden" });
    button.after(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    button.focus();
    return copied;
  }
}
