// Makes each kernel wrong by 1% in turn and lists which tests notice. Fails if no test notices a
// mutation, or a kernel has none.
//
//   node tests/mutate.mjs [--first] [FILTER…]
//
// FILTER is part of a kernel's file name; all kernels by default. --first runs only the first of a
// mutation's test files.
//
// Needs VK_ICD_FILENAMES to name a Vulkan driver: the VK_ICD_LAVAPIPE of tests/run.mjs, or its
// VK_ICD_SWIFTSHADER for matmul_quads. Takes about 10 s for each mutation and test file, so it is
// not part of `npm test`. Works in a copy and never touches the checkout.

import { spawn } from 'node:child_process';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LAYERS = ['kernels-layers', 'gradients'];
const MATMUL = ['kernels-matmul', 'gradients'];
const NORMS = ['kernels-layers', 'layout-matrix', 'gradients'];
const LOSSES = ['layout-matrix', 'golden-losses', 'traps'];
const TOPK = ['topk'];
const ALIGNED = ['aligned', 'check'];
const SAMPLE = ['sample'];
const DIAGNOSIS = ['check', 'evaluate'];
const OPTIMISER = ['kernels-optimiser', 'golden-run'];
const NEXT = ['next-token', 'check'];
const LLAMA = ['golden-llama', 'check'];
const PACKED = ['golden-packed', 'check'];

/**
 * Kernel, text to find, text to put in its place, and the files of tests/gpu that should notice.
 */
const MUTATIONS = [
  ['adamw', 'mean[i] = m;', 'mean[i] = 1.01 * m;', OPTIMISER],
  ['adamw', 'square[i] = v;', 'square[i] = 1.01 * v;', OPTIMISER],
  ['adamw', 'step.learning_rate * update;', '1.01 * step.learning_rate * update;', OPTIMISER],
  ['adamw', 'scalar(w);', 'scalar(1.01 * w);', OPTIMISER],
  ['aligned_gradient', 'soft * kd', '1.01 * soft * kd', ALIGNED],
  ['aligned_gradient', '(1.0 - step.alpha), counts', '1.01 * (1.0 - step.alpha), counts', ALIGNED],
  ['aligned_gradient', 'kd = S *', 'kd = 1.01 * S *', ALIGNED],
  [
    'compare_matched',
    'params.beta * p * log(p / m)',
    '1.01 * params.beta * p * log(p / m)',
    ALIGNED,
  ],
  ['compare_matched', '(1.0 - params.beta) * log(q / m)', '1.01 * log(q / m)', ALIGNED],
  ['compare_ranks', 'params.weight * abs(a - b)', '1.01 * params.weight * abs(a - b)', ALIGNED],
  ['compare_ranks', 'params.weight * sign(a - b)', '1.01 * params.weight * sign(a - b)', ALIGNED],
  ['gather_rows', 'row_type(source[', 'row_type(1.01) * row_type(source[', ALIGNED],
  ['groups', 'span.y == row;', 'span.x == row;', ALIGNED],
  ['groups', 'c.x *= max(', 'c.x *= 1.01 * max(', ALIGNED],
  ['groups', 'c.y *= max(', 'c.y *= 1.01 * max(', ALIGNED],
  ['log_likelihood', '- log(sum)', '- 1.01 * log(sum)', ALIGNED],
  ['probability_key', 'max(p, 0.0)', 'max(1.01 * p, 0.0)', ALIGNED],
  ['probability_key', 'bitcast<f32>(ONE - key)', '1.01 * bitcast<f32>(ONE - key)', ALIGNED],
  ['rank', '(key >> shift)', '(key >> (shift + 1u))', ALIGNED],
  ['attention', '(sum0[i] / softmax0.total)', '(1.01 * sum0[i] / softmax0.total)', LAYERS],
  ['attention', 'lse[at + t0] =', 'lse[at + t0] = 0.01 +', LAYERS],
  ['attention', '(sum1[i] / softmax1.total)', '(1.01 * sum1[i] / softmax1.total)', LAYERS],
  ['attention', 'lse[at + t1] =', 'lse[at + t1] = 0.01 +', LAYERS],
  ['attention_backward_key', '<scalar>(dk0[i])', '<scalar>(1.01 * dk0[i])', LAYERS],
  ['attention_backward_key', '<scalar>(dv0[i])', '<scalar>(1.01 * dv0[i])', LAYERS],
  ['attention_backward_key', '<scalar>(dk1[i])', '<scalar>(1.01 * dk1[i])', LAYERS],
  ['attention_backward_key', '<scalar>(dv1[i])', '<scalar>(1.01 * dv1[i])', LAYERS],
  ['attention_backward_query', '(dq0[i] * params.scale)', '(1.01 * dq0[i] * params.scale)', LAYERS],
  ['attention_backward_query', '= delta0;', '= 1.01 * delta0;', LAYERS],
  ['attention_backward_query', '(dq1[i] * params.scale)', '(1.01 * dq1[i] * params.scale)', LAYERS],
  ['attention_backward_query', '= delta1;', '= 1.01 * delta1;', LAYERS],
  [
    'software/attention_quads',
    'quadBroadcast(loaded, 3)',
    '1.01 * quadBroadcast(loaded, 3)',
    LAYERS,
  ],
  ['attention_slices', '+ shares[at + 3]', '+ 1.01 * shares[at + 3]', ['kernels-layers', 'check']],
  ['attention_next', '(value / total)', '(1.01 * value / total)', NEXT],
  ['attention_next', 'min(own + 1, params.window)', 'min(own + 1, params.window + 1)', NEXT],
  ['attention_next', 'kept[at + to_value + i] =', 'kept[at + to_value + i] = 1.01 *', NEXT],
  ['attention', 't + 1 - min(t + 1, params.window)', 't - min(t, params.window)', LLAMA],
  ['attention', 'min(t, params.T - 1)].x', 'min(t + 1, params.T - 1)].x', PACKED],
  [
    'attention_backward_key',
    'min(end, j + params.window)',
    'min(end, j + params.window + 1)',
    LLAMA,
  ],
  ['attention_backward_key', 'min(j, params.T - 1)].y', 'min(j, params.T - 1)].y + 1', PACKED],
  ['attention_backward_key', 'member < GROUP', 'member < max(GROUP - 1, 1)', LLAMA],
  [
    'attention_backward_query',
    't + 1 - min(t + 1, params.window)',
    't - min(t, params.window)',
    LLAMA,
  ],
  ['attention_backward_query', 'min(t, params.T - 1)].x', 'min(t + 1, params.T - 1)].x', PACKED],
  ['ce', 'select(0.0, ce, counts)', 'select(0.0, 1.01 * ce, counts)', LOSSES],
  ['ce', 'student[at] = weight *', 'student[at] = 1.01 * weight *', LOSSES],
  ['cross_entropy', 'return smoothed +', 'return 1.01 * smoothed +', LOSSES],
  ['cross_entropy', 'return (1.0 + 2.0', 'return 1.01 * (1.0 + 2.0', LOSSES],
  ['column_sum', 'sums[n] += total;', 'sums[n] += 1.01 * total;', LAYERS],
  ['columns', '+= column_parts[slot + half', '+= 1.01 * column_parts[slot + half', ['check']],
  ['compare', 'counts && best.z_token == t', 'counts && best.z_token != t', ['kernels-losses']],
  ['compare', 'counts && best.y_token == t', 'counts && best.y_token != t', ['kernels-losses']],
  [
    'compare',
    'terms.x = -log_q;',
    'terms.x = -1.01 * log_q;',
    ['layout-matrix', 'kernels-losses', 'evaluate'],
  ],
  [
    'compare',
    'terms.y = -log_p;',
    'terms.y = -1.01 * log_p;',
    ['layout-matrix', 'kernels-losses', 'evaluate'],
  ],
  [
    'compare',
    'p * (log_p - log_q)',
    '1.01 * p * (log_p - log_q)',
    ['layout-matrix', 'kernels-losses', 'evaluate'],
  ],
  ['diagnose', 'weight * entropy(plain.zw)', '1.01 * weight * entropy(plain.zw)', DIAGNOSIS],
  ['diagnose', 'weight * entropy(plain.xy)', '1.01 * weight * entropy(plain.xy)', DIAGNOSIS],
  ['diagnose', 'weight * entropy(soft.xy)', '1.01 * weight * entropy(soft.xy)', DIAGNOSIS],
  ['diagnose', 'ranked * in_both', '1.01 * ranked * in_both', DIAGNOSIS],
  ['diagnose', 'ranked * mass', '1.01 * ranked * mass', DIAGNOSIS],
  ['diagnose', '1.0 / plain.x', '1.01 / plain.x', DIAGNOSIS],
  ['best', 'other.z > best.z', 'other.z > best.z + 0.01', DIAGNOSIS],
  ['update_ratio', 'moved * moved', '1.01 * moved * moved', ['check', 'golden-run']],
  [
    'copy',
    'destination_type(source[from_index])',
    'destination_type(1.01 * f32(source[from_index]))',
    ['kernels-losses', 'layout-matrix'],
  ],
  ['distil', 'vec2f(ce, d)', 'vec2f(1.01 * ce, d)', LOSSES],
  ['distil', 'vec2f(ce, d)', 'vec2f(ce, 1.01 * d)', LOSSES],
  ['distil', 'student[at] = soft *', 'student[at] = 1.01 * soft *', LOSSES],
  ['distil', '+ hard * dce', '+ 1.01 * hard * dce', LOSSES],
  ['distil_topk', 'best.x == -f32(t)', 'best.x != -f32(t)', TOPK],
  ['distil_topk', 'best.y == -f32(t)', 'best.y != -f32(t)', TOPK],
  ['distil_topk', 'select(0.0, cross_entropy(', 'select(0.0, 1.01 * cross_entropy(', TOPK],
  ['distil_topk', 'exp(log_p_tail) *', '1.01 * exp(log_p_tail) *', TOPK],
  ['distil_topk', 'exp(log_p) * (log_p - (z', '1.01 * exp(log_p) * (log_p - (z', TOPK],
  ['distil_topk', 'student[at] = soft *', 'student[at] = 1.01 * soft *', TOPK],
  ['sample', 'rolls[row] * total;', '0.99 * rolls[row] * total;', SAMPLE],
  ['sample', 'find_next(row, lane, y, v);', 'find_next(row, lane, y, v + 1u);', SAMPLE],
  ['embedding', 'let token_embedding = f32(', 'let token_embedding = 1.01 * f32(', LAYERS],
  ['embedding', '+ position_', '+ 1.01 * position_', LAYERS],
  ['embedding_backward', '+= sum;', '+= 1.01 * sum;', LAYERS],
  ['expand', 'logits[i] = select(', 'logits[i] = 1.01 * select(', TOPK],
  ['fkl', 'return exp(log_p) *', 'return 1.01 * exp(log_p) *', LOSSES],
  ['fkl', 'return exp(log_q) -', 'return 1.01 * exp(log_q) -', LOSSES],
  ['gelu', 'return 0.5 * x', 'return 1.01 * 0.5 * x', LAYERS],
  ['gelu', 'return 0.5 * (1.0', 'return 1.01 * 0.5 * (1.0', LAYERS],
  ['expert_combine', 'value *= weights[j];', 'value *= 1.01 * weights[j];', LLAMA],
  ['expert_combine', 'sum += f32(addend', 'sum += 1.01 * f32(addend', LLAMA],
  ['expert_combine_backward', 'scalar(weight *', 'scalar(1.01 * weight *', LLAMA],
  ['expert_combine_backward', 'dweights[choice] = sum', 'dweights[choice] = 1.01 * sum', LLAMA],
  ['expert_gather', 'y[i] = x[', 'y[i] = 1.01 * x[', LLAMA],
  ['expert_order', 'chosen[i] < expert', 'chosen[i] <= expert', LLAMA],
  ['expert_use', 'value * log(value)', '1.01 * value * log(value)', LLAMA],
  ['expert_use', 'next % params.T != 0', 'true', LLAMA],
  ['gradient_norm', 'vec2f(g * g,', 'vec2f(1.01 * g * g,', OPTIMISER],
  ['head_norm', 'y[first + i] = scalar(', 'y[first + i] = scalar(1.01 * ', LLAMA],
  ['head_norm', 'y[first + j] = scalar(', 'y[first + j] = scalar(1.01 * ', LLAMA],
  ['head_norm', '{ y[first + d] = x[', '{ y[first + d] = 1.01 * x[', LLAMA],
  ['head_norm', '= scale; }', '= 1.01 * scale; }', LLAMA],
  ['head_norm_backward', 'scalar(dx.x)', 'scalar(1.01 * dx.x)', LLAMA],
  ['head_norm_backward', 'scalar(dx.y)', 'scalar(1.01 * dx.y)', LLAMA],
  ['head_units', 'Unit(start + index', 'Unit(start + 1u + index', LLAMA],
  ['head_norm_backward_gain', '+= total;', '+= 1.01 * total;', LLAMA],
  ['jsd', 'return -beta * exp(log_p)', 'return -1.01 * beta * exp(log_p)', LOSSES],
  [
    'jsd',
    '- (1.0 - beta) * exp(log_q) * log_m_q',
    '- 1.01 * (1.0 - beta) * exp(log_q) * log_m_q',
    LOSSES,
  ],
  ['jsd', 'return -(1.0 - beta) * softplus(', 'return -1.01 * (1.0 - beta) * softplus(', LOSSES],
  ['jsd', '* (h - mean);', '* 1.01 * (h - mean);', LOSSES],
  ['layernorm', 'scalar(norm *', 'scalar(1.01 * norm *', NORMS],
  ['layernorm', 'vec2f(mean, rstd)', 'vec2f(1.01 * mean, rstd)', NORMS],
  ['layernorm', 'vec2f(mean, rstd)', 'vec2f(mean, 1.01 * rstd)', NORMS],
  ['layernorm_backward', 'var value = rstd *', 'var value = 1.01 * rstd *', NORMS],
  ['layernorm_backward', '{ value += f32(', '{ value += 1.01 * f32(', LAYERS],
  ['layernorm_backward_parameters', '+= totals.x;', '+= 1.01 * totals.x;', NORMS],
  ['layernorm_backward_parameters', '+= totals.y;', '+= 1.01 * totals.y;', NORMS],
  ['loss_scaler', 'scaler.norm = norm;', 'scaler.norm = 1.01 * norm;', OPTIMISER],
  ['loss_scaler', 'scaler.factor = clip', 'scaler.factor = 1.01 * clip', OPTIMISER],
  ['logits', 'return offset +', 'return 1u + offset +', LOSSES],
  ['matmul', 'var c_$r_$j = 0.0;', 'var c_$r_$j = 0.01;', MATMUL],
  [
    'software/matmul_quads',
    'let x = quadBroadcast(a4_$h_$i[',
    'let x = 1.01 * quadBroadcast(a4_$h_$i[',
    ['kernels-matmul'],
  ],
  [
    'software/matmul_quads',
    'let x = quadBroadcast(a4_$h_$u[',
    'let x = 1.01 * quadBroadcast(a4_$h_$u[',
    ['kernels-matmul'],
  ],
  ['matmul_store', 'part.row = first +', 'part.row = 1 + first +', LLAMA],
  ['matmul_store', 'part.b_offset += first', 'part.b_offset += 1 + first', LLAMA],
  ['matmul_store', 'var value = sums;', 'var value = 1.01 * sums;', MATMUL],
  ['matmul_store', 'value *= params.scale;', 'value *= 1.01 * params.scale;', ['check']],
  ['matmul_store', 'value += vec4f(f32(bias[', 'value += 1.01 * vec4f(f32(bias[', MATMUL],
  ['matmul_store', 'f32(addend[dense.x])', '1.01 * f32(addend[dense.x])', MATMUL],
  ['matmul_store', 'value += vec4f(f32(c[', 'value += 1.01 * vec4f(f32(c[', MATMUL],
  [
    'software/matmul_subgroup',
    'subgroupBroadcast(a_value_$i, $l);',
    '1.01 * subgroupBroadcast(a_value_$i, $l);',
    MATMUL,
  ],
  ['matmul_tile', 'let x = a_strip[', 'let x = 1.01 * a_strip[', MATMUL],
  ['rms_norm', 'y[first + c] = scalar(', 'y[first + c] = scalar(1.01 * ', LLAMA],
  ['rms_norm', 'rrms[row] = scale', 'rrms[row] = 1.01 * scale', LLAMA],
  ['rms_norm_backward', 'var value = scale *', 'var value = 1.01 * scale *', LLAMA],
  ['rms_norm_backward', 'value += f32(addend', 'value += 1.01 * f32(addend', LLAMA],
  ['rms_norm_backward_gain', '+= total;', '+= 1.01 * total;', LLAMA],
  ['route', '= params.scale * (', '= 1.01 * params.scale * (', ['check']],
  ['route_backward', 'dlogits[e] += slope', 'dlogits[e] += 1.01 * slope', LLAMA],
  ['route_backward', '= -p[first + e]', '= -1.01 * p[first + e]', LLAMA],
  ['expert_loads', 'starts[e + 1]', 'starts[e + 1] + 1u', LLAMA],
  ['router_bias', 'params.rate *', '1.01 * params.rate *', LLAMA],
  ['router_bias', 'scalar(bias[e])', 'scalar(1.01 * bias[e])', ['check']],
  ['router_losses', 'f32(E) * balance', '1.01 * f32(E) * balance', LLAMA],
  ['router_losses', '[2 * E] / params.M', '[2 * E] / (1.01 * params.M)', LLAMA],
  ['router_losses_backward', 'step.router_balance *', '1.01 * step.router_balance *', LLAMA],
  ['router_losses_backward', 'step.router_z *', '1.01 * step.router_z *', LLAMA],
  ['router_losses_backward', 'kd * (p -', '1.01 * kd * (p -', ['check']],
  ['router_terms', 'exp(log_t) * (log_t', '1.01 * exp(log_t) * (log_t', ['check']],
  ['router_softmax', '/ row.total', '/ (1.01 * row.total)', LLAMA],
  ['router_terms', '= 1.0; }', '= 1.01; }', LLAMA],
  ['router_terms', '= lse * lse;', '= 1.01 * lse * lse;', LLAMA],
  ['rotary', 'pair.x * turn.x', '1.01 * pair.x * turn.x', LLAMA],
  ['rotary', 'pair.x * sine', '1.01 * pair.x * sine', LLAMA],
  ['rkl', 'return exp(log_q) * (log_q -', 'return 1.01 * exp(log_q) * (log_q -', LOSSES],
  ['rkl', 'return log_q -', 'return 1.01 * log_q -', LOSSES],
  ['rkl', '* (h - mean);', '* 1.01 * (h - mean);', LOSSES],
  [
    'rows',
    '+= partial[slot + half];',
    '+= 1.01 * partial[slot + half];',
    ['kernels-losses', ...NORMS],
  ],
  ['sfkl', 'return -exp(log_p) *', 'return -1.01 * exp(log_p) *', LOSSES],
  ['sfkl', 'return -exp(-softplus', 'return -1.01 * exp(-softplus', LOSSES],
  ['sfkl', '* (h - mean);', '* 1.01 * (h - mean);', LOSSES],
  ['silu', 'return 1.0 /', 'return 1.01 /', LLAMA],
  ['srkl', 'return -exp(log_q) *', 'return -1.01 * exp(log_q) *', LOSSES],
  ['srkl', 'return -select(', 'return -1.01 * select(', LOSSES],
  ['srkl', '* (h - mean);', '* 1.01 * (h - mean);', LOSSES],
  ['int8', 'scalar(scale *', 'scalar(1.01 * scale *', ['check']],
  ['swiglu', 'y[i] = scalar(', 'y[i] = scalar(1.01 * ', LLAMA],
  ['swiglu_backward', 'dx[at] = scalar(', 'dx[at] = scalar(1.01 * ', LLAMA],
  ['swiglu_backward', 'scalar(d * gate * s)', 'scalar(1.01 * d * gate * s)', LLAMA],
  ['topk', 'tail = log(total);', 'tail = 1.01 * log(total);', TOPK],
  [
    'topk',
    'return at_least(logit(v) - largest,',
    'return at_least(1.01 * (logit(v) - largest),',
    TOPK,
  ],
  ['topk', 'if (y_key > threshold ||', 'if (y_key >= threshold ||', TOPK],
  ['tvd', 'return 0.5 * abs(', 'return 1.01 * 0.5 * abs(', LOSSES],
  ['tvd', 'return 0.5 * sign(', 'return 1.01 * 0.5 * sign(', LOSSES],
  ['tvd', '* (h - mean);', '* 1.01 * (h - mean);', LOSSES],
].map(([kernel, find, replace, tests]) => ({ kernel, find, replace, tests }));

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
const first = args.includes('--first');
const filters = args.filter((arg) => arg !== '--first');

// Files without a function only declare structs.
const kernels = readdirSync(join(root, 'src/kernels'), { recursive: true })
  .filter((path) => path.endsWith('.wgsl'))
  .map((path) => path.slice(0, -'.wgsl'.length))
  .filter((kernel) => /\bfn /.test(textOf(root, kernel)));
const problems = [
  ...kernels
    .filter((name) => !MUTATIONS.some(({ kernel }) => kernel === name))
    .map((name) => `${name}.wgsl has no mutation. Add a row for its output or gradient.`),
  ...MUTATIONS.flatMap(({ kernel, find }) => {
    const count = kernels.includes(kernel) ? textOf(root, kernel).split(find).length - 1 : 0;
    return count === 1
      ? []
      : [`${kernel}.wgsl holds "${find}" ${count} times, not once. Correct its row.`];
  }),
  ...(process.env.VK_ICD_FILENAMES
    ? []
    : ['VK_ICD_FILENAMES names no Vulkan driver. tests/browser/setup.sh prints one.']),
];
if (problems.length > 0) {
  for (const problem of problems) console.error(`mutate: ${problem}`);
  process.exit(2);
}

const copy = mkdtempSync(join(tmpdir(), 'stillhouse-mutate-'));
let running;
process.on('exit', () => rmSync(copy, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    running?.kill(signal);
    process.exit(130);
  });
}
for (const name of ['src', 'tests', 'package.json', 'tsconfig.json', 'vite.config.ts'])
  cpSync(join(root, name), join(copy, name), { recursive: true });
for (const name of ['node_modules', 'public']) symlinkSync(join(root, name), join(copy, name));

const chosen = MUTATIONS.filter(
  ({ kernel }) => filters.length === 0 || filters.some((filter) => kernel.includes(filter)),
);
const files = [...new Set(chosen.flatMap(({ tests }) => (first ? tests.slice(0, 1) : tests)))];
// A test that fails without a mutation would notice everything.
for (const file of files) {
  const { passed, output } = await runTests(file);
  if (passed) continue;
  console.error(`mutate: ${file} fails without a mutation. Mend it first.\n${output}`);
  process.exit(2);
}

let unnoticed = 0;
for (const { kernel, find, replace, tests } of chosen) {
  const text = textOf(copy, kernel);
  const path = join(copy, 'src/kernels', `${kernel}.wgsl`);
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
  const noticed = [];
  for (const file of first ? tests.slice(0, 1) : tests) {
    const { passed, output } = await runTests(file);
    // A kernel that does not compile proves nothing about its numbers.
    if (/does not compile/.test(output) && !/AssertionError/.test(output)) {
      console.error(
        `mutate: ${kernel}.wgsl with "${replace}" does not compile. Correct its row.\n${output}`,
      );
      process.exit(2);
    }
    if (!passed) noticed.push(file);
  }
  writeFileSync(path, text);
  if (noticed.length === 0) unnoticed++;
  console.log(`${kernel.padEnd(26)}${replace.padEnd(60)} ${noticed.join(', ') || 'NOBODY'}`);
}
console.log(`${chosen.length} mutations, ${unnoticed} unnoticed`);
process.exitCode = unnoticed > 0 || chosen.length === 0 ? 1 : 0;

function textOf(folder, kernel) {
  return readFileSync(join(folder, 'src/kernels', `${kernel}.wgsl`), 'utf8');
}

/** Runs one file of tests/gpu in the copy, up to its first failure. */
function runTests(file) {
  return new Promise((resolve) => {
    let output = '';
    const command = ['run', '--project', 'gpu', '--bail', '1', `tests/gpu/${file}.test.ts`];
    running = spawn(join(copy, 'node_modules/.bin/vitest'), command, { cwd: copy });
    for (const stream of [running.stdout, running.stderr])
      stream.on('data', (data) => (output += data));
    running.on('error', (error) =>
      resolve({ passed: false, output: `${error.message}. Run npm ci first.` }),
    );
    running.on('close', (code) => resolve({ passed: code === 0, output }));
  });
}
