// The unmodified SDK for browsers, with the few things of a browser that it uses: launchdarkly_browser.mjs URL CLIENT_ID CONTEXT
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import http from 'node:http';

const [url, id, text] = process.argv.slice(2);
const page = { href: 'http://localhost/', hash: '', search: '' };
const nothing = () => {};
globalThis.window = { addEventListener: nothing, removeEventListener: nothing, location: page };
globalThis.document = { addEventListener: nothing, removeEventListener: nothing, visibilityState: 'visible' };
globalThis.location ??= page;

// Events as a browser reads them; an error closes the connection.
globalThis.EventSource = class {
  listeners = {};

  constructor(address) {
    this.request = http.get(address, { headers: { accept: 'text/event-stream' } }, (answer) => {
      let rest = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => {
        const parts = (rest + piece).split('\n\n');
        rest = parts.pop();
        parts.forEach((part) => this.tell(part));
      });
      answer.on('end', () => this.onerror?.({ status: answer.statusCode }));
    });
    this.request.on('error', (error) => this.onerror?.(error));
  }

  tell(part) {
    const line = (name) => part.split('\n').find((one) => one.startsWith(`${name}: `))?.slice(name.length + 2);
    const name = line('event');
    if (name) (this.listeners[name] ?? []).forEach((listener) => listener({ type: name, data: line('data') ?? '' }));
  }

  addEventListener(name, listener) {
    (this.listeners[name] ??= []).push(listener);
  }

  close() {
    this.request.destroy();
  }
};

const print = (line) => console.log(JSON.stringify(line));
const main = createRequire(join(process.cwd(), 'package.json')).resolve('@launchdarkly/js-client-sdk');
const sdk = await import(pathToFileURL(main));
const { createClient } = sdk.default ?? sdk;
const quiet = { error: console.error, warn: console.error, info: nothing, debug: nothing };
const client = createClient(id, JSON.parse(text), {
  baseUri: url, streamUri: url, eventsUri: url, streaming: true, flushInterval: 2, logger: quiet,
});
const { status } = await client.start({ timeout: 10 });
print({ status, model: client.variation('inference_model', 'none'), hidden: client.variation('retrieval_top_k', 'none') });
if (status !== 'complete') process.exit(0);
client.on('change', () => print({ model: client.variation('inference_model', 'none') }));
for (let number = 0; number < 50; number += 1) client.track('clicked', undefined, 1);
await client.flush();
print({ tracked: 50 });
process.stdin.on('end', async () => {
  await client.close();
  process.exit(0);
});
process.stdin.resume();
