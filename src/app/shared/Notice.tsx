// A notice above the page's columns: a problem, or something to know.

export function Notice({
  kind,
  title,
  onDismiss,
  children,
}: {
  kind: 'problem' | 'note';
  title: string;
  onDismiss?: () => void;
  children?: React.ReactNode;
}) {
  return (
    <section className={`notice ${kind}`} role={kind === 'problem' ? 'alert' : 'status'}>
      <div>
        <strong>{title}</strong> {children}
      </div>
      {onDismiss && (
        <button type="button" className="quiet" onClick={onDismiss}>
          Dismiss
        </button>
      )}
    </section>
  );
}
