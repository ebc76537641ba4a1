// Where a part of the page cannot be drawn, it says so, and the other parts stay.

import { Component, type ReactNode } from 'react';
import { excerpt } from '../../quote';

export class Guard extends Component<{ children: ReactNode }, { error?: unknown }> {
  override state: { error?: unknown } = {};

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    const message = error instanceof Error ? error.message : String(error);
    return (
      <p className="room-note" role="alert">
        This part of the page could not be drawn: {excerpt(message, 200)}. Reload the page: a run
        that is kept goes on from its last checkpoint.
      </p>
    );
  }
}
