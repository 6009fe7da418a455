/**
 * Two projects: `fast` needs no PostgreSQL and takes milliseconds (`npx vitest --project fast`), `postgres` gets one of
 * each version from its global setup.
 */
import { configDefaults, defineConfig } from 'vitest/config';

const common = { testTimeout: 20_000, hookTimeout: 20_000, retry: 0, pool: 'forks' } as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: 'fast',
          // Nothing here waits for anything but the processor, so each one gets a file.
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, 'test/postgres/**'],
        },
      },
      {
        test: {
          ...common,
          name: 'postgres',
          // After the others: these look at the clock, and PostgreSQL and the programs under test need processors, too.
          sequence: { groupOrder: 1 },
          include: ['test/postgres/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
});
