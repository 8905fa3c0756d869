// The amounts of reasoning, in plain words.

export const LEVELS = {
  "": { name: "single answer", hint: "One chain of reasoning, then the answer (sequential reasoning, SeRe)." },
  low: { name: "4 hypotheses (PaCoRe low)", hint: "4 in parallel, then one answer that combines them: about 5 times the tokens (PaCoRe low)." },
  medium: { name: "16 hypotheses (PaCoRe medium)", hint: "16 in parallel, then one answer that combines them: about 17 times the tokens (PaCoRe medium)." },
  high: { name: "32 hypotheses (PaCoRe high)", hint: "32 in parallel, 4 that combine them, then one answer: about 37 times the tokens (PaCoRe high)." },
};
