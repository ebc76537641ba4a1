// What the student and the teacher are asked to say: the texts in the box's fields, what is wrong
// with them, and the request for the answers.

import { create } from 'zustand';
import { checkValue } from '../../field';
import { SAY_DEFAULTS, SAY_FIELDS, type SayField, type SaySettings } from '../../say-settings';
import type { SaidToken, SayResult } from '../../worker/protocol';
import { request } from '../shared/client';
import { requestStore } from '../shared/request';

export interface Asked {
  runId: string;
  prompt: string;
  settings: SaySettings;
}

/** The answers; their progress has all tokens so far. */
export const useAnswers = requestStore<Asked, SayResult, SaidToken[]>((asked, report) => {
  const tokens: SaidToken[] = [];
  return request('say', asked, (token) => {
    tokens.push(token);
    report([...tokens]);
  });
});

export interface SayForm {
  /** Undefined until something is typed: the run's prompt. */
  prompt?: string;
  /** As typed, valid or not. */
  texts: Record<SayField, string>;
}

export const useSayForm = create<SayForm>()(() => ({
  texts: Object.fromEntries(
    Object.entries(SAY_DEFAULTS).map(([name, value]) => [name, String(value)]),
  ) as Record<SayField, string>,
}));

export const setSayText = (name: SayField, text: string) =>
  useSayForm.setState(({ texts }) => ({ texts: { ...texts, [name]: text } }));

/** The settings that the texts are, or what is wrong with each. */
export function readSettings(texts: Record<SayField, string>): {
  settings: SaySettings;
  problems: Partial<Record<SayField, string>>;
} {
  const settings = { ...SAY_DEFAULTS };
  const problems: Partial<Record<SayField, string>> = {};
  for (const name of Object.keys(SAY_FIELDS) as SayField[]) {
    const text = texts[name].trim();
    const value = text === '' || Number.isNaN(Number(text)) ? texts[name] : Number(text);
    const problem = checkValue(SAY_FIELDS[name].label, SAY_FIELDS[name], value);
    if (problem) problems[name] = problem;
    else settings[name] = value as number;
  }
  return { settings, problems };
}
