// Copies a link to what the page shows. Beside a run that has results there is a choice: the
// settings alone, or with the run's curve.

import {
  autoUpdate,
  flip,
  offset,
  shift,
  useClick,
  useDismiss,
  useFloating,
  useInteractions,
  useRole,
} from '@floating-ui/react';
import { useState } from 'react';
import { checkConfig } from '../../config';
import { nameOf } from '../../runs/names';
import { canShare, ghostText } from '../run/ghost';
import { useRun } from '../run/store';
import { useRuns } from '../runs/store';
import { linkTo } from './address';
import { copyText } from './browser';
import { Icon } from './Icon';
import { useRoom } from './rooms';

const EDGE = 8;

/** What was copied, or could not be. */
interface Copied {
  what: 'settings' | 'run' | 'room';
  link: string;
  refused: boolean;
}

/** Copies the link to the current room and its state. */
export function ShareButton() {
  const room = useRoom((state) => state.room);
  const choice = useRun(({ run }) => room === 'distil' && canShare(run));
  const invalid = useRun(({ config }) => room === 'distil' && checkConfig(config).length > 0);
  const [copied, setCopied] = useState<Copied>();
  const copy = async (what: Copied['what'], link: string) =>
    setCopied({ what, link, refused: !(await copyText(link)) });
  if (choice) return <ShareChoice copied={copied} setCopied={setCopied} copy={copy} />;
  const share = () =>
    room === 'distil'
      ? copy('settings', linkTo(useRun.getState().config))
      : copy('room', location.href);
  const done = copied && !copied.refused;
  return (
    <span className="share">
      <button
        type="button"
        className="quiet"
        onClick={share}
        disabled={invalid}
        title={
          room === 'distil'
            ? 'Copy the link to these settings'
            : 'Copy the link to what the page shows now'
        }
        onBlur={() => setCopied(undefined)}
      >
        <Icon name="link" /> <span>{done ? 'Link copied' : 'Share'}</span>
      </button>
      <span role="status" className={copied ? 'share-note' : 'visually-hidden'}>
        <Note copied={copied} />
      </span>
    </span>
  );
}

/** The button opens a panel with two links to copy. */
function ShareChoice({
  copied,
  setCopied,
  copy,
}: {
  copied?: Copied;
  setCopied: (copied: undefined) => void;
  copy: (what: Copied['what'], link: string) => void;
}) {
  const [open, setOpen] = useState(false);
  const invalid = useRun(({ config }) => checkConfig(config).length > 0);
  const runName = useRunName();
  const { refs, floatingStyles, context } = useFloating({
    open,
    onOpenChange(now) {
      setOpen(now);
      setCopied(undefined);
    },
    placement: 'bottom-end',
    strategy: 'fixed',
    whileElementsMounted: autoUpdate,
    middleware: [offset(EDGE), flip(), shift({ padding: EDGE })],
  });
  const { getReferenceProps, getFloatingProps } = useInteractions([
    useClick(context),
    useDismiss(context),
    useRole(context, { role: 'dialog' }),
  ]);
  const shareRun = () => {
    const { run } = useRun.getState();
    if (canShare(run)) copy('run', linkTo(run.config, ghostText(run, runName)));
  };
  return (
    <span className="share">
      <button ref={refs.setReference} type="button" className="quiet" {...getReferenceProps()}>
        <Icon name="link" /> <span>Share</span>
      </button>
      {open && (
        <div
          ref={refs.setFloating}
          role="dialog"
          className="share-choice"
          aria-label="Share"
          style={floatingStyles}
          {...getFloatingProps()}
        >
          <button type="button" className="quiet" onClick={shareRun}>
            Share this run
          </button>
          <p>
            A link with its settings, its curve, its name “{runName}” and your GPU’s name. Whoever
            opens it sees the curve behind their own.
          </p>
          <button
            type="button"
            className="quiet"
            disabled={invalid}
            onClick={() => copy('settings', linkTo(useRun.getState().config))}
          >
            Copy link to settings
          </button>
          <p>The settings as they are now, without the run.</p>
          <p role="status" className={copied ? 'share-done' : 'visually-hidden'}>
            {copied && !copied.refused && 'Link copied. '}
            <Note copied={copied} />
          </p>
        </div>
      )}
    </span>
  );
}

function useRunName(): string {
  const id = useRun(({ run }) => run?.id ?? '');
  return useRuns(({ kept }) => kept?.rows.find((row) => row.id === id)?.name) ?? nameOf(id);
}

function Note({ copied }: { copied?: Copied }) {
  const hasOwnText = useRun(({ corpus }) => corpus !== undefined);
  if (!copied) return null;
  const { what, link, refused } = copied;
  if (refused) return <CopyRefused link={link} />;
  if (what === 'room') return 'The link opens the page as it is now.';
  const holds =
    what === 'run' ? 'The link holds the settings and the curve' : 'The link holds the settings';
  return hasOwnText ? `${holds}, but not your own text.` : `${holds}. Opening it starts nothing.`;
}

/** The link itself, to be copied by hand. */
export function CopyRefused({ link }: { link: string }) {
  return (
    <>
      The browser blocked copying. Copy <a href={link}>this link</a> instead.
    </>
  );
}
