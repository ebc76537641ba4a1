// A teacher that our own kernels run: its forward pass is recorded once and runs inside the
// caller's submission; its head runs in chunks of rows, where the losses want its logits.

import type { Gpu } from '../../gpu/device';
import { bufferOf, Pool, persistentTensor, Recorder, type Tensor } from '../../gpu/program';
import { gatherRows } from '../../kernels/aligned';
import { copy } from '../../kernels/copy';
import type { Architecture } from '../../model/family';
import { Arena, fill, planArena, type Weights } from '../../model/parameters';
import { Layout } from '../../tensor/layout';
import { DocumentBuffer } from '../batch-buffer';
import { Sampler } from '../sample';
import type { Teacher, TeacherShape } from './teacher';

/**
 * A teacher that our own kernels run. Its kernels go on compiling; the first batch waits for them.
 * Without weights it only plans the memory.
 */
export async function teacherFromWeights(
  gpu: Gpu,
  weights: Weights | undefined,
  architecture: Architecture,
  { B, T, dtype, masked, routers: keptRouters }: TeacherShape,
): Promise<Teacher> {
  const plan = planArena(architecture.parameters, gpu.limits.buffer);
  const arena = new Arena(gpu, plan, dtype, 'teacher', 'teacher weights');
  try {
    await fill(gpu, [arena], weights);
  } catch (error) {
    // A download that fails must not leave memory on the GPU.
    arena.destroy();
    throw error;
  }
  const shape = Layout.contiguous([B, T]);
  const tokens = persistentTensor(gpu, 'teacher', 'teacher tokens', shape, 'u32');
  const documents = masked ? new DocumentBuffer(gpu, 'teacher', B, T) : undefined;
  const pool = new Pool(gpu, 'teacher');
  const body = new Recorder(gpu, pool);
  const model = architecture.withWeights(arena);
  const { hidden, routed = [] } = model.forward(body, tokens, { documents: documents?.tensors });
  const routers = (keptRouters ? routed : []).map(({ layer, logits }) => {
    const kept = persistentTensor(gpu, 'teacher', `router logits ${layer}`, logits.layout, 'f32');
    copy(body, logits, kept);
    return kept;
  });
  const program = body.begin('teacher');
  const sampler = Sampler.create(gpu, pool, model, T);
  const head = (recorder: Recorder, rows: Tensor): Tensor => {
    const layout = Layout.contiguous([rows.layout.shape[0], architecture.vocabularySize]);
    const logits = recorder.tensor('teacher logits', layout, 'f32', 'logits');
    model.head(recorder, rows, logits, 'teacher head');
    return logits;
  };
  return {
    parameters: arena.plan.parameters,
    ...(routers.length > 0 && { routers }),
    async enqueue(batch, commands) {
      const inputs = batch.inputs as Uint32Array<ArrayBuffer>;
      gpu.device.queue.writeBuffer(bufferOf(tokens), 0, inputs);
      documents?.write(batch);
      commands.run(await program.ready);
    },
    profile: async () => (await program.ready).profile(),
    logits: (recorder, first, count) =>
      head(recorder, { ...hidden, layout: hidden.layout.narrow(0, first, count) }),
    aligned: {
      vocabularySize: architecture.vocabularySize,
      logits(recorder, spans, first, count) {
        const layout = Layout.contiguous([count, hidden.layout.shape[1]]);
        const rows = recorder.tensor('teacher rows', layout, hidden.dtype);
        gatherRows(recorder, { source: hidden, spans, rows, first });
        return head(recorder, rows);
      },
    },
    generate: sampler.generate,
    next: sampler.voice(),
    async dispose() {
      sampler.destroy();
      program.destroy();
      pool.destroy();
      arena.destroy();
      for (const tensor of [tokens, ...routers]) gpu.memory.destroy(bufferOf(tensor));
      documents?.destroy();
    },
  };
}
