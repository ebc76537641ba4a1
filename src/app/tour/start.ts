// Starts the tour. Its library loads when somebody asks for it.

export async function startTour(): Promise<void> {
  try {
    const { runTour } = await import('./tour');
    runTour();
  } catch (error) {
    // The page works as well without the tour.
    console.warn('The tour did not load.', error);
  }
}
