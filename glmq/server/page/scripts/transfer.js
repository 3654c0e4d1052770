// Conversations as files. The JSON of one is what `glmq chat` loads and saves; the Markdown is what it exports.
import { make } from "./elements.js";
import { newConversation, plainMessage, titleOf } from "./conversation.js";

const HEADINGS = { system: "System", user: "User", assistant: "Assistant", tool: "Tool result" };
const HEADING = /^## (System|User|Assistant|Tool result)(?:: (.*))?$/;
const THOUGHTS = /^<details>\n<summary>Thinking<\/summary>\n\n([^]*?)\n\n<\/details>\s*/;
const CALL = /\n*Calls `([^`\n]+)`:\n\n(`{3,})json\n([^]*?)\n\2(?=\n|$)/g;
const ROLES = new Set(Object.keys(HEADINGS));

/** One conversation as JSON text, its system message before the others. */
export function jsonOf(conversation) {
  return `${JSON.stringify(portable(conversation), null, 1)}\n`;
}

/** Several conversations as JSON text. */
export function jsonOfAll(conversations) {
  return `${JSON.stringify({ conversations: conversations.map(portable) }, null, 1)}\n`;
}

function portable(conversation) {
  const { system, ...settings } = conversation.settings;
  const messages = conversation.messages.map((message) => plainMessage(message));
  if (system) messages.unshift({ role: "system", content: system });
  const { created, updated } = conversation;
  return { title: titleOf(conversation), created, updated, settings, messages };
}

/** One conversation as Markdown. */
export function markdownOf(conversation) {
  const { messages } = portable(conversation);
  return `# ${titleOf(conversation)}\n\n${messages.map(messageMarkdown).join("\n\n")}\n`;
}

function messageMarkdown(message) {
  const parts = [`## ${HEADINGS[message.role]}${message.role === "tool" && message.name ? `: ${message.name}` : ""}`];
  if (message.reasoning_content) {
    parts.push(`<details>\n<summary>Thinking</summary>\n\n${message.reasoning_content.trim()}\n\n</details>`);
  }
  const text = message.content?.trim();
  if (text) parts.push(message.role === "tool" ? fenced(text, "") : text.replace(/^(\\*## )/gm, "\\$1"));
  for (const { function: call } of message.tool_calls ?? []) parts.push(`Calls \`${call.name}\`:\n\n${fenced(call.arguments, "json")}`);
  return parts.join("\n\n");
}

function fenced(text, language) {
  const longest = Math.max(0, ...Array.from(text.matchAll(/`+/g), ([run]) => run.length));
  const fence = "`".repeat(Math.max(3, longest + 1));
  return `${fence}${language}\n${text}\n${fence}`;
}

/** The conversations in a file's text. Raises Error in words for the user. */
export function conversationsIn(text, name) {
  if (/\.(md|markdown)$/i.test(name)) return [fromMarkdown(text)];
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON; import a file that was exported here, or a Markdown file.`);
  }
  const all = Array.isArray(value?.conversations) ? value.conversations : [Array.isArray(value) ? { messages: value } : value];
  return all.map((each) => fromJson(each, name));
}

function fromJson(value, name) {
  if (!Array.isArray(value?.messages) || !value.messages.every((message) => ROLES.has(message?.role))) {
    throw new Error(`${name} holds no conversation: "messages" must be a list of messages with roles.`);
  }
  const conversation = newConversation({ ...(typeof value.settings === "object" ? value.settings : {}) });
  const { title, created, updated } = value;
  if (typeof title === "string") conversation.title = title;
  if (Number.isFinite(created)) conversation.created = created;
  if (Number.isFinite(updated)) conversation.updated = updated;
  return withMessages(conversation, value.messages.map(checkedMessage));
}

function checkedMessage(message) {
  const checked = plainMessage({ ...message, content: textOf(message.content) });
  if (checked.tool_calls) checked.tool_calls = checked.tool_calls.map(checkedCall);
  if (message.role === "assistant") checked.ended = "stop";
  return checked;
}

function textOf(content) {
  if (Array.isArray(content)) return content.map((part) => part?.text ?? "").join("");
  return typeof content === "string" ? content : "";
}

function checkedCall(call, i) {
  const { name = "", arguments: given = {} } = call?.function ?? call ?? {};
  const text = typeof given === "string" ? given : JSON.stringify(given);
  return { id: String(call?.id ?? `call_${i}`), type: "function", function: { name: String(name), arguments: text } };
}

function withMessages(conversation, messages) {
  if (messages[0]?.role === "system") conversation.settings.system = messages.shift().content;
  conversation.messages = messages.filter((message) => message.role !== "system");
  return conversation;
}

function fromMarkdown(text) {
  const conversation = newConversation();
  const messages = [];
  let lines = [];
  for (const line of text.replaceAll("\r\n", "\n").split("\n")) {
    const heading = line.match(HEADING);
    if (heading) messages.push({ heading, lines: (lines = []) });
    else if (!messages.length && line.startsWith("# ")) conversation.title = line.slice(2).trim();
    else lines.push(line);
  }
  if (!messages.length) throw new Error("The file holds no conversation: it has no heading such as “## User”.");
  const read = messages.map(({ heading, lines }) => messageFromMarkdown(heading, lines.join("\n").trim()));
  return withMessages(conversation, withCallIds(read));
}

function messageFromMarkdown([, heading, name], text) {
  const role = Object.keys(HEADINGS).find((each) => HEADINGS[each] === heading);
  if (role === "tool") return { role, name, content: text.replace(/^(`{3,})\n([^]*)\n\1$/, "$2") };
  const message = { role, content: text };
  if (role === "assistant") Object.assign(message, answerFromMarkdown(text));
  message.content = message.content.replace(/^\\(\\*## )/gm, "$1");
  return message;
}

function answerFromMarkdown(text) {
  const answer = { content: text, ended: "stop" };
  const thoughts = text.match(THOUGHTS);
  if (thoughts) answer.reasoning_content = thoughts[1];
  const calls = Array.from(text.matchAll(CALL), ([, name, , json]) => checkedCall({ function: { name, arguments: json } }));
  if (calls.length) answer.tool_calls = calls;
  answer.content = text.replace(THOUGHTS, "").replace(CALL, "").trim();
  return answer;
}

/** Markdown has no ids of calls: results belong to the calls before them, one by one. */
function withCallIds(messages) {
  let waiting = [];
  messages.forEach((message, i) => {
    if (message.tool_calls) {
      message.tool_calls.forEach((call, j) => (call.id = `call_${i}_${j}`));
      waiting = message.tool_calls.map((call) => call.id);
    }
    if (message.role === "tool") message.tool_call_id = waiting.shift() ?? `call_${i}`;
  });
  return messages;
}

/** Offer a text as a file. */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** A file's name for a conversation. */
export function fileName(conversation, suffix) {
  const stem = titleOf(conversation).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  return `${stem.slice(0, 60) || "conversation"}.${suffix}`;
}
