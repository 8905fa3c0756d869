// Text of a model as elements: paragraphs, headings, lists, code and emphasis. Nothing of it is ever read as HTML.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { dataset, style, ...others } = properties;
  Object.assign(made, others);
  Object.assign(made.dataset, dataset);
  Object.assign(made.style, style);
  made.append(...children);
  return made;
}

export function prose(text) {
  const root = element("div", { className: "prose" });
  text.split(/^```/m).forEach((block, index) => {
    if (index % 2) {
      const body = block.slice(block.indexOf("\n") + 1).replace(/\n$/, "");
      root.append(element("pre", {}, element("code", { textContent: body })));
    } else {
      block.split(/\n{2,}/).forEach((paragraph) => addParagraph(root, paragraph.replace(/^\n+|\n+$/g, "")));
    }
  });
  return root;
}

function addParagraph(root, text) {
  let list = null;
  let plain = null;
  for (const line of text ? text.split("\n") : []) {
    const heading = line.match(/^#{1,6} +(.*)/);
    const item = line.match(/^\s*(?:([-*•])|(\d+)[.)]) +(.*)/);
    if (item) {
      const tag = item[1] ? "UL" : "OL";
      if (list?.tagName !== tag) {
        list = element(tag.toLowerCase(), item[2] ? { start: Number(item[2]) } : {});
        root.append(list);
      }
      list.append(element("li", {}, ...inline(item[3])));
      plain = null;
    } else if (heading) {
      root.append(element("h3", {}, ...inline(heading[1])));
      list = plain = null;
    } else {
      if (plain) plain.append(element("br"));
      else root.append((plain = element("p")));
      plain.append(...inline(line));
      list = null;
    }
  }
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(Boolean).map((piece) => {
    if (/^`.+`$/.test(piece)) return element("code", { textContent: piece.slice(1, -1) });
    if (/^\*\*.+\*\*$/.test(piece)) return element("strong", { textContent: piece.slice(2, -2) });
    return piece;
  });
}
