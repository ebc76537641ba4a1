// The size of the data, and the first training batch as text, as a run with the current settings
// would read them.

import { Fragment } from 'react';
import { useRun } from '../run/store';
import { formatShare, plural } from '../shared/format';
import { previewSettings, useData } from './store';

export function DataPreview({ locked }: { locked: boolean }) {
  const { preview, busy, show } = useData();
  // Subscribes to the settings, so that a change makes the preview outdated.
  useRun((state) => state.config);
  const current = preview?.settings === previewSettings();
  return (
    <>
      {preview && current && <Figures />}
      {!current && (
        <div className="drop-tools">
          <button type="button" className="quiet outlined" disabled={locked || busy} onClick={show}>
            {preview ? 'Count again with these settings' : 'Count tokens and show a batch'}
          </button>
        </div>
      )}
    </>
  );
}

function Figures() {
  const preview = useData((state) => state.preview);
  if (!preview) return null;
  const {
    documents: documentCount,
    heldOutDocuments,
    trainTokens,
    heldOutTokens,
    rows,
    batchSize,
    endOfText,
    contextLength,
    learnedShare,
    filledShare,
    masked,
  } = preview;
  const count = (value: number) => value.toLocaleString('en');
  const shown =
    rows.length < batchSize ? ` Shown are the first ${rows.length} of ${batchSize} rows.` : '';
  return (
    <>
      <dl className="data-figures">
        <dt>Documents</dt>
        <dd>{count(documentCount)}</dd>
        <dt>Tokens</dt>
        <dd>{count(trainTokens + heldOutTokens)}</dd>
        <dt>For training</dt>
        <dd>{plural(trainTokens, 'token')}</dd>
        <dt>Held out</dt>
        <dd>{plural(heldOutTokens, 'token')}</dd>
        {filledShare < 1 && (
          <>
            <dt>Positions that hold text</dt>
            <dd>{formatShare(filledShare)}</dd>
          </>
        )}
        {learnedShare !== undefined && (
          <>
            <dt>Learned, said by the assistant</dt>
            <dd>{formatShare(learnedShare)}</dd>
          </>
        )}
      </dl>
      <p className="help">
        {heldOutDocuments > 0
          ? `${plural(heldOutDocuments, 'whole document')} held out, chosen by the seed. ` +
            'Training does not read them.'
          : 'The end of the document is held out. Training does not read it.'}
        {documentCount > 1 &&
          endOfText === undefined &&
          ' The tokenizer has no end-of-text token, so an empty line separates documents.'}
      </p>
      <h3 className="data-batch-title">
        The first batch: {batchSize} × {contextLength} tokens
      </h3>
      <section className="data-batch" tabIndex={0} aria-label="The first batch as text">
        <ol>
          {rows.map((parts, row) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a row has no other name than its place
            <li key={row}>
              {parts.map(({ text, end, learned, begins }, index) => {
                const Part = learned ? 'strong' : end ? 'mark' : 'span';
                return (
                  // biome-ignore lint/suspicious/noArrayIndexKey: as above
                  <Fragment key={index}>
                    {begins && <hr aria-label="Next document" />}
                    <Part>{text}</Part>
                  </Fragment>
                );
              })}
            </li>
          ))}
        </ol>
      </section>
      <p className="help">
        {filledShare < 1
          ? 'Each row holds one document, or a part of a long one; its rest is empty.'
          : 'Rows are windows of one long text, so they can start and end anywhere.'}
        {masked && ' At a bar, attention and positions begin again.'}
        {learnedShare !== undefined
          ? ' The loss counts what is underlined, which the assistant says.'
          : endOfText && ` ${endOfText} ends each document.`}
        {shown}
      </p>
    </>
  );
}
