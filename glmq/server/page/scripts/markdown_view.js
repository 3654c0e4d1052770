// Markdown on the screen. Blocks that are over are never touched again; the last one grows in place.
import { copyButton, make } from "./elements.js";
import { safeAddress } from "./inline_markdown.js";
import { parseBlocks } from "./markdown.js";

const TAGS = new Set(
  "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p span strong table tbody td th thead tr ul".split(" "),
);
const TEXT_BLOCKS = new Set("blockquote h1 h2 h3 h4 h5 h6 li p td th".split(" "));

const CODE_PART = 2000;

/** Shows a text that grows, in an element of its own. */
export class MarkdownView {
  #shown = "";
  #partial = false;
  #settledLength = 0;
  #settledCount = 0;
  #openNodes = [];
  #list = null;

  constructor(className = "markdown") {
    this.element = make("div", { class: className });
  }

  /** Show a text. partial: more of it will come. Gives the elements of blocks that are now over. */
  show(text, partial = false) {
    if (text === this.#shown && partial === this.#partial) return [];
    if (!text.startsWith(this.#shown)) this.#clear();
    this.#shown = text;
    this.#partial = partial;
    const blocks = parseBlocks(text.slice(this.#settledLength), partial);
    this.#patch(blocks.map((block) => block.node));
    const nSettled = partial ? Math.max(0, blocks.length - 1) : blocks.length;
    const settled = Array.from(this.element.children).slice(this.#settledCount, this.#settledCount + nSettled);
    if (partial) this.#settle(blocks, nSettled);
    return settled;
  }

  /** Show nodes behind what is settled. The first of them goes on with a list whose first items are. */
  #patch(nodes) {
    const before = this.#openNodes;
    this.#openNodes = nodes;
    if (this.#list && nodes.length) {
      patchChildren(this.#list.element, before[0]?.children ?? [], nodes[0].children, this.#list.nItems);
      patchChildren(this.element, before.slice(1), nodes.slice(1), this.#settledCount + 1);
    } else if (!this.#list) patchChildren(this.element, before, nodes, this.#settledCount);
  }

  /** Leave alone from now on: blocks that are over, and the items of an open list that are. */
  #settle(blocks, nSettled) {
    if (!blocks.length) return;
    if (nSettled) this.#list = null;
    const { start, node, itemStarts } = blocks[nSettled];
    const nItems = itemStarts ? itemStarts.length - 1 : 0;
    this.#settledCount += nSettled;
    this.#settledLength += nItems ? itemStarts[nItems] : start;
    if (nItems) {
      const element = this.element.children[this.#settledCount];
      this.#list = { element, nItems: (this.#list?.nItems ?? 0) + nItems };
    }
    this.#openNodes = [nItems ? { ...node, children: node.children.slice(nItems) } : node];
  }

  #clear() {
    this.element.replaceChildren();
    this.#settledLength = this.#settledCount = 0;
    this.#openNodes = [];
    this.#list = null;
  }
}

/** Turn the children of an element, from `first` on, from those of some nodes into those of others. */
function patchChildren(element, before, after, first = 0) {
  for (let i = 0; i < after.length; i++) {
    const existing = element.childNodes[first + i];
    if (i >= before.length) element.append(build(after[i]));
    else if (!patch(existing, before[i], after[i])) existing.replaceWith(build(after[i]));
  }
  for (let i = before.length; i > after.length; i--) element.lastChild.remove();
}

/** Whether an element could be turned from one node's into another's. */
function patch(existing, before, after) {
  if (typeof before === "string" || typeof after === "string") {
    if (typeof before !== typeof after) return false;
    setText(existing, before, after);
    return true;
  }
  if (before.tag !== after.tag || before.href !== after.href || before.start !== after.start) return false;
  if (after.tag === "code-block") {
    if (before.language !== after.language) return false;
    setCode(existing.querySelector("code"), before.text, after.text);
    return true;
  }
  if (before.class !== after.class) setClass(existing, after.class);
  patchChildren(contentOf(existing), before.children ?? [], after.children ?? []);
  return true;
}

function setText(node, before, after) {
  if (before === after) return;
  if (after.startsWith(before)) node.appendData(after.slice(before.length));
  else node.data = after;
}

function setCode(code, before, after) {
  if (!after.startsWith(before)) code.replaceChildren();
  appendCode(code, after.startsWith(before) ? after.slice(before.length) : after);
}

/** Code stands in parts of whole lines, so that the browser lays out only the last part again. */
function appendCode(code, text) {
  let part = code.lastChild?.firstChild;
  for (const line of text.split(/(?<=\n)/)) {
    if (!part || (part.length > CODE_PART && part.data.endsWith("\n"))) {
      part = document.createTextNode("");
      code.append(make("span", {}, part));
    }
    part.appendData(line);
  }
}

function setClass(element, name) {
  if (name) element.className = name;
  else element.removeAttribute("class");
}

function contentOf(element) {
  return element.classList.contains("table-frame") ? element.firstChild : element;
}

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  if (node.tag === "code-block") return codeBlock(node);
  if (!TAGS.has(node.tag)) throw new TypeError(`no element ${node.tag}`);
  const element = make(node.tag, { class: node.class, start: node.start, dir: TEXT_BLOCKS.has(node.tag) && "auto" });
  if (node.tag === "a") linkElement(element, node.href);
  if (node.tag === "code") element.dir = "ltr";
  patchChildren(element, [], node.children ?? []);
  return node.tag === "table" ? make("div", { class: "table-frame", tabindex: 0, role: "group", "aria-label": "Table" }, element) : element;
}

function linkElement(element, href) {
  element.href = safeAddress(href);
  element.rel = "noopener noreferrer nofollow";
  element.target = "_blank";
}

function codeBlock({ language, text }) {
  const code = make("code", { dir: "ltr" });
  appendCode(code, text);
  return make(
    "div",
    { class: "code-block" },
    make("div", { class: "code-head" }, make("span", {}, language || "text"), copyButton("Copy code", () => code.textContent)),
    make("pre", { tabindex: 0, role: "group", "aria-label": language ? `Code, ${language}` : "Code" }, code),
  );
}
