/** Only for `npm run mutants`. */
import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['test/mutants/*.mutants.ts'], pool: 'forks', retry: 0 } });
