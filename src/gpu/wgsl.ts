// Composes a kernel's WGSL from files. Pure: texts in, lines out, each with the file and line where
// a person wrote it. A directive takes a line of its own:
//
//   #include "rows.wgsl"       another file, by its path among the sources; once in a kernel
//   #include <lanes>           the file that the launcher names for `lanes`
//   #if BIAS, #else, #endif    keep lines where a constant is not 0, or where it is
//   #for i < ROWS, #endfor     repeat lines with 0, 1, … in place of $i; i is one letter
//   #for i < ROWS, j < 4       the same for each i and, inside it, each j
//
// `#for` exists because registers have no index: a loop over an array of sums is slow, so the
// matrix products want many sums with many names.

/** WGSL files by path, e.g. 'software/matmul_quads.wgsl'. */
export type Sources = Readonly<Record<string, string>>;

/** A line of the text that is compiled, and the file and line it comes from. */
export interface SourceLine {
  text: string;
  file: string;
  line: number;
}

export interface Composition {
  sources: Sources;
  /** What `#if` and `#for` may name. */
  constants: Readonly<Record<string, number>>;
  /** The file for each `#include <name>`. */
  includes: Readonly<Record<string, string>>;
}

const DIRECTIVE = /^\s*#(\w+)\s*(.*?)\s*(?:\/\/.*)?$/;

/**
 * The lines of `file` with every directive carried out.
 * @throws at a directive that makes no sense.
 */
export function compose(file: string, { sources, constants, includes }: Composition): SourceLine[] {
  const included = new Set<string>();

  const open = (path: string, from?: SourceLine): SourceLine[] => {
    if (included.has(path)) return [];
    included.add(path);
    if (sources[path] === undefined) {
      const message = `there is no kernel source ${path}. Correct the path.`;
      throw from ? mistake(from, message) : new Error(message);
    }
    return expand(sources[path].split('\n').map((text, i) => ({ text, file: path, line: i + 1 })));
  };

  const expand = (lines: SourceLine[]): SourceLine[] => {
    const out: SourceLine[] = [];
    for (let i = 0; i < lines.length; i++) {
      const [, name, argument] = DIRECTIVE.exec(lines[i].text) ?? [];
      if (name === undefined) {
        out.push(lines[i]);
      } else if (name === 'include') {
        out.push(...open(pathOf(lines[i], argument), lines[i]));
      } else if (name === 'if' || name === 'for') {
        const { middle, end } = blockAt(lines, i, name);
        const body = lines.slice(i + 1, middle ?? end);
        if (name === 'for') out.push(...repeat(lines[i], argument, body));
        else if (constant(lines[i], argument) !== 0) out.push(...expand(body));
        else if (middle !== undefined) out.push(...expand(lines.slice(middle + 1, end)));
        i = end;
      } else {
        throw mistake(lines[i], `#${name} stands alone, or is no directive. See gpu/wgsl.ts.`);
      }
    }
    return out;
  };

  const repeat = (at: SourceLine, argument: string, body: SourceLine[]): SourceLine[] => {
    const [, index, count, inner] = /^([a-z]) < (\w+)(?:, (.+))?$/.exec(argument) ?? [];
    if (!index) throw mistake(at, `#for ${argument}: want the form "#for i < COUNT, j < COUNT".`);
    return Array.from({ length: constant(at, count) }, (_, n) => {
      const copy = body.map((line) => ({
        ...line,
        text: line.text.replaceAll(`$${index}`, String(n)),
      }));
      return inner ? repeat(at, inner, copy) : expand(copy);
    }).flat();
  };

  const pathOf = (at: SourceLine, argument: string): string => {
    const [, path, name] = /^(?:"(.+)"|<(\w+)>)$/.exec(argument) ?? [];
    const file = path ?? includes[name];
    if (!file) throw mistake(at, `#include ${argument}: the launcher names no such file.`);
    return file;
  };

  const constant = (at: SourceLine, name: string): number => {
    const value = /^\d+$/.test(name) ? Number(name) : constants[name];
    if (value === undefined) throw mistake(at, `the launcher gives no constant "${name}".`);
    return value;
  };

  return open(file);
}

/** Where the block that begins at `start` ends, and where its `#else` stands. */
function blockAt(lines: SourceLine[], start: number, name: string) {
  let depth = 0;
  let middle: number | undefined;
  for (let i = start; i < lines.length; i++) {
    const word = DIRECTIVE.exec(lines[i].text)?.[1];
    if (word === name) depth++;
    if (word === 'else' && name === 'if' && depth === 1) middle = i;
    if (word === `end${name}` && --depth === 0) return { middle, end: i };
  }
  throw mistake(lines[start], `#${name} has no #end${name}.`);
}

const mistake = ({ file, line }: SourceLine, message: string) =>
  new Error(`${file}:${line}: ${message}`);

/** The text without comments, every line where it was. */
export const withoutComments = (wgsl: string): string =>
  wgsl.replace(/\/\/.*$|\/\*[\s\S]*?\*\//gm, (comment) => comment.replace(/[^\n]/g, ''));
