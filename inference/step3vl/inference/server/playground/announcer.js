// What a screen reader says while a reply streams: events, and an answer once it is complete; never single tokens.

const INTERVAL = 1500; // milliseconds between two announcements
const LONGEST = 1500; // characters
const KEPT = 8; // announcements that stay in the page

const pending = new Map();
let timer = 0;
let counter = 0;

// Announces a text politely. A later text with the same key replaces an earlier one that still waits.
export function announce(text, key = `${(counter += 1)}`) {
  pending.delete(key);
  pending.set(key, text.length > LONGEST ? `${text.slice(0, LONGEST)}… The rest is in the conversation.` : text);
  timer ||= setTimeout(flush, 50);
}

function flush() {
  const region = document.getElementById("announcements");
  const paragraph = document.createElement("p");
  paragraph.textContent = [...pending.values()].join(" ");
  region.append(paragraph);
  while (region.children.length > KEPT) region.firstChild.remove();
  pending.clear();
  timer = setTimeout(() => {
    timer = 0;
    if (pending.size) flush();
  }, INTERVAL);
}

const QUOTED = 200; // characters of a conclusion
const FEW = 8; // hypotheses of a round that are announced by themselves

export function announceHypothesis(round, hypotheses, index) {
  const { length } = hypotheses;
  if (length <= FEW) {
    const { conclusion } = hypotheses[index];
    const words = conclusion ? conclusion.slice(0, QUOTED) : "no answer";
    return announce(`Hypothesis ${index + 1} of ${length}: ${words.replace(/[.。]$/, "")}.`, `hypothesis ${round} ${index}`);
  }
  const done = hypotheses.filter(({ finish }) => finish).length;
  if (done % Math.ceil(length / 4) === 0 || done === length) announce(`${done} of ${length} hypotheses are done.`, `round ${round}`);
}

// The words of an answer, with a formula as its LaTeX source.
export function announceAnswer(node) {
  const copy = node.cloneNode(true);
  for (const formula of copy.querySelectorAll(".katex")) formula.replaceWith(formula.querySelector("annotation")?.textContent ?? "");
  for (const button of copy.querySelectorAll("button, .code-bar")) button.remove();
  for (const block of copy.querySelectorAll("p, li, tr, td, th, pre, h4, h5, h6")) block.append(" ");
  announce(`Answer: ${copy.textContent.replace(/\s+/g, " ").trim()}`);
}
