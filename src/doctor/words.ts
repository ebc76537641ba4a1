// Numbers as verdicts show them.

import type { NonFiniteRecord } from '../distill/records';

/** Three significant digits: 0.00123, 4.56, 789, 12,300; others as 1.2e-7 and 3.4e+9. */
export function figure(value: number): string {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(1);
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}

/** "61%", and "0.4%" below ten. */
export const percent = (share: number): string =>
  `${(share * 100).toLocaleString('en-US', { maximumFractionDigits: share < 0.1 ? 1 : 0 })}%`;

/** Where the numbers of a step stop being finite. */
export const nonFiniteAt = ({ tensor, kernel }: NonFiniteRecord): string =>
  kernel
    ? `The first number that is not finite is in “${tensor}”, written by ${kernel}.`
    : `“${tensor}” is not finite before the step’s first kernel.`;

export const count = (value: number): string => Math.round(value).toLocaleString('en-US');

/** "1 step", "1,200 steps" */
export const counted = (value: number, noun: string): string =>
  `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

export const bytes = (value: number): string =>
  value >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${(value / 1e6).toFixed(1)} MB`;

/** To two significant digits, as a setting: 0.0123456 is 0.012. */
export const rounded = (value: number): number => Number(value.toPrecision(2));
