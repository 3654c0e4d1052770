// Conversations as data, and what is sent of them.
//
// A conversation is {id, title, created, updated, settings, messages}. Messages have the form of OpenAI's
// API; those of the assistant also hold how the answer went (`ended`, `usage`, `timings`, `thinkingSeconds`,
// `error`), which is not sent.

/** Settings that are numbers: name in requests, label, what is allowed. */
export const NUMBERS = [
  { name: "temperature", label: "Temperature", min: 0, max: 5, step: 0.05 },
  { name: "top_p", label: "Top-p", min: 0, max: 1, step: 0.01 },
  { name: "top_k", label: "Top-k", min: 0, max: 100000, step: 1 },
  { name: "min_p", label: "Min-p", min: 0, max: 1, step: 0.01 },
  { name: "repeat_penalty", label: "Repeat penalty", min: 0.1, max: 5, step: 0.05 },
  { name: "max_tokens", label: "Max tokens", min: 1, max: 1000000000, step: 1, otherwise: "no limit" },
  { name: "seed", label: "Seed", min: 0, max: 4294967295, step: 1, otherwise: "random" },
  { name: "thinking_budget_tokens", label: "Thinking budget", min: 0, max: 1000000000, step: 1, otherwise: "no limit" },
];

const TITLE_LENGTH = 60;

/** A conversation without messages. */
export function newConversation(settings = {}) {
  const now = Date.now();
  return { id: newId(), title: "", created: now, updated: now, settings: structuredClone(settings), messages: [] };
}

/** A name for a conversation; crypto.randomUUID is missing where the page comes over plain HTTP. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the conversation is called: the name given to it, or how it begins. */
export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const first = conversation.messages.find((message) => message.role === "user");
  const line = first?.content.trim().split("\n")[0].trim() ?? "";
  if (!line) return "New conversation";
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH).trimEnd()}…` : line;
}

/** The tool messages behind an assistant's message, by the ids of their calls. */
export function resultsOf(conversation, message) {
  const results = new Map();
  const at = conversation.messages.indexOf(message);
  for (const following of conversation.messages.slice(at + 1)) {
    if (following.role !== "tool") break;
    results.set(following.tool_call_id, following);
  }
  return results;
}

/**
 * Take what another tab has said and answered meanwhile into a conversation that is being answered here, in the
 * message `running`. Gives whether there was any; there is none where the other tab has gone another way.
 */
export function takeOver(conversation, other, running) {
  const { messages } = conversation;
  const differs = (message, i) => other.messages[i] && (message.role !== other.messages[i].role || (message.role !== "assistant" && message.content !== other.messages[i].content));
  if (messages.some(differs)) return false;
  const isOver = (message) => message?.ended && message.ended !== "interrupted";
  const isOpen = (message, i) => message !== running && message.role === "assistant" && !isOver(message) && isOver(other.messages[i]);
  const answered = messages.filter(isOpen);
  for (const message of answered) Object.assign(message, other.messages[messages.indexOf(message)]);
  const further = other.messages.slice(messages.length);
  messages.push(...further);
  return answered.length + further.length > 0;
}

/** The tools in the settings' text, as functions of OpenAI's API. Raises Error in words for the user. */
export function parseTools(text) {
  if (!text?.trim()) return [];
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The tools are not valid JSON: ${error.message}`);
  }
  const tools = Array.isArray(value) ? value : [value];
  return tools.map((tool, i) => {
    const definition = tool?.function ?? tool;
    if (typeof definition?.name !== "string" || !definition.name) throw new Error(`Tool ${i + 1} has no name.`);
    return { type: "function", function: definition };
  });
}

/** The body of a request that has the conversation answered. resumes: the last answer is to go on. */
export function requestBody(conversation, model, resumes) {
  const { system, thinking, stop, tools, ...numbers } = conversation.settings;
  const body = {
    model,
    messages: messagesToSend(conversation, resumes),
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
  };
  for (const { name } of NUMBERS) if (numbers[name] != null) body[name] = numbers[name];
  if (stop?.length) body.stop = stop;
  if (thinking != null) body.thinking = { type: thinking ? "enabled" : "disabled" };
  const offered = parseTools(tools);
  if (offered.length) body.tools = offered;
  if (resumes) body.continue_final_message = true;
  return body;
}

function messagesToSend(conversation, resumes) {
  const { messages, settings } = conversation;
  const lastQuestion = messages.findLastIndex((message) => message.role === "user");
  const sent = settings.system?.trim() ? [{ role: "system", content: settings.system }] : [];
  messages.forEach((message, i) => {
    if (message.role !== "assistant") sent.push(plainMessage(message));
    else if (message.content || message.tool_calls?.length) {
      const keepsThinking = i > lastQuestion && (message.tool_calls?.length || resumes);
      sent.push(plainMessage(message, keepsThinking));
    }
  });
  return sent;
}

/** A message as the API takes it. Thinking goes with it within a round of tools, as models expect. */
export function plainMessage(message, keepsThinking = true) {
  const { role, content, name, tool_call_id, tool_calls, reasoning_content } = message;
  const plain = { role, content };
  if (role === "tool") Object.assign(plain, { tool_call_id, name });
  if (role === "assistant") {
    if (tool_calls?.length) plain.tool_calls = tool_calls;
    if (reasoning_content && keepsThinking) plain.reasoning_content = reasoning_content;
  }
  return plain;
}
