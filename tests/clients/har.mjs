// Checks an HTTP archive against the schema of HAR 1.2. Argument: its file. Prints "valid", or what is wrong.
import { readFileSync } from 'node:fs';
import validator from 'har-validator/lib/promise.js';

try {
  await validator.har(JSON.parse(readFileSync(process.argv[2], 'utf8')));
  console.log('valid');
} catch (error) {
  console.log(JSON.stringify(error.errors ?? String(error), null, 1));
  process.exit(1);
}
