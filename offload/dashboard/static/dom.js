/**
 * Builds and patches elements. What others chose (names, reasons, results) becomes text nodes and
 * attributes only, never markup.
 */

/**
 * Makes an element; a child that is text becomes a text node.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/**
 * Gives a node another text, if it is another: untouched nodes cost no layout, and no
 * announcement.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {Element} node
 * @param {string} name
 * @param {string} value
 */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Makes a list of children the element's only ones, moving those alone that are out of place.
 * @param {Element} parent
 * @param {Element[]} wanted
 */
export function setChildren(parent, wanted) {
  const kept = new Set(wanted);
  for (const each of [...parent.children]) if (!kept.has(each)) each.remove();
  let place = parent.firstElementChild;
  for (const each of wanted) {
    if (each === place) place = place.nextElementSibling;
    else parent.insertBefore(each, place);
  }
}

// Shapes differ as well as colours do, so a state is told by either. All on a 16 by 16 grid.
const SHAPES = {
  met: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1ZM4.2 8.2l2.7 2.7 5-5.3-1.3-1.2-3.7 4-1.5-1.5Z",
  missed: "M8 1.2 15.6 14.6H.4ZM7.1 6v4.3h1.8V6Zm0 5.4v1.8h1.8v-1.8Z",
  lost: "M3 1.5 8 6.5 13 1.5 14.5 3 9.5 8 14.5 13 13 14.5 8 9.5 3 14.5 1.5 13 6.5 8 1.5 3Z",
  running: "M3.5 1.8 14 8 3.5 14.2Z",
  ended: "M2.5 2.5h11v11h-11Z",
  info: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1ZM7.1 3.8v1.9h1.8V3.8Zm0 3v5.4h1.8V6.8Z",
};

/**
 * Makes the icon of a state or level; what it means has to stand beside it in words.
 * @param {keyof typeof SHAPES} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon ${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/**
 * Makes a table in a box of its own that scrolls sideways, by keyboard too.
 * @param {string} caption
 * @param {string[]} headings
 * @returns {{box: HTMLElement, body: HTMLElement, caption: HTMLElement, head: HTMLElement}}
 */
export function makeTable(caption, headings) {
  const title = make("caption", {}, caption);
  const head = make("tr", {}, ...headings.map((each) => make("th", { scope: "col" }, each)));
  const body = make("tbody");
  const table = make("table", {}, title, make("thead", {}, head), body);
  const box = make(
    "div",
    { class: "table", role: "group", tabindex: "0", "aria-label": caption },
    table,
  );
  return { box, body, caption: title, head };
}

/**
 * Patches a table's body: as many rows as given, each with these texts; the first is its heading.
 * @param {HTMLElement} body
 * @param {string[][]} rows
 */
export function setRows(body, rows) {
  while (body.children.length > rows.length) body.lastElementChild.remove();
  rows.forEach((texts, at) => {
    const row = body.children[at] ?? body.appendChild(make("tr"));
    while (row.children.length > texts.length) row.lastElementChild.remove();
    texts.forEach((text, column) => {
      const cell =
        row.children[column] ??
        row.appendChild(column === 0 ? make("th", { scope: "row" }) : make("td"));
      setText(cell, text);
    });
  });
}
