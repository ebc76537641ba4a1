// What a link can be: of a run, the Stride Lab, the Bug Lab and a lesson.

import fc from 'fast-check';
import { parseState as parseBug } from '../../src/app/bug/settings';
import type { Lesson } from '../../src/app/lessons/scene';
import { parseState as parseLesson } from '../../src/app/lessons/state';
import { parseChain } from '../../src/app/strides/chain-text';
import { checkConfig, DEFAULTS } from '../../src/config';
import { formatLink, parseLink } from '../../src/link';
import { formatGhost, parseGhost } from '../../src/runs/ghost';
import { textLike } from './mutate';
import { type Attack, known, Misread, Told, told } from './run';

const ghost = {
  name: 'calm-otter',
  adapter: 'lavapipe',
  own: false,
  changed: false,
  targets: 1024,
  curve: [1, 2, 3].map((step) => ({
    step,
    loss: 4 / step,
    ce: 5 / step,
    kd: 1 / step,
    seconds: step,
  })),
  evaluations: [{ step: 3, studentPerplexity: 30, kl: 0.5, agreement: 0.5 }],
};
const config = { ...DEFAULTS, alpha: 0.25, prompt: 'The sea', train_steps: 40 };
const link = `${formatLink(config)}&ghost=${formatGhost(ghost, config)}`;

const routers = {
  ...config,
  student_experts: 4,
  experts_per_token: 2,
  router_balance: 0.01,
  router_z: 0.001,
};
const rounded = {
  ...config,
  student_model: 'org/student',
  lora_rank: 8,
  base_weights: 'int8',
  teacher_dtype: 'q4',
} as const;
const LINKS_OF_RUNS = [link, formatLink(routers), formatLink(rounded)];
const links = known({
  name: 'link of a run',
  inputs: fc.oneof(
    ...LINKS_OF_RUNS.map((valid) =>
      textLike(valid, [
        '&',
        '=',
        'v=1',
        '&v=2',
        'alpha',
        '&prompt=',
        '1e9',
        '-',
        '&twin=loss%3Dce',
        '&student_experts=',
        '&router_kd=',
      ]),
    ),
  ),
  read(text) {
    const answer = parseLink(text);
    if ('problems' in answer) throw new Told(answer.problems.join(' '));
    if (checkConfig(answer.config).length > 0) throw new Misread('settings that are not valid');
    const again = parseLink(formatLink(answer.config));
    if (JSON.stringify(again) !== JSON.stringify({ config: answer.config }))
      throw new Misread('another link than was read');
    if (answer.ghost !== undefined) told(parseGhost(answer.ghost, answer.config));
  },
  errors: [],
  says: /\w/,
});

const chains = known({
  name: 'link of the Stride Lab',
  inputs: textLike('2,4,6:transpose(0,1):slice(1,0,1):reshape(-1,6)', [
    ',',
    ':',
    '(',
    ')',
    'view',
    '-1',
    '99',
  ]),
  read: (text) => told(parseChain(text)),
  errors: [],
  says: /\w/,
});

const experiments = known({
  name: 'link of the Bug Lab',
  inputs: textLike('replay,batch=1,errors=raised', [
    ',',
    '=',
    'causes',
    'heads',
    'seed=7',
    'clamp=off',
  ]),
  read: (text) => told(parseBug(text)),
  errors: [],
  says: /\w/,
});

const LESSONS = ['temperature', 'alpha'].map((id) => ({
  id,
  control: { values: [1, 2, 4], symbol: 'T' },
})) as unknown as Lesson[];
const lessons = known({
  name: 'link of a lesson',
  inputs: textLike('temperature:4', [':', 'alpha', '2', '-', '1e0']),
  read: (text) => told(parseLesson(text, LESSONS)),
  errors: [],
  says: /\w/,
});

export const LINKS: readonly Attack[] = [links, chains, experiments, lessons];
