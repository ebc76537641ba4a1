// The lessons on distillation, one row each: a question about recorded distributions, and a scene
// that answers it, computed from them. No figure is written down here: recorded.json has what
// `npm run record:lessons` measured, and everything else follows from it. The last one trains a
// router instead (sharing.ts). Pure.

import { type LessonFile, type Place, type Table, unpack } from '../../distributions';
import { formatCount, formatMeasure } from '../shared/format';
import {
  bestOfBoth,
  bestOfMix,
  divergence,
  entropy,
  lossOf,
  sharesOf,
  sizeOf,
  softened,
  totalVariation,
} from './maths';
import { type BarPanel, type Lesson, percent, readable, type Scene, type Series } from './scene';
import { sharing } from './sharing';

/** Tokens in a picture. */
const SHOWN = 8;
const TENTHS = Array.from({ length: 11 }, (_, i) => i / 10);

const TEACHER: Series = { name: 'teacher', tone: 'teacher' };

/** A column of a bar panel: a distribution (V) in the order of the table's tokens. */
type Column = Series & { p: Float64Array };

/** The tokens that are likeliest by `by`, the one that follows in the text, and a row of others. */
function bars(
  { tokens }: Table,
  place: Place | undefined,
  title: string,
  columns: readonly Column[],
  by: readonly Float64Array[] = [columns[0].p],
): BarPanel {
  const height = (v: number) => Math.max(...by.map((p) => p[v]));
  const order = [...tokens.keys()].sort((a, b) => height(b) - height(a)).slice(0, SHOWN);
  if (place && !order.includes(place.next)) order[SHOWN - 1] = place.next;
  const rest = columns.map(({ p }) =>
    p.reduce((sum, share, v) => (order.includes(v) ? sum : sum + share), 0),
  );
  const others = columns[0].p.length - order.length;
  return {
    kind: 'bars',
    title,
    context: place && { text: place.text, next: readable(tokens[place.next]) },
    series: columns.map(({ name, tone }) => ({ name, tone })),
    rows: [
      ...order.map((v) => ({
        token: readable(tokens[v]),
        isNext: v === place?.next,
        values: columns.map(({ p }) => p[v]),
      })),
      { token: `${others.toLocaleString('en')} others`, values: rest },
    ],
  };
}

const nats = (value: number) => `${formatMeasure(value)} nats`;
const quoted = (table: Table, v: number) => `“${readable(table.tokens[v])}”`;
/** The index of the largest. */
const likeliest = (p: Float64Array) => p.indexOf(p.reduce((a, b) => Math.max(a, b)));
const oneHot = (V: number, v: number) => new Float64Array(V).fill(1, v, v + 1);

/** A row for each lesson, from what was recorded. */
export function makeLessons(file: LessonFile): Lesson[] {
  return [
    soft(file),
    temperature(file),
    square(file),
    alpha(file),
    capacity(file),
    direction(file),
    sharing(),
  ];
}

function soft({ tables: { open } }: LessonFile): Lesson {
  const [place] = open.places;
  const logP = unpack(open, place.logP.teacher);
  const p = softened(logP, 1);
  const next = quoted(open, place.next);
  const other = likeliest(p.map((share, v) => (v === place.next ? 0 : share)));
  const text: Column = { name: 'the text', tone: 'text', p: oneHot(p.length, place.next) };
  return {
    id: 'soft',
    title: 'What soft labels carry',
    setting:
      `The text goes on with ${next}. That is a hard label: one token. A soft label is the ` +
      'probability that the teacher gives to each token that could stand there.',
    question:
      'Hard labels are drawn from the teacher, one by one. How many does it take until their ' +
      'shares are within 5% of the soft label?',
    options: ['About 10', 'About 100', 'More than 1,000'],
    right: 2,
    control: { name: 'Hard labels', symbol: 'n', values: [1, 10, 100, 1000, 10_000], start: 100 },
    answer:
      `The hard label says ${next}. To cross-entropy every other token is equally wrong, also ` +
      `${quoted(open, other)}, to which the teacher gives ${percent(p[other])}. A soft label ` +
      'says all of that at once. Hard labels would need the same context thousands of times, and ' +
      'a text rarely repeats one.',
    scene(n) {
      if (n === undefined)
        return { panels: [bars(open, place, 'One hard label', [text], [p])], facts: [] };
      const shares = sharesOf(p, place.next, n);
      const labels = n === 1 ? 'one hard label' : `${n.toLocaleString('en')} hard labels`;
      const columns: Column[] = [
        { ...TEACHER, name: 'soft label', p },
        { name: labels, tone: 'text', p: shares },
      ];
      return {
        panels: [bars(open, place, `One soft label and ${labels}`, columns)],
        facts: [
          ['Apart, ½ Σ |p − share|', percent(totalVariation(p, shares))],
          ['Entropy of the soft label', nats(entropy(p))],
          ['As open as an even choice of', `${formatMeasure(Math.exp(entropy(p)))} tokens`],
        ],
      };
    },
  };
}

function temperature({ tables: { sure, open } }: LessonFile): Lesson {
  const sides = [
    { name: 'sure', table: sure, place: sure.places[0] },
    { name: 'open', table: open, place: open.places[0] },
  ].map((side) => ({ ...side, logP: unpack(side.table, side.place.logP.teacher) }));
  const [{ logP }] = sides;
  const p = softened(logP, 1);
  const top = likeliest(p);
  const second = likeliest(p.map((share, v) => (v === top ? 0 : share)));
  const word = quoted(sure, top);
  const ratio = (T: number) => `${formatMeasure((p[top] / p[second]) ** (1 / T))} to 1`;
  return {
    id: 'temperature',
    title: 'What T does',
    setting: 'The same teacher at two places: at one it is sure, at the other many words fit.',
    question: `At T = 1 the teacher gives ${word} ${percent(p[top])}. And at T = 4?`,
    options: ['More than that', 'About half', 'Less than a tenth'],
    right: 2,
    control: {
      name: 'Temperature',
      symbol: 'T',
      values: [0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16],
      start: 4,
    },
    answer:
      'p ∝ exp(y / T): T divides the logits y. The order of the tokens stays, and a ratio of r ' +
      'becomes r to the power 1/T. A little of it shows what the teacher holds second best. Too ' +
      'much of it drowns that in the many tokens that mean nothing.',
    scene(T = 1) {
      const soft = sides.map((side) => ({ ...side, p: softened(side.logP, T) }));
      return {
        panels: soft.map(({ name, table, place, p }) =>
          bars(
            table,
            place,
            `Where the teacher is ${name}, T = ${T}`,
            [{ ...TEACHER, p }],
            [softened(unpack(table, place.logP.teacher), 1)],
          ),
        ),
        facts: [
          [`${word} to ${quoted(sure, second)}`, ratio(T)],
          ...soft.map(({ name, p }): [string, string] => [`Entropy, ${name}`, nats(entropy(p))]),
          ['Highest possible', nats(Math.log(p.length))],
        ],
      };
    },
  };
}

function square({ tables, byWidth }: LessonFile): Lesson {
  const { width } = byWidth[byWidth.length - 1];
  const student = studentName(width);
  const places = Object.values(tables).flatMap((table) =>
    table.places.map(({ next, logP }) => ({
      next,
      teacher: unpack(table, logP.teacher),
      student: unpack(table, logP[student]),
    })),
  );
  const mean = (of: (place: (typeof places)[number]) => number) =>
    places.reduce((sum, place) => sum + of(place), 0) / places.length;
  const temperatures = [1, 1.5, 2, 3, 4, 6, 8, 12, 16];
  // Computed when the lesson is first opened: some dozens of passes over a vocabulary.
  let sizes: { kd: number[]; ce: number } | undefined;
  const measure = () =>
    (sizes ??= {
      kd: temperatures.map((T) =>
        mean((place) =>
          sizeOf(lossOf({ kind: 'fkl', temperature: T }, place.student, place.teacher).gradient),
        ),
      ),
      ce: mean(({ student, teacher, next }) =>
        sizeOf(lossOf({ kind: 'ce' }, student, teacher, next).gradient),
      ),
    });
  return {
    id: 'square',
    title: 'Why T² multiplies the loss',
    setting:
      `${places.length} places in held-out text, the teacher, and a student of width ${width}. ` +
      'The gradient of KL(p ‖ q) by the student’s logits, its size summed over the vocabulary.',
    question: 'T rises from 1 to 8. Without T² in the loss, how large is the gradient then?',
    options: ['As large as before', 'About an eighth of it', 'Less than a thirtieth of it'],
    right: 2,
    control: { name: 'Temperature', symbol: 'T', values: temperatures, start: 8 },
    answer:
      'The gradient of KL is (q − p) / T. One T comes from z / T. The other is in q − p: both ' +
      'distributions grow flat with T, and so approach each other. T² gives both back, but for a ' +
      'small factor. So α means about the same at every T, and a new T needs no new learning rate.',
    scene(T) {
      const { kd, ce } = measure();
      const at = T === undefined ? [1] : temperatures;
      const line = (
        name: string,
        tone: Series['tone'],
        value: (T: number, i: number) => number,
      ) => ({
        name,
        tone,
        values: at.map(value),
      });
      const i = temperatures.indexOf(T ?? 1);
      const without = kd[i] / temperatures[i] ** 2;
      if (T === undefined)
        return { panels: [], facts: [['Σ |gradient| at T = 1', formatMeasure(kd[0])]] };
      return {
        panels: [
          {
            kind: 'lines',
            title: 'Size of the gradient',
            unit: 'Σ |∂loss/∂z|, mean of the places',
            x: { name: 'T', scale: 'log', values: temperatures },
            scale: 'log',
            lines: [
              line('T² · KL', 'kd', (_, i) => kd[i]),
              line('KL', 'student', (T, i) => kd[i] / T ** 2),
              line('CE', 'text', () => ce),
            ],
            at: T,
          },
        ],
        facts: [
          [`T² · KL at T = ${T}`, formatMeasure(kd[i])],
          [`KL at T = ${T}`, formatMeasure(without)],
          ['Of its size at T = 1', `1/${formatMeasure(kd[0] / without)}`],
          ['CE, which has no T', formatMeasure(ce)],
        ],
      };
    },
  };
}

function alpha({ tables: { surprise }, byAlpha, teacherPerplexity }: LessonFile): Lesson {
  const [place] = surprise.places;
  const p = softened(unpack(surprise, place.logP.teacher), 1);
  const next = quoted(surprise, place.next);
  const best = byAlpha.reduce((a, b) => (b.perplexity < a.perplexity ? b : a));
  const [only, whole] = [byAlpha[0], byAlpha[byAlpha.length - 1]];
  return {
    id: 'alpha',
    title: 'Why α',
    setting: `The text goes on with ${next}, to which the teacher gives ${percent(p[place.next])}.`,
    question: `With α = 1, what does the best possible student give ${next}?`,
    options: [`${percent(p[place.next])}, as the teacher does`, 'More: the text has it', 'Nothing'],
    right: 0,
    control: { name: 'Weight of the teacher', symbol: 'α', values: TENTHS, start: 0.7 },
    answer:
      'At T = 1 the loss is least at q = α p + (1 − α) · label. With α = 1 the student copies ' +
      'the teacher and its mistakes: only the text can take it past its teacher. With α = 0 it ' +
      'takes each word of the text for the only one that could stand there. Measured after ' +
      `${best.steps} steps: perplexity ${formatMeasure(only.perplexity)} with the text alone, ` +
      `${formatMeasure(whole.perplexity)} with the teacher alone; the best of ${byAlpha.length} ` +
      `values is α = ${best.alpha}. The teacher itself has ${formatMeasure(teacherPerplexity)}.`,
    scene(a) {
      if (a === undefined)
        return { panels: [bars(surprise, place, 'The teacher', [{ ...TEACHER, p }])], facts: [] };
      const q = bestOfMix(p, place.next, a);
      const columns: Column[] = [
        { ...TEACHER, p },
        { name: 'best student', tone: 'student', p: q },
      ];
      return {
        panels: [
          bars(surprise, place, `The best student at α = ${a}`, columns),
          {
            kind: 'lines',
            title: 'Students, measured',
            unit: 'held-out perplexity',
            x: { name: 'α', scale: 'linear', values: byAlpha.map((one) => one.alpha) },
            scale: 'linear',
            lines: [
              {
                name: `${best.steps} steps`,
                tone: 'student',
                values: byAlpha.map((one) => one.perplexity),
              },
            ],
            at: a,
          },
        ],
        facts: [
          [`${next}, best student`, percent(q[place.next])],
          [`${next}, teacher`, percent(p[place.next])],
          ['KL(p ‖ q)', nats(divergence('fkl', q.map(Math.log), p.map(Math.log)))],
          ['CE', nats(-Math.log(q[place.next]))],
        ],
      };
    },
  };
}

const studentName = (width: number) => `width ${width}`;

function capacity({ tables: { hard }, byWidth, byContext }: LessonFile): Lesson {
  const [place] = hard.places;
  const p = softened(unpack(hard, place.logP.teacher), 1);
  const next = quoted(hard, place.next);
  const widths = [...new Set(byWidth.map(({ width }) => width))];
  const steps = [...new Set(byWidth.map((one) => one.steps))];
  const [narrow, wide] = [widths[0], widths[widths.length - 1]];
  const [few, many] = [steps[0], steps[steps.length - 1]];
  const reached = (width: number, count: number) =>
    byWidth.find((one) => one.width === width && one.steps === count)!;
  const fall = (width: number) =>
    `${formatMeasure(reached(width, few).kl)} to ${nats(reached(width, many).kl)}`;
  const [little, much] = [byContext[0], byContext[byContext.length - 1]];
  const gap = (part: typeof little) => part.kl[studentName(narrow)] - part.kl[studentName(wide)];
  return {
    id: 'capacity',
    title: 'What a student cannot learn',
    setting:
      `Students of ${widths.length} widths, ${narrow} to ${wide}, learn from one teacher for ` +
      `${many} steps. At some places the context tells the teacher little: any common word may ` +
      'follow. At others it tells it much.',
    question: 'Where is the narrowest student furthest behind the widest?',
    options: ['Where the context tells little', 'Where it tells much', 'Everywhere alike'],
    right: 1,
    control: { name: 'Width', symbol: 'width', values: widths, start: narrow },
    answer:
      `Where the context tells the teacher little, the narrow student is ${nats(gap(little))} ` +
      `behind the wide one; where it tells it much, ${nats(gap(much))}. Little room goes to what ` +
      'is true everywhere, such as which words are common. What depends on the text before is ' +
      `lost first. More steps help both: from ${few} to ${many} steps the KL falls from ` +
      `${fall(narrow)}, and for the wide one from ${fall(wide)}.`,
    scene(width) {
      const lines: Scene['panels'][number] = {
        kind: 'lines',
        title: `Distance from the teacher after ${many} steps`,
        unit: 'KL, nats a token',
        x: {
          name: 'what the context tells the teacher, nats',
          scale: 'linear',
          values: byContext.map(({ told }) => told),
        },
        scale: 'linear',
        lines: widths.map((one) => ({
          name: studentName(one),
          tone: one === width ? 'student' : 'text',
          values: byContext.map(({ kl }) => kl[studentName(one)]),
        })),
      };
      if (width === undefined)
        return { panels: [bars(hard, place, 'The teacher', [{ ...TEACHER, p }])], facts: [] };
      const q = softened(unpack(hard, place.logP[studentName(width)]), 1);
      const columns: Column[] = [
        { ...TEACHER, p },
        { name: studentName(width), tone: 'student', p: q },
      ];
      return {
        panels: [bars(hard, place, `A student of width ${width}, ${many} steps`, columns), lines],
        facts: [
          ['Parameters', formatCount(reached(width, many).parameters)],
          [`KL here, ${next}`, nats(divergence('fkl', q.map(Math.log), p.map(Math.log)))],
          ...byWidth
            .filter((one) => one.width === width)
            .map((one): [string, string] => [`KL, held-out, ${one.steps} steps`, nats(one.kl)]),
        ],
      };
    },
  };
}

function direction({ tables: { fork } }: LessonFile): Lesson {
  const [a, b] = fork.places;
  const [logA, logB] = [a, b].map((place) => unpack(fork, place.logP.teacher));
  const [pA, pB] = [logA, logB].map((logP) => softened(logP, 1));
  const [wordA, wordB] = [pA, pB].map((p) => quoted(fork, likeliest(p)));
  const teachers: Column[] = [
    { ...TEACHER, name: 'in A', p: pA },
    { name: 'in B', tone: 'text', p: pB },
  ];
  return {
    id: 'direction',
    title: 'Forward or reverse KL',
    setting:
      `Two contexts. A: “…${a.text}”, where the teacher says ${wordA}. B: “…${b.text}”, where it ` +
      `says ${wordB}. A student too small to tell them apart must say the same in both.`,
    question: 'Trained with forward KL, KL(p\u00a0‖\u00a0q), what does it say?',
    options: [`${wordA} or ${wordB}, half and half`, 'Only what fits both contexts', 'Always one'],
    right: 0,
    control: {
      name: 'How often the context is A',
      symbol: 'share of A',
      values: TENTHS.slice(1, -1),
      start: 0.5,
    },
    answer:
      'Forward KL punishes q for giving too little to what the teacher says, so q covers ' +
      `everything: it is the mean, and in context B it says ${wordA}. Reverse KL punishes q for ` +
      'what the teacher rules out, so q keeps to what both contexts allow: it is their geometric ' +
      'mean. Move the slider: forward KL follows in proportion, reverse KL turns over.',
    scene(w) {
      const panel = bars(fork, undefined, 'What the teacher says', teachers, [pA, pB]);
      if (w === undefined) return { panels: [panel], facts: [] };
      const kinds = [
        ['fkl', 'forward KL', 'kd'],
        ['rkl', 'reverse KL', 'student'],
      ] as const;
      const students = kinds.map(([kind, name, tone]) => {
        const logQ = bestOfBoth(kind, logA, logB, w);
        return { kind, name, tone, logQ, p: logQ.map(Math.exp) };
      });
      const loss = (kind: 'fkl' | 'rkl', logQ: Float64Array) =>
        w * divergence(kind, logQ, logA) + (1 - w) * divergence(kind, logQ, logB);
      return {
        panels: [
          panel,
          bars(fork, undefined, `The best student, share of A = ${w}`, students, [pA, pB]),
        ],
        facts: kinds.map(([kind, name]): [string, string] => [
          `${name[0].toUpperCase()}${name.slice(1)} of the two`,
          `${students.map(({ logQ }) => formatMeasure(loss(kind, logQ))).join(' and ')} nats`,
        ]),
      };
    },
  };
}
