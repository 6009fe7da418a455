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
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, 'test/postgres/**'],
        },
      },
      {
        test: {
          ...common,
          name: 'postgres',
          include: ['test/postgres/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
});
