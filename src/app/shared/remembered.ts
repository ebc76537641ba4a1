// What the browser remembers between visits: yes or no, by name. Where storage is blocked, nothing.

/** The names in the browser's storage. */
const KEYS = {
  introduced: 'stillhouse-introduced',
  storyRead: 'stillhouse-story-read',
} as const;

export function isRemembered(name: keyof typeof KEYS): boolean {
  try {
    return localStorage.getItem(KEYS[name]) !== null;
  } catch {
    return false;
  }
}

export function remember(name: keyof typeof KEYS): void {
  try {
    localStorage.setItem(KEYS[name], 'yes');
  } catch {
    // The page will ask again.
  }
}
