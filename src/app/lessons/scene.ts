// What a lesson is, and what it shows, as data: panels of bars and lines, and the figures beside
// them. Pure.

import type { Quiz } from '../shared/LessonParts';

/** Whose values they are, which gives them their colour and line. */
export type Tone = 'teacher' | 'student' | 'text' | 'kd';

export interface Series {
  name: string;
  tone: Tone;
}

/** Probabilities of tokens, one column for each series. */
export interface BarPanel {
  kind: 'bars';
  title: string;
  /** The text before the token, and the one that follows. */
  context?: { text: string; next: string };
  series: Series[];
  rows: { token: string; isNext?: boolean; values: number[] }[];
}

export interface LinePanel {
  kind: 'lines';
  title: string;
  unit: string;
  /** The horizontal axis. */
  x: { name: string; scale: 'linear' | 'log'; values: number[] };
  scale: 'linear' | 'log';
  lines: (Series & { values: number[] })[];
  /** A value on the horizontal axis to mark. */
  at?: number;
}

export type Panel = BarPanel | LinePanel;

export interface Scene {
  panels: Panel[];
  /** Computed for this scene. */
  facts: [name: string, text: string][];
}

/** The slider of a lesson. */
interface Control {
  name: string;
  /** The quantity, as facts and links name it. */
  symbol: string;
  values: readonly number[];
  /** Where it stands when the answer appears. */
  start: number;
}

export interface Lesson extends Quiz {
  /** The lesson's name in links. */
  id: string;
  control: Control;
  /** It is trained while it is shown, in place of a scene's panels. */
  live?: true;
  /** What to learn from it, shown with the scene. */
  answer: string;
  /** With the slider at a value; without one, before the question is answered. */
  scene(value?: number): Scene;
}

/** 100%, 12.3%, 0.04%. */
export function percent(share: number): string {
  const percents = share * 100;
  if (percents === 0) return '0%';
  if (percents < 0.005) return '< 0.01%';
  return `${percents.toFixed(percents >= 99.95 ? 0 : percents >= 1 ? 1 : 2)}%`;
}

/** A token as people read it: words without the space before them, and -ing for the end of one. */
export function readable(token: string): string {
  if (token.startsWith(' ') && token.trim()) return token.trim();
  if (token.trim() === '') return token.includes('\n') ? '(new line)' : '(space)';
  return /^\p{L}/u.test(token) ? `-${token}` : token;
}
