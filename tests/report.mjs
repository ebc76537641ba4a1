// Counts a vitest JSON report strictly: a test that is skipped and a file that is empty or could
// not start have failed.

/**
 * @param {object | undefined} report vitest's JSON report; undefined if it wrote none
 * @param {number} exitCode vitest's own verdict
 * @returns {{ passed: number, failed: number, notes: string[] }} `notes`: what counts as failed
 * besides failed tests, and which tests passed only when they were tried again, after what error
 */
export function countReport(report, exitCode) {
  if (!report) return { passed: 0, failed: 1, notes: ['no report: the runner itself failed'] };
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const passed = tests.filter(({ status }) => status === 'passed').length;
  const notRun = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');
  // Files whose import or hook failed without any failed test.
  const broken = report.testResults.filter(
    (file) =>
      file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  );
  const again = tests.filter(
    ({ status, failureMessages = [] }) => status === 'passed' && failureMessages.length > 0,
  );
  const notes = [
    ...again.map(
      ({ fullName, failureMessages: [error] }) =>
        `passed at the second try: ${fullName}, after ${error.split('\n')[0]}`,
    ),
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
