// Formats numbers for the page. Undefined becomes "n/a"; nothing is clamped.

/** A measured value with about four digits: 4.367, 96.3, 1,024, 3.0e-3. */
export function formatMeasure(value: number | null | undefined): string {
  if (value === undefined || value === null) return 'n/a';
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 0.01 || size >= 1e7) return value.toExponential(1);
  if (size < 10) return value.toFixed(3);
  if (size < 1000) return value.toFixed(1);
  return Math.round(value).toLocaleString('en');
}

/** A number on an axis, as short as possible: 0.5, 20, 4k, 1e-3. */
export function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e3) return `${trim(value / 1e3)}k`;
  if (size !== 0 && size < 1e-3) return value.toExponential().replace('e-0', 'e-');
  return trim(value);
}

const trim = (value: number) => String(Number(value.toPrecision(3)));

/** 03:10 or 1:02:05. */
export function formatDuration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const minutesAndSeconds = [Math.floor(total / 60) % 60, total % 60]
    .map((value) => String(value).padStart(2, '0'))
    .join(':');
  const hours = Math.floor(total / 3600);
  return hours > 0 ? `${hours}:${minutesAndSeconds}` : minutesAndSeconds;
}

/** Bytes in decimal units: 812 B, 4.1 MB. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A count with three digits: 860, 12.4k, 3.21M. */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toPrecision(3)}B`;
  if (count >= 1e6) return `${(count / 1e6).toPrecision(3)}M`;
  if (count >= 1e3) return `${(count / 1e3).toPrecision(3)}k`;
  return String(Math.round(count));
}

/** A fraction from 0 to 1 as a whole percentage. */
export function formatShare(share: number | undefined): string {
  if (share === undefined) return 'n/a';
  return Number.isFinite(share) ? `${Math.round(share * 100)}%` : String(share);
}

/** "1 step", "2 steps". */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
