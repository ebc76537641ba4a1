// The rules that no compiler checks: which room may import which, circles of imports, what only one
// file may name, unused exports, long files and lines, spread literals, and names in the two
// READMEs that no longer exist. Pure: file texts go in, problems come out as lines.

import { posix } from 'node:path';

/**
 * A room is a folder or a file directly in src/. Each room may import itself, packages, and the
 * rooms listed here.
 */
const ROOMS = {
  reference: [],
  quote: [],
  policy: [],
  divergences: [],
  distributions: [],
  config: ['divergences'],
  tensor: [],
  data: [],
  files: ['tensor'],
  gpu: ['tensor'],
  kernels: ['gpu', 'tensor', 'divergences'],
  model: ['kernels', 'gpu', 'tensor', 'files'],
  distill: ['model', 'kernels', 'gpu', 'tensor', 'files', 'data', 'config', 'divergences'],
  doctor: ['config', 'divergences'],
  runs: ['config', 'divergences', 'files'],
  check: ['reference', 'kernels', 'gpu', 'tensor', 'divergences'],
  worker: [
    'check',
    'doctor',
    'runs',
    'distill',
    'model',
    'kernels',
    'gpu',
    'tensor',
    'files',
    'data',
    'config',
  ],
  cli: [
    'check',
    'doctor',
    'runs',
    'distill',
    'model',
    'kernels',
    'gpu',
    'tensor',
    'files',
    'data',
    'config',
    'distributions',
  ],
  app: ['config', 'distributions', 'divergences', 'doctor', 'runs', 'tensor'],
  offline: [],
};
/** Rooms that every other may import, except one that imports nothing. */
const OPEN = ['quote'];
/** Single files that a room may import from rooms that are otherwise closed to it. */
const DOORS = {
  // The Doctor reads a run's records, whatever made them.
  doctor: ['src/distill/records.ts'],
  // The Bug Lab shows the kernel's source beside the code that fails, and the lessons compute with
  // the reference's formulas.
  app: [
    'src/worker/protocol.ts',
    'src/kernels/compare.wgsl',
    'src/reference/arrays.ts',
    'src/reference/experts.ts',
    'src/reference/losses.ts',
    'src/reference/optimiser.ts',
  ],
  // A journal holds the records as a run reports them; both space out what a large student costs.
  runs: ['src/distill/records.ts', 'src/distill/spacing.ts'],
};
/** Files and folders in src/ that belong to another room than their name says. */
const ROOM_OF_FILE = {
  'built-in.ts': 'config',
  'pairs.ts': 'config',
  'presets.ts': 'config',
  'field.ts': 'config',
  fields: 'config',
  'link.ts': 'config',
  'model-reference.ts': 'config',
  'nearest.ts': 'config',
  'twin-worth.ts': 'config',
  'say-settings.ts': 'config',
};
/** Packages that only one file may import, so that an update changes one place. */
const ONE_IMPORTER = ['onnxruntime-web', '@xenova/transformers', '@huggingface/jinja'];
const LONGEST_FILE = 600;
const LONGEST_LINE = 100;

const isCode = (path) => /\.(ts|tsx|mjs)$/.test(path);
const hasLimits = (path) => /\.(ts|tsx|mjs|wgsl|css)$/.test(path);
const isSource = (path) => path.startsWith('src/') && isCode(path);

/**
 * @param {Map<string, string>} tree text by path from the project's root, e.g. 'src/gpu/device.ts'
 * @returns {string[]} one line per problem: `path:line: what is wrong. What to do.`
 */
export function checkTree(tree) {
  const modules = new Map();
  for (const [path, text] of tree)
    if (isCode(path)) modules.set(path, readModule(path, text, tree));
  return [
    ...checkRooms(modules),
    ...checkCircles(modules),
    ...checkFamilies(modules),
    ...checkOneImporter(modules),
    ...checkNavigator(modules),
    ...checkExports(modules),
    ...checkLengths(tree),
    ...checkColumns(tree),
    ...checkSpreads(modules),
    ...checkLockfile(tree),
    ...checkMaps(tree),
  ].sort();
}

function checkRooms(modules) {
  const problems = [];
  for (const [path, module] of modules) {
    if (!isSource(path)) continue;
    const room = roomOf(path);
    if (!ROOMS[room]) {
      problems.push(
        `${path}:1: "${room}" is not a room. Move the file, or add the room to tests/rules.mjs.`,
      );
      continue;
    }
    for (const { target, specifier, line } of module.imports) {
      // A worker's address imports nothing of it.
      if (!specifier.startsWith('.') || specifier.endsWith('?worker&url')) continue;
      if (!target) {
        problems.push(
          `${path}:${line}: imports ${specifier}, which does not exist. Correct the path.`,
        );
        continue;
      }
      if (!target.startsWith('src/')) {
        if (!target.startsWith('public/')) {
          problems.push(
            `${path}:${line}: imports ${target}, which is outside src/. Move shared code to src/.`,
          );
        }
        continue;
      }
      const other = roomOf(target);
      const rooms = ['reference', ...OPEN].includes(room) ? [] : [...ROOMS[room], ...OPEN];
      if (other === room || rooms.includes(other) || DOORS[room]?.includes(target)) continue;
      const allowed = [...rooms, ...(DOORS[room] ?? [])].join(', ') || 'only itself';
      problems.push(
        `${path}:${line}: ${room} imports ${target}. ${room} may import ${allowed}. ` +
          'Pass the value in, or move the code.',
      );
    }
  }
  return problems;
}

/**
 * Files that import one another in a circle, types included, cannot be read or moved separately.
 */
function checkCircles(modules) {
  const problems = [];
  const finished = new Set();
  const visit = (path, chain) => {
    const start = chain.indexOf(path);
    if (start >= 0) {
      problems.push(
        `${path}:1: a circle of imports: ${[...chain.slice(start), path].join(' → ')}. ` +
          'Move what they share.',
      );
      return;
    }
    if (finished.has(path)) return;
    for (const { target } of modules.get(path).imports) {
      if (target && isSource(target) && modules.has(target)) visit(target, [...chain, path]);
    }
    finished.add(path);
  };
  for (const path of modules.keys()) if (isSource(path)) visit(path, []);
  return problems;
}

/** Only the table of families, and the Bug Lab's fault in GPT-2, may know a family of models. */
function checkFamilies(modules) {
  const familyOf = (path) => /^src\/model\/([^/]+)\//.exec(path)?.[1];
  const problems = [];
  for (const [path, module] of modules) {
    if (!isSource(path) || path === 'src/model/families.ts') continue;
    if (path.startsWith('src/distill/bug-lab/')) continue;
    for (const { target, line } of module.imports) {
      const family = target && familyOf(target);
      if (!family || familyOf(path) === family) continue;
      problems.push(
        `${path}:${line}: imports ${target}, of the family ${family}. ` +
          'Only src/model/families.ts may; use the interfaces in src/model/family.ts.',
      );
    }
  }
  return problems;
}

function checkOneImporter(modules) {
  return ONE_IMPORTER.flatMap((name) => {
    const importers = [...modules].flatMap(([path, { imports }]) => {
      const match =
        isSource(path) && imports.find(({ specifier }) => `${specifier}/`.startsWith(`${name}/`));
      return match ? [{ path, line: match.line }] : [];
    });
    if (importers.length < 2) return [];
    const paths = importers.map(({ path }) => path);
    return importers.map(
      ({ path, line }) =>
        `${path}:${line}: ${name} is imported by ${paths.join(' and ')}. ` +
        'Only one file may import it; use that file.',
    );
  });
}

function checkNavigator(modules) {
  const problems = [];
  for (const [path, { text }] of modules) {
    if (!isSource(path) || roomOf(path) === 'gpu') continue;
    for (const match of text.matchAll(
      /\bnavigator\s*(\?\.|!?\.)\s*gpu\b|\bnavigator\b[^;\n]*\[\s*['"]gpu['"]/g,
    )) {
      problems.push(
        `${path}:${lineAt(text, match.index)}: names navigator.gpu. ` +
          'Only src/gpu/ may; use its functions.',
      );
    }
  }
  return problems;
}

function checkExports(modules) {
  const used = new Map();
  const use = (path, name) => used.set(path, (used.get(path) ?? new Set()).add(name));
  for (const [, { imports }] of modules) {
    for (const { target, names } of imports)
      for (const name of names) if (target) use(target, name);
  }
  const problems = [];
  for (const [path, { exports, text }] of modules) {
    if (!isSource(path)) continue;
    for (const { name, line, isType } of exports) {
      if (used.get(path)?.has(name) || used.get(path)?.has('*')) continue;
      // A type that is used in its own file may be part of an exported signature.
      if (
        isType &&
        text.match(new RegExp(`(?<![\\w$])${name.replaceAll('$', '\\$')}(?![\\w$])`, 'g')).length >
          1
      )
        continue;
      problems.push(`${path}:${line}: nothing imports ${name}. Delete it, or drop its "export".`);
    }
  }
  return problems;
}

function checkLengths(tree) {
  return [...tree].flatMap(([path, text]) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    if (lines <= LONGEST_FILE || !hasLimits(path)) return [];
    return [
      `${path}:${LONGEST_FILE + 1}: ${lines} lines; the limit is ${LONGEST_FILE}. Split the file.`,
    ];
  });
}

/** The formatter breaks code, but neither strings nor comments, and no WGSL. */
function checkColumns(tree) {
  const problems = [];
  for (const [path, text] of tree) {
    if (!/^(src|tests)\/.*\.(ts|tsx|wgsl)$/.test(path) || path.includes('/fixtures/')) continue;
    for (const [i, line] of text.split('\n').entries()) {
      const columns = [...line].length;
      if (columns > LONGEST_LINE)
        problems.push(
          `${path}:${i + 1}: ${columns} columns; the limit is ${LONGEST_LINE}. Break the line.`,
        );
    }
  }
  return problems;
}

/** The compiler does not check the fields of `...{ a, b }` for unknown ones. */
function checkSpreads(modules) {
  return [...modules].flatMap(([path, { text }]) =>
    [...text.matchAll(/\.\.\.\{(?!\s*\/)/g)].map(
      ({ index }) => `${path}:${lineAt(text, index)}: spreads a literal. Write its fields out.`,
    ),
  );
}

function checkLockfile(tree) {
  const lines = (tree.get('package-lock.json') ?? '').split('\n');
  const at = lines.findIndex((line) => /"resolved": "https?:/.test(line));
  if (at < 0) return [];
  return [
    `package-lock.json:${at + 1}: names a registry. ` +
      'Run: npm install --package-lock-only (see .npmrc).',
  ];
}

/**
 * The READMEs are maps, so what they name must exist: every path and every `npm run` script. In
 * src/README.md paths may also start at src/, and every identifier is checked. Names in angle
 * brackets, as in `kernels/<name>.wgsl`, stand for the reader's own.
 */
function checkMaps(tree) {
  const scripts = JSON.parse(tree.get('package.json') ?? '{}').scripts ?? {};
  const paths = [...tree.keys()];
  const exists = (path) =>
    tree.has(path) || paths.some((other) => other.startsWith(`${path.replace(/\/$/, '')}/`));
  const sources = [...tree].filter(([path]) => /^src\/.*\.(ts|tsx|wgsl)$/.test(path));
  const words = new Set(sources.flatMap(([, text]) => text.match(/[\w$]+/g) ?? []));
  return ['README.md', 'src/README.md'].flatMap((map) => {
    const text = tree.get(map) ?? '';
    const folders = map === 'README.md' ? [''] : ['src/', ''];
    const missing = (index, name) =>
      `${map}:${lineAt(text, index)}: names ${name}, which does not exist.`;
    const isMissingPath = (path) => !folders.some((folder) => exists(folder + path));
    const problems = [];
    for (const { index, 1: script } of text.matchAll(/npm run ([\w:-]+)/g))
      if (!scripts[script]) problems.push(missing(index, `npm run ${script}`));
    for (const { index, 1: path } of text.matchAll(/\]\(([^):]+)\)/g))
      if (isMissingPath(path)) problems.push(missing(index, path));
    for (const { index, 1: code } of text.matchAll(/`([^`\n]+)`/g)) {
      if (/^(src|tests|public)\/[\w./-]*$/.test(code) && isMissingPath(code))
        problems.push(missing(index, code));
      if (map === 'README.md') continue;
      const isPath = /^[\w.-]+(\/[\w./-]*|\.(ts|tsx|wgsl|mjs))$/.test(code);
      if (isPath && isMissingPath(code)) problems.push(missing(index, code));
      if (isPath || !/^[\w$#.]+(\(\))?$/.test(code)) continue;
      const unknown = code.match(/[\w$]+/g).some((word) => !words.has(word));
      if (unknown) problems.push(missing(index, code));
    }
    return problems;
  });
}

/** The room of 'src/gpu/device.ts' is gpu; of 'src/config.ts', config. */
function roomOf(path) {
  const [, first] = path.split('/');
  return ROOM_OF_FILE[first] ?? first.replace(/\.\w+$/, '');
}

/** A module's imports, with the names imported from each, and its exports. */
function readModule(path, original, tree) {
  const text = blankComments(original);
  const imports = [];
  const add = (index, specifier, names) => {
    imports.push({
      specifier,
      names,
      line: lineAt(text, index),
      target: resolve(path, specifier, tree),
    });
  };
  const quoted = `['"]([^'"\\n]+)['"]`;
  for (const match of text.matchAll(
    new RegExp(`^[ \\t]*(import|export)\\b([^'";=]*?)\\bfrom\\s*${quoted}`, 'gm'),
  )) {
    add(match.index + match[0].search(/\S/), match[3], importedNames(match[2]));
  }
  for (const match of text.matchAll(new RegExp(`^[ \\t]*import\\s*${quoted}`, 'gm')))
    add(match.index, match[1], []);
  // import('…') at run time, or in a type.
  for (const match of text.matchAll(new RegExp(`\\bimport\\s*\\(\\s*${quoted}`, 'g')))
    add(match.index, match[1], ['*']);
  return { text, imports, exports: readExports(text) };
}

/** The names in an import clause: `a, { b as c, type D }` or `* as e`. */
function importedNames(clause) {
  if (clause.includes('*')) return ['*'];
  const names = [];
  const braces = clause.match(/\{([^}]*)\}/);
  for (const item of braces ? braces[1].split(',') : []) {
    const name = item
      .trim()
      .replace(/^type\s+(?!as\b)/, '')
      .split(/\s+as\s+/)[0];
    if (name) names.push(name);
  }
  if (/^\s*(type\s+)?[\w$]/.test(clause.replace(/\{[^}]*\}/, '').replace(/^\s*type\s*$/, '')))
    names.push('default');
  return names;
}

function readExports(text) {
  const exports = [];
  const add = (index, name, isType) => exports.push({ name, isType, line: lineAt(text, index) });
  const declared =
    /^export\s+(?:declare\s+)?(default|(?:async\s+)?function\s*\*?|(?:abstract\s+)?class|const\s+enum|const|let|var|enum|interface|type)\s+([\w$]+)?/gm;
  for (const match of text.matchAll(declared)) {
    const [, kind, name] = match;
    if (kind === 'default') add(match.index, 'default', false);
    else if (name) add(match.index, name, kind === 'interface' || kind === 'type');
  }
  for (const match of text.matchAll(/^export\s+(type\s+)?\{([^}]*)\}/gm)) {
    for (const item of match[2].split(',')) {
      const name = item
        .trim()
        .split(/\s+as\s+/)
        .at(-1)
        .replace(/^type\s+/, '');
      if (name) add(match.index, name, false);
    }
  }
  return exports;
}

/** The path of a relative import, without its query; undefined for packages and missing files. */
function resolve(from, specifier, tree) {
  if (!specifier.startsWith('.')) return undefined;
  const path = posix.join(posix.dirname(from), specifier.replace(/\?.*$/, ''));
  const candidates = [path, `${path}.ts`, `${path}.tsx`, `${path}/index.ts`, `${path}/index.tsx`];
  return candidates.find((candidate) => tree.has(candidate));
}

function lineAt(text, index) {
  return text.slice(0, index).split('\n').length;
}

/** Blanks comments and template literals, keeping every line in its place. */
function blankComments(text) {
  // Regular expression literals are matched so that their quotes and slashes start nothing.
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};]\s*|\breturn\s+)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\//g;
  return text.replace(token, (match) =>
    /^(\/[/*]|`)/.test(match) ? match.replace(/[^\n]/g, ' ') : match,
  );
}
