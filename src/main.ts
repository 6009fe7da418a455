#!/usr/bin/env node
/**
 * Loads the program. Node opens all files of a graph of imports at once, and fails where it has not as many descriptors;
 * one room after another it needs some fifty.
 */
import { setFlagsFromString } from 'node:v8';

/**
 * V8 answers a burst of logins with a larger young generation and never gives it back: 3 KB for each of 8,000 idle
 * clients, where the data path, which allocates little, gains nothing from it (`bench/README.md`).
 */
setFlagsFromString('--semi-space-growth-factor=1');

await import('./config/load-config.ts');
await import('./server/server-connection.ts');
await import('./pool/router.ts');
await import('./client/client-login.ts');
await import('./program.ts');
