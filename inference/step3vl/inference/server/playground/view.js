// A turn of a conversation as elements that follow it while it grows.
import { findMarks, markedPicture } from "./marks.js";
import { element, prose } from "./text.js";

const TAIL = 600; // characters of a growing hypothesis that its card shows
const MANY = 8; // hypotheses in a round from which on their cards are small

export function thumbnail(source, remove) {
  const thumb = element("div", { className: "thumb" }, element("img", { src: source, alt: "" }));
  if (remove) thumb.append(element("button", { type: "button", ariaLabel: "Remove this picture", onclick: remove }, "✕"));
  return thumb;
}

export class TurnView {
  // `pictures` are those that marks are drawn on: the turn's own, or else the latest before it.
  constructor(turn, pictures, read, retry) {
    this.turn = turn;
    this.pictures = pictures;
    this.read = read;
    this.retry = retry;
    this.rounds = [];
    this.frame = 0;
    const question = element("div", { className: "question" });
    if (turn.images.length) question.append(element("div", { className: "thumbs" }, ...turn.images.map((one) => thumbnail(one))));
    question.append(element("div", { className: "words" }, turn.question));
    this.progress = element("div");
    this.answer = element("article", { className: "answer", ariaLabel: "Answer" });
    this.words = element("div");
    this.answer.append(this.words);
    this.figures = element("p", { className: "figures" });
    this.run = element("div", { className: "run" }, this.progress, this.answer, this.figures);
    this.root = element("div", {}, question, this.run);
    this.render();
  }

  // Many changes within one frame are drawn once.
  changed() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const { turn } = this;
    turn.rounds.forEach((round, index) => (this.rounds[index] ??= this.newRound(round, index)).render());
    this.renderAnswer();
    this.figures.replaceChildren(...describe(turn), ...(turn.done ? [element("button", { type: "button", className: "retry", onclick: this.retry }, "Ask again")] : []));
    this.run.ariaBusy = String(!turn.done);
  }

  renderAnswer() {
    const { turn } = this;
    const parts = [];
    if (turn.reasoning) {
      this.thought ??= element("details", { className: "thought" }, element("summary"), element("div", { className: "text" }));
      const [summary, text] = this.thought.children;
      summary.textContent = turn.content || turn.done ? "Thought" : "Thinking…";
      text.textContent = turn.reasoning;
      if (!turn.content && !turn.done) text.scrollTop = text.scrollHeight;
      parts.push(this.thought);
    }
    if (turn.content) parts.push(prose(turn.content));
    for (const call of turn.calls) parts.push(element("pre", {}, `${call.function.name}(${call.function.arguments})`));
    if (turn.error) parts.push(element("p", { className: "error" }, turn.error));
    if (!turn.done && !turn.content && !turn.reasoning) parts.push(element("p", { className: "quiet waiting" }, waiting(turn)));
    if (turn.done && !turn.content && !turn.error) parts.push(element("p", { className: "quiet" }, "The reply ended before an answer began."));
    if (turn.finish === "length") parts.push(element("p", { className: "quiet" }, "Cut at the longest reply that was asked for."));
    this.words.replaceChildren(...parts);
    const marks = this.pictures.length ? findMarks(turn.content) : [];
    if (marks.length !== (this.drawn ?? 0)) {
      this.drawn = marks.length;
      this.figure?.remove();
      this.figure = marks.length ? markedPicture(this.pictures, marks) : null;
      if (this.figure) this.answer.append(this.figure);
      this.answer.classList.toggle("marked", marks.length > 0);
    }
  }

  newRound(round, index) {
    const bar = element("progress", { max: round.hypotheses.length });
    const count = element("span");
    const title = element("b", {}, index ? `Round ${index + 1}` : "Hypotheses");
    const grid = element("div", { className: "hypotheses" });
    grid.classList.toggle("many", round.hypotheses.length > MANY);
    this.progress.append(element("section", { className: "round" }, element("header", {}, title, count, bar), grid));
    const cards = round.hypotheses.map((hypothesis, number) => this.newCard(hypothesis, number));
    grid.append(...cards.map((card) => card.root));
    return {
      render: () => {
        const done = round.hypotheses.filter((one) => one.finish).length;
        bar.value = done;
        bar.hidden = done === bar.max;
        grid.classList.toggle("settled", done === bar.max);
        count.textContent = `${done} of ${bar.max}${round.usage ? ` · ${round.usage.completion_tokens.toLocaleString()} tokens` : ""}`;
        cards.forEach((card) => card.render());
      },
    };
  }

  newCard(hypothesis, number) {
    const state = element("span", { className: "state" });
    const text = element("div", { className: "text" });
    const header = element("header", {}, element("b", {}, String(number + 1)), state);
    const root = element("button", { type: "button", className: "hypothesis" }, header, text);
    root.addEventListener("click", () => this.read(`Hypothesis ${number + 1}`, hypothesis));
    let shown;
    const render = () => {
      const key = `${hypothesis.finish}${hypothesis.text.length}`;
      if (key === shown) return;
      shown = key;
      const { finish, message } = hypothesis;
      root.className = `hypothesis ${finish ? (message ? "done" : finish === "cancelled" ? "" : "failed") : hypothesis.text ? "live" : ""}`;
      state.textContent = stateOf(hypothesis);
      text.textContent = message || hypothesis.text.slice(-TAIL);
      root.ariaLabel = `Hypothesis ${number + 1}, ${state.textContent}`;
    };
    return { root, render };
  }
}

function stateOf({ text, message, tokens, finish }) {
  if (finish && !message) return finish === "cancelled" ? "stopped" : "no answer";
  if (finish) return tokens ? `${tokens} tokens` : "done";
  if (!text) return "waiting";
  return text.includes("</think>") ? "answering" : "thinking";
}

function waiting(turn) {
  if (!turn.level) return "Reading the question…";
  const round = turn.rounds.at(-1);
  if (!round) return "Starting the hypotheses…";
  return round.hypotheses.every((one) => one.finish) ? "Bringing the conclusions together…" : "Thinking in parallel…";
}

export const seconds = (milliseconds) => (milliseconds < 60_000 ? `${(milliseconds / 1000).toFixed(1)} s` : `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`);

function describe({ model, level, usage, elapsed, first, cost, done }) {
  const words = [];
  if (done) words.push(level ? `${model}, PaCoRe ${level}` : model);
  if (usage) {
    const thought = usage.completion_tokens_details?.reasoning_tokens;
    words.push(`${usage.prompt_tokens.toLocaleString()} prompt tokens`);
    words.push(`${usage.completion_tokens.toLocaleString()} reply tokens${thought ? `, ${thought.toLocaleString()} of thought` : ""}`);
  }
  if (elapsed) words.push(seconds(elapsed));
  if (first) words.push(`first token after ${seconds(first)}`);
  if (usage && elapsed) words.push(`${(usage.completion_tokens / (elapsed / 1000)).toFixed(1)} tokens/s`);
  if (cost !== null && cost !== undefined) words.push(`costs ${cost.toPrecision(3)}`);
  return words.map((word) => element("span", {}, word));
}
