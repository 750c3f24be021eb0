//! Checks with a name and a line each, and the sum at the end.

/** Waits until `probe` gives a truthy value, and gives it; fails with what was waited for. */
export async function until<T>(what: string, probe: () => Promise<T> | T, deadlineMs = 10_000): Promise<NonNullable<T>> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${deadlineMs} ms for ${what}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

export function must(holds: unknown, message: string): asserts holds {
  if (!holds) throw new Error(message);
}

export class Report {
  private passed = 0;
  private failed = 0;

  /** Runs one check; the others go on when it fails. */
  async check(name: string, body: () => Promise<void>): Promise<void> {
    try {
      await body();
      this.passed += 1;
      console.log(`ok    ${name}`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAIL  ${name}: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
    }
  }

  /** Prints the sum; gives the exit code. A run without checks is a failure too. */
  end(): number {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    return this.failed > 0 || this.passed === 0 ? 1 : 0;
  }
}
