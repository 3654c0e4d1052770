// Markdown in blocks: a text becomes a list of nodes, as inline_markdown.js has them.
//
// Beside those, {tag: "code-block", language, text}. HTML is text. `---` under a line is always a rule, so
// that a paragraph does not turn into a heading while it is written; lists may be indented by two spaces.
import { parseInline } from "./inline_markdown.js";

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +(?=\S)|[ \t]*$)/;
const INDENTED = /^(?: {4}|\t)/;
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const TASK = /^\[([ xX])\] /;
const UNCERTAIN = /(^|\n)[ \t]*([-*+>#|`~=_: \t]+|\d{1,9}[.)]?|[-*+] \[[ xX]?\]?)$/;
const MAX_DEPTH = 24;

/**
 * The blocks of a text: [{start, node, itemStarts}]. Starts are places of first characters; those of items
 * are there for lists.
 */
export function parseBlocks(text, partial = false) {
  const lines = (partial ? text.replace(UNCERTAIN, "$1") : text).split("\n");
  const starts = [0];
  for (const line of lines) starts.push(starts.at(-1) + line.length + 1);
  return blocksOf(lines.map(expanded), partial, 0).map(({ at, node, itemLines }) => ({
    start: starts[at],
    node,
    itemStarts: itemLines?.map((line) => starts[line]),
  }));
}

function expanded(line) {
  return line.replace(/\r$/, "").replace(/^[ \t]+/, (space) => space.replaceAll("\t", "    "));
}

function blocksOf(lines, partial, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at++;
      continue;
    }
    const [node, end, itemLines] = takeBlock(lines, at, partial, depth);
    blocks.push({ at, node, itemLines });
    at = end;
  }
  return blocks;
}

function nodesOf(lines, partial, depth) {
  return blocksOf(lines, partial, depth).map((block) => block.node);
}

/** The block that begins in a line, the line behind it, and for lists the lines where items begin. */
function takeBlock(lines, at, partial, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return takeFence(lines, at);
  const heading = line.match(HEADING);
  if (heading) {
    const open = partial && at === lines.length - 1;
    return [{ tag: `h${heading[1].length}`, children: parseInline(heading[2] ?? "", open) }, at + 1];
  }
  if (RULE.test(line)) return [{ tag: "hr" }, at + 1];
  if (depth < MAX_DEPTH && QUOTE.test(line)) return takeQuote(lines, at, partial, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return takeList(lines, at, partial, depth);
  if (INDENTED.test(line)) return takeIndented(lines, at);
  return takeTable(lines, at, partial) ?? takeParagraph(lines, at, partial);
}

function takeFence(lines, at) {
  const [, fence, language] = lines[at].match(FENCE);
  const indent = lines[at].search(/\S/);
  const closing = new RegExp(`^ {0,3}${fence[0] === "`" ? "`" : "~"}{${fence.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end++;
  const isOpen = end === lines.length;
  const text = lines.slice(at + 1, isOpen && !lines.at(-1) ? end - 1 : end).map((line) => line.slice(Math.min(indent, indentOf(line))));
  return [{ tag: "code-block", language, text: text.join("\n") }, end + 1];
}

function takeIndented(lines, at) {
  let end = at;
  for (let i = at; i < lines.length && (INDENTED.test(lines[i]) || !lines[i].trim()); i++) {
    if (lines[i].trim()) end = i + 1;
  }
  const text = lines.slice(at, end).map((line) => line.replace(INDENTED, ""));
  return [{ tag: "code-block", language: "", text: text.join("\n") }, end];
}

function takeQuote(lines, at, partial, depth) {
  const inner = [];
  let end = at;
  while (end < lines.length && (QUOTE.test(lines[end]) || continues(inner.at(-1), lines[end]))) {
    inner.push(lines[end].replace(QUOTE, ""));
    end++;
  }
  return [{ tag: "blockquote", children: nodesOf(inner, partial && end === lines.length, depth + 1) }, end];
}

/** Whether a line goes on with the paragraph before it, although it has not the mark of what holds that. */
function continues(before, line) {
  return Boolean(before?.trim()) && Boolean(line.trim()) && !FENCE.test(before) && !HEADING.test(before) && !interrupts(line);
}

function interrupts(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
}

function indentOf(line) {
  const indent = line.search(/\S/);
  return indent < 0 ? 0 : indent;
}

function takeList(lines, at, partial, depth) {
  const ordered = /\d/.test(lines[at].match(ITEM)[2]);
  const children = [];
  const itemLines = [];
  let end = at;
  while (end < lines.length && startsItem(lines[end], ordered)) {
    const [item, next] = takeItem(lines, end);
    itemLines.push(end);
    children.push(listItem(item, partial && next === lines.length, depth));
    end = next;
    const following = nextWritten(lines, end);
    if (following < lines.length && startsItem(lines[following], ordered)) end = following;
  }
  const start = ordered ? Number.parseInt(lines[at].trim(), 10) : 1;
  return [{ tag: ordered ? "ol" : "ul", start: start === 1 ? undefined : start, children }, end, itemLines];
}

function startsItem(line, ordered) {
  const found = line.match(ITEM);
  return Boolean(found) && /\d/.test(found[2]) === ordered && !RULE.test(line);
}

function nextWritten(lines, at) {
  while (at < lines.length && !lines[at].trim()) at++;
  return at;
}

/** The lines of an item without their indentation, and the line behind it. */
function takeItem(lines, at) {
  const found = lines[at].match(ITEM);
  const least = Math.min(found[0].length, found[1].length + 2);
  const inner = [lines[at].slice(found[0].length)];
  let dedent = null;
  let end = at + 1;
  for (let i = at + 1; i < lines.length; i++) {
    const line = lines[i];
    if (!line.trim()) {
      inner.push("");
      continue;
    }
    const belongs = indentOf(line) >= least;
    if (!belongs && (i > end || !continues(inner.at(-1), line))) break;
    if (belongs) dedent ??= Math.min(indentOf(line), Math.max(found[0].length, least));
    inner.push(belongs ? line.slice(Math.min(dedent, indentOf(line))) : line.trimStart());
    end = i + 1;
  }
  return [inner.slice(0, end - at), end];
}

function listItem(lines, partial, depth) {
  const task = lines[0].match(TASK);
  if (task) lines = [lines[0].slice(task[0].length), ...lines.slice(1)];
  const children = nodesOf(lines, partial, depth + 1);
  if (!task) return { tag: "li", children };
  const box = { tag: "span", class: task[1] === " " ? "task" : "task done", children: [task[1] === " " ? "☐ " : "☑ "] };
  return { tag: "li", class: "has-task", children: [box, ...children] };
}

/** A table, or null. While it is written, a first line that begins with | counts as one. */
function takeTable(lines, at, partial) {
  if (!lines[at].includes("|")) return null;
  const rule = lines[at + 1];
  const last = at + 1 >= lines.length || (at + 2 === lines.length && !rule.trim());
  const head = cellsOf(lines[at]);
  if (last && partial && lines[at].startsWith("|")) return [table(head, [], [], true), lines.length];
  if (rule === undefined || !rule.includes("-") || !TABLE_RULE.test(rule)) return null;
  const sides = cellsOf(rule).map(sideOf);
  const unfinished = partial && at + 2 === lines.length;
  if (sides.length !== head.length && !unfinished) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].trim() && !interrupts(lines[end])) end++;
  const open = partial && end === lines.length;
  const rows = lines.slice(at + 2, end).map((line, i) => cellsOf(line, open && i === end - at - 3));
  return [table(head, sides, rows, open), end];
}

function sideOf(cell) {
  if (cell.startsWith(":") && cell.endsWith(":")) return "center";
  return cell.endsWith(":") ? "end" : undefined;
}

/** The cells of a row. A | behind a backslash or within backticks is text, open ones too in an open row. */
function cellsOf(line, open = false) {
  const part = open ? /\\.|`[^`]*(?:`|$)|\||[^\\`|]+|\\/gs : /\\.|`[^`]*`|\||[^\\`|]+|[\\`]/gs;
  const parts = line.trim().match(part) ?? [];
  const cells = [""];
  for (const part of parts) {
    if (part === "|") cells.push("");
    else cells[cells.length - 1] += part === "\\|" ? "|" : part;
  }
  if (!cells[0].trim()) cells.shift();
  if (cells.length > 1 && !cells.at(-1).trim()) cells.pop();
  return cells.map((cell) => cell.trim());
}

function table(head, sides, rows, partial) {
  const row = (cells, tag, open) => ({
    tag: "tr",
    children: head.map((_, i) => ({ tag, class: sides[i], children: parseInline(cells[i] ?? "", open) })),
  });
  const body = rows.map((cells, i) => row(cells, "td", partial && i === rows.length - 1));
  const children = [{ tag: "thead", children: [row(head, "th", partial && !rows.length)] }];
  if (body.length) children.push({ tag: "tbody", children: body });
  return { tag: "table", children };
}

function takeParagraph(lines, at, partial) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !interrupts(lines[end])) end++;
  const text = lines.slice(at, end).map((line) => line.trim());
  if (text.length > 1 && /^={3,}$/.test(text.at(-1))) {
    return [{ tag: "h1", children: parseInline(text.slice(0, -1).join("\n")) }, end];
  }
  return [{ tag: "p", children: parseInline(text.join("\n"), partial && end === lines.length) }, end];
}
