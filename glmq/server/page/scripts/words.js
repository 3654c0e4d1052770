// What numbers and errors are called on the page.

/** A whole number with separators. */
export function counted(n) {
  return Math.round(n).toLocaleString("en");
}

/** A time as people say it. */
export function duration(seconds) {
  if (seconds < 0.95) return "a moment";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** A title for an error, what can be done, and whether a new conversation helps. */
export function errorWords({ status, code, retryAfter }) {
  if (code === "context_length_exceeded") {
    const advice = "Edit an earlier question, which cuts what follows it, or go on in a new conversation.";
    return { title: "The conversation is too long for the model", advice, startsNew: true };
  }
  if (status === 429) {
    const wait = retryAfter ? `Try again in ${retryAfter} s.` : "Try again in a moment.";
    return { title: "The server is busy", advice: wait };
  }
  if (status === 401) return { title: "The server wants an API key", advice: "Enter the key that it was started with.", asksKey: true };
  if (status === 503) return { title: "The server is shutting down", advice: "Try again when it has started again." };
  if (status === 0) return { title: "No connection", advice: "What has been answered so far is kept." };
  if (status >= 500) return { title: "The server failed", advice: "Try again." };
  return { title: "The server refused the request", advice: "Change the settings or the question, then try again." };
}

/** Why an answer is not whole, or nothing. */
export function endWords(ended) {
  const words = {
    stopped: "You stopped this answer.",
    interrupted: "This answer was interrupted when the page was closed.",
    length: "This answer reached the most tokens that it may have.",
  };
  return words[ended] ?? "";
}

/** Speed and tokens of an answer, for the line under it. */
export function statsWords({ timings, usage }) {
  const parts = [];
  if (timings?.predicted_n > 1 && timings.predicted_per_second) parts.push(`${timings.predicted_per_second.toFixed(1)} tokens/s`);
  if (usage) parts.push(`${counted(usage.completion_tokens)} tokens`);
  return parts.join(" · ");
}

/** All figures of an answer, a line each. */
export function allFigures({ timings, usage, thinkingSeconds }, nContext) {
  const lines = [];
  if (usage) {
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    const thought = usage.completion_tokens_details?.reasoning_tokens ?? 0;
    lines.push(`Prompt: ${counted(usage.prompt_tokens)} tokens, ${counted(cached)} of them cached`);
    lines.push(`Answer: ${counted(usage.completion_tokens)} tokens${thought ? `, ${counted(thought)} of them thinking` : ""}`);
    if (nContext) lines.push(`Context: ${counted(usage.prompt_tokens + usage.completion_tokens)} of ${counted(nContext)} tokens`);
  }
  if (timings) {
    lines.push(`Reading: ${counted(timings.prompt_ms)} ms, ${timings.prompt_per_second.toFixed(1)} tokens/s`);
    lines.push(`Writing: ${counted(timings.predicted_ms)} ms, ${timings.predicted_per_second.toFixed(1)} tokens/s`);
  }
  if (thinkingSeconds) lines.push(`Thinking: ${duration(thinkingSeconds)}`);
  return lines;
}
