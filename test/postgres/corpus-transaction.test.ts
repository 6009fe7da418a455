/** The corpus through a pooler in transaction mode, with bytes that come in every shape. */
import { comparesWithDirect } from './corpus-fixture.ts';

comparesWithDirect({ version: 18, mode: 'transaction', directIo: true, manner: 'steps' });
comparesWithDirect({ version: 18, mode: 'transaction', directIo: true, manner: 'packet' });
comparesWithDirect({ version: 18, mode: 'transaction', directIo: true, manner: 'bytes', longestBytes: 700 });
