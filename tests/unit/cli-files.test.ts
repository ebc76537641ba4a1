// The command line's files: a broken cache never stops a run, and errors say what to do. What a run
// keeps in its folder is in runs.test.ts.

import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { diskCache } from '../../src/cli/disk-cache';
import { DiskStorage } from '../../src/cli/disk-storage';
import { makeFolder } from '../../src/cli/durable';
import { explain } from '../../src/cli/failure';
import { writeFolder } from '../../src/cli/student-folder';
import { CorpusError } from '../../src/data/corpus';
import { ModelFileError } from '../../src/files/download';
import { GpuError } from '../../src/gpu/device';
import { Layout } from '../../src/tensor/layout';

const folder = mkdtempSync(join(tmpdir(), 'stillhouse-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a cache keeps blocks; if it cannot, it says so once and the run continues', async () => {
  const reasons: string[] = [];
  const cache = diskCache(join(folder, 'cache'), (why) => reasons.push(why));
  expect(await cache.get('a')).toBeUndefined();
  await cache.put('a', Uint8Array.of(1, 2, 3));
  expect(await cache.get('a')).toEqual(Uint8Array.of(1, 2, 3));
  expect(await diskCache(join(folder, 'cache'), () => {}).get('a')).toEqual(Uint8Array.of(1, 2, 3));
  expect(reasons).toEqual([]);

  writeFileSync(join(folder, 'file'), '');
  const refused = diskCache(join(folder, 'file'), (why) => reasons.push(why));
  await refused.put('a', Uint8Array.of(1));
  await refused.put('b', Uint8Array.of(1));
  expect(await refused.get('a')).toBeUndefined();
  expect(reasons).toEqual([expect.stringContaining('ENOTDIR')]);
});

test('a student’s file is replaced as a whole or not at all', async () => {
  const student = join(folder, 'student');
  const file = (fails: boolean) => ({
    name: 'onnx/model.onnx',
    bytes: 3,
    async *chunks() {
      yield Uint8Array.of(1, 2);
      if (fails) throw new Error('The GPU was lost.');
      yield Uint8Array.of(3);
    },
  });
  await expect(writeFolder(student, [file(true)])).rejects.toThrow('The GPU was lost.');
  expect(existsSync(join(student, 'onnx/model.onnx'))).toBe(false);
  expect(await writeFolder(student, [file(false)])).toEqual(['onnx/model.onnx']);
  await expect(writeFolder(student, [file(true)])).rejects.toThrow('The GPU was lost.');
  expect([...readFileSync(join(student, 'onnx/model.onnx'))]).toEqual([1, 2, 3]);
});

test('a folder that cannot be made says why, at once', async () => {
  await makeFolder(join(folder, 'a/b/c'));
  await makeFolder(join(folder, 'a/b/c'));
  expect(existsSync(join(folder, 'a/b/c'))).toBe(true);
  writeFileSync(join(folder, 'file'), '');
  await expect(makeFolder(join(folder, 'file/b/c'))).rejects.toThrow('ENOTDIR');
  await expect(makeFolder(join(folder, 'file'))).rejects.toThrow('EEXIST');
});

test('errors are printed with what to do, and only our own bugs with a stack', () => {
  expect(explain(new GpuError('limits', 'Too large.', 'Choose less.'))).toBe(
    'Too large. Choose less.',
  );
  expect(explain(new GpuError('no-adapter', 'No adapter.', 'See chrome://gpu.'))).toBe(
    'No adapter. Install a graphics driver with Vulkan, Metal or Direct3D 12. ' +
      'On Linux, VK_ICD_FILENAMES can name one.',
  );
  expect(explain(new CorpusError('Bad text.', 'Save it.'))).toBe('Bad text. Save it.');
  expect(explain(new ModelFileError('model', 'No model. Choose one.'))).toBe(
    'No model. Choose one.',
  );
  let refused: unknown;
  try {
    Layout.contiguous([2, 4, 5]).narrow(1, 0, 3).view([-1, 5]);
  } catch (error) {
    refused = error;
  }
  expect(explain(refused)).toMatch(
    /^view size is not compatible.*Use another loss path, or --batch_size 1\.$/s,
  );
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    syscall: 'write',
  });
  expect(explain(full)).toBe(
    'ENOSPC: no space left on device, write. Check the path and the free disk space.',
  );
  expect(explain(new TypeError('x is not a function'))).toMatch(
    /x is not a function This is a bug in Stillhouse\.\n.*at /s,
  );
});

test('a full disk is an error of its own, and nothing half-written remains', async () => {
  const storage = new DiskStorage(folder);
  // Linux's device that is always full, in the place of the file that is written first.
  symlinkSync('/dev/full', join(folder, 'a.json.new'));
  symlinkSync('/dev/full', join(folder, 'b.jsonl'));
  const bytes = [Uint8Array.of(1)];
  await expect(storage.write('a.json', bytes)).rejects.toMatchObject({
    kind: 'full',
    message: 'a.json could not be written: the disk is full. Free some space.',
  });
  expect(await storage.read('a.json')).toBeUndefined();
  await expect(storage.append('b.jsonl', bytes[0])).rejects.toMatchObject({ kind: 'full' });
  await storage.close('');
  unlinkSync(join(folder, 'a.json.new'));
  await storage.write('a.json', bytes);
  expect(await storage.read('a.json')).toEqual(bytes[0]);
});
