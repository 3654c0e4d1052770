// Markdown within a line of text: a text becomes a list of nodes.
//
// A node is a string, or {tag, children} with `class` or, for links, `href`. While a text is still written
// (partial), what is open counts as closed at its end, and what may yet become something else is held back.

const ORDINARY = /[^\\`<![*_~&\nh]+/y;
const ADDRESS = /https?:\/\/[^\s<>"]+/y;
const BREAK = /<br\s*\/?>/iy;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/iy;
const ENTITY = /&(?:amp|lt|gt|quot|apos|nbsp|#39);/y;
const TARGET = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&nbsp;": "\u00a0", "&#39;": "'" };
const PUNCTUATION = /[\p{P}\p{S}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const MAX_OPEN = 100;
const MAX_NESTED = 8;

/** The nodes of a text. */
export function parseInline(text, partial = false, depth = 0) {
  if (partial) text = withoutOpenEnd(text);
  const context = { text, partial, depth, ticks: backtickRuns(text), brackets: bracketPairs(text) };
  const items = [];
  for (let at = 0; at < text.length; ) {
    const [item, end] = takeInline(context, at);
    items.push(item);
    at = end;
  }
  return joined(emphasized(items, partial));
}

/** An address that may be followed, or null: only the web and mail. */
export function safeAddress(address) {
  const trimmed = address.trim();
  if (!/^(https?:\/\/|mailto:)/i.test(trimmed)) return null;
  return URL.canParse(trimmed) ? trimmed : null;
}

function withoutOpenEnd(text) {
  const open = text.match(/!?\[[^\]\n]{0,80}(\](\([^)\n]{0,300})?)?$/);
  return (open ? text.slice(0, open.index) : text).replace(/[*_~`]+$/, "");
}

function takeInline(context, at) {
  const { text } = context;
  const next = text[at + 1] ?? "";
  switch (text[at]) {
    case "\\":
      if (next === "\n") return [{ tag: "br" }, at + 2];
      return ESCAPABLE.test(next) ? [next, at + 2] : ["\\", at + 1];
    case "\n":
      return [{ tag: "br" }, at + 1];
    case "`":
      return takeCode(context, at);
    case "<":
      return takeAngle(text, at);
    case "!":
      return (next === "[" && takeLink(context, at + 1)) || ["!", at + 1];
    case "[":
      return takeLink(context, at) || ["[", at + 1];
    case "*":
    case "_":
    case "~":
      return takeDelimiter(text, at);
    case "&":
      return takeEntity(text, at);
    case "h":
      return takeAddress(text, at);
    default:
      ORDINARY.lastIndex = at;
      return [ORDINARY.exec(text)[0], ORDINARY.lastIndex];
  }
}

/** Where runs of backticks begin, by their lengths. */
function backtickRuns(text) {
  const runs = new Map();
  for (const { 0: run, index } of text.matchAll(/`+/g)) {
    if (!runs.has(run.length)) runs.set(run.length, []);
    runs.get(run.length).push(index);
  }
  return runs;
}

function takeCode({ text, partial, ticks }, at) {
  const length = text.slice(at).match(/^`+/)[0].length;
  const begin = at + length;
  const end = ticks.get(length)?.find((index) => index >= begin);
  if (end === undefined && !partial) return ["`".repeat(length), begin];
  const code = text.slice(begin, end).replaceAll("\n", " ");
  const padded = code.startsWith(" ") && code.endsWith(" ") && code.trim();
  return [{ tag: "code", children: [padded ? code.slice(1, -1) : code] }, end === undefined ? text.length : end + length];
}

function takeAngle(text, at) {
  BREAK.lastIndex = AUTOLINK.lastIndex = at;
  if (BREAK.exec(text)) return [{ tag: "br" }, BREAK.lastIndex];
  const link = AUTOLINK.exec(text);
  if (link && safeAddress(link[1])) return [linkTo(link[1], [link[1].replace(/^mailto:/i, "")]), AUTOLINK.lastIndex];
  return ["<", at + 1];
}

function takeEntity(text, at) {
  ENTITY.lastIndex = at;
  const entity = ENTITY.exec(text);
  return entity ? [ENTITIES[entity[0]], ENTITY.lastIndex] : ["&", at + 1];
}

function takeAddress(text, at) {
  ADDRESS.lastIndex = at;
  const found = /\w/.test(text[at - 1] ?? "") ? null : ADDRESS.exec(text);
  if (!found) return ["h", at + 1];
  let address = found[0].replace(/[.,;:!?'*_~`\]]+$/, "");
  while (address.endsWith(")") && address.split("(").length < address.split(")").length) address = address.slice(0, -1);
  return safeAddress(address) ? [linkTo(address, [address]), at + address.length] : ["h", at + 1];
}

/** Which closing bracket belongs to each opening one. */
function bracketPairs(text) {
  const pairs = new Map();
  const open = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "[") open.push(at);
    else if (text[at] === "]" && open.length) pairs.set(open.pop(), at);
  }
  return pairs;
}

/** A link, or null. Pictures would be requests to strangers: they become links too. */
function takeLink({ text, depth, brackets }, at) {
  const close = brackets.get(at);
  if (close === undefined || depth >= MAX_NESTED) return null;
  TARGET.lastIndex = close + 1;
  const target = TARGET.exec(text);
  const address = target && safeAddress((target[1] ?? target[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1"));
  if (!address) return null;
  const label = parseInline(text.slice(at + 1, close), false, depth + 1);
  return [linkTo(address, label.length ? label : [address]), TARGET.lastIndex];
}

function linkTo(href, children) {
  return { tag: "a", href, children: children.map(withoutLinks) };
}

function withoutLinks(node) {
  if (typeof node === "string") return node;
  return { ...node, tag: node.tag === "a" ? "span" : node.tag, href: undefined, children: node.children?.map(withoutLinks) };
}

/** A run of *, _ or ~~ that may begin or end emphasis. The rules are CommonMark's. */
function takeDelimiter(text, at) {
  const char = text[at];
  let end = at;
  while (text[end] === char) end++;
  const count = end - at;
  if (char === "~" && count !== 2) return [char.repeat(count), end];
  const before = text[at - 1] ?? " ";
  const after = text[end] ?? " ";
  const left = !/\s/.test(after) && (!PUNCTUATION.test(after) || /\s/.test(before) || PUNCTUATION.test(before));
  const right = !/\s/.test(before) && (!PUNCTUATION.test(before) || /\s/.test(after) || PUNCTUATION.test(after));
  const within = char === "_";
  const opens = left && (!within || !right || PUNCTUATION.test(before));
  const closes = right && (!within || !left || PUNCTUATION.test(after));
  return [{ delimiter: true, char, count, length: count, opens, closes, early: count > 1 || !/\w/.test(before) }, end];
}

/** Items with the delimiters among them turned into emphasis. */
function emphasized(items, partial) {
  const out = [];
  const openers = [];
  for (const item of items) {
    if (item.delimiter && item.closes) close(out, openers, item);
    if (item.delimiter && item.count && item.opens) {
      openers.push(item);
      if (openers.length > MAX_OPEN) openers.shift();
    }
    if (!item.delimiter || item.count) out.push(item);
  }
  if (partial) closeAtEnd(out, openers);
  return out.map((item) => (item.delimiter ? item.char.repeat(item.count) : item));
}

function close(out, openers, closer) {
  for (let i = openers.length - 1; i >= 0 && closer.count; ) {
    const opener = openers[i];
    if (!fits(opener, closer)) {
      i--;
      continue;
    }
    const used = Math.min(opener.count, closer.count, 2);
    openers.length = i + 1;
    wrap(out, opener, used);
    closer.count -= used;
    if (!opener.count) {
      openers.pop();
      i--;
    }
  }
}

function fits(opener, closer) {
  if (opener.char !== closer.char) return false;
  const both = opener.closes || closer.opens;
  return !both || (opener.length + closer.length) % 3 !== 0 || (opener.length % 3 === 0 && closer.length % 3 === 0);
}

/** Put all behind an opener into an element, and take the delimiters used off the opener. */
function wrap(out, opener, used) {
  const at = out.lastIndexOf(opener);
  const children = out.splice(at + 1).map((item) => (item.delimiter ? item.char.repeat(item.count) : item));
  const tag = opener.char === "~" ? "del" : used === 2 ? "strong" : "em";
  opener.count -= used;
  if (!opener.count) out.pop();
  if (children.length) out.push({ tag, children: joined(children) });
}

function closeAtEnd(out, openers) {
  while (openers.length) {
    const opener = openers.pop();
    while (opener.early && opener.count) wrap(out, opener, Math.min(opener.count, 2));
  }
}

/** Nodes with texts that follow each other made one. */
function joined(nodes) {
  const out = [];
  for (const node of nodes) {
    if (typeof node === "string" && typeof out.at(-1) === "string") out[out.length - 1] += node;
    else out.push(node);
  }
  return out;
}
