// The Markdown of a model as elements, with LaTeX.
//
// Model output is not trusted. HTML in it stays text; what markdown-it makes of the rest passes DOMPurify; images are
// links, so that nothing is loaded; and KaTeX builds nodes instead of HTML, whose style attributes the content security
// policy would refuse.
import "./vendor/dompurify/purify.min.js";
import "./vendor/katex/katex.min.js";
import markdownIt from "./vendor/markdown-it/markdown-it.esm.min.mjs";
import { copyButton, element } from "./text.js";

// Scripts that are no modules; an element whose id is "exports" or "define" would take their globals away.
const { DOMPurify, katex } = globalThis;
if (!DOMPurify || !katex) throw new Error("DOMPurify or KaTeX is missing");
const SANITIZE = {
  ALLOWED_TAGS: "p br h3 h4 h5 h6 strong em s code pre blockquote ul ol li hr a table thead tbody tr th td div span".split(" "),
  ALLOWED_ATTR: ["href", "title", "class", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i, // not relative: they would lead to this server
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const FORMULA = { trust: false, strict: "ignore", maxSize: 20, maxExpand: 500 };
const TOP_HEADING = 4; // below the page's, a question's and an answer's headings

const markdown = markdownIt({ html: false, linkify: true, breaks: true });
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false }); // solve.py is not a link
markdown.block.ruler.before("fence", "math_block", mathBlock, { alt: ["paragraph", "reference", "blockquote", "list"] });
markdown.inline.ruler.before("escape", "math", mathInline);
markdown.core.ruler.push("headings", ({ tokens }) => {
  const level = (token) => Number(token.tag.slice(1));
  const headings = tokens.filter(({ type }) => type.startsWith("heading_"));
  const top = Math.min(...headings.map(level)); // an answer that begins with ## does too
  for (const heading of headings) heading.tag = `h${Math.min(6, level(heading) - top + TOP_HEADING)}`;
});
const { rules } = markdown.renderer;
rules.math = (tokens, index) => formula("span", tokens[index]);
rules.math_block = (tokens, index) => formula("div", tokens[index]);
rules.table_open = () => '<div class="table"><table>';
rules.table_close = () => "</table></div>";
rules.image = (tokens, index, options, env, self) => {
  const label = self.renderInlineAsText(tokens[index].children, options, env) || "image";
  return `<a href="${escape(tokens[index].attrGet("src") ?? "")}">${escape(label)}</a>`;
};
for (const name of ["th_open", "td_open"]) {
  rules[name] = (tokens, index, options, env, self) => {
    const align = tokens[index].attrGet("style")?.replace("text-align:", "align-");
    tokens[index].attrs = align ? [["class", align]] : null;
    return self.renderToken(tokens, index, options);
  };
}

const { escapeHtml: escape } = markdown.utils;
const formula = (tag, { content, meta }) => `<${tag} class="math${meta.display ? " display" : ""}">${escape(content)}</${tag}>`;

// $$…$$ and \[…\] that fill lines, of which Markdown would read some as lists or headings.
function mathBlock(state, startLine, endLine, silent) {
  const first = state.bMarks[startLine] + state.tShift[startLine];
  const open = ["$$", "\\["].find((mark) => state.src.startsWith(mark, first));
  if (!open || state.sCount[startLine] - state.blkIndent >= 4) return false;
  const close = open === "$$" ? "$$" : "\\]";
  const lines = [];
  for (let line = startLine; line < endLine; line += 1) {
    if (line > startLine && !state.isEmpty(line) && state.sCount[line] < state.blkIndent) return false;
    const start = line === startLine ? first + open.length : state.bMarks[line] + state.tShift[line];
    const text = state.src.slice(start, state.eMarks[line]);
    const end = text.indexOf(close);
    if (end >= 0 && text.slice(end + close.length).trim()) return false;
    lines.push(end < 0 ? text : text.slice(0, end));
    if (end < 0) continue;
    if (silent) return true;
    const token = state.push("math_block", "div", 0);
    Object.assign(token, { content: lines.join("\n").trim(), meta: { display: true }, map: [startLine, line + 1] });
    state.line = line + 1;
    return true;
  }
  return false;
}

// $$…$$, \[…\], \(…\) and $…$ inside a line. A price is no formula: no space lies inside $…$, and no digit follows.
function mathInline(state, silent) {
  const { src, pos, posMax } = state;
  const open = ["$$", "\\[", "\\(", "$"].find((mark) => src.startsWith(mark, pos));
  if (!open) return false;
  const close = { "\\[": "\\]", "\\(": "\\)" }[open] ?? open;
  const start = pos + open.length;
  let end = src.indexOf(close, start);
  if (open === "$") {
    if (/\s/.test(src[start] ?? " ")) return false;
    while (end >= 0 && src[end - 1] === "\\") end = src.indexOf(close, end + 1);
    if (end >= 0 && (/\s/.test(src[end - 1]) || /\d/.test(src[end + 1] ?? ""))) return false;
  }
  if (end <= start || end + close.length > posMax) return false;
  if (!silent) Object.assign(state.push("math", "span", 0), { content: src.slice(start, end), meta: { display: open === "$$" || open === "\\[" } });
  state.pos = end + close.length;
  return true;
}

export function prose(text) {
  const root = element("div", { className: "prose" });
  root.append(DOMPurify.sanitize(markdown.render(text), SANITIZE));
  for (const link of root.querySelectorAll("a[href]")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
  for (const node of root.querySelectorAll(".math")) typeset(node);
  for (const block of root.querySelectorAll("pre")) block.replaceWith(codeBlock(block));
  for (const scroller of root.querySelectorAll("pre, .table, .math.display")) scroller.tabIndex = 0; // the keyboard scrolls it
  return root;
}

function typeset(node) {
  const source = node.textContent;
  try {
    katex.render(source, node, { ...FORMULA, displayMode: node.classList.contains("display") });
  } catch (error) {
    node.replaceChildren(element("code", { title: error.message }, source));
  }
}

function codeBlock(block) {
  const code = block.querySelector("code");
  const language = code?.className.match(/^language-(\S+)$/)?.[1] ?? "";
  const source = block.textContent.replace(/\n$/, "");
  return element("div", { className: "code" }, element("div", { className: "code-bar" }, element("span", {}, language), copyButton("Copy code", () => source)), block.cloneNode(true));
}
