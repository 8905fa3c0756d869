// What the page shows, as JSON: its elements with the part of them that can be seen, and its lines of text. Nothing is changed.
//
// Elements are numbered in document order through open shadow roots and frames of the same origin, as
// `accessibility.py` numbers those of the DevTools protocol. All boxes are in CSS pixels of the window.
(() => {
  const CONTROLS = 'a[href], area[href], button, input, select, textarea, summary, option, [onclick], [contenteditable=true],'
    + '[tabindex]:not([tabindex="-1"]), [role=button], [role=link], [role=checkbox], [role=radio], [role=switch],'
    + '[role=tab], [role=option], [role=menuitem], [role=menuitemcheckbox], [role=menuitemradio], [role=treeitem],'
    + '[role=slider], [role=textbox], [role=combobox]';
  const WIDTH = innerWidth, HEIGHT = innerHeight;
  const nodes = [], offsets = [], numbers = new Map();
  const walk = (element, x, y) => {
    numbers.set(element, nodes.length);
    nodes.push(element);
    offsets.push([x, y]);
    if (element.shadowRoot) for (const child of element.shadowRoot.children) walk(child, x, y);
    if (element.localName === 'iframe' && element.contentDocument?.documentElement) {
      const frame = element.getBoundingClientRect(), style = getComputedStyle(element);
      walk(element.contentDocument.documentElement, x + frame.left + element.clientLeft + parseFloat(style.paddingLeft),
           y + frame.top + element.clientTop + parseFloat(style.paddingTop));
    }
    for (const child of element.children) walk(child, x, y);
  };
  walk(document.documentElement, 0, 0);

  // The parent as the page is laid out: through slots, shadow hosts and frames.
  const parentOf = node => {
    if (node.assignedSlot) return node.assignedSlot;
    const parent = node.parentNode;
    if (parent?.nodeType === 11) return parent.host;
    if (parent?.nodeType === 9) return parent.defaultView?.frameElement ?? null;
    return parent;
  };
  const styles = new Map();
  const styleOf = element => {
    if (!styles.has(element)) styles.set(element, element.ownerDocument.defaultView.getComputedStyle(element));
    return styles.get(element);
  };
  const contains = (outer, node) => {
    for (; node; node = parentOf(node)) if (node === outer) return true;
    return false;
  };
  const deepest = (x, y) => {
    let scope = document, hit = null;
    while (scope) {
      const next = scope.elementFromPoint(x, y);
      if (!next || next === hit) break;
      hit = next;
      if (hit.shadowRoot) scope = hit.shadowRoot;
      else if (hit.localName === 'iframe' && hit.contentDocument) {
        const [left, top] = offsets[numbers.get(hit.contentDocument.documentElement)];
        const [outerLeft, outerTop] = offsets[numbers.get(hit)];
        x -= left - outerLeft; y -= top - outerTop;
        scope = hit.contentDocument;
      } else break;
    }
    return hit;
  };
  const isControl = element => element.matches(CONTROLS);
  const controlAt = element => {  // the control that a click on an element reaches
    for (; element; element = parentOf(element)) {
      if (element.matches && isControl(element)) return element;
      if (element.localName === 'label' && element.control) return element.control;
    }
    return null;
  };
  const absolute = (element, rect) => {
    const [x, y] = offsets[numbers.get(element)];
    return [rect.left + x, rect.top + y, rect.right + x, rect.bottom + y];
  };
  const clipTo = (box, other) => [Math.max(box[0], other[0]), Math.max(box[1], other[1]),
                                  Math.min(box[2], other[2]), Math.min(box[3], other[3])];
  // What of a box is inside of all that cuts it off: the window, frames, and ancestors that hide what overflows.
  const clip = (element, box) => {
    let position = styleOf(element).position;
    for (let node = parentOf(element); node?.nodeType === 1; node = parentOf(node)) {
      const style = styleOf(node);
      if (node.localName === 'iframe') {
        box = clipTo(box, absolute(node, node.getBoundingClientRect()));
        position = style.position;
        continue;
      }
      if (position === 'fixed') continue;
      if (position === 'absolute' && style.position === 'static') continue;
      position = style.position;
      const page = node === node.ownerDocument.documentElement || node === node.ownerDocument.body;
      if (!page && (style.overflowX !== 'visible' || style.overflowY !== 'visible')) {
        const [left, top] = absolute(node, node.getBoundingClientRect());
        const x = left + node.clientLeft, y = top + node.clientTop;
        box = clipTo(box, [x, y, x + node.clientWidth, y + node.clientHeight]);
      }
    }
    return clipTo(box, [0, 0, WIDTH, HEIGHT]);
  };
  // Where a click on a link leads: an address, or `none:` for a window of its own, which is not on the screen.
  const leadsTo = element => {
    if (!element.matches('a[href], area[href]') || typeof element.href !== 'string') return '';  // no text in SVG
    if (/^javascript:/i.test(element.href)) return '';
    return element.target === '_blank' ? 'none:' : element.href;
  };
  const isShown = element => {
    const style = styleOf(element);
    return style.visibility === 'visible' && parseFloat(style.opacity) > 0;
  };
  // Whether a click on a point reaches the element: for a control, that control and no other one inside of it.
  const reaches = (element, x, y) => {
    const hit = deepest(x, y);
    return hit !== null && (isControl(element) ? controlAt(hit) === element : contains(element, hit));
  };
  const INNER = [[.5, .5], [.25, .25], [.75, .25], [.25, .75], [.75, .75]];
  const EDGES = [[.08, .5], [.92, .5], [.5, .12], [.5, .88]];
  const measure = element => {
    const whole = absolute(element, element.getBoundingClientRect());
    const box = clip(element, whole), [x1, y1, x2, y2] = box;
    if (x2 - x1 < 1 || y2 - y1 < 1 || !isShown(element)) return null;
    const hits = points => points.filter(([u, v]) => reaches(element, x1 + u * (x2 - x1), y1 + v * (y2 - y1))).length;
    // The centre as an answer gives it, in thousandths of the window.
    const point = [Math.round((x1 + x2) / 2 / WIDTH * 1000), Math.round((y1 + y2) / 2 / HEIGHT * 1000)];
    const area = Math.max(1e-9, (whole[2] - whole[0]) * (whole[3] - whole[1]));
    return {
      index: numbers.get(element), tag: element.localName, type: element.getAttribute('type') ?? '', box, point,
      control: isControl(element), disabled: element.matches(':disabled, [aria-disabled=true]'),
      reached: reaches(element, point[0] / 1000 * WIDTH, point[1] / 1000 * HEIGHT),
      inner: hits(INNER), edges: hits(EDGES), visible: (x2 - x1) * (y2 - y1) / area,
      text: (element.innerText ?? '').trim().slice(0, 400),
      icon: element.querySelector?.('svg, img') !== null && !(element.innerText ?? '').trim(),
      address: leadsTo(element), hint: element.getAttribute('placeholder') ?? '', label: element.getAttribute('aria-label') ?? '',
      range: element.type === 'range' ? [element.min || '0', element.max || '100', element.step || '1'].map(Number) : null,
      scroll: element.scrollHeight > element.clientHeight + 1 && /auto|scroll/.test(styleOf(element).overflowY)
        ? [element.scrollTop, element.scrollHeight, element.clientHeight] : null,
    };
  };

  // A line of text is made of what of a text node stands at one height.
  const pieces = node => {
    const range = node.ownerDocument.createRange(), result = [];
    for (const match of node.data.matchAll(/\S+/g)) {
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const rects = [...range.getClientRects()].filter(rect => rect.width > 0);
      if (rects.length === 1) result.push([match[0], rects[0], match.index]);
      else for (let i = 0; i < match[0].length && rects.length; i++) {
        range.setStart(node, match.index + i);
        range.setEnd(node, match.index + i + 1);
        const rect = range.getBoundingClientRect();
        if (rect.width > 0) result.push([match[0][i], rect, match.index + i]);
      }
    }
    return result;
  };
  const SHOWN_AS = {uppercase: text => text.toUpperCase(), lowercase: text => text.toLowerCase()};
  // Words are measured only where a text can be seen: most of a long page is outside of the window.
  const isNear = (element, node) => {
    const range = node.ownerDocument.createRange();
    range.selectNodeContents(node);
    const [x1, y1, x2, y2] = absolute(element, range.getBoundingClientRect());
    return x1 < WIDTH && y1 < HEIGHT && x2 > 0 && y2 > 0;
  };
  const linesOf = (element, index) => {
    const lines = [];
    for (const node of element.childNodes) {
      if (node.nodeType !== 3 || !node.data.trim() || !isNear(element, node)) continue;
      let line = null, end = 0;
      for (const [text, rect, at] of pieces(node)) {
        if (line && Math.abs(rect.top - line.top) < 3) {
          line.text += (at > end ? ' ' : '') + text;
          line.right = Math.max(line.right, rect.right);
        } else {
          line = {text, left: rect.left, top: rect.top, right: rect.right, bottom: rect.bottom};
          lines.push(line);
        }
        end = at + text.length;
      }
    }
    const style = styleOf(element);
    if (!lines.length || !isShown(element)) return [];
    const transform = SHOWN_AS[style.textTransform] ?? (text => text);
    return lines.map(line => {
      const whole = absolute(element, line), box = clip(element, whole);
      const full = box.every((value, i) => Math.abs(value - whole[i]) < 1);
      const y = (whole[1] + whole[3]) / 2, w = whole[2] - whole[0];
      const seen = [.02, .5, .98].filter(u => {
        const hit = deepest(whole[0] + u * w, y);
        return hit !== null && (hit === element || contains(element, hit) || contains(hit, element));
      }).length;
      return {element: index, text: transform(line.text), box: box[2] > box[0] && box[3] > box[1] ? box : null,
              full: full && seen === 3 && style.textTransform !== 'capitalize' && style.textOverflow !== 'ellipsis'};
    }).filter(line => line.box);
  };

  const elements = [], lines = [], scrolled = [];
  const skipped = new Set(['html', 'head', 'script', 'style', 'meta', 'title', 'link', 'template', 'noscript']);
  nodes.forEach((element, index) => {
    if (element.scrollTop || element.scrollLeft) scrolled.push([index, element.scrollLeft, element.scrollTop]);
    if (skipped.has(element.localName)) return;
    const measured = measure(element);
    if (measured) elements.push(measured);
    if (measured || element.childNodes.length) lines.push(...linesOf(element, index));
  });
  const page = document.scrollingElement;
  return JSON.stringify({
    url: location.href, title: document.title, elements, lines, scrolled, size: [WIDTH, HEIGHT],
    names: nodes.map(node => node.localName),
    parents: nodes.map(node => { const parent = parentOf(node); return parent ? numbers.get(parent) ?? -1 : -1; }),
    extent: [page.scrollTop, page.scrollHeight, page.clientHeight],
  });
})()
