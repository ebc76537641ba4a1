// The Bug Lab without its page: links, the script's log, the code, the order of the logs, and the
// content of scrambled heads.

import { describe, expect, test, vi } from 'vitest';
import { CAUSES, identicalLogs, orderOf } from '../../../src/app/bug/cause-rows';
import { isAddressing, storyCode, viewOutcome } from '../../../src/app/bug/listing';
import { commonEvaluation, scriptLog, scriptSuccess, totalsOf } from '../../../src/app/bug/script';
import {
  CARDS,
  choicesOf,
  DEFAULTS,
  formatState,
  parseState,
  type Settings,
} from '../../../src/app/bug/settings';
import {
  meanLookBack,
  rowContent,
  strongestKeys,
  weightsByToken,
} from '../../../src/app/bug/slices';
import { COLUMNS, type ColumnRun } from '../../../src/app/bug/store';
import { Layout } from '../../../src/tensor/layout';
import { attempt, VIEW_ERROR } from './bug-reports';
import { evaluationRecord, failedEvaluation, stepRecord } from './support';

vi.stubGlobal('matchMedia', () => ({ matches: false }));

const column = (values: Partial<ColumnRun>): ColumnRun => ({
  attempts: [],
  evaluations: [],
  ...values,
});
const evaluation = (step: number, failed = false) => ({
  record: failed ? failedEvaluation(step) : evaluationRecord(step),
  weightChange: 0,
});
const settingsOf = (parsed: ReturnType<typeof parseState>) => {
  if ('problem' in parsed) throw new Error(parsed.problem);
  return parsed;
};

describe('a link', () => {
  test('is empty for the first card with its defaults, and names other options', () => {
    expect(formatState('replay', DEFAULTS.replay)).toBe('');
    expect(formatState('heads', DEFAULTS.heads)).toBe('heads');
    expect(formatState('replay', { ...DEFAULTS.replay, batch: '1', errors: 'raised' })).toBe(
      'replay,batch=1,errors=raised',
    );
    expect(formatState('causes', { seed: '7', log: 'better' })).toBe('causes,seed=7,log=better');
  });

  test('parses back to the same options, for every value of every card', () => {
    expect(settingsOf(parseState(''))).toEqual({ card: 'replay', settings: DEFAULTS.replay });
    for (const card of CARDS) {
      for (const name of Object.keys(DEFAULTS[card])) {
        for (const value of choicesOf(card, name as never)) {
          const settings = { ...DEFAULTS[card], [name]: value } as Settings;
          expect(settingsOf(parseState(formatState(card, settings)))).toEqual({ card, settings });
        }
      }
    }
  });

  test.each([
    ['nothing', 'There is no experiment "nothing". The experiments are replay, causes, heads.'],
    ['replay,batch=7', 'batch is "7". It must be 4 or 1.'],
    ['replay,seed=1', 'replay has no option "seed". It has batch, context, where, errors, clamp.'],
    ['heads,__proto__=1', 'heads has no option "__proto__". It has axes.'],
    ['constructor', 'There is no experiment "constructor".'],
    ['causes,seed=100', 'seed is "100". It must be 1 to 99.'],
    ['replay,batch=1,batch=4', 'batch is set more than once.'],
    ['replay,', 'replay has no option "".'],
    [',batch=1', 'There is no experiment "".'],
  ])('that is invalid says why: %s', (text, problem) => {
    expect(parseState(text)).toEqual({ problem: expect.stringContaining(problem) });
  });

  test('that is too long is quoted in part', () => {
    const parsed = parseState(`replay,batch=${'9'.repeat(5000)}`);
    expect(parsed).toEqual({ problem: `batch is "${'9'.repeat(40)}…". It must be 4 or 1.` });
  });
});

describe('the script’s log', () => {
  const failing = column({
    attempts: [1, 2].map((step) => attempt(step)),
    evaluations: [evaluation(0, true), evaluation(2, true)],
  });

  test('prints 10000.0 without a measurement, and success though every batch failed', () => {
    expect(scriptLog(failing, true).map(({ text }) => text)).toEqual([
      'Step 0: Loss=n/a, PPL=10000.0, Success=n/a',
      'Step 2: Loss=4.0000, PPL=10000.0, Success=1.000',
    ]);
    expect(totalsOf(failing)).toMatchObject({ tried: 8, succeeded: 0, failed: 8, weightChange: 0 });
  });

  test('unclamped, prints n/a for a missing perplexity and any measured one in full', () => {
    expect(scriptLog(failing, false)[1].text).toBe(
      'Step 2: Loss=4.0000, PPL=n/a (0 valid tokens), Success=1.000',
    );
    const high = column({
      evaluations: [
        { ...evaluation(0), record: evaluationRecord(0, { studentPerplexity: 17_074.3 }) },
      ],
    });
    expect(scriptLog(high, true)[0].text).toContain('PPL=10000.0');
    expect(scriptLog(high, false)[0].text).toContain('PPL=17,074');
  });

  test('counts a step with a swallowed exception as success, but not an uncaught one', () => {
    const raised = { record: undefined, error: VIEW_ERROR };
    const swallowed = column({
      attempts: [attempt(1, raised), attempt(2, raised)],
      evaluations: [evaluation(2, true)],
    });
    expect(scriptSuccess(swallowed)).toBe(1);
    expect(scriptLog(swallowed, true)[0].text).toBe('Step 2: Loss=n/a, PPL=10000.0, Success=1.000');
    expect(totalsOf(swallowed)).toMatchObject({ steps: 2, raised: 2 });
    const stopped = column({ attempts: [attempt(1, raised)], ended: { error: VIEW_ERROR } });
    expect(scriptSuccess(stopped)).toBe(0);
  });

  test('totals: bytes copied, applied and skipped steps, median time', () => {
    const mixed = column({
      attempts: [
        attempt(1, { bytesCopied: 100, milliseconds: 50 }),
        attempt(2, { record: stepRecord(2, { applied: false }), milliseconds: 5 }),
        attempt(3, { milliseconds: 7 }),
      ],
      evaluations: [{ ...evaluation(0), record: evaluationRecord(0, { bytesCopied: 11 }) }],
    });
    expect(totalsOf(mixed)).toMatchObject({
      bytesCopied: 111,
      applied: 2,
      skipped: 1,
      milliseconds: 7,
      firstLoss: 8,
    });
  });

  test('columns are compared at the last step that all of them have evaluated', () => {
    const [ahead, behind] = [
      column({ evaluations: [evaluation(0), evaluation(20)] }),
      column({ evaluations: [evaluation(0)] }),
    ];
    expect(commonEvaluation([ahead, behind])).toBe(0);
    expect(commonEvaluation([ahead, ahead])).toBe(20);
    expect(commonEvaluation([ahead, column({})])).toBeUndefined();
  });
});

describe('the code listing', () => {
  test('has the chosen sizes, a try only if errors are swallowed, and one line per path', () => {
    const code = storyCode(DEFAULTS.replay);
    const text = code.map((line) => line.text).join('\n');
    expect(text).toContain('sizes (4, 31, V), strides (32·V, V, 1)');
    expect(text).toContain('except RuntimeError');
    expect(code.filter((line) => line.path).map((line) => line.path)).toEqual(['view', 'reshape']);
    const other = storyCode({
      batch: '1',
      context: '2',
      where: 'training',
      errors: 'raised',
      clamp: 'on',
    });
    expect(other.map((line) => line.text).join('\n')).toContain(
      'sizes (1, 1, V), strides (2·V, V, 1)',
    );
    expect(other.some((line) => line.text.includes('try'))).toBe(false);
    expect(new Set(other.map((line) => line.text)).size).toBe(other.length);
  });

  test('view raises exactly when B > 1 and T − 1 > 1', () => {
    expect(viewOutcome(4, 32)).toBe('refused');
    expect(viewOutcome(1, 32)).toBe('contiguous');
    expect(viewOutcome(4, 2)).toBe('strided');
    expect(viewOutcome(1, 2)).toBe('contiguous');
  });

  test('an addressing line uses an offset or a stride; a comment about one does not count', () => {
    expect(isAddressing('let z0 = params.student_offset + b * params.student_b;')).toBe(true);
    expect(isAddressing('// student_offset is added')).toBe(false);
    expect(isAddressing('let student_best = 1;')).toBe(false);
  });
});

describe('the four logs', () => {
  test('never have the order in which they ran, and a seed fixes their order', () => {
    for (const seed of choicesOf('causes', 'seed')) {
      const order = orderOf(Number(seed));
      expect(order).not.toEqual(COLUMNS.causes);
      expect([...order].sort()).toEqual([...COLUMNS.causes].sort());
      expect(orderOf(Number(seed))).toEqual(order);
    }
    expect(
      new Set(choicesOf('causes', 'seed').map((seed) => orderOf(Number(seed)).join())).size,
    ).toBeGreaterThan(12);
  });

  test('are grouped when they print the same lines', () => {
    const flat = column({ attempts: [attempt(1)], evaluations: [evaluation(1)] });
    const falling = column({ attempts: [attempt(2)], evaluations: [evaluation(1)] });
    expect(identicalLogs([flat, falling, flat, flat])).toEqual([['A', 'C', 'D']]);
    expect(identicalLogs([flat, falling])).toEqual([]);
  });

  test('have evidence with the reported numbers', () => {
    const values = { applied: false, lossScale: 2 ** 20, gradNorm: Number.POSITIVE_INFINITY };
    const skipped = column({ attempts: [attempt(1, { record: stepRecord(1, values) })] });
    expect(CAUSES.skipped.evidence(skipped)).toBe(
      '1 of 1 step skipped. The loss scale stays at 1,048,576; the gradient norm is Infinity.',
    );
    const detached = column({
      attempts: [attempt(1, { record: stepRecord(1, { gradNorm: 0 }) })],
      evaluations: [evaluation(1)],
    });
    expect(CAUSES.detached.evidence(detached)).toContain('The gradient norm is 0');
    expect(CAUSES['half-weights'].evidence(detached)).toContain('weights changed by 0%');
    expect(CAUSES.view.evidence(column({ evaluations: [evaluation(0, true)] }))).toContain(
      '0 of 4 evaluation batches succeeded',
    );
  });
});

describe('scrambled heads', () => {
  const [T, H, D] = [8, 2, 3];

  test('row r of head h holds the slice that Layout finds at its address', () => {
    const reshaped = Layout.contiguous([T, H * D]).reshape([H, T, D]);
    expect(reshaped.copied).toBe(false);
    for (let head = 0; head < H; head++) {
      for (let row = 0; row < T; row++) {
        const address = reshaped.layout.at(head, row, 0);
        expect(rowContent(head, row, T, H)).toEqual({
          token: Math.floor(address / (H * D)),
          slice: (address % (H * D)) / D,
        });
      }
    }
  });

  test('weights by token stay in the head’s block, and each query’s weights sum to 1', () => {
    const causal = Array.from({ length: T * T }, (_, at) =>
      at % T <= Math.floor(at / T) ? 1 / (Math.floor(at / T) + 1) : 0,
    );
    const moved = weightsByToken(causal, 1, T, H);
    for (let query = 0; query < T; query++) {
      const row = moved.slice(query * T, (query + 1) * T);
      const inBlock = query >= T / H;
      expect(row.reduce((a, b) => a + b)).toBeCloseTo(inBlock ? 1 : 0);
      expect(row.every((weight, key) => weight === 0 || (key >= T / H && key <= query))).toBe(true);
    }
    expect(strongestKeys(moved, 0, T, 3)).toEqual([]);
    expect(strongestKeys(moved, T / H, T, 3)).toEqual([T / H]);
  });

  test('weights 0.5 on itself and 0.5 on the token before look half a token back', () => {
    expect(meanLookBack([1, 0, 0.5, 0.5], 2)).toBeCloseTo(0.25);
  });
});
