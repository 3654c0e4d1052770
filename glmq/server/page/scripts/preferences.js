// What this browser keeps beside conversations: colours, whether thinking is shown, the key.

const PREFIX = "glmq.";

/** A value that was kept, or the default. */
export function preference(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keep a value; nothing happens where the browser keeps nothing. */
export function setPreference(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // The value holds until the page is closed.
  }
}

/** Show the colours that were chosen: "auto", "light" or "dark". */
export function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
