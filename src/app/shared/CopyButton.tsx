// A button that copies a text. If the browser refuses, it says what to do.

import { useState } from 'react';
import { copyText } from './browser';

export function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState<boolean>();
  return (
    <>
      <button type="button" className="quiet" onClick={async () => setCopied(await copyText(text))}>
        {copied ? 'Copied' : 'Copy as text'}
      </button>
      {copied === false && (
        <p className="field-problem" role="alert">
          The browser blocked copying. Allow clipboard access for this page, then try again.
        </p>
      )}
    </>
  );
}
