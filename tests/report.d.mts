// The types of report.mjs, for its unit test.
export function countReport(
  report: object | undefined,
  exitCode: number,
): { passed: number; failed: number; notes: string[] };
