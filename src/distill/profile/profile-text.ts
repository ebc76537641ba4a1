// A profile as a table of text, for a terminal or a bug report.

import type { Figures, ProfileReport } from './profile';

/** @param adapter its name */
export function profileText(report: ProfileReport, adapter: string): string {
  const { roofline, repetitions, quantum, stepMilliseconds } = report;
  const milliseconds = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(3);
  const share = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)}%`;
  const row = (indent: number, { name, dispatches, nanoseconds, flops, bytes }: Figures) => {
    // Per nanosecond is billions per second. A time of 0 gives no rate.
    const rate = (amount: number, best: number) =>
      amount > 0 && nanoseconds > 0
        ? [(amount / nanoseconds).toPrecision(3), share((amount / nanoseconds) * 1e9, best)]
        : ['n/a', ''];
    return [
      ' '.repeat(indent) + name,
      ...[String(dispatches), milliseconds(nanoseconds), share(nanoseconds, report.nanoseconds)],
      ...[...rate(flops, roofline.flopsPerSecond), ...rate(bytes, roofline.bytesPerSecond)],
    ];
  };
  const table = [
    ['', 'dispatches', 'ms', 'share', 'GFLOP/s', 'of peak', 'GB/s', 'of copy'],
    ...report.phases.flatMap((phase) => [
      row(0, { ...phase, name: phase.wallClock ? `${phase.name} (wall clock)` : phase.name }),
      ...(phase.wallClock ? [] : phase.kernels).flatMap((kernel) => [
        row(2, kernel),
        ...(kernel.kinds.length > 1 ? kernel.kinds : []).map((kind) => row(4, kind)),
      ]),
    ]),
  ];
  const widths = table[0].map((_, column) =>
    Math.max(...table.map((cells) => cells[column].length)),
  );
  const lines = table.map((cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]),
      )
      .join('  ')
      .trimEnd(),
  );
  return [
    `adapter: ${adapter}`,
    `a step: ${milliseconds(report.nanoseconds)} ms in kernels, ` +
      `${stepMilliseconds.toFixed(3)} ms of wall time`,
    `best rates: matrix product ${(roofline.flopsPerSecond / 1e9).toPrecision(3)} GFLOP/s, ` +
      `copy ${(roofline.bytesPerSecond / 1e9).toPrecision(3)} GB/s`,
    quantum
      ? `means of ${repetitions} repetitions, ` +
        `timestamps rounded to ${(quantum / 1000).toFixed(0)} µs`
      : `medians of ${repetitions} repetitions`,
    '',
    ...lines,
  ].join('\n');
}
