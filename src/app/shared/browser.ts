// What components need from the browser: media queries, an element's size, the colour theme, the
// clipboard, downloads.

import type { RefObject } from 'react';
import { useEffect, useLayoutEffect, useState, useSyncExternalStore } from 'react';

/** Three columns fit from this width. */
export const WIDE = '(min-width: 1080px)';

export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (changed) => {
      const media = matchMedia(query);
      media.addEventListener('change', changed);
      return () => media.removeEventListener('change', changed);
    },
    () => matchMedia(query).matches,
  );
}

/** The element's content size in CSS pixels; 0 × 0 until it has been laid out. */
export function useSize(element: RefObject<HTMLElement | null>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    if (!element.current) return;
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      setSize({ width: Math.floor(width), height: Math.floor(height) });
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return size;
}

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** index.html reads the same key before the first paint. */
const THEME_KEY = 'stillhouse-theme';

/** The theme, remembered across visits if the browser allows storage. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(() => {
    const chosen = document.documentElement.dataset.theme;
    return chosen === 'light' || chosen === 'dark' ? chosen : 'system';
  });
  useEffect(() => {
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(THEME_KEY, theme);
    } catch {
      // Storage is blocked: the theme is set, but not remembered.
    }
  }, [theme]);
  return [theme, setTheme];
}

/** False if the browser refuses, e.g. on plain http from another machine. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Saves a file; a text is saved as CSV. */
export function download(name: string, file: string | Blob): void {
  const blob = typeof file === 'string' ? new Blob([file], { type: 'text/csv' }) : file;
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

interface UserAgentData {
  platform: string;
}

/**
 * The browser's engine, by a feature that no other has, and its system, by its own word: what a
 * user agent text claims is often another's.
 */
export function engineAndSystem(): {
  engine: 'chromium' | 'firefox' | 'safari' | 'other';
  system: string;
} {
  const { userAgentData, platform } = navigator as Navigator & { userAgentData?: UserAgentData };
  const system = userAgentData?.platform || platform || '';
  if (userAgentData || 'chrome' in window) return { engine: 'chromium', system };
  if (globalThis.CSS?.supports('-moz-appearance', 'none')) return { engine: 'firefox', system };
  if ('GestureEvent' in window) return { engine: 'safari', system };
  return { engine: 'other', system };
}
