// One unmodified server-side provider, asked for everything that Ensign promises of it.
// Reads its task from standard input (one JSON line); prints a line where the test is to act, and waits for an answer.
const assert = require('node:assert/strict');
const readline = require('node:readline');
const { OpenFeature, ProviderEvents } = require('@openfeature/server-sdk');

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value);
const tell = async (what) => {
  console.log(what);
  return next();
};

function provider({ mode, url, key }) {
  const { hostname, port } = new URL(url);
  if (mode === 'ofrep') {
    const { OFREPProvider } = require('@openfeature/ofrep-provider');
    return new OFREPProvider({ baseUrl: url, headers: [['Authorization', `Bearer ${key}`]] });
  }
  const { FlagdProvider } = require('@openfeature/flagd-provider');
  return new FlagdProvider({
    host: hostname,
    port: Number(port),
    resolverType: mode,
    defaultAuthority: `${key}.ensign`,
    deadlineMs: 5000,
  });
}

async function eventually(test, what) {
  for (let i = 0; i < 600; i++) {
    if (await test()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`it did not happen: ${what}`);
}

async function main() {
  const task = await next();
  await OpenFeature.setProviderAndWait(provider(task));
  const client = OpenFeature.getClient();
  const user = { targetingKey: 'u1', plan: 'pro' };

  assert.deepEqual(await client.getObjectValue('format', {}, user), { style: 'markdown', words: { max: 200 } });
  assert.equal(await client.getNumberValue('top_k', 0, user), 8);
  assert.equal(await client.getNumberValue('temperature', 0, user), 1);
  assert.equal(await client.getBooleanValue('stream_answers', false, user), true);
  const matched = await client.getStringDetails('tier', 'none', user);
  assert.deepEqual([matched.value, matched.variant, matched.reason], ['gold', 'gold', 'TARGETING_MATCH']);
  const unmatched = await client.getStringDetails('tier', 'none', { targetingKey: 'u1', plan: 'free' });
  assert.deepEqual([unmatched.value, unmatched.reason], ['tin', 'DEFAULT']);
  const missing = await client.getStringDetails('no_such_flag', 'mine', user);
  assert.deepEqual([missing.value, missing.errorCode], ['mine', 'FLAG_NOT_FOUND']);
  const wrong = await client.getBooleanDetails('tier', false, user);
  assert.deepEqual([wrong.value, wrong.errorCode], [false, 'TYPE_MISMATCH']);

  let compared = 0;
  for (const { context, answers } of task.cases) {
    for (const [flag, value] of Object.entries(answers)) {
      if (task.mode === 'in-process' && !task.exact.includes(flag)) continue;
      assert.equal(await client.getStringValue(flag, 'none', context), value, `${flag} ${JSON.stringify(context)}`);
      compared++;
    }
  }
  if (task.mode === 'in-process') {
    for (const flag of Object.keys(task.cases[0].answers).filter((flag) => !task.exact.includes(flag))) {
      assert.equal((await client.getStringDetails(flag, 'mine', user)).errorCode, 'FLAG_NOT_FOUND', flag);
    }
  }

  const value = () => client.getStringValue('tier', 'none', user);
  const changed = new Set();
  client.addHandler(ProviderEvents.ConfigurationChanged, (event) => event.flagsChanged?.forEach((key) => changed.add(key)));
  await tell('kill');
  await eventually(async () => (await value()) === 'tin', 'the kill');
  if (task.mode !== 'ofrep') await eventually(() => changed.has('tier'), 'the event of the kill');
  await tell('restart');
  await eventually(async () => (await value()) === 'gold', 'a change during the restart');
  await tell(`done ${compared}`);
  await OpenFeature.close();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
