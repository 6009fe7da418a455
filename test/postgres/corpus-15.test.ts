/** The corpus with PostgreSQL 15. */
import { comparesWithDirect } from './corpus-fixture.ts';

comparesWithDirect({ version: 15, mode: 'transaction', directIo: true, manner: 'steps', onlyShort: true });
comparesWithDirect({ version: 15, mode: 'transaction', directIo: true, manner: 'packet', onlyShort: true });
comparesWithDirect({ version: 15, mode: 'session', directIo: false, manner: 'steps', onlyShort: true });
