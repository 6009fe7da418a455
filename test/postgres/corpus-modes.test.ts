/** The corpus through a pooler in session and in statement mode. */
import { comparesWithDirect } from './corpus-fixture.ts';

comparesWithDirect({ version: 18, mode: 'session', directIo: true, manner: 'steps', onlyShort: true });
comparesWithDirect({ version: 18, mode: 'statement', directIo: true, manner: 'steps', onlyShort: true });
