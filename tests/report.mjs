// Counts a vitest JSON report the strict way: what is skipped, empty or could not start has failed.

/**
 * @param {object | undefined} report vitest's JSON report; undefined if it wrote none
 * @param {number} exitCode vitest's own verdict
 * @returns {{ passed: number, failed: number, notes: string[] }} notes say what counts as failed
 * beside failed tests
 */
export function countReport(report, exitCode) {
  if (!report) return { passed: 0, failed: 1, notes: ['no report: the runner itself failed'] };
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const passed = tests.filter(({ status }) => status === 'passed').length;
  const notRun = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');
  // A file whose import or hook failed, with no failed test in it to show for that.
  const broken = report.testResults.filter(
    (file) =>
      file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  );
  const notes = [
    ...notRun.map((test) => `not run (${test.status}): ${test.fullName}`),
    ...broken.map((file) => `failed outside its tests: ${file.name}`),
  ];
  let failed = tests.length - passed + broken.length;
  if (tests.length === 0 && failed === 0) {
    notes.push('no tests');
    failed = 1;
  }
  if (exitCode !== 0 && failed === 0) {
    notes.push('an error outside the tests: see above');
    failed = 1;
  }
  return { passed, failed, notes };
}
